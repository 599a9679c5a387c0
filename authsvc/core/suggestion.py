"""The question after a name that nothing has: which of the names that there are may be meant."""

from collections.abc import Sequence
from typing import Final

# The least likeness of a name that is suggested, as a share of the likeness of the nearest name.
NEAR_BEST: Final = 0.85
MOST: Final = 3


def did_you_mean(names: Sequence[str]) -> str:
    """`did you mean A, B or C?`. Empty without names."""
    return f"did you mean {', '.join(names[:-1])}{' or ' if names[1:] else ''}{names[-1]}?" if names else ""
