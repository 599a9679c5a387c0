"""The one canonical form of a username: what is stored, looked up and compared.

The standard library does it, since the form is NFKC with case folding. The PRECIS profile for usernames
(RFC 8265, as in precis-i18n) is another: lower case and NFC, and compatibility characters are refused there.
"""

import re
import unicodedata
from typing import Final

from authsvc.errors import InvalidRequest

MAX_LENGTH: Final = 128  # code points, both as received and in the canonical form

# Refusing Cn keeps the form stable: Unicode may give an unassigned code point a case or a decomposition, but
# never changes those of an assigned one, so workers on different Pythons agree on every name they both take.
_REFUSED_CATEGORIES: Final = {
    "Cc": "a control character",
    "Cf": "an invisible character",
    "Cn": "an unassigned character",
    "Co": "a private-use character",
    "Cs": "a lone surrogate",
    "Zl": "white space",
    "Zp": "white space",
    "Zs": "white space",
}

# What leaves no ink although its category is a letter, mark or symbol: two such names would look the same.
_INVISIBLE: Final = frozenset(
    chr(point)
    for first, last in (
        (0x034F, 0x034F),  # combining grapheme joiner
        (0x115F, 0x1160),  # Hangul fillers
        (0x17B4, 0x17B5),  # Khmer inherent vowels
        (0x180B, 0x180F),  # Mongolian variation selectors
        (0x2800, 0x2800),  # blank Braille pattern
        (0x3164, 0x3164),  # Hangul filler
        (0xFE00, 0xFE0F),  # variation selectors
        (0xFFA0, 0xFFA0),  # half-width Hangul filler
        (0xFFFC, 0xFFFC),  # object replacement character
        (0x1D159, 0x1D159),  # musical null notehead
        (0xE0000, 0xE0FFF),  # tags, more variation selectors, and what is reserved for their like
    )
    for point in range(first, last + 1)
)


# Most names. ASCII that can be seen, without braces, folds to its lower case and needs no look at each character, which
# was a third of what importing a user took.
_PLAIN: Final = re.compile(rf"(?!\.)[!-z|~]{{1,{MAX_LENGTH}}}(?<!\.)")


def normalise(name: str) -> str:
    """The canonical form: NFKC and case folding, which leave it as it is when applied again.

    Raises InvalidRequest for a name that is empty or too long, has a leading or trailing dot, or holds a
    brace, white space or anything that cannot be seen. The text never repeats the name.
    """
    if _PLAIN.fullmatch(name):
        return name.lower()
    # Before, as folding may drop or turn harmless what was sent; after, as it may produce what is refused.
    _refuse_unfit(name)
    canonical = _fold(name)
    _refuse_unfit(canonical)
    # We know of no such name, single characters were all tried; that there is none is not for us to prove.
    if _fold(canonical) != canonical:
        raise InvalidRequest("the username has no stable normal form")
    return canonical


def _fold(name: str) -> str:
    # NFKC first, as it brings out capitals (U+2121), and again, as folding takes letters apart (U+01F0).
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _refuse_unfit(name: str) -> None:
    if not name:
        raise InvalidRequest("the username is empty")
    if len(name) > MAX_LENGTH:  # before anything that takes time in proportion
        raise InvalidRequest(f"the username is longer than {MAX_LENGTH} characters")
    for char in name:
        if char in _INVISIBLE:
            raise InvalidRequest("the username contains an invisible character")
        if refused := _REFUSED_CATEGORIES.get(unicodedata.category(char)):
            raise InvalidRequest(f"the username contains {refused}, perhaps only once normalised (NFKC)")
        if char in "{}":  # they would choose the cluster slot of the key that the name becomes part of
            raise InvalidRequest("the username contains a brace")
    if name.startswith(".") or name.endswith("."):
        raise InvalidRequest("the username starts or ends with a dot")
