"""The docstring of `authsvc.errors` draws the exception tree as it is."""

import inspect
import re
from collections.abc import Iterator

from authsvc import errors
from authsvc.errors import AuthError


def drawn() -> Iterator[tuple[int, str, frozenset[str]]]:
    """Depth, class and attributes of each line of the drawing."""
    for line in (errors.__doc__ or "").splitlines():
        if found := re.fullmatch(r"((?:│   )?(?:[├└]── )?)([A-Z][A-Za-z]+) *([a-z_, ]*)", line):
            yield len(found[1]) // 4, found[2], frozenset(found[3].replace(",", " ").split())


def defined(kind: type[AuthError], depth: int = 0) -> Iterator[tuple[int, str, frozenset[str]]]:
    """Depth, class and attributes of each class of the module, in the order of the module."""
    parameters = inspect.signature(kind).parameters.values() if "__init__" in vars(kind) else ()
    attributes = {parameter.name for parameter in parameters} - {"message"}
    yield depth, kind.__name__, frozenset(attributes)
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from defined(child, depth + 1)


def test_the_tree_is_drawn_as_it_is() -> None:
    """Every class stands in the drawing, under its base class and with the attributes that it carries."""
    assert list(drawn()) == list(defined(AuthError))
