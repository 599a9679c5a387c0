"""`authsvc user …`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import click

from authsvc.api.parsing import MAX_BODY, load_json
from authsvc.api.schemas import answers
from authsvc.cli.groups import user as group
from authsvc.cli.options import as_json, yes
from authsvc.cli.output import listing, say, show, show_list
from authsvc.cli.progress import progress
from authsvc.cli.prompts import confirm, new_password
from authsvc.cli.state import run, settings
from authsvc.core.password import check as check_password
from authsvc.core.user import User, check_sub
from authsvc.core.username import normalise
from authsvc.errors import InvalidRequest, NotFound
from authsvc.flows import password as passwords
from authsvc.flows import revoke, sessions, users
from authsvc.flows.deps import OPERATOR, Deps

WHO = click.argument("who", metavar="SUB_OR_NAME")
_expires_in = click.option(
    "--expires-in",
    type=click.IntRange(60, 7 * 86400),
    metavar="SECONDS",
    help="How long the code is valid, up to a week; by default AUTHSVC_RESET_CODE_TTL_S.",
)
_COLUMNS = ("sub", "username", "status", "roles", "created_at")
_SESSION_COLUMNS = ("session_id", "client_id", "device", "ip", "created_at", "last_seen", "expires_at")


@group.command()
@click.argument("name")
@click.option("--role", "roles", multiple=True, help="May be repeated; `admin` may administer the service.")
@click.option("--claims", metavar="JSON", default="{}", help="An object that introspection shows.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin, one line.")
@click.option("--reset-code", is_flag=True, help="Set none; print a one-time code with which the user sets it.")
@_expires_in
@as_json
def create(
    name: str,
    roles: tuple[str, ...],
    claims: str,
    password_stdin: bool,
    reset_code: bool,
    expires_in: int | None,
    as_json: bool,
) -> None:
    """Create a user who can log in. Asks for the password, unless told otherwise."""
    if password_stdin and reset_code:
        raise click.UsageError("--password-stdin or --reset-code, not both")
    if expires_in is not None and not reset_code:
        raise click.UsageError("--expires-in is for --reset-code")
    parsed = _claims(claims)
    password = None if reset_code else new_password(partial(_check_password, name), stdin=password_stdin)

    async def work(deps: Deps) -> tuple[User, str | None, int]:
        wanted: dict[str, Any] = {"username": name, "password": password, "roles": roles, "claims": parsed}
        user, code = await users.create(deps, OPERATOR, **wanted, code_life_s=expires_in)
        return user, code, expires_in or deps.settings.reset_code_ttl_s

    user, code, life_s = run(work)
    show(_view(user) | ({} if code is None else {"reset_code": code}), as_json=as_json)
    if code is not None:
        _say_about_code(life_s)


@group.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List all users, by name."""
    with listing(_COLUMNS, as_json=as_json) as show_one:

        async def work(deps: Deps) -> None:
            async for user in deps.store.listing.users_by_name():
                show_one(_view(user))

        run(work)


@group.command("show")
@WHO
@as_json
def show_(who: str, as_json: bool) -> None:
    """Show a user."""
    show(_view(run(lambda deps: find(deps, who))), as_json=as_json)


@group.command()
@WHO
@as_json
def suspend(who: str, as_json: bool) -> None:
    """Let a user in no more, and end every session now."""
    show(_view(_update(who, status="suspended")), as_json=as_json)


@group.command(short_help="Let a suspended user log in again.")
@WHO
@as_json
def reinstate(who: str, as_json: bool) -> None:
    """Let a suspended user log in again; no earlier session comes back."""
    show(_view(_update(who, status="active")), as_json=as_json)


@group.command()
@WHO
@click.argument("new_roles", metavar="[ROLE]...", nargs=-1)
@click.option("--none", is_flag=True, help="Take all roles away.")
@as_json
def roles(who: str, new_roles: tuple[str, ...], none: bool, as_json: bool) -> None:
    """Set a user's roles, in place of those until now. Running sessions have them at once."""
    if none == bool(new_roles):
        raise click.UsageError("give the roles, or --none to take all away")
    show(_view(_update(who, roles=new_roles)), as_json=as_json)


@group.command(short_help="Set what introspection tells besides roles.")
@WHO
@click.argument("claims", metavar="JSON")
@as_json
def claims(who: str, claims: str, as_json: bool) -> None:
    """Set what introspection tells about a user besides roles: an object, in place of that until now."""
    show(_view(_update(who, claims=_claims(claims))), as_json=as_json)


@group.command()
@WHO
@click.argument("new_name")
@as_json
def rename(who: str, new_name: str, as_json: bool) -> None:
    """Give a user another name to log in with."""
    show(_view(_update(who, username=new_name)), as_json=as_json)


@group.command()
@WHO
@yes
def delete(who: str, yes: bool) -> None:
    """Delete a user for good; every session ends."""
    confirm(f"Delete {who} for good?", yes=yes)

    async def work(deps: Deps) -> User:
        user = await find(deps, who)
        await users.delete(deps, OPERATOR, user.sub)
        return user

    say(f"deleted {_named(run(work))}")


@group.command("sessions")
@WHO
@as_json
def sessions_(who: str, as_json: bool) -> None:
    """List a user's live sessions, newest first."""

    async def work(deps: Deps) -> list[dict[str, Any]]:
        listed = await sessions.list_active(deps, (await find(deps, who)).sub)
        # `current` is about the session that asks, and here none does.
        return [answers.SessionView.of(one).model_dump(exclude={"current"}) for one in listed]

    live = run(work)
    if not live and not as_json:
        say(f"no live sessions of {who}")
        return
    show_list(live, _SESSION_COLUMNS, as_json=as_json)


@group.command()
@WHO
def logout(who: str) -> None:
    """End every session of a user, logins under way included."""

    async def work(deps: Deps) -> tuple[User, int]:
        user = await find(deps, who)
        live = await sessions.list_active(deps, user.sub)
        await revoke.revoke_user(deps, OPERATOR, user.sub)
        return user, len(live)

    user, number = run(work)
    say(f"ended {number} session{'' if number == 1 else 's'} of {_named(user)}")


@group.command("reset-code", short_help="Print a code that sets a password, once.")
@WHO
@_expires_in
@as_json
def reset_code(who: str, expires_in: int | None, as_json: bool) -> None:
    """Print a one-time code with which the user sets a new password."""

    async def work(deps: Deps) -> tuple[str, int]:
        return await passwords.new_reset_code(deps, OPERATOR, (await find(deps, who)).sub, life_s=expires_in)

    code, life_s = run(work)
    show({"reset_code": code, "expires_in": life_s}, as_json=as_json)
    _say_about_code(life_s)


@group.command("require-reset", short_help="Make passwords good for nothing.")
@click.argument("who", metavar="[SUB_OR_NAME]...", nargs=-1)
@click.option("--all", "everybody", is_flag=True, help="All users, as when it is not known whose passwords are stale.")
@yes
def require_reset(who: tuple[str, ...], everybody: bool, yes: bool) -> None:
    """Make passwords good for nothing, and end the users' sessions: they need a reset code to set a new one."""
    if everybody == bool(who):
        raise click.UsageError("name the users, or --all")
    confirm(f"Make the password{'s of all users' if everybody else ''} good for nothing?", yes=yes)

    async def work(deps: Deps) -> int:
        done = 0
        with progress("ending passwords", len(who)) as update:
            async for sub in _subs(deps, who):
                await passwords.require_reset(deps, OPERATOR, sub)
                done += 1
                update(done, f"{done:,}")
        return done

    say(f"{run(work)} to set a new password: `authsvc user reset-code` makes a code for each")


async def _subs(deps: Deps, who: Sequence[str]) -> AsyncIterator[str]:
    """The subs of these users, or of all users. Raises NotFound before the first one."""
    for sub in dict.fromkeys([(await find(deps, one)).sub for one in who]):
        yield sub
    if not who:
        async for user in deps.store.listing.every_user():
            yield user.sub


async def find(deps: Deps, who: str) -> User:
    """The user with this sub or name. Raises NotFound, and InvalidRequest if it is one's sub and another's name."""
    by_sub = by_name = None
    with suppress(InvalidRequest):  # no sub looks like this
        by_sub = await deps.store.users.find(check_sub(who))
    with suppress(InvalidRequest):  # nobody is called this
        by_name = await deps.store.users.find_by_name(normalise(who))
    named = by_name[0] if by_name else None
    if by_sub is not None and named is not None and by_sub.sub != named.sub:
        raise InvalidRequest(f"that is one user's sub and another's name: for the latter say {named.sub}")
    found = by_sub or named
    if found is None:
        raise NotFound("no user has this sub or name: `authsvc user list` shows all")
    return found


def _check_password(name: str, password: str) -> None:
    """Raise WeakPassword for a password that the service will refuse."""
    rules = settings()
    check_password(password, min_length=rules.password_min_length, context=(name, *rules.password_context))


def _named(user: User) -> str:
    return user.sub if user.username is None else f"{user.username} ({user.sub})"


def _update(who: str, **changes: Any) -> User:
    async def work(deps: Deps) -> User:
        return await users.update(deps, OPERATOR, (await find(deps, who)).sub, **changes)

    return run(work)


def _view(user: User) -> dict[str, Any]:
    return answers.UserView.of(user).model_dump()


def _claims(text: str) -> dict[str, Any]:
    raw = text.encode(errors="replace")
    try:
        return load_json(raw if len(raw) <= MAX_BODY else b"")
    except InvalidRequest:
        raise click.BadParameter("not a JSON object, or too large", param_hint="--claims") from None


def _say_about_code(life_s: int) -> None:
    say(f"The code is shown this once. It sets a password at POST /password/reset, once, in the next {life_s} s.")
