"""The check of a new password (NIST SP 800-63B-4): by length and a blocklist, never by composition."""

import gzip
import re
import string
import unicodedata
from collections.abc import Container, Iterable, Iterator
from functools import cache
from importlib import resources
from typing import Final

from authsvc.errors import WeakPassword

MAX_BYTES: Final = 1024  # in UTF-8; the standard asks for at least 64 characters

_MIN_WORD: Final = 3  # a shorter name, such as "j", refuses no password
_MAX_WORD: Final = 254  # as the longest username; it bounds the work for a long password
_MAX_EDGE: Final = 8  # a listed word may begin or end with digits and punctuation itself, as in "trustno1"

_PUNCTUATION: Final = string.punctuation + string.whitespace
_NOT_LETTERS: Final = _PUNCTUATION + string.digits
_WITHOUT_PUNCTUATION: Final = str.maketrans("", "", _PUNCTUATION)
_LETTERS: Final = re.compile(r"[^\x00-\x60\x7b-\x7f]+")  # in folded text; all beyond ASCII is a letter


def too_long(password: str) -> bool:
    """Whether a password exceeds MAX_BYTES. No account has such a password, so a login need not hash it."""
    # The first comparison makes ten megabytes cost nothing. "surrogatepass" counts lone surrogates too.
    return len(password) > MAX_BYTES or len(password.encode("utf-8", "surrogatepass")) > MAX_BYTES


def check(
    password: str, *, min_length: int, context: Iterable[str] = (), breached: Container[str] = frozenset()
) -> None:
    """Refuse a new password that is too short, too long or easily guessed.

    min_length: in code points. context: the username, and the names of product and organisation.
    breached: further passwords to refuse, compared exactly.
    Raises WeakPassword. Its text names the rule and never the password.
    """
    if too_long(password):
        raise WeakPassword(f"the password is longer than {MAX_BYTES} bytes in UTF-8")
    if any("\ud800" <= char <= "\udfff" for char in password):
        raise WeakPassword("the password contains a lone surrogate, which is not Unicode text")
    if len(password) < min_length:
        raise WeakPassword(f"the password is shorter than {min_length} characters")
    # Folding is for the comparison only. Hashing and verifying take the password exactly as received.
    folded = _fold(password)
    guesses = set(_guesses(folded))
    names = {name for word in context for name in _names(word)}
    if not guesses.isdisjoint(names) or names.issuperset(_LETTERS.findall(folded) or [folded]):
        raise WeakPassword("the password is little more than the username or a name of this service")
    if not guesses.isdisjoint(_blocklist()):
        raise WeakPassword("the password is a commonly used one, or little more than one")
    if password in breached:
        raise WeakPassword("the password is known from a breach")


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _names(word: str) -> Iterator[str]:
    """The ways to write a context word: whole, without punctuation, and each part; also of an address's local part."""
    for text in {_fold(word), _fold(word).partition("@")[0]}:
        found = (text, text.translate(_WITHOUT_PUNCTUATION), *_LETTERS.findall(text))
        yield from (name for name in found if len(name) >= _MIN_WORD)


def _guesses(password: str) -> Iterator[str]:
    """The words of which the password may be a trivial variation, and the password itself."""
    shapes = {password, password.strip(_PUNCTUATION), *_undecorated(password)}
    bare = password.translate(_WITHOUT_PUNCTUATION)
    if 2 * len(bare) >= len(password):  # "p-a-s-s-w-o-r-d", but not three letters among random symbols
        shapes |= {bare, *_undecorated(bare)}
    words = set(_LETTERS.findall(password))
    if len(words) == 1:  # "word-word-word" or "word1word2"; two different words are a phrase, which is welcome
        shapes |= words
    for shape in shapes:
        yield from _units(shape)


def _undecorated(text: str) -> Iterator[str]:
    """The text without some of the digits and punctuation around its letters: a listed word may have its own."""
    start = len(text) - len(text.lstrip(_NOT_LETTERS))
    end = len(text.rstrip(_NOT_LETTERS))
    if end - start < _MIN_WORD:  # a letter or two among random digits are not a decorated word
        return
    for first in range(max(start - _MAX_EDGE, 0), start + 1):
        yield from (text[first:last] for last in range(end, min(end + _MAX_EDGE, len(text)) + 1))


def _units(text: str) -> Iterator[str]:
    """The text, and each word whose repetition gives the text; the last repetition may be cut short."""
    yield text
    if text.strip(text[:1]):  # refusing one repeated character would be a rule of composition
        for period in range(_MIN_WORD, min(len(text), _MAX_WORD + 1)):
            # Compare one repetition first. It rules out nearly all, and the longest password has 6,000 letters in NFKC.
            if text.startswith(text[period : 2 * period]) and text.startswith(text[period:]):
                yield text[:period]


@cache
def _blocklist() -> frozenset[str]:
    packed = resources.files("authsvc.core").joinpath("blocklist.txt.gz").read_bytes()
    return frozenset(gzip.decompress(packed).decode().split("\n"))
