"""What a type checker says about programs that use the SDK."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, blocks_of

SETTINGS = """
from authsvc_sdk import AsyncIntrospector, Introspector

AsyncIntrospector("http://auth", "a", "b", cache=True, timeout_s=1)
AsyncIntrospector("http://auth", "a", "b", time_out=1)
Introspector("http://auth", "a", "b", timeout_s="3")
Introspector("http://auth", "a", "b", tls=False)
"""


def faults(folder: Path, program: str) -> list[str]:
    """What `mypy --strict` finds in this program: `LINE: error: …`."""
    (folder / "program.py").write_text(program)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--hide-error-context", "--no-error-summary"]
    ran = subprocess.run([*mypy, "program.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert not ran.stderr
    return [line.removeprefix("program.py:") for line in ran.stdout.splitlines()]


@pytest.mark.slow
def test_the_example_of_an_exchange(tmp_path: Path) -> None:
    """The programs of the page about exchanging tokens have no fault of types."""
    blocks = [block.code for block in blocks_of(ROOT / "docs" / "guides" / "services.md") if block.language == "python"]
    assert any(".exchange(" in block for block in blocks)
    # The hidden blocks, with `await` outside of a function, stand for the rest of the reader's program.
    shown = [block for block in blocks if "await" not in block or "async def" in block]
    assert faults(tmp_path, "\n".join(["import httpx", "to_billing = httpx.AsyncClient()", *shown])) == []


@pytest.mark.slow
def test_settings(tmp_path: Path) -> None:
    """A type checker finds a setting that does not exist, and one of a wrong type."""
    found = faults(tmp_path, SETTINGS)
    assert [line.split(":")[0] for line in found if ": error:" in line] == ["5", "6", "7"], found
