"""The entry point. Ctrl-C ends the program without a traceback while the command line is loaded, too."""

import gc
import os
import signal
import sys
from threading import Timer
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

# Exceptions that the handler of a signal raises, each with its signal.
_SIGNALS: Final = {KeyboardInterrupt: signal.SIGINT, SystemExit: signal.SIGTERM}
_SOON_S: Final = 0.01


def main() -> None:
    """Load the command line and run it."""
    # Loaded modules stay in memory. By default, a tenth of the start is a search for garbage among them.
    gc.set_threshold(50_000, 20, 100)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from authsvc.streams import open_missing_streams

    open_missing_streams()
    from authsvc.cli import main as run

    sys.unraisablehook = _repeat_lost_signal
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _repeat_lost_signal(lost: "UnraisableHookArgs") -> None:
    """Send the signal again that came in a callback, such as one of an import: no exception leaves a callback."""
    number = _SIGNALS.get(lost.exc_type)
    if number is None:
        sys.__unraisablehook__(lost)
    else:
        Timer(_SOON_S, os.kill, (os.getpid(), number)).start()
