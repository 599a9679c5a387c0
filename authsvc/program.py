"""The entry point. Ctrl-C ends the program without a traceback while the command line is loaded, too."""

import signal


def main() -> None:
    """Load the command line and run it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from authsvc.cli import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()
