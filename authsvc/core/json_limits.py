"""Limits for a JSON document from outside: no value in it may break a later reader."""

import math
import re
from typing import Any, Final

from authsvc.errors import InvalidRequest

MAX_DEPTH: Final = 20
_SURROGATE = re.compile("[\ud800-\udfff]")


def check_json(value: Any, what: str, depth: int = 0) -> None:
    """Raise InvalidRequest for NUL, lone surrogates, numbers beyond 64 bits, and deep nesting.

    what: the subject of the error text, such as "the body".
    """
    if depth > MAX_DEPTH:
        raise InvalidRequest(f"{what} is nested too deeply")
    if isinstance(value, str):
        if "\0" in value or (not value.isascii() and _SURROGATE.search(value)):
            raise InvalidRequest(f"{what} contains NUL or a lone surrogate")
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise InvalidRequest(f"{what} contains a number that is too large")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidRequest(f"{what} contains a number that is too large")
    elif isinstance(value, dict):
        for name, member in value.items():
            check_json(name, what, depth + 1)
            check_json(member, what, depth + 1)
    elif isinstance(value, list):
        for member in value:
            check_json(member, what, depth + 1)
