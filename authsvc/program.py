"""The entry point. Ctrl-C ends the program without a traceback while the command line is loaded, too."""

import gc
import signal


def main() -> None:
    """Load the command line and run it."""
    # Loaded modules stay in memory. By default, a tenth of the start is a search for garbage among them.
    gc.set_threshold(50_000, 20, 100)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from authsvc.streams import open_missing_streams

    open_missing_streams()
    from authsvc.cli import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()
