"""The entry point: a signal ends the program, whatever runs when it comes."""

import subprocess
import sys

import pytest

IN_A_CALLBACK = """
import os, signal, sys, time, weakref
import authsvc.cli

class Thing: pass

def run():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    thing = Thing()
    watched = weakref.ref(thing, lambda _: (os.kill(os.getpid(), {number}), [None for _ in range(1000)]))
    try:
        del thing
        time.sleep(30)
    except KeyboardInterrupt:
        sys.exit(130)
    print("nothing came")

authsvc.cli.main = run
from authsvc.program import main
main()
"""


@pytest.mark.parametrize(("number", "status"), [("signal.SIGINT", 130), ("signal.SIGTERM", 143)])
def test_a_signal_in_a_callback_is_not_lost(number: str, status: int) -> None:
    """Python can't raise in a callback, so the program ends a moment later, without a traceback."""
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CALLBACK.format(number=number)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")
