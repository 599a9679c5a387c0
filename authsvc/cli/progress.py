"""Shows the progress of long work: a line on stderr, at a terminal only."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from authsvc.cli.output import printable

Update = Callable[[int, str], None]


@contextmanager
def progress(what: str, total: int | None = None, *, stays: bool = True) -> Iterator[Update]:
    """Show how much of `total` is done, and a word about it. Without a terminal nothing is shown.

    total: None if it is not known; then there is only the word and the time. stays: whether it stays when all is done.
    """
    if not sys.stderr.isatty():
        yield lambda done, word: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    known: list[ProgressColumn] = [BarColumn(bar_width=30), TaskProgressColumn(), TimeRemainingColumn(compact=True)]
    columns = known if total else [TimeElapsedColumn()]
    console = Console(stderr=True, highlight=False)
    text = (SpinnerColumn("line"), TextColumn("{task.description}", markup=False))
    with Progress(
        *text, *columns, TextColumn("{task.fields[word]}", markup=False), console=console, transient=not stays
    ) as bar:
        task = bar.add_task(what, total=total, word="")
        yield lambda done, word: bar.update(task, completed=done, word=printable(word))
