"""`authsvc user import`."""

import json
import os
import stat
import sys
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import BinaryIO, TextIO

import click

from authsvc.cli.groups import user as group
from authsvc.cli.imports.batches import BATCH, batches
from authsvc.cli.imports.files import InputFile
from authsvc.cli.imports.firebase import FirebaseParameters
from authsvc.cli.imports.reader import Reader
from authsvc.cli.imports.role_names import RoleNames
from authsvc.cli.imports.rows import Format, format_of, rows
from authsvc.cli.imports.systems import SYSTEMS, system_of
from authsvc.cli.options import FilePath, Number, as_json, new_file
from authsvc.cli.output import say
from authsvc.cli.progress import progress
from authsvc.cli.state import run
from authsvc.errors import StoreUnavailable
from authsvc.flows.deps import OPERATOR, Deps
from authsvc.flows.import_users import Importer, Tally

_SHOWN_REASONS = 10
_AGAIN = "Start it again with the same file: it passes over users who exist already."


@group.command("import", short_help="Import users with the hashes of their passwords.")
@click.argument("file", type=FilePath(allow_dash=True))
@click.option(
    "--from",
    "source",
    type=click.Choice(list(SYSTEMS)),
    default="native",
    show_default=True,
    help="The system that exported the file. It decides what the fields mean.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "jsonl"]),
    help="By default what the file's name says, else JSON lines.",
)
@click.option("--username", metavar="FIELD", help="The field that has the name to log in with, such as email.")
@click.option(
    "--firebase-parameters",
    type=FilePath(),
    help="A JSON file with the hash parameters of the Firebase project, which hold a secret.",
)
@click.option("--ignore-unknown", is_flag=True, help="Leave out unknown fields instead of refusing the row.")
@click.option(
    "--role",
    "renamed",
    multiple=True,
    metavar="THEIRS=OURS",
    help='Another name for a role, such as "Content editor=content-editor". May be repeated.',
)
@click.option("--no-roles", is_flag=True, help="Leave all roles out.")
@click.option("--allow-admins", is_flag=True, help="Let the role admin be among the roles.")
@click.option(
    "--accept-weak-hashes",
    "accept_weak",
    is_flag=True,
    help="Take salted SHA hashes, though an attacker who reads the store guesses such passwords fast.",
)
@click.option("--dry-run", is_flag=True, help="Check everything and change nothing.")
@click.option("--report", type=FilePath(allow_dash=True), help="A new file, with a line of JSON for each row refused.")
@click.option(
    "--concurrency",
    type=Number(1, 32),
    default=4,
    show_default=True,
    help=f"Batches of {BATCH} under way at a time.",
)
@as_json
@click.pass_context
def import_(
    ctx: click.Context,
    file: Path,
    source: str,
    form: Format | None,
    username: str | None,
    firebase_parameters: Path | None,
    ignore_unknown: bool,
    renamed: tuple[str, ...],
    no_roles: bool,
    allow_admins: bool,
    accept_weak: bool,
    dry_run: bool,
    report: Path | None,
    concurrency: int,
    as_json: bool,
) -> None:
    """Import users with the hashes of their passwords, from FILE or, for -, from stdin.

    The import leaves existing users as they are. If it breaks off, start it again with the same file.
    docs/import.md has the fields, and how to export from other systems.
    """
    system = system_of(source, FirebaseParameters.read(firebase_parameters) if firebase_parameters else None)
    shape: Format = form or ("document" if system.document else format_of(None if str(file) == "-" else file))
    roles = RoleNames.of(renamed, none=no_roles)
    began = time.monotonic()
    tally = Tally()

    with _report(report) as reported, ExitStack() as stack:
        opened, total = _open(file, stack)
        read = InputFile(opened)
        reader = Reader(system, username, roles, ignore_unknown=ignore_unknown)
        found = reader.translated(rows(read, shape))
        update = stack.enter_context(progress("checking" if dry_run else "importing", total))

        def refused(line: int, reason: str) -> None:
            if reported is not None:
                reported.write(json.dumps({"line": line, "reason": reason}) + "\n")

        async def work(deps: Deps) -> Tally:
            nonlocal tally
            importer = Importer(
                deps, dry_run=dry_run, allow_admins=allow_admins, accept_weak=accept_weak, refused=refused
            )
            tally = importer.tally
            each = batches(found, lambda: update(read.read_bytes, _so_far(tally, began)))
            return await importer.run(OPERATOR, each, concurrency=concurrency)

        try:
            run(work)
        except (KeyboardInterrupt, StoreUnavailable):
            stack.close()
            say(f"{tally.created} were created. {_AGAIN}")
            raise
        update(total or read.read_bytes, _so_far(tally, began))
    if as_json:
        click.echo(json.dumps(_counts(tally, dry_run=dry_run)))
    else:
        _show(tally, time.monotonic() - began, dry_run=dry_run, numbered="user" if shape == "document" else "line")
    ctx.exit(1 if tally.refused else 0)


def _report(path: Path | None) -> AbstractContextManager[TextIO | None]:
    if path is None:
        return nullcontext()
    return nullcontext(sys.stdout) if str(path) == "-" else new_file(path)


def _open(file: Path, stack: ExitStack) -> tuple[BinaryIO, int | None]:
    """The bytes of the file, and how many they are if that is known."""
    if str(file) == "-":
        # Without its buffer, which has a lock: a thread that waits there would keep the program from ending.
        opened: BinaryIO = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
    else:
        try:
            opened = stack.enter_context(file.open("rb", buffering=0))
        except OSError as error:
            raise click.FileError(str(file), error.strerror) from None
    try:
        size = os.fstat(opened.fileno())
    except OSError:  # stdin has been replaced by an object in memory
        return opened, None
    return opened, size.st_size if stat.S_ISREG(size.st_mode) else None


def _so_far(tally: Tally, began: float) -> str:
    rate = int(tally.read / max(0.001, time.monotonic() - began))
    refused = f", {tally.refused:,} refused" if tally.refused else ""
    return f"{tally.read:,} rows{refused}, {rate:,}/s"


def _counts(tally: Tally, *, dry_run: bool) -> dict[str, object]:
    counts = {"created": tally.created, "there": tally.there, "refused": tally.refused}
    return counts | {"dry_run": dry_run, "read": tally.read, "reasons": dict(tally.reasons)}


def _show(tally: Tally, took_s: float, *, dry_run: bool, numbered: str) -> None:
    """Print the counts. `numbered`: what the number of a row counts, such as lines."""
    verb = "would be created" if dry_run else "created"
    say(f"{tally.created} {verb}, {tally.there} there already, {tally.refused} refused, in {took_s:.1f} s")
    for what, number in {"suspended": tally.suspended, "admins": tally.admins}.items():
        if number:
            say(f"{number} of them {what}")
    if tally.passwordless:
        say(f"{tally.passwordless} of them without a password: `authsvc user reset-code` lets them set one")
    for reason, number in tally.reasons.most_common(_SHOWN_REASONS):
        places = f"{numbered} {tally.first_line[reason]}" + (f" and {number - 1} more" if number > 1 else "")
        say(f"refused: {reason} ({places})")
    if len(tally.reasons) > _SHOWN_REASONS:
        say("refused: for other reasons, too; --report FILE has them all")
