"""One of two checkouts that are compared: prepares rows with the bench of its own checkout and measures them on order.

    PYTHONPATH=CHECKOUT CHECKOUT/.venv/bin/python -P side.py ROWS SECONDS

ROWS is a list such as `2,14`. The script prints the keys of the turns as one line of JSON. Then it reads keys from its
standard input, one a line, and prints the figures of each measurement as one line of JSON. It ends with its input.
bench.against starts it. It imports only what the bench of an older checkout has too.
"""

import json
import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench import rounds
from bench.context import Bench, Options


def main(rows: str, seconds: str) -> None:
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # the progress of the rows belongs to the terminal; the answers go to the caller
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end, too
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    options = Options(rounds=0, seconds=float(seconds), many=0, revocations=0, refusals=0)
    with tempfile.TemporaryDirectory(prefix="authsvc-bench-", dir=place) as directory, ExitStack() as stack:
        bench = Bench(stack, Path(directory), options)
        turns = {turn.key: turn for number in rows.split(",") for turn in getattr(rounds, f"row_{number}")(bench)}
        told.write(json.dumps(list(turns)) + "\n")
        for order in sys.stdin:
            told.write(json.dumps(turns[order.strip()].measure()) + "\n")


main(*sys.argv[1:])
