"""`authsvc token …`."""

from typing import Any

import click

from authsvc.api.parsing import validated
from authsvc.api.schemas import answers, requests
from authsvc.cli.completing import client_names, user_names
from authsvc.cli.finding import Names, find_client, named_client, near_users
from authsvc.cli.groups import token as group
from authsvc.cli.options import as_json
from authsvc.cli.output import in_units, say, show, show_list
from authsvc.cli.prompts import token_or_session
from authsvc.cli.state import run
from authsvc.cli.statuses import INACTIVE
from authsvc.cli.tables import TRAIL_COLUMNS, session_for_people
from authsvc.cli.trail import row, view
from authsvc.errors import InvalidRequest, NotFound
from authsvc.flows import issue as issuing
from authsvc.flows import revoke as revoking
from authsvc.flows.deps import OPERATOR, Deps
from authsvc.flows.explain import Explanation, token_of_session
from authsvc.flows.explain import explain as explain_token
from authsvc.flows.finding import any_user
from authsvc.flows.grants import Grant

# The names that people read for fields of the record. The list of sessions uses the same names.
_LABELS = {"seen": "last_seen", "end": "expires_at", "exp": "access_expires_at"}


@group.command(short_help="Print a token for a subject.")
@click.option(
    "--client",
    "client_id",
    required=True,
    metavar="ID_OR_NAME",
    shell_complete=client_names,
    help="In whose name; it needs the permission issue.",
)
@click.option(
    "--sub",
    required=True,
    metavar="SUB_OR_NAME",
    shell_complete=user_names,
    help="Whom the token speaks for. If no user has this sub or name, a user with this sub is made.",
)
@click.option("--scope", default="", help="Words with spaces between.")
@click.option("--expires-in", type=int, metavar="SECONDS", help="By default the client's access lifetime.")
@click.option("--role", "roles", multiple=True, help="May be repeated; they become the user's, in every session.")
@as_json
def issue(client_id: str, sub: str, scope: str, expires_in: int | None, roles: tuple[str, ...], as_json: bool) -> None:
    """Print a token for a subject; without --json nothing else is on stdout."""
    body = validated(requests.Issue, {"sub": sub, "scope": scope, "expires_in": expires_in})

    async def work(deps: Deps) -> tuple[Grant, str, str | None]:
        client = await find_client(deps, client_id)
        speaks_for, made = await _sub_of(deps, body.sub)
        grant = await issuing.issue(
            deps, OPERATOR, client, sub=speaks_for, scope=body.scope, expires_in=body.expires_in, roles=roles or None
        )
        return grant, f"for {await Names(deps).user_beside(speaks_for)} through {named_client(client)}", made

    grant, whose, made = run(work)
    if made is not None:
        say(made)
    if as_json:
        show(answers.Tokens.of(grant).model_dump(exclude_none=True), as_json=True)
        return
    click.echo(grant.access_token)
    say(f"issued a token {whose}: it expires in {in_units(grant.expires_in)}, and its session is {grant.session_id}")
    say("The token is shown this once.")


async def _sub_of(deps: Deps, who: str) -> tuple[str, str | None]:
    """The sub of the user with this sub or name. If there is none, a new sub, and what to say about the new user.

    Raises InvalidRequest if two users fit.
    """
    found = await any_user(deps, who)
    if found is not None:
        return found.sub, None
    return who, f"made the user {who}: no other user has this sub or name{await near_users(deps, who)}"


@group.command(short_help="Say whether a token is active, and why not.")
@click.argument("session_id", required=False)
@as_json
@click.pass_context
def explain(ctx: click.Context, session_id: str | None, as_json: bool) -> None:
    """Say whether a token is active and, if not, why: the status is 0 or 5.

    The token is read from stdin or asked for, never an argument; a session's id may be one.
    """
    presented = token_or_session(session_id)

    async def work(deps: Deps) -> tuple[Explanation, dict[str, Any], list[dict[str, Any]]]:
        found, names = await explain_token(deps, presented), Names(deps)
        return found, await names.beside(found.session or {}), [await row(entry, names) for entry in found.trail]

    explanation, session, trail = run(work)
    known = {"active": explanation.active, "reason": explanation.reason, "session_id": explanation.session_id}
    leaked = {} if explanation.leaked is None else explanation.leaked
    if as_json:
        document = {"session": explanation.session, "trail": [view(entry) for entry in explanation.trail]}
        show(known | document | ({"leaked": leaked} if leaked else {}), as_json=True)
    else:
        known |= leaked
        session.pop("created_ms", None)
        session = session_for_people(session)
        show(known | {_LABELS.get(name, name): value for name, value in session.items()}, as_json=False)
        if trail:
            click.echo()
            show_list(trail, TRAIL_COLUMNS, as_json=False)
    ctx.exit(0 if explanation.active else INACTIVE)


@group.command(short_help="End the session that a token belongs to.")
@click.argument("session_id", required=False)
def revoke(session_id: str | None) -> None:
    """End the session that a token belongs to, whichever of its tokens it is.

    The token is read from stdin or asked for, never an argument; a session's id may be one.
    """
    presented = token_or_session(session_id)

    async def work(deps: Deps) -> str:
        token = token_of_session(deps, presented)
        handle = presented if token is None else token.handle
        session = await deps.store.sessions.find(handle)
        if session is None:
            raise NotFound(f"no session {handle}; `authsvc token explain` may say how it ended")
        if token is None:
            await revoking.revoke_session(deps, OPERATOR, handle)
        else:
            await revoking.revoke_token(deps, OPERATOR, None, presented)
            if await deps.store.sessions.find(handle) is not None:
                raise InvalidRequest(f"not a token of session {handle}, which goes on; to end it, give its id")
        return f"{handle} of {await Names(deps).user_beside(session.sub)}"

    say(f"ended session {run(work)}")
