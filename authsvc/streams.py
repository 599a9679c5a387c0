"""stdin, stdout and stderr where they are closed, or take no more."""

import os
import sys


def open_missing_streams() -> None:
    """Open stdin, stdout and stderr on the null device where the caller closed them.

    Otherwise the next file or socket would get the number of the stream, and what is printed would go there.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - for as long as the program runs


def drop_what_stdout_refuses() -> None:
    """Forget what could not be written to stdout. Python would try again when it ends, and print the error."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
