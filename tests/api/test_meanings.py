"""What an error says about a field is readable, and safe in an OAuth error."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from authsvc.api.parsing import validated
from authsvc.api.schemas import api_keys, leaks, passkeys, requests
from authsvc.api.schemas.fields import Answer
from authsvc.api.schemas.patterns import MEANINGS
from authsvc.errors import InvalidRequest

MODELS = sorted(
    {
        model
        for module in (api_keys, leaks, passkeys, requests)
        for _, model in inspect.getmembers(module, inspect.isclass)
        if issubclass(model, BaseModel) and not issubclass(model, Answer)
    },
    key=lambda model: model.__name__,
)
WRONG: list[object] = [
    "",
    "a\x00b",
    "a;\\",
    "x" * 100_000,
    "\ud800",
    -1,
    10**30,
    1.5,
    None,
    True,
    [],
    [1],
    ["a;\\"],
    {},
]


def patterns(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        if schema.get("type") == "str" and "pattern" in schema:
            yield schema["pattern"]
        for part in schema.values():
            yield from patterns(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from patterns(part)


@pytest.mark.parametrize("model", MODELS)
def test_every_pattern_has_a_meaning(model: type[BaseModel]) -> None:
    """An error without its pattern has to say otherwise what fits."""
    assert set(patterns(model.__pydantic_core_schema__)) <= set(MEANINGS)


@pytest.mark.parametrize("model", MODELS)
def test_a_wrong_value_is_told_in_words(model: type[BaseModel]) -> None:
    """Each error names the field and its rule. No part of it is a pattern."""
    told: set[str] = set()
    for name, field in model.model_fields.items():
        for value in WRONG:
            values: dict[str, Any] = {field.alias or name: value}
            try:
                validated(model, values)
            except InvalidRequest as error:
                told.add(str(error))
    for text in told:
        assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", text), text
        assert "pattern" not in text
        assert "should" not in text
        assert "'x" not in text
