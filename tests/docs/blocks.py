"""Finding the fenced blocks of a page, and what the words after their language say about them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
# What is shown, and what is run and not shown: <!-- run: … -->, and what the page's service is set to.
_HIDDEN = re.compile(r"<!-- (?P<kind>run|python|serve): ?(?P<code>.*?)-->", re.DOTALL)
OPTIONS = {"no-run", "file", "refused"}


@dataclass(frozen=True)
class Block:
    """One block. `shown` is false for what only the tests see."""

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
    """Every page whose commands somebody may follow. Decisions are about the past; they hold no commands."""
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
        elif token.type == "code_block":  # indented: nobody can say what language that is
            yield Block(page, line, "", token.content)
        elif token.type == "html_block" and (hidden := _HIDDEN.match(token.content.strip())):
            language = {"run": "sh"}.get(hidden["kind"], hidden["kind"])
            yield Block(page, line, language, hidden["code"].strip() + "\n", shown=False)


def _info(info: str) -> tuple[str, dict[str, str]]:
    """`sh no-run="needs Docker"` is the language and its options; an option without a value is empty."""
    language, *words = shlex.split(info) or [""]
    return language, {name: value for name, _, value in (word.partition("=") for word in words)}
