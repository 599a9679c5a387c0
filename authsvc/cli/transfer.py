"""`authsvc user import` and `export`: taking users over from another system, and leaving with them."""

import asyncio
import json
import os
import queue
import stat
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, aclosing
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import click

from authsvc.cli.groups import user as group
from authsvc.cli.options import as_json
from authsvc.cli.output import say
from authsvc.cli.progress import progress
from authsvc.cli.rows import Format, Source, format_of, rows
from authsvc.cli.sources import SOURCES
from authsvc.cli.state import run
from authsvc.errors import InvalidRequest, StoreUnavailable
from authsvc.flows import export_users as exporting
from authsvc.flows.deps import OPERATOR, Deps
from authsvc.flows.import_users import Importer, Row, Tally

_BATCH = 250
_SHOWN_REASONS = 10
_AGAIN = "Start it again with the same file: it passes over those who are there."


@group.command("import", short_help="Import users with the hashes of their passwords.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option(
    "--from",
    "source",
    type=click.Choice(list(SOURCES)),
    default="native",
    show_default=True,
    help="Whose export it is, so what its fields mean.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "jsonl"]),
    help="By default what the file's name says, else JSON lines.",
)
@click.option("--username", metavar="FIELD", help="The field that has the name to log in with, such as email.")
@click.option("--ignore-unknown", is_flag=True, help="Leave out fields that mean nothing here, instead of refusing.")
@click.option("--allow-admins", is_flag=True, help="Let the role admin be among the roles.")
@click.option("--dry-run", is_flag=True, help="Check everything and change nothing.")
@click.option("--report", type=click.File("w", lazy=False), help="Write a line of JSON here for each row refused.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 32),
    default=4,
    show_default=True,
    help=f"Batches of {_BATCH} under way at a time.",
)
@as_json
@click.pass_context
def import_(
    ctx: click.Context,
    file: Path,
    source: str,
    form: Format | None,
    username: str | None,
    ignore_unknown: bool,
    allow_admins: bool,
    dry_run: bool,
    report: TextIO | None,
    concurrency: int,
    as_json: bool,
) -> None:
    """Import users with the hashes of their passwords, from FILE or, for -, from stdin.

    Nobody who is there already is changed. An import that broke off is started again with the same file: it passes
    over those who are there. docs/import.md has the fields, and how to export from other systems.
    """
    with ExitStack() as stack:
        opened, total = _open(file, stack)
        read = Source(opened)
        meaning = SOURCES[source]
        shape: Format = form or ("document" if source == "keycloak" else format_of(None if str(file) == "-" else file))

        def translated() -> Iterator[Row]:
            for row in rows(read, shape):
                try:
                    if row.fields is not None:
                        fields = meaning.read(row.fields, username=username, ignore_unknown=ignore_unknown)
                        row = Row(row.line, fields)
                except InvalidRequest as error:
                    row = Row(row.line, problem=str(error))
                yield row

        def refused(line: int, reason: str) -> None:
            if report is not None:
                report.write(json.dumps({"line": line, "reason": reason}) + "\n")

        update = stack.enter_context(progress("checking" if dry_run else "importing", total))
        began = time.monotonic()
        tally = Tally()

        async def work(deps: Deps) -> Tally:
            nonlocal tally
            importer = Importer(deps, dry_run=dry_run, allow_admins=allow_admins, refused=refused)
            tally = importer.tally
            batches = _batches(translated(), lambda: update(read.read, _word(tally, began)))
            return await importer.run(OPERATOR, batches, concurrency=concurrency)

        try:
            run(work)
        except (KeyboardInterrupt, StoreUnavailable):
            stack.close()
            say(f"{tally.created} were created. {_AGAIN}")
            raise
        update(total or read.read, _word(tally, began))
    _show(tally, time.monotonic() - began, dry_run=dry_run, as_json=as_json)
    ctx.exit(1 if tally.refused else 0)


@group.command(short_help="Print all users, a line of JSON for each.")
@click.option("--with-hashes", is_flag=True, help="With the hashes of the passwords, as for another system.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="A new file, for its owner only.")
def export(with_hashes: bool, output: Path | None) -> None:
    """Print all users, a line of JSON for each; `import` reads it.

    With hashes it is as secret as the store: whoever has it can try passwords as fast as machines can.
    """
    if with_hashes and output is None and sys.stdout.isatty():
        raise click.UsageError("hashes are not for a terminal, which keeps what it shows: give --output")
    with ExitStack() as stack:
        file: TextIO = sys.stdout if output is None else stack.enter_context(_create(output))
        update = stack.enter_context(progress("exporting"))

        async def work(deps: Deps) -> int:
            count = 0
            async with aclosing(exporting.export(deps, OPERATOR, with_hashes=with_hashes)) as users:
                async for user in users:
                    file.write(json.dumps(user, ensure_ascii=False) + "\n")
                    count += 1
                    update(count, f"{count:,} users")
            return count

        count = run(work)
    say(f"{count} users exported")
    if with_hashes:
        say("The file holds password hashes: send it over nothing that others read, and delete it when it was used.")


def _create(path: Path) -> TextIO:
    try:
        return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8")
    except FileExistsError:
        raise click.UsageError(f"{path} exists already") from None
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from None


def _open(file: Path, stack: ExitStack) -> tuple[BinaryIO, int | None]:
    """The bytes, and how many there are if that is known."""
    if str(file) == "-":
        # Past its buffer, which has a lock: a thread that waits there would keep the program from ending.
        opened: BinaryIO = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
    else:
        try:
            opened = stack.enter_context(file.open("rb", buffering=0))
        except OSError as error:
            raise click.FileError(str(file), error.strerror) from None
    try:
        size = os.fstat(opened.fileno())
    except OSError:  # it is none of the system's files
        return opened, None
    return opened, size.st_size if stat.S_ISREG(size.st_mode) else None


async def _batches(source: Iterator[Row], shown: Callable[[], None]) -> AsyncIterator[Sequence[Row]]:
    """The rows, some hundreds at a time, read by a thread: a file or pipe that is slow must not hold replies up."""
    loop = asyncio.get_running_loop()
    ready: queue.Queue[Sequence[Row] | Exception] = queue.Queue(2)

    def read() -> None:
        try:
            while batch := list(islice(source, _BATCH)):
                ready.put(batch)
            ready.put([])
        except Exception as error:
            ready.put(error)

    # Not one of the loop's: those are waited for at the end, and this one may wait for a pipe for ever.
    threading.Thread(target=read, name="reader", daemon=True).start()
    while True:
        batch = await _next(loop, ready)
        if isinstance(batch, Exception):
            raise batch
        if not batch:
            return
        yield batch
        shown()


async def _next(loop: asyncio.AbstractEventLoop, ready: "queue.Queue[Any]") -> Any:
    while True:
        try:
            return ready.get_nowait()
        except queue.Empty:
            await asyncio.sleep(0.002)


def _word(tally: Tally, began: float) -> str:
    rate = int(tally.read / max(0.001, time.monotonic() - began))
    refused = f", {tally.refused:,} refused" if tally.refused else ""
    return f"{tally.read:,} rows{refused}, {rate:,}/s"


def _show(tally: Tally, took_s: float, *, dry_run: bool, as_json: bool) -> None:
    counts = {"created": tally.created, "there": tally.there, "refused": tally.refused}
    if as_json:
        click.echo(json.dumps(counts | {"dry_run": dry_run, "read": tally.read, "reasons": dict(tally.reasons)}))
        return
    verb = "would be created" if dry_run else "created"
    say(f"{tally.created} {verb}, {tally.there} there already, {tally.refused} refused, in {took_s:.1f} s")
    notes = {"suspended": tally.suspended, "admins": tally.admins}
    for what, number in notes.items():
        if number:
            say(f"{number} of them {what}")
    if tally.passwordless:
        say(f"{tally.passwordless} of them without a password: `authsvc user reset-code` lets them set one")
    for reason, number in tally.reasons.most_common(_SHOWN_REASONS):
        lines = f"line {tally.first_line[reason]}" + (f" and {number - 1} more" if number > 1 else "")
        say(f"refused: {reason} ({lines})")
    if len(tally.reasons) > _SHOWN_REASONS:
        say("refused: for other reasons, too; --report FILE has them all")
