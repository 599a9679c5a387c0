"""Which settings may be meant by a name that is none."""

from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Final

from authsvc.core.suggestion import MOST, NEAR_BEST

# The least share of words that two names have in common, and of characters if one is a typing error of the other.
_SAME_WORDS: Final = 0.3
_TYPING_ERROR: Final = 0.75
_UNITS: Final = frozenset({"s", "ms"})


def near(name: str, names: Iterable[str]) -> list[str]:
    """Up to three names, the nearest first: those with the same words, and those with a typing error less."""
    likeness = {other: _likeness(name, other) for other in names}
    least = max(_SAME_WORDS, NEAR_BEST * max(likeness.values(), default=0))
    found = [other for other, value in likeness.items() if value >= least]
    return sorted(found, key=likeness.__getitem__, reverse=True)[:MOST]


def _likeness(name: str, other: str) -> float:
    words, others = _words(name), _words(other)
    characters = SequenceMatcher(None, name, other).ratio()
    return max(len(words & others) / len(words | others), characters if characters >= _TYPING_ERROR else 0)


def _words(name: str) -> frozenset[str]:
    """The words of a name, in the singular and without units."""
    return frozenset(word.removesuffix("s") for word in name.split("_") if word not in _UNITS)
