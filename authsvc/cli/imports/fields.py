"""Reading single fields of an export."""

from collections.abc import Mapping
from typing import Any

from authsvc.errors import InvalidRequest

_YES, _NO = ("t", "true", "1", "yes"), ("f", "false", "0", "no", "")


def flag(fields: Mapping[str, Any], name: str, default: bool) -> bool:
    """A yes or no, as JSON and as databases write it. Raises InvalidRequest for anything else."""
    value = fields.get(name)
    if value is None:
        return default
    text = str(value).lower()
    if text not in _YES + _NO:
        raise InvalidRequest(f"{name}: neither yes nor no")
    return text in _YES


def status(*, active: bool) -> str:
    return "active" if active else "suspended"


def part(value: Any, name: str) -> Any:
    """The member of an object, or a value that is no object: MongoDB wraps some values."""
    return value.get(name) if isinstance(value, dict) else value
