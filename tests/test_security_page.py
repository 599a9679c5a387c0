"""Each test that docs/security.md names as a proof exists."""

import ast
import re
from functools import cache
from pathlib import Path

from chaos.experiments import ALL

TESTS = Path(__file__).parent
ROOT = TESTS.parent
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)))
EXPERIMENTS = {name for names in re.findall(r"`python -m chaos --only ([\w,-]+)`", PAGE) for name in names.split(",")}
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for part in ("## OWASP", "## RFCs", "## Attacks")
    for line in PAGE.partition(part)[2].partition("\n## ")[0].splitlines()
    if line.startswith("|")
]


@cache
def functions_of(path: Path) -> set[str]:
    return set(re.findall(r"^ *(?:async )?def (\w+)", path.read_text(), re.MULTILINE))


def test_every_test_that_is_named_exists() -> None:
    """`path::name` under tests/ is a test."""
    assert NAMED
    for path, name in NAMED:
        assert (TESTS / path).is_file(), path
        assert name.startswith("test_")
        assert name in functions_of(TESTS / path), f"{path}::{name}"


def test_every_experiment_that_is_named_exists() -> None:
    """The check refuses a test that does not exist."""
    assert EXPERIMENTS
    assert {one.name for one in ALL if one.controls} >= EXPERIMENTS


def test_every_met_requirement_names_a_test() -> None:
    """A requirement that is met names a test or says why there is none. Only such requirements count as met."""
    known = {"met", "partly", "not done", "not tested", "n/a"}
    judged = [row for row in ROWS if row[-2] in known]
    headers = [row for row in ROWS if row not in judged]
    assert all(row[0] in ("id", "", "attack", "---") for row in headers), headers
    assert len(judged) > 100
    for row in judged:
        if row[-2] == "met":
            assert re.search(r"`[\w/]+\.py::\w+`|`python -m chaos --only |above", row[-1]), row


def test_secrets_are_compared_in_constant_time() -> None:
    """All comparisons of digests use hmac.compare_digest; none uses == or !=."""
    found = []
    for path in sorted((ROOT / "authsvc").rglob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
                sides = {ast.unparse(side).rpartition(".")[2] for side in (node.left, *node.comparators)}
                if sides & {"digest", "secret", "password", "client_secret"}:
                    found.append(f"{path.name}:{node.lineno}")
    assert found == []
