"""The canonical form of a username, which is stored, looked up and compared.

The form is NFKC with case folding, which the standard library has. The PRECIS profile for usernames (RFC 8265, as in
precis-i18n) differs: it uses lower case and NFC, and refuses compatibility characters.
"""

import re
import unicodedata
from typing import Final

from authsvc.errors import InvalidRequest

MAX_LENGTH: Final = 254  # code points, both as received and in the canonical form; as the longest mail address

# Refusing Cn (unassigned) keeps the form stable. Unicode may give an unassigned code point a case or a decomposition,
# but never changes those of an assigned one. So workers on different Pythons agree on every name that both accept.
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

# Invisible characters whose category is a letter, mark or symbol. Two names that differ in one would look the same.
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


# Most names are visible ASCII without braces. Their canonical form is the lower case, without a look at each character.
# Looking at each took a third of the time of importing a user.
_PLAIN: Final = re.compile(rf"(?!\.)[!-z|~]{{1,{MAX_LENGTH}}}(?<!\.)")


def normalise(name: str) -> str:
    """The canonical form: NFKC and case folding, without spaces at the ends. Applied again, they change nothing.

    Raises InvalidRequest for a name that is empty or too long, has a leading or trailing dot, or holds a brace, other
    white space or an invisible character. The error text never repeats the name.
    """
    if _PLAIN.fullmatch(name):
        return name.lower()
    name = trimmed(name)
    # Check before folding, which may hide a refused character, and after folding, which may produce one.
    _check(name)
    canonical = _fold(name)
    _check(canonical)
    # We know of no such name: no single character is one. But nobody has proved that there is none.
    if _fold(canonical) != canonical:
        raise InvalidRequest("the username has no stable normal form")
    return canonical


def trimmed(name: str) -> str:
    """The name without spaces at its ends. Keyboards add them, and other systems have stored them."""
    return name.strip(" ")


def prefix(typed: str) -> str:
    """The form of the beginning of a name, as somebody types it: canonical names that begin so are meant."""
    return _fold(trimmed(typed)[:MAX_LENGTH])


def _fold(name: str) -> str:
    # NFKC first, because it produces capitals (U+2121), and again, because folding splits letters (U+01F0).
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _check(name: str) -> None:
    if not name:
        raise InvalidRequest("the username is empty")
    if len(name) > MAX_LENGTH:  # before the loop over all characters
        raise InvalidRequest(f"the username is longer than {MAX_LENGTH} characters")
    for char in name:
        if char in _INVISIBLE:
            raise InvalidRequest("the username contains an invisible character")
        if refused := _REFUSED_CATEGORIES.get(unicodedata.category(char)):
            raise InvalidRequest(f"the username contains {refused}, perhaps only once normalised (NFKC)")
        if char in "{}":  # a brace would choose the cluster slot of the key
            raise InvalidRequest("the username contains a brace")
    if name.startswith(".") or name.endswith("."):
        raise InvalidRequest("the username starts or ends with a dot")
