"""`authsvc user …`."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import click

from authsvc.api.schemas import answers
from authsvc.cli import over_http
from authsvc.cli.claims import claims_of
from authsvc.cli.completing import user_names
from authsvc.cli.ending import already, end_of_user, factor_count, in_words, live_of, suspended
from authsvc.cli.finding import find_user, named_user
from authsvc.cli.groups import user as group
from authsvc.cli.options import WHO, Number, as_json, exact_times, yes
from authsvc.cli.output import counted, in_units, listing, say, show
from authsvc.cli.places import comment, operator, or_over_http
from authsvc.cli.progress import progress
from authsvc.cli.prompts import confirm, new_password
from authsvc.cli.sessions import show_live
from authsvc.cli.state import run, settings
from authsvc.cli.tables import USER_COLUMNS
from authsvc.core.password import check as check_password
from authsvc.core.user import Status, User
from authsvc.flows import directory, users
from authsvc.flows import password as passwords
from authsvc.flows.all_sessions import Count
from authsvc.flows.deps import Deps

_expires_in = click.option(
    "--expires-in",
    type=Number(60, 7 * 86400),
    metavar="SECONDS",
    help="How long the code is valid, up to a week; by default AUTHSVC_RESET_CODE_TTL_S.",
)
_PAGE = 1000
# More than a user can have: AUTHSVC_MAX_SESSIONS bounds the logins, and the sessions of each client.
_ALL_SESSIONS = 1_000_000


@group.command()
@click.argument("name")
@click.option("--role", "roles", multiple=True, help="May be repeated; `admin` may administer the service.")
@click.option("--claims", metavar="JSON", default="{}", help="An object that introspection shows.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin, one line.")
@click.option("--reset-code", is_flag=True, help="Set none; print a one-time code with which the user sets it.")
@click.option("--no-password", is_flag=True, help="Set none and print no code: for a program, which has keys instead.")
@_expires_in
@as_json
@comment
@or_over_http(over_http.user_create)
def create(
    name: str,
    roles: tuple[str, ...],
    claims: str,
    password_stdin: bool,
    reset_code: bool,
    no_password: bool,
    expires_in: int | None,
    as_json: bool,
) -> None:
    """Create a user who can log in. Asks for the password, unless told otherwise."""
    if password_stdin + reset_code + no_password > 1:
        raise click.UsageError("only one of --password-stdin, --reset-code and --no-password")
    if expires_in is not None and not reset_code:
        raise click.UsageError("--expires-in is for --reset-code")
    parsed = claims_of(claims)
    password = None if reset_code or no_password else new_password(partial(_check_password, name), stdin=password_stdin)

    async def work(deps: Deps) -> tuple[User, str | None, int]:
        wanted: dict[str, Any] = {"username": name, "password": password, "roles": roles, "claims": parsed}
        user, code = await users.create(deps, operator(), **wanted, code_life_s=expires_in, with_code=not no_password)
        return user, code, expires_in or deps.settings.reset_code_ttl_s

    user, code, life_s = run(work)
    show(_view(user) | ({} if code is None else {"reset_code": code}), as_json=as_json)
    say(f"created {named_user(user)}")
    if code is not None:
        _say_about_code(life_s)


@group.command("list")
@click.option("--begins", "q", metavar="TEXT", help="Only users whose name or sub begins with this.")
@click.option("--status", type=click.Choice(["active", "suspended"]), help="Only users with this status.")
@click.option("--role", help="Only users with this role.")
@click.option("--locked", is_flag=True, help="Only users whom wrong passwords or codes have locked out for a while.")
@click.option("--without-factor", is_flag=True, help="Only users without a second factor.")
@exact_times
@as_json
@or_over_http(over_http.user_list)
def list_(
    q: str | None,
    status: Status | None,
    role: str | None,
    locked: bool,
    without_factor: bool,
    exact_times: bool,
    as_json: bool,
) -> None:
    """List users, by name. The options choose some of them."""
    asked = directory.Asked(q, status, role, locked, without_factor)
    with listing(USER_COLUMNS, as_json=as_json, exact_times=exact_times) as show_one:

        async def work(deps: Deps) -> bool:
            found = False
            users = deps.store.listing.users_by_name() if asked == directory.Asked() else _found(deps, asked)
            async for user in users:
                show_one(_view(user))
                found = True
            return found

        found = run(work)
    if not found and not as_json:
        say("no users: `authsvc user create NAME` makes one" if asked == directory.Asked() else "no such users")


async def _found(deps: Deps, asked: directory.Asked) -> AsyncIterator[User]:
    cursor: str | None = None
    while True:
        page = await directory.page(deps, asked, cursor=cursor, limit=_PAGE)
        for one in page.users:
            yield one.user
        cursor = page.next
        if cursor is None:
            break
    if not page.complete:
        say("the index of users is not filled yet, so users may be missing: a service fills it when it starts")


@group.command("show", short_help="Show a user.")
@WHO
@as_json
@or_over_http(over_http.user_show)
def show_(who: str, as_json: bool) -> None:
    """Show a user, with the last login, the lock, the live sessions and the second factors."""

    async def work(deps: Deps) -> dict[str, Any]:
        user = await find_user(deps, who)
        state = answers.UserStateView.of_state(await directory.state(deps, user)).model_dump()
        live = await live_of(deps, user.sub)
        factors = await factor_count(deps, user.sub)
        return state | {"sessions": live.sessions if live else None, "second_factors": factors}

    show(run(work), as_json=as_json)


@group.command()
@WHO
@as_json
@comment
@or_over_http(over_http.user_suspend)
def suspend(who: str, as_json: bool) -> None:
    """Let a user in no more, and end every session now."""

    async def work(deps: Deps) -> tuple[User, Status, Count | None]:
        before = await find_user(deps, who)
        live = await live_of(deps, before.sub)
        return await users.suspend(deps, operator(), before.sub), before.status, live

    user, before, live = run(work)
    show(_view(user), as_json=as_json)
    say(already(before, named_user(user)) if before == "suspended" else suspended(named_user(user), in_words(live)))


@group.command(short_help="Let a suspended user log in again.")
@WHO
@as_json
@comment
@or_over_http(over_http.user_reinstate)
def reinstate(who: str, as_json: bool) -> None:
    """Let a suspended user log in again; no earlier session comes back."""

    async def work(deps: Deps) -> tuple[User, Status]:
        before = await find_user(deps, who)
        return await users.reinstate(deps, operator(), before.sub), before.status

    user, before = run(work)
    show(_view(user), as_json=as_json)
    say(already(before, named_user(user)) if before == "active" else f"{named_user(user)} may log in again")


@group.command()
@WHO
@as_json
@comment
@or_over_http(over_http.user_unlock)
def unlock(who: str, as_json: bool) -> None:
    """Forget the wrong passwords and codes that lock a user out."""

    async def work(deps: Deps) -> User:
        return await users.unlock(deps, operator(), (await find_user(deps, who)).sub)

    user = run(work)
    show(_view(user), as_json=as_json)
    say(f"forgot the wrong passwords and codes for {named_user(user)}")


@group.command()
@WHO
@click.argument("new_roles", metavar="[ROLE]...", nargs=-1)
@click.option("--none", is_flag=True, help="Take all roles away.")
@as_json
@comment
@or_over_http(over_http.user_roles)
def roles(who: str, new_roles: tuple[str, ...], none: bool, as_json: bool) -> None:
    """Set a user's roles, in place of those until now. Running sessions have them at once."""
    if none == bool(new_roles):
        raise click.UsageError("give the roles, or --none to take all away")
    user = _update(who, roles=new_roles)
    show(_view(user), as_json=as_json)
    held = f"has {counted(len(user.roles), 'role')}" if user.roles else "has no roles"
    say(f"{named_user(user)} {held}; running sessions have them at once")


@group.command(short_help="Set what introspection tells besides roles.")
@WHO
@click.argument("claims", metavar="JSON")
@as_json
@comment
@or_over_http(over_http.user_claims)
def claims(who: str, claims: str, as_json: bool) -> None:
    """Set what introspection tells about a user besides roles: an object, in place of that until now."""
    user = _update(who, claims=claims_of(claims))
    show(_view(user), as_json=as_json)
    say(f"{named_user(user)} has {counted(len(user.claims), 'claim')}; running sessions have them at once")


@group.command()
@WHO
@click.argument("new_name")
@as_json
@comment
@or_over_http(over_http.user_rename)
def rename(who: str, new_name: str, as_json: bool) -> None:
    """Give a user another name to log in with."""
    user = _update(who, username=new_name)
    show(_view(user), as_json=as_json)
    say(f"the name is now {named_user(user)}; sessions go on")


@group.command()
@WHO
@yes
@comment
@or_over_http(over_http.user_delete)
def delete(who: str, yes: bool) -> None:
    """Delete a user for good; every session ends."""
    confirm(f"Delete {who} for good?", yes=yes)

    async def work(deps: Deps) -> tuple[User, Count | None]:
        user = await find_user(deps, who)
        live = await live_of(deps, user.sub)
        await users.delete(deps, operator(), user.sub)
        return user, live

    user, live = run(work)
    say(f"deleted {named_user(user)}, and ended {in_words(live)}")


@group.command("sessions")
@WHO
@exact_times
@as_json
@or_over_http(over_http.user_sessions)
def sessions_(who: str, exact_times: bool, as_json: bool) -> None:
    """List a user's live sessions, newest first."""
    show_live(who, None, limit=_ALL_SESSIONS, exact_times=exact_times, as_json=as_json)


@group.command()
@WHO
@comment
@or_over_http(over_http.user_logout)
def logout(who: str) -> None:
    """End every session of a user, logins under way included."""
    say(run(lambda deps: end_of_user(deps, who)))


@group.command("reset-code", short_help="Print a code that sets a password, once.")
@WHO
@_expires_in
@as_json
@comment
@or_over_http(over_http.user_reset_code)
def reset_code(who: str, expires_in: int | None, as_json: bool) -> None:
    """Print a one-time code with which the user sets a new password."""

    async def work(deps: Deps) -> tuple[User, str, int]:
        user = await find_user(deps, who)
        return user, *await passwords.new_reset_code(deps, operator(), user.sub, life_s=expires_in)

    user, code, life_s = run(work)
    show({"reset_code": code, "expires_in": life_s}, as_json=as_json)
    say(f"made a code for {named_user(user)}; an earlier one works no more")
    _say_about_code(life_s)


@group.command("require-reset", short_help="Make users set a new password.")
@click.argument("who", metavar="[SUB_OR_NAME]...", nargs=-1, shell_complete=user_names)
@click.option("--all", "everybody", is_flag=True, help="All users: if you don't know whose passwords are in danger.")
@yes
@comment
def require_reset(who: tuple[str, ...], everybody: bool, yes: bool) -> None:
    """Make users set a new password. Their present passwords stop working, and their sessions end.

    Each user needs a reset code to set the new password.
    """
    if everybody == bool(who):
        raise click.UsageError("name the users, or --all")
    whose = "all users" if everybody else "these users"
    confirm(f"Stop the passwords of {whose} from working, and end their sessions?", yes=yes)

    async def work(deps: Deps) -> int:
        done = 0
        with progress("ending passwords", len(who)) as update:
            async for sub in _subs(deps, who):
                await passwords.require_reset(deps, operator(), sub)
                done += 1
                update(done, f"{done:,}")
        return done

    done = counted(run(work), "user")
    say(f"{done} to set a new password, and logged out: `authsvc user reset-code` makes a code for each")


async def _subs(deps: Deps, who: Sequence[str]) -> AsyncIterator[str]:
    """The subs of these users, or of all users. Raises NotFound before the first one."""
    for sub in dict.fromkeys([(await find_user(deps, one)).sub for one in who]):
        yield sub
    if not who:
        async for user in deps.store.listing.every_user():
            yield user.sub


def _check_password(name: str, password: str) -> None:
    """Raise WeakPassword for a password that the service will refuse."""
    rules = settings()
    check_password(password, min_length=rules.password_min_length, context=(name, *rules.password_context))


def _update(who: str, **changes: Any) -> User:
    async def work(deps: Deps) -> User:
        return await users.update(deps, operator(), (await find_user(deps, who)).sub, **changes)

    return run(work)


def _view(user: User) -> dict[str, Any]:
    return answers.UserView.of(user).model_dump()


def _say_about_code(life_s: int) -> None:
    say(
        f"The code is shown this once. It sets a password, once, within {in_units(life_s)}: on the page /account/reset "
        "(if AUTHSVC_ACCOUNT_PAGES is on), or your application sends it to POST /password/reset of this service."
    )
