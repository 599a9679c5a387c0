"""`authsvc key …`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from authsvc.api.parsing import load_json, validated
from authsvc.api.schemas import api_keys as schemas
from authsvc.cli.completing import client_names, user_names
from authsvc.cli.finding import Names, find_client, find_user, named_client, named_user
from authsvc.cli.groups import key as group
from authsvc.cli.layout import Columns
from authsvc.cli.options import WHO, FilePath, as_json, duration, exact_times
from authsvc.cli.output import counted, in_units, say, show, show_list
from authsvc.cli.prompts import key_id_of
from authsvc.cli.state import run, settings
from authsvc.core import api_key
from authsvc.core.client import BUILT_IN
from authsvc.errors import InvalidRequest, NotFound
from authsvc.flows import api_keys
from authsvc.flows.api_keys import Issued
from authsvc.flows.deps import OPERATOR, Deps
from authsvc.flows.import_keys import Row, Tally, import_keys
from authsvc.flows.sessions import SessionStatus

_COLUMNS = Columns(
    ("key_id", "name", "scope", "audience", "client_id", "created_at", "last_used_at", "last_used_ip", "expires_at"),
    spare=("client_id", "created_at", "last_used_ip", "audience"),
    bare=("key_id", "name"),
)
_KEY_ID = click.argument("key_id")
_PAGE = 1000
_MOST_REASONS = 10


@group.command(short_help="Print a new key of a user.")
@WHO
@click.option("--name", required=True, help="By which its owner recognises the key.")
@click.option("--scope", default="", help="Words with spaces between; none by default.")
@click.option("--audience", multiple=True, help="A resource server that the key is for. May be repeated.")
@click.option(
    "--client",
    "client",
    default=BUILT_IN,
    show_default=True,
    metavar="ID_OR_NAME",
    shell_complete=client_names,
    help="Scope and audience stay within those of this client, whose end also ends the key.",
)
@click.option("--expires-in", callback=duration, metavar="DURATION", help="Such as 30d, at most 365d; 90d by default.")
@click.option("--network", "networks", multiple=True, help="The key works only from this network. May be repeated.")
@as_json
def create(
    who: str,
    name: str,
    scope: str,
    audience: tuple[str, ...],
    client: str,
    expires_in: int | None,
    networks: tuple[str, ...],
    as_json: bool,
) -> None:
    """Print a new key of a user; without --json nothing else is on stdout."""
    document: dict[str, Any] = {"name": name, "scope": scope, "networks": list(networks)}
    document |= {"audience": list(audience)} if audience else {}
    document |= {} if expires_in is None else {"expires_in": expires_in}
    wanted = validated(schemas.NewKey, document).wanted()

    async def work(deps: Deps) -> tuple[Issued, str]:
        user, through = await find_user(deps, who), await find_client(deps, client)
        issued = await api_keys.create_for(deps, OPERATOR, user.sub, wanted, through.client_id)
        return issued, f"for {named_user(user)} through {named_client(through)}"

    issued, whose = run(work)
    _show_issued(issued, f"made key {issued.key_id} {whose}", as_json=as_json)


@group.command("list")
@WHO
@exact_times
@as_json
def list_(who: str, exact_times: bool, as_json: bool) -> None:
    """List the active keys of a user. The keys that expire first come first."""

    async def work(deps: Deps) -> tuple[str, list[dict[str, Any]]]:
        user, cursor = await find_user(deps, who), None
        rows: list[dict[str, Any]] = []
        while True:
            found, cursor = await api_keys.page(deps, user.sub, cursor, _PAGE)
            rows += [_row(one, deps.clock()) for one in found]
            if cursor is None:
                return named_user(user), rows

    whose, rows = run(work)
    show_list(rows, _COLUMNS, as_json=as_json, exact_times=exact_times)
    soon = sum(row["expires_soon"] for row in rows)
    warning = f"; {soon} of them expire within {api_key.WARNED_S // 86400} days" if soon else ""
    if soon or not as_json:
        say(f"{counted(len(rows), 'key')} of {whose}{warning}")


def _row(listed: SessionStatus, now: float) -> dict[str, Any]:
    document = schemas.KeyView.of(listed.handle, listed.session, now).model_dump()
    return {"expires_at" if name == "exp" else name: value for name, value in document.items()}


@group.command(short_help="Print another secret of a key.")
@_KEY_ID
@click.option(
    "--overlap", callback=duration, metavar="DURATION", help="How long the last secret works; by default 24h."
)
@as_json
def rotate(key_id: str, overlap: int | None, as_json: bool) -> None:
    """Print another secret of a key. The last secret works on for the overlap, and the end of the key stays.

    --overlap 0s makes the last secret stop at once.
    """
    handle = key_id_of(key_id)
    wanted = validated(schemas.KeyRotation, {} if overlap is None else {"overlap_s": overlap})
    issued = run(lambda deps: api_keys.rotate_any(deps, OPERATOR, handle, wanted.overlap_s))
    _show_issued(
        issued, f"rotated key {handle}: the last secret works for {in_units(wanted.overlap_s)} more", as_json=as_json
    )


def _show_issued(issued: Issued, message: str, *, as_json: bool) -> None:
    if as_json:
        show(schemas.NewKeyView.of(issued).model_dump(), as_json=True)
        return
    click.echo(issued.text)
    say(message)
    say("The key is shown this once.")


@group.command(short_help="Revoke keys.")
@click.argument("key_ids", metavar="[KEY_ID]...", nargs=-1)
@click.option("--user", metavar="SUB_OR_NAME", shell_complete=user_names, help="Every key of this user.")
def revoke(key_ids: tuple[str, ...], user: str | None) -> None:
    """Revoke keys by their ids, or every key of a user. `authsvc token revoke` takes the text of a key."""
    if bool(key_ids) == (user is not None):
        raise click.UsageError("give the ids of keys, or --user")
    if user is not None:
        say(run(lambda deps: _revoke_all(deps, user)))
        return
    missing = run(lambda deps: _revoke_each(deps, list(dict.fromkeys(map(key_id_of, key_ids)))))
    if missing:
        raise NotFound(f"no such key: {', '.join(missing)}; `authsvc token explain` may say how it ended")


async def _revoke_all(deps: Deps, who: str) -> str:
    user = await find_user(deps, who)
    await api_keys.revoke_all(deps, OPERATOR, user.sub)
    return f"revoked every key of {named_user(user)}"


async def _revoke_each(deps: Deps, key_ids: list[str]) -> list[str]:
    """The ids that are no keys."""
    missing = []
    for key_id in key_ids:
        try:
            session = await api_keys.revoke(deps, OPERATOR, key_id)
        except NotFound:
            missing.append(key_id)
        else:
            say(f"revoked key {key_id} of {await Names(deps).user_beside(session.sub)}")
    return missing


@group.command("import", short_help="Import keys that another system issued.")
@click.argument("file", type=FilePath(exists=True))
@click.option("--dry-run", is_flag=True, help="Check everything and change nothing.")
@as_json
@click.pass_context
def import_(ctx: click.Context, file: Path, dry_run: bool, as_json: bool) -> None:
    """Import keys that another system issued from FILE, JSON lines with `sha256`, `sub`, `name`, `exp`.

    `sha256` is the digest of the whole key in hexadecimal digits, and `exp` its end in epoch seconds, at most a year
    ahead. `scope`, `audience`, `networks` and `client_id` may follow. The users exist already. Keys that are there stay
    as they are, so an import that broke off can start again; but a key that was revoked comes back. Import only keys
    with 128 random bits or more.
    """
    if not settings().foreign_key_prefixes:
        raise click.UsageError("set AUTHSVC_FOREIGN_KEY_PREFIXES, here and for the service: how the keys begin")
    tally = run(lambda deps: import_keys(deps, OPERATOR, _rows(file), dry_run=dry_run))
    if as_json:
        click.echo(json.dumps({"imported": tally.imported, "there": tally.there, "refused": tally.refused}))
    _say_tally(tally, dry_run=dry_run)
    ctx.exit(1 if tally.refused else 0)


def _say_tally(tally: Tally, *, dry_run: bool) -> None:
    for line, reason in tally.reasons[:_MOST_REASONS]:
        say(f"line {line}: {reason}")
    verb = "would be imported" if dry_run else "imported"
    say(f"{tally.imported} {verb}, {tally.there} there already, {tally.refused} refused")


def _rows(file: Path) -> Iterator[tuple[int, Row | str]]:
    """The lines with their numbers, and what is wrong with a line that is no key."""
    with open(file, "rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield number, validated(schemas.ImportedKey, load_json(line)).row()
            except InvalidRequest as error:
                yield number, str(error)
