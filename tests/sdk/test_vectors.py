"""The vectors that all SDKs run: they are what the Python SDK does now, and the service agrees."""

import json
from pathlib import Path
from typing import Any

import pytest

from authsvc.core import token as tokens
from authsvc.core.token import BEARER
from authsvc.store import keys
from tools.sdk_vectors.files import made

DIRECTORY = Path(__file__).parents[2] / "sdk" / "vectors"


def read(name: str) -> Any:
    return json.loads((DIRECTORY / name).read_text())


@pytest.mark.parametrize("name", sorted(made()))
def test_the_vectors_are_those_of_the_sdk(name: str) -> None:
    """A file that differs from what the SDK does is out of date: run `python -m tools.sdk_vectors`."""
    assert (DIRECTORY / name).read_text() == made()[name]


def test_every_file_is_made() -> None:
    """No file of vectors is left over from an earlier version."""
    assert {path.name for path in DIRECTORY.glob("*.json")} == made().keys()


def test_the_readme_explains_every_file() -> None:
    """Each file has a section in the README."""
    text = (DIRECTORY / "README.md").read_text()
    assert all(f"\n## {name}\n" in text for name in made())


def test_the_service_agrees_on_tokens() -> None:
    """The service recognises the same texts as access tokens and keys, and reads the same handles from them."""
    vectors = read("tokens.json")
    for case in vectors["cases"]:
        token = tokens.parse(case["text"], *BEARER, foreign=tuple(vectors["foreign_key_prefixes"]))
        assert (token.handle if token else None) == case["handle"], case["name"]


def test_the_digests_are_those_of_the_service() -> None:
    """The service announces the same digests."""
    for case in read("digests.json")["keys"]:
        assert keys.digest(case["key"].encode()) == case["digest"]
