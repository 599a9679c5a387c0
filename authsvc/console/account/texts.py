"""The texts of the account pages. `texts.toml` has them in English; an installation may replace any of them."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from string import Formatter
from typing import Any

from authsvc.errors import StartupError

_SETTING = "AUTHSVC_APP_TEXTS"
_MAX_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Texts:
    """All texts by their names, such as `login.title`."""

    by_name: Mapping[str, str]

    def __call__(self, name: str, /, **values: object) -> str:
        """The text, with the values filled in. It is plain text: the template escapes it."""
        text = self.by_name[name]
        return text.format(**values) if values else text

    def has(self, name: str) -> bool:
        return name in self.by_name


def load(path: Path | None) -> Texts:
    """The texts, with those of the file in the place of the English ones. Raises StartupError."""
    english = _english()
    return Texts(english if path is None else {**english, **_translated(path, english)})


@cache
def _english() -> Mapping[str, str]:
    text = resources.files("authsvc.console.account").joinpath("texts.toml").read_text("utf-8")
    return dict(_flat(tomllib.loads(text)))


def _translated(path: Path, english: Mapping[str, str]) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise StartupError(f"{_SETTING}: {path} is over {_MAX_BYTES} bytes")
        found = dict(_flat(tomllib.loads(content.decode())))
        _check(found, english)
    except OSError as error:
        raise StartupError(f"{_SETTING}: {error.strerror}: {path}") from None
    except ValueError as error:  # no UTF-8, or no TOML
        raise StartupError(f"{_SETTING}: {path}: {error}") from None
    return found


def _check(found: Mapping[str, str], english: Mapping[str, str]) -> None:
    """Raise ValueError for a text that no page shows, or with other names in braces than the English one."""
    for name, text in found.items():
        if name not in english:
            raise ValueError(f"there is no text {name}")
        if _names_in(text) != _names_in(english[name]):
            raise ValueError(f"{name} has to name {_shown(_names_in(english[name]))}")


def _flat(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The texts of nested tables, by names with dots. Raises ValueError for a value that is no text."""
    for name, value in tables.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, str):
            yield f"{prefix}{name}", value
        else:
            raise ValueError(f"{prefix}{name} is no text in quotation marks")


def _names_in(text: str) -> frozenset[str]:
    """The names in braces. Raises ValueError for braces that enclose something else."""
    fields = [(name, form, conversion) for _, name, form, conversion in Formatter().parse(text) if name is not None]
    if not all(name.isidentifier() and not form and not conversion for name, form, conversion in fields):
        raise ValueError(f"{text!r}: braces enclose names only")
    return frozenset(name for name, _, _ in fields)


def _shown(names: frozenset[str]) -> str:
    return " and ".join(f"{{{name}}}" for name in sorted(names)) or "nothing in braces"
