"""The core of the SDKs for Node and Go is small, counted as that of the SDK for Python (test_distribution.py)."""

import re
from pathlib import Path

import pytest

SDKS = Path(__file__).parents[2] / "sdk"
# Modules that only serve frameworks: they find the token of a request, and refuse requests. In Node a refusal is part
# of the core, because a stream ends with one.
AROUND = {
    "node": {"bearer", "express", "fastify", "fetch", "guard", "hono", "nest"},
    "go": {"bearer", "middleware", "refusal"},
}
SOURCES = {
    "node": sorted((SDKS / "node" / "src").glob("*.ts")),
    "go": sorted(path for path in (SDKS / "go").glob("*.go") if not path.stem.endswith("_test")),
}
# A text in quotes, which may hold what looks like a comment, or a comment.
TEXT_OR_COMMENT = re.compile(
    r"""("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)|//[^\n]*|/\*.*?\*/""", re.S
)


def lines_of_code(text: str) -> int:
    """The lines with code: no empty lines and no comments. A line with nothing but a bracket counts."""
    code = TEXT_OR_COMMENT.sub(lambda found: found[1] or "\n" * found[0].count("\n"), text)
    return sum(bool(line.strip(" \t")) for line in code.split("\n"))


def test_what_is_counted() -> None:
    """Comments and empty lines are no code, and a text that looks like a comment is."""
    assert lines_of_code('/* a\nb */\nf("// x"); // y\n\n/** z */\n}\n`/*\n`;\n') == 4


@pytest.mark.parametrize("language", SOURCES)
def test_the_core_is_small(language: str) -> None:
    """The core of each SDK, which is all but the parts for frameworks, has at most 1,000 lines of code."""
    stems = {path.stem for path in SOURCES[language]}
    assert stems >= AROUND[language]
    core = [path for path in SOURCES[language] if path.stem not in AROUND[language]]
    assert sum(lines_of_code(path.read_text()) for path in core) <= 1000
