"""`authsvc client …`."""

from collections.abc import Callable
from typing import Any, get_args

import click

from authsvc.api.parsing import validated
from authsvc.api.schemas import answers, requests
from authsvc.cli.ending import end_of_client, ended_of, in_words
from authsvc.cli.finding import find_client, named_client
from authsvc.cli.groups import client as group
from authsvc.cli.layout import Columns
from authsvc.cli.options import CLIENT, Number, as_json, exact_times, ttl, yes
from authsvc.cli.output import in_units, say, show, show_list
from authsvc.cli.places import comment, operator
from authsvc.cli.prompts import confirm
from authsvc.cli.state import run
from authsvc.core.client import Client, Permission
from authsvc.flows import clients
from authsvc.flows.all_sessions import Count
from authsvc.flows.deps import Deps
from authsvc.flows.finding import MOST_STEPS

_COLUMNS = Columns(
    ("client_id", "name", "public", "permissions", "audience", "scope", "created_at"),
    spare=("created_at", "scope", "audience"),
    bare=("client_id",),
)
_PERMISSIONS = click.Choice(get_args(Permission))


def _settable(command: Callable[..., None]) -> Callable[..., None]:
    """The options that create and update have in common."""
    for option in (
        click.option("--refresh/--no-refresh", default=None, help="Whether logins get a refresh token (they do)."),
        click.option(
            "--session-ttl-s",
            callback=ttl,
            metavar="SECONDS",
            help="A session ends this long after the login, or `default`.",
        ),
        click.option(
            "--idle-ttl-s",
            callback=ttl,
            metavar="SECONDS",
            help="A session ends this long after its last use, or `default`.",
        ),
        click.option("--access-ttl-s", callback=ttl, metavar="SECONDS", help="Life of an access token, or `default`."),
        click.option("--scope", help="All that may be asked for through it. By default anything."),
        click.option(
            "--issue-role", "issue_roles", multiple=True, help="A role that it may set when it issues tokens; repeat."
        ),
        click.option("--acr", type=click.Choice(["aal2"]), help="Every user needs a second factor."),
        click.option(
            "--exchange-audience", multiple=True, help="A resource server it may exchange tokens for; repeat."
        ),
        click.option("--audience", multiple=True, help="A resource server its tokens are for, or that it is; repeat."),
        click.option("--permission", "permissions", multiple=True, type=_PERMISSIONS, help="May be repeated."),
    ):
        command = option(command)
    return command


@group.command()
@click.argument("name")
@_settable
@click.option("--public", is_flag=True, help="An app that can't keep a secret; it has no permissions.")
@as_json
@comment
def create(name: str, public: bool, as_json: bool, **options: Any) -> None:
    """Register a client and print its secret, this once."""
    body = validated(requests.NewClient, {"name": name, "public": public} | _given(options))
    fields = body.fields()

    async def work(deps: Deps) -> tuple[Client, str | None, list[str]]:
        client, secret = await clients.create(deps, operator(), **fields)
        found, _ = await deps.store.listing.clients_within(MOST_STEPS)
        others = {one.client_id for one in found if one.name == client.name}
        return client, secret, sorted(others - {client.client_id})

    client, secret, others = run(work)
    _show_with_secret(client, secret, as_json=as_json)
    say(f"registered {named_client(client)}")
    if others:
        say(f"Another client has this name, too: {', '.join(others)}. Commands take the id in place of the name.")


@group.command("list")
@exact_times
@as_json
def list_(exact_times: bool, as_json: bool) -> None:
    """List all clients, by name."""

    async def work(deps: Deps) -> list[Client]:
        found = {client.client_id: client async for client in deps.store.listing.every_client()}
        return sorted(found.values(), key=lambda client: (client.name, client.client_id))

    found = run(work)
    show_list([_view(client) for client in found], _COLUMNS, as_json=as_json, exact_times=exact_times)
    if not found and not as_json:
        say("no clients: `authsvc client create NAME` registers one")


@group.command("show")
@CLIENT
@as_json
def show_(client_id: str, as_json: bool) -> None:
    """Show a client."""
    show(_view(run(lambda deps: find_client(deps, client_id))), as_json=as_json)


@group.command(short_help="Change what is given.")
@CLIENT
@click.option("--name", help="What it is called.")
@_settable
@click.option("--no-permissions", is_flag=True, help="Take all permissions away.")
@click.option("--no-audience", is_flag=True, help="Empty the audience.")
@click.option("--no-exchange-audience", is_flag=True, help="It may exchange tokens for their own audience only.")
@click.option("--no-issue-roles", is_flag=True, help="It may set no role when it issues tokens.")
@click.option("--no-acr", is_flag=True, help="Users need no second factor on behalf of this client.")
@click.option("--any-scope", is_flag=True, help="As without --scope at its creation. For `app`: AUTHSVC_APP_SCOPE.")
@as_json
@comment
def update(
    client_id: str,
    no_permissions: bool,
    no_audience: bool,
    no_exchange_audience: bool,
    no_issue_roles: bool,
    no_acr: bool,
    any_scope: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Change what is given; options that may be repeated take the place of all until now."""
    given = _given(options)
    cleared: dict[str, tuple[bool, list[str] | None]] = {
        "permissions": (no_permissions, []),
        "audience": (no_audience, []),
        "exchange_audience": (no_exchange_audience, []),
        "issue_roles": (no_issue_roles, []),
        "acr": (no_acr, None),
        "scope": (any_scope, None),
    }
    for field, (asked, value) in cleared.items():
        if asked and field in given:
            raise click.UsageError(f"{field}: either set or cleared")
        if asked:
            given[field] = value
    if not given:
        raise click.UsageError("nothing to change")
    body = validated(requests.ClientChange, given)
    fields = body.given()

    async def work(deps: Deps) -> Client:
        client = await find_client(deps, client_id)
        return await clients.update(deps, operator(), client.client_id, **fields)

    client = run(work)
    show(_view(client), as_json=as_json)
    say(f"changed {', '.join(fields)} of {named_client(client)}")


@group.command("rotate-secret")
@CLIENT
@click.option(
    "--overlap-s",
    type=Number(0, 30 * 86400),
    help="How long the last secret stays valid; by default AUTHSVC_SECRET_OVERLAP_S, a day.",
)
@as_json
@comment
def rotate_secret(client_id: str, overlap_s: int | None, as_json: bool) -> None:
    """Give a client a new secret and print it, this once."""

    async def work(deps: Deps) -> tuple[Client, str, int]:
        client = await find_client(deps, client_id)
        overlap = deps.settings.secret_overlap_s if overlap_s is None else overlap_s
        return *await clients.rotate_secret(deps, operator(), client.client_id, overlap), overlap

    client, secret, overlap = run(work)
    _show_with_secret(client, secret, as_json=as_json)
    former = f"the former one works for {in_units(overlap)}" if overlap else "the former one works no more"
    say(f"{named_client(client)} has a new secret, and {former}")


@group.command(short_help="End every session opened through a client.")
@CLIENT
@comment
def logout(client_id: str) -> None:
    """End every session opened through a client, logins under way included."""

    say(run(lambda deps: end_of_client(deps, client_id)))


@group.command(short_help="Delete a client for good.")
@CLIENT
@yes
@comment
def delete(client_id: str, yes: bool) -> None:
    """Delete a client for good; every session opened through it ends."""
    confirm(f"Delete the client {client_id} for good?", yes=yes)

    async def work(deps: Deps) -> tuple[Client, Count | None]:
        client = await find_client(deps, client_id)
        await clients.delete(deps, operator(), client.client_id)
        return client, await ended_of(deps, client)

    client, count = run(work)
    say(f"deleted {named_client(client)}, and ended {in_words(count)}")


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The fields to set; `default` means the same as no value."""
    given = {name: value for name, value in options.items() if value is not None and value != ()}
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    return {name: None if name.endswith("_ttl_s") and value == "default" else value for name, value in given.items()}


def _view(client: Client) -> dict[str, Any]:
    return answers.ClientView.of(client).model_dump()


def _show_with_secret(client: Client, secret: str | None, *, as_json: bool) -> None:
    show(_view(client) | ({} if secret is None else {"client_secret": secret}), as_json=as_json)
    if secret is not None:
        say("The secret is shown this once; keep it.")
