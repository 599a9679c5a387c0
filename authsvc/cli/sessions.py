"""`authsvc session …`."""

from typing import Any

import click

from authsvc.api.schemas import answers
from authsvc.cli import over_http
from authsvc.cli.completing import client_names, user_names
from authsvc.cli.ending import end_of_both, end_of_client, end_of_user
from authsvc.cli.finding import Names, find_client, find_user, named_client, named_user
from authsvc.cli.groups import session as group
from authsvc.cli.options import Number, as_json, exact_times
from authsvc.cli.output import counted, say, show_list
from authsvc.cli.places import comment, operator, or_over_http
from authsvc.cli.progress import Update, progress
from authsvc.cli.prompts import session_id_of
from authsvc.cli.state import run
from authsvc.cli.tables import SESSION_COLUMNS, session_for_people
from authsvc.errors import NotFound
from authsvc.flows import all_sessions, revoke
from authsvc.flows import sessions as of_users
from authsvc.flows.all_sessions import Live, Newest
from authsvc.flows.deps import Deps


@group.command("list")
@click.option("--user", metavar="SUB_OR_NAME", shell_complete=user_names, help="Only sessions of this user.")
@click.option(
    "--client", metavar="ID_OR_NAME", shell_complete=client_names, help="Only sessions opened through this client."
)
@click.option("--limit", type=Number(1, 10_000), default=50, show_default=True, help="At most this many sessions.")
@exact_times
@as_json
@or_over_http(over_http.session_list)
def list_(user: str | None, client: str | None, limit: int, exact_times: bool, as_json: bool) -> None:
    """List live sessions of all users, newest first.

    On the store, without --user, the command counts all sessions: it looks at every key, a thousand at a time. That
    takes some seconds for a hundred thousand sessions, and delays nobody else. Over HTTP it shows the newest 10,000.
    """
    show_live(user, client, limit=limit, exact_times=exact_times, as_json=as_json)


def show_live(user: str | None, client: str | None, *, limit: int, exact_times: bool, as_json: bool) -> None:
    """Print the newest live sessions of this user and this client, if they are given, and how many there are."""
    with progress("looking at sessions", stays=False) as update:

        async def work(deps: Deps) -> tuple[list[dict[str, Any]], int, str]:
            found, of = await _newest(deps, user, client, limit, update)
            names = Names(deps)
            return [await names.beside(_view(one)) for one in found.sessions], found.live, of

        rows, live, of = run(work)
    shown = rows if as_json else map(session_for_people, rows)
    show_list(shown, SESSION_COLUMNS, as_json=as_json, exact_times=exact_times)
    if not live:
        say(f"no live sessions{of}")
    elif live > len(rows):
        say(f"the newest {len(rows):,} of {counted(live, 'live session')}{of}; --limit shows more")
    elif not as_json:
        say(f"{counted(live, 'live session')}{of}")


async def _newest(deps: Deps, who: str | None, client: str | None, limit: int, update: Update) -> tuple[Newest, str]:
    """The sessions that are asked for, and whose they are, in words. Raises NotFound, InvalidRequest."""
    through = await find_client(deps, client) if client is not None else None
    client_id = through.client_id if through else None
    of = f" opened through {named_client(through)}" if through else ""
    if who is None:
        looked_at = lambda read: update(read, f"{read:,} read")  # noqa: E731
        return await all_sessions.newest(deps, client_id=client_id, limit=limit, looked_at=looked_at), of
    user = await find_user(deps, who)
    live = [
        Live(one.handle, one.session, user)
        for one in await of_users.list_active(deps, user.sub)
        if client_id in (None, one.session.client_id)
    ]
    return Newest(live[:limit], len(live)), f" of {named_user(user)}{of}"


def _view(live: Live) -> dict[str, Any]:
    # `current` is about the session that asks, and here none does.
    seen = answers.SessionView.of(of_users.SessionStatus(live.handle, live.session)).model_dump(exclude={"current"})
    return {"session_id": live.handle, "sub": live.session.sub} | seen


@group.command(short_help="End one session or several.")
@click.argument("session_ids", metavar="[SESSION_ID]...", nargs=-1)
@click.option("--user", metavar="SUB_OR_NAME", shell_complete=user_names, help="Every session of this user.")
@click.option(
    "--client", metavar="ID_OR_NAME", shell_complete=client_names, help="Every session opened through this client."
)
@comment
@or_over_http(over_http.session_end)
def end(session_ids: tuple[str, ...], user: str | None, client: str | None) -> None:
    """End one session or several, by their ids or by whose they are.

    --user and --client each end logins under way, too. Both together end the sessions that the user has through the
    client, one by one; a login at the same moment goes on.
    """
    if bool(session_ids) == (user is not None or client is not None):
        raise click.UsageError("give the ids of sessions, or --user, --client or both")
    if user is not None and client is not None:
        say(run(lambda deps: end_of_both(deps, user, client)))
    elif user is not None:
        say(run(lambda deps: end_of_user(deps, user)))
    elif client is not None:
        say(run(lambda deps: end_of_client(deps, client)))
    else:
        _end_each(list(dict.fromkeys(map(session_id_of, session_ids))))


def _end_each(session_ids: list[str]) -> None:
    async def work(deps: Deps) -> list[str]:
        missing = []
        for handle in session_ids:
            session = await deps.store.sessions.find(handle)
            await revoke.revoke_session(deps, operator(), handle)
            if session is None:
                missing.append(handle)
                continue
            say(f"ended session {handle} of {await Names(deps).user_beside(session.sub)}")
        return missing

    missing = run(work)
    if missing:
        raise NotFound(f"no such session: {', '.join(missing)}; `authsvc token explain` may say how it ended")
