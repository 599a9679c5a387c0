"""The vectors that all SDKs run: they are what the Python SDK does now, and the service agrees."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from authsvc.core import token as tokens
from authsvc.core.token import BEARER
from authsvc.store import keys
from tests.sdk.examples import GO, SDKS, node
from tools.sdk_vectors.files import made

DIRECTORY = Path(__file__).parents[2] / "sdk" / "vectors"
FILES = sorted(path.name for path in DIRECTORY.glob("*.json"))


def read(name: str) -> Any:
    return json.loads((DIRECTORY / name).read_text())


@pytest.mark.parametrize("name", FILES)
def test_the_vectors_are_those_of_the_sdk(name: str) -> None:
    """A file that differs from what the SDK does is out of date: run `python -m tools.sdk_vectors`."""
    assert (DIRECTORY / name).read_text() == made()[name]


def test_every_file_is_made() -> None:
    """No file of vectors is left over from an earlier version."""
    assert sorted(made()) == FILES


def test_the_readme_explains_every_file() -> None:
    """Each file has a section in the README."""
    text = (DIRECTORY / "README.md").read_text()
    assert all(f"\n## {name}\n" in text for name in FILES)


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


def python_agrees(vectors: Path) -> bool:
    return all((vectors / name).read_text() == text for name, text in made().items())


def node_agrees(vectors: Path) -> bool:
    program = [node()[0], "--test", "test/vectors.test.js"]
    return _passes(program, "node", vectors)


def go_agrees(vectors: Path) -> bool:
    if not Path(GO).exists():
        pytest.skip("Go is missing")
    return _passes([GO, "test", "-count=1", "-run", "Vectors", "."], "go", vectors)


def _passes(program: list[str], language: str, vectors: Path) -> bool:
    environment = {**os.environ, "SDK_VECTORS": str(vectors)}
    return subprocess.run(program, cwd=SDKS / language, env=environment, capture_output=True).returncode == 0


# One vector of each file, changed.
CHANGES: dict[str, Callable[[Any], None]] = {
    "tokens.json": lambda file: file["cases"][0].update(handle="000000000000"),
    "digests.json": lambda file: file["answers"][0]["digests"].pop(),
    "events.json": lambda file: file["cases"][0]["events"].append(["news", ""]),
    "feed.json": lambda file: file["cases"][0]["steps"][-1].update(cached="active"),
    "deadlines.json": lambda file: file["cases"][0]["steps"][-1].update(ours=0),
    "introspection.json": lambda file: file["cases"][0]["outcome"]["user"].update(sub="eve"),
    "challenges.json": lambda file: file["demands"][1]["refused"].update(status=403),
    "credentials.json": lambda file: file["cases"][1].update(token="tok_y"),
}


@pytest.mark.slow
@pytest.mark.parametrize("agrees", [python_agrees, node_agrees, go_agrees])
def test_one_changed_vector_is_noticed(agrees: Callable[[Path], bool], tmp_path: Path) -> None:
    """Each SDK fails if one vector of any file changes, and passes with the files as they are."""
    assert CHANGES.keys() == made().keys()
    vectors = tmp_path / "vectors"
    shutil.copytree(DIRECTORY, vectors)
    assert agrees(vectors)
    for name, change in CHANGES.items():
        content = read(name)
        change(content)
        (vectors / name).write_text(json.dumps(content))
        assert not agrees(vectors), name
        shutil.copy(DIRECTORY / name, vectors / name)
