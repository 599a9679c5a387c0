"""Commands about users, sessions and the audit trail, at a service that is asked over HTTP."""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import click

from authsvc.cli.claims import claims_of
from authsvc.cli.ending import already, suspended
from authsvc.cli.output import counted, listing, say, show
from authsvc.cli.places import why
from authsvc.cli.prompts import confirm, new_password, session_id_of
from authsvc.cli.remote import Json, Remote, segment
from authsvc.cli.tables import SESSION_COLUMNS, TRAIL_COLUMNS, USER_COLUMNS, session_for_people
from authsvc.cli.trail import details_for_people
from authsvc.core.user import check_sub
from authsvc.errors import InvalidRequest, NotFound
from authsvc.flows.finding import quoted


def user_of(service: Remote, who: str) -> Json:
    """The user with this sub or name. Raises NotFound, and InvalidRequest if it is one's sub and another's name."""
    by_sub: Json | None = None
    with suppress(InvalidRequest, NotFound):
        by_sub = service.get(f"/admin/users/{segment(check_sub(who))}")
    named: list[Json] = []
    with suppress(InvalidRequest):  # bytes that are no text are nobody's name
        named = service.items("/admin/users", username=who) if who.strip() else []
    by_name: Json | None = named[0] if named else None
    if by_sub is not None and by_name is not None and by_sub["sub"] != by_name["sub"]:
        raise InvalidRequest(f"{quoted(who)} is one user's sub and another's name: for the latter say {by_name['sub']}")
    found = by_sub or by_name
    if found is None:
        raise NotFound(f"no user has the sub or name {quoted(who)}: `authsvc user list` shows all")
    return found


def client_of(service: Remote, who: str) -> Json:
    """The client with this id or name. Raises NotFound, and InvalidRequest if several have the name."""
    clients = list(service.listed("/admin/clients"))
    by_id = [one for one in clients if one["client_id"] == who]
    found = by_id or [one for one in clients if one["name"] == who]
    if len(found) > 1:
        ids = ", ".join(sorted(one["client_id"] for one in found))
        raise InvalidRequest(f"several clients have the name {quoted(who)}: say which of the ids {ids}")
    if not found:
        raise NotFound(f"no client has the id or name {quoted(who)}")
    return found[0]


def _path(user: Json, act: str = "") -> str:
    return f"/admin/users/{segment(user['sub'])}{act}"


def _named(user: Json) -> str:
    return f"{user['username']} ({user['sub']})" if user["username"] is not None else str(user["sub"])


def user_create(
    service: Remote,
    *,
    name: str,
    roles: tuple[str, ...],
    claims: str,
    password_stdin: bool,
    reset_code: bool,
    no_password: bool,
    expires_in: int | None,
    as_json: bool,
) -> None:
    if no_password:
        raise click.UsageError("--no-password works on the store: give --store")
    password = None if reset_code else new_password(lambda _: None, stdin=password_stdin)
    body = {"username": name, "password": password, "roles": list(roles), "claims": claims_of(claims)}
    made = service.post("/admin/users", body | {"expires_in": expires_in, "comment": why()})
    show(made, as_json=as_json)
    say(f"created {_named(made)}")


def user_list(service: Remote, *, exact_times: bool, as_json: bool, **asked: Any) -> None:
    query = {"q": asked["q"], "status": asked["status"], "role": asked["role"]}
    query |= {"locked": "true" if asked["locked"] else None, "factor": "none" if asked["without_factor"] else None}
    found = service.listed("/admin/users", **query)
    _show(found, USER_COLUMNS, as_json=as_json, exact_times=exact_times, nothing="no users")


def user_show(service: Remote, *, who: str, as_json: bool) -> None:
    user = user_of(service, who)
    show(user | {"sessions": len(service.items(_path(user, "/sessions")))}, as_json=as_json)


def user_suspend(service: Remote, *, who: str, as_json: bool) -> None:
    user = user_of(service, who)
    live = _live(service, user)
    show(service.post(_path(user, "/suspend"), {"comment": why()}), as_json=as_json)
    say(already("suspended", _named(user)) if user["status"] == "suspended" else suspended(_named(user), live))


def user_reinstate(service: Remote, *, who: str, as_json: bool) -> None:
    user = user_of(service, who)
    show(service.post(_path(user, "/reinstate"), {"comment": why()}), as_json=as_json)
    active = user["status"] == "active"
    say(already("active", _named(user)) if active else f"{_named(user)} may log in again")


def user_unlock(service: Remote, *, who: str, as_json: bool) -> None:
    user = user_of(service, who)
    show(service.post(_path(user, "/unlock"), {"comment": why()}), as_json=as_json)
    say(f"forgot the wrong passwords and codes for {_named(user)}")


def user_roles(service: Remote, *, who: str, new_roles: tuple[str, ...], none: bool, as_json: bool) -> None:
    if none == bool(new_roles):
        raise click.UsageError("give the roles, or --none to take all away")
    _change(service, who, as_json=as_json, roles=list(new_roles))


def user_claims(service: Remote, *, who: str, claims: str, as_json: bool) -> None:
    _change(service, who, as_json=as_json, claims=claims_of(claims))


def user_rename(service: Remote, *, who: str, new_name: str, as_json: bool) -> None:
    _change(service, who, as_json=as_json, username=new_name)


def _change(service: Remote, who: str, *, as_json: bool, **changes: Any) -> None:
    changed = service.patch(_path(user_of(service, who)), changes | {"comment": why()})
    show(changed, as_json=as_json)
    say(f"changed {_named(changed)}; running sessions have it at once")


def user_delete(service: Remote, *, who: str, yes: bool) -> None:
    user = user_of(service, who)
    confirm(f"Delete {who} for good?", yes=yes)
    live = _live(service, user)
    service.delete(_path(user), comment=why())
    say(f"deleted {_named(user)}, and ended {live}")


def user_logout(service: Remote, *, who: str) -> None:
    user = user_of(service, who)
    live = _live(service, user)
    service.delete(_path(user, "/sessions"), comment=why())
    say(f"ended {live} of {_named(user)}")


def user_reset_code(service: Remote, *, who: str, expires_in: int | None, as_json: bool) -> None:
    user = user_of(service, who)
    made = service.post(_path(user, "/reset-code"), {"expires_in": expires_in, "comment": why()})
    show(made, as_json=as_json)
    say(f"made a code for {_named(user)}; an earlier one works no more")


def user_sessions(service: Remote, *, who: str, exact_times: bool, as_json: bool) -> None:
    session_list(service, user=who, client=None, limit=10_000, exact_times=exact_times, as_json=as_json)


def session_list(
    service: Remote, *, user: str | None, client: str | None, limit: int, exact_times: bool, as_json: bool
) -> None:
    client_id = client_of(service, client)["client_id"] if client is not None else None
    if user is None:
        found: Iterator[Json] = service.listed("/admin/sessions", limit, client_id=client_id)
    else:
        of = user_of(service, user)
        found = (
            {"sub": of["sub"], "user": of["username"]} | one
            for one in service.items(_path(of, "/sessions"))[:limit]
            if client_id in (None, one["client_id"])
        )
    rows = found if as_json else map(session_for_people, found)
    _show(rows, SESSION_COLUMNS, as_json=as_json, exact_times=exact_times, nothing="no live sessions")


def session_end(service: Remote, *, session_ids: tuple[str, ...], user: str | None, client: str | None) -> None:
    if bool(session_ids) == (user is not None) or client is not None:
        raise click.UsageError("over HTTP, give the ids of sessions, or --user")
    if user is not None:
        user_logout(service, who=user)
        return
    missing = []
    for handle in dict.fromkeys(map(session_id_of, session_ids)):
        try:
            service.delete(f"/admin/sessions/{handle}", comment=why())
            say(f"ended session {handle}")
        except NotFound:
            missing.append(handle)
    if missing:
        raise NotFound(f"no such session: {', '.join(missing)}")


def audit(
    service: Remote,
    *,
    limit: int,
    event: str | None,
    sub: str | None,
    client_id: str | None,
    since: int | None,
    exact_times: bool,
    as_json: bool,
) -> None:
    query = {
        "event": event,
        "sub": user_of(service, sub)["sub"] if sub is not None else None,
        "client_id": client_of(service, client_id)["client_id"] if client_id is not None else None,
        "since": int(time.time()) - since if since is not None else None,
    }
    found = service.listed("/admin/audit", limit, **query)
    rows = found if as_json else map(_event_for_people, found)
    _show(rows, TRAIL_COLUMNS, as_json=as_json, exact_times=exact_times, nothing="no such events")


def _event_for_people(event: Json) -> Json:
    shown = event | {"actor": event.get("actor_name") or event["actor"]}
    shown["details"] = details_for_people(event.get("details", {}))
    if event["outcome"] == "success":
        del shown["outcome"]
    return shown


def _live(service: Remote, user: Json) -> str:
    return counted(len(service.items(_path(user, "/sessions"))), "session")


def _show(found: Any, columns: Any, *, as_json: bool, exact_times: bool, nothing: str) -> None:
    some = False
    with listing(columns, as_json=as_json, exact_times=exact_times) as show_one:
        for one in found:
            show_one(one)
            some = True
    if not some and not as_json:
        say(nothing)
