"""Finds the fenced blocks of a page and reads the options after their language."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
# Fenced blocks, hidden commands (`<!-- run: … -->`), and the settings of the page's service (`<!-- serve: … -->`).
_HIDDEN = re.compile(r"<!-- (?P<kind>run|python|serve): ?(?P<code>.*?)-->", re.DOTALL)
OPTIONS = {"no-run", "file", "refused"}


@dataclass(frozen=True)
class Block:
    """One block. shown: false for a hidden block, which only the tests see."""

    page: Path
    line: int
    language: str
    code: str
    options: dict[str, str] = field(default_factory=dict)
    shown: bool = True

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def documented() -> list[Path]:
    """Every page whose commands a reader may run. Decisions describe the past and hold no commands."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in pages if "decisions" not in page.parts]


def blocks_of(page: Path) -> list[Block]:
    return list(_blocks(page, page.read_text()))


def _blocks(page: Path, text: str) -> Iterator[Block]:
    for token in MarkdownIt("commonmark").parse(text):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "fence":
            language, options = _info(token.info)
            yield Block(page, line, language, token.content, options)
        elif token.type == "code_block":  # an indented block has no language
            yield Block(page, line, "", token.content)
        elif token.type == "html_block" and (hidden := _HIDDEN.match(token.content.strip())):
            language = {"run": "sh"}.get(hidden["kind"], hidden["kind"])
            yield Block(page, line, language, hidden["code"].strip() + "\n", shown=False)


def _info(info: str) -> tuple[str, dict[str, str]]:
    """`sh no-run="needs Docker"` is the language and its options; an option without a value is empty."""
    language, *words = shlex.split(info) or [""]
    return language, {name: value for name, _, value in (word.partition("=") for word in words)}
