"""Runs the Python of a page, which may `await` as in an asyncio REPL: python -m tests.docs.program FILE."""

import ast
import asyncio
import inspect
import sys
from pathlib import Path
from typing import Any


async def run(path: str, source: str) -> None:
    code = compile(source, path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, Any] = {"__name__": "__main__"}
    ended = eval(code, names)  # noqa: S307  # this module exists to run the code of a page
    if inspect.isawaitable(ended):
        await ended


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], Path(sys.argv[1]).read_text()))
