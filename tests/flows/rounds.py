"""Rounds of a race at random moments."""

from collections.abc import Iterator


class Rounds:
    """At least so many rounds, and more until enough acts have met in the middle. The test counts those in `met`.

    How many meet depends on how busy the machine is, so no fixed number of rounds is enough on every machine.
    """

    def __init__(self, least: int, *, enough: int) -> None:
        self.met = 0
        self._least, self._enough = least, enough

    def __iter__(self) -> Iterator[int]:
        for round_ in range(20 * self._least):
            if round_ >= self._least and self.met >= self._enough:
                return
            yield round_
        raise AssertionError(f"of {20 * self._least} rounds only {self.met} met in the middle")
