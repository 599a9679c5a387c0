"""`authsvc user factors`, `authsvc user require-factor` and `authsvc user import-factors`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from authsvc.api.parsing import load_json
from authsvc.api.schemas import answers
from authsvc.cli.finding import find_user
from authsvc.cli.groups import user as group
from authsvc.cli.layout import Columns
from authsvc.cli.options import FilePath, as_json, yes
from authsvc.cli.output import say, show_list
from authsvc.cli.places import comment, operator
from authsvc.cli.prompts import confirm
from authsvc.cli.state import run
from authsvc.core.user import User
from authsvc.errors import InvalidRequest
from authsvc.flows import factors, totp
from authsvc.flows.deps import Deps

_COLUMNS = Columns(("id", "kind", "name", "created_at", "last_used_at"), spare=("created_at",), bare=("id",))
_WHO = click.argument("who", metavar="SUB_OR_NAME")


@group.command("factors", short_help="List or remove a user's second factors.")
@_WHO
@click.option("--remove-all", is_flag=True, help="Remove all of them, as for a lost phone; every session ends.")
@yes
@as_json
@comment
def factors_(who: str, remove_all: bool, yes: bool, as_json: bool) -> None:
    """List a user's second factors, or remove all of them."""
    if remove_all:
        confirm(f"Remove every second factor of {who}, and end every session?", yes=yes)

    async def work(deps: Deps) -> answers.Factors:
        user = await find_user(deps, who)
        if remove_all:
            await factors.remove_all(deps, operator(), user.sub)
        return answers.Factors.of(await factors.find(deps, user.sub))

    found = run(work)
    if found.items or as_json:
        show_list([item.model_dump() for item in found.items], _COLUMNS, as_json=as_json)
    say(f"{len(found.items)} second factors, {found.recovery_codes_left} recovery codes left")


@group.command("require-factor", short_help="Demand a second factor of a user.")
@_WHO
@click.option("--off", is_flag=True, help="Demand none any more. AUTHSVC_REQUIRE_FACTOR_FOR and clients may still.")
@comment
def require_factor(who: str, off: bool) -> None:
    """Demand a second factor of a user. At the next login or refresh, a user without one may only enrol one."""

    async def work(deps: Deps) -> User:
        return await factors.require(deps, operator(), (await find_user(deps, who)).sub, required=not off)

    user = run(work)
    say(f"{user.username or user.sub} {'needs no' if off else 'needs a'} second factor")


@group.command("import-factors", short_help="Import the seeds of authenticator apps.")
@click.argument("file", type=FilePath(exists=True))
@as_json
def import_factors_(file: Path, as_json: bool) -> None:
    """Import the seeds of authenticator apps from FILE, JSON lines with `username` or `sub`, `totp` and perhaps `name`.

    `totp` is the seed in base32. The users exist already. Users who have a factor stay as they are, so an import that
    broke off can start again. Import before the service opens: until then a password is enough for these users.
    """

    async def work(deps: Deps) -> totp.SeedTally:
        return await totp.import_seeds(deps, operator(), _rows(file))

    tally = run(work)
    if as_json:
        click.echo(json.dumps({"imported": tally.imported, "there": tally.there, "refused": tally.refused}))
    for line, reason in tally.reasons[:10]:
        say(f"line {line}: {reason}")
    say(f"{tally.imported} imported, {tally.there} had a factor, {tally.refused} refused")


def _rows(file: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """The lines with their numbers. None for a line that is no JSON object."""
    with open(file, "rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield number, load_json(line)
            except InvalidRequest:
                yield number, None
