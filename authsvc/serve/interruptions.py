"""Lets Ctrl-C and SIGTERM wait while a secret is made and shown: no later start shows it again."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM)


class Interruptions:
    """The signals that came and wait. Only the main thread uses it."""

    def __init__(self) -> None:
        self._before = {number: signal.getsignal(number) for number in _ENDING}
        self._first: int | None = None

    def hold(self) -> None:
        """Let the signals wait from now on."""
        for number in _ENDING:
            signal.signal(number, self._keep)

    def let_in(self) -> None:
        """Act on the first signal that came, as if it came now. The next ones wait again."""
        first, self._first = self._first, None
        if first is not None:
            self.stop()
            signal.raise_signal(first)
            self.hold()

    def stop(self) -> None:
        """Let no signal wait any more."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _keep(self, number: int, _frame: FrameType | None) -> None:
        self._first = self._first or number


@contextmanager
def waiting_interruptions() -> Iterator[Interruptions]:
    """Let the signals that end the program wait until the end of the block, or until `let_in`."""
    interruptions = Interruptions()
    interruptions.hold()
    try:
        yield interruptions
        interruptions.let_in()
    finally:
        interruptions.stop()
