"""`authsvc user export`."""

import json
import sys
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import TextIO

import click

from authsvc.checks import names
from authsvc.cli.groups import user as group
from authsvc.cli.options import FilePath, new_file
from authsvc.cli.output import say
from authsvc.cli.progress import progress
from authsvc.cli.state import run
from authsvc.core.imported_hash_text import problem_of
from authsvc.flows import export_users as exporting
from authsvc.flows.deps import OPERATOR, Deps


@group.command(short_help="Print all users, a line of JSON for each.")
@click.option("--with-hashes", is_flag=True, help="With the hashes of the passwords, as for another system.")
@click.option("--output", type=FilePath(), help="A new file that only its owner reads.")
def export(with_hashes: bool, output: Path | None) -> None:
    """Print all users, a line of JSON for each; `import` reads it.

    Protect an export with hashes like the store itself: its reader can try passwords as fast as a machine allows.
    """
    if with_hashes and output is None and sys.stdout.isatty():
        raise click.UsageError("a terminal keeps what it shows: give --output for hashes")
    with ExitStack() as stack:
        file: TextIO = sys.stdout if output is None else stack.enter_context(new_file(output))
        update = stack.enter_context(progress("exporting"))

        async def work(deps: Deps) -> tuple[int, list[str]]:
            count = 0
            uncheckable: list[str] = []
            async with aclosing(exporting.export(deps, OPERATOR, with_hashes=with_hashes)) as users:
                async for user in users:
                    file.write(json.dumps(user) + "\n")  # in ASCII: claims may hold what steers a terminal
                    count += 1
                    if "password_hash" in user and problem_of(user["password_hash"]):
                        uncheckable.append(user["sub"])
                    update(count, f"{count:,} users")
            return count, uncheckable

        count, uncheckable = run(work)
    say(f"{count} users exported")
    if uncheckable:
        shown = names(uncheckable)
        say(f"{len(uncheckable)} of them can't log in, their hashes are damaged or over the bounds: {shown}")
    if with_hashes:
        say("The file holds password hashes: send it over nothing that others read, and delete it when it was used.")
