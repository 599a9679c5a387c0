"""Changing a password, and setting one with a reset code."""

import asyncio

import pytest

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.core.user import Credentials, User
from authsvc.errors import (
    InvalidCredentials,
    InvalidGrant,
    InvalidRequest,
    InvalidToken,
    NotFound,
    WeakPassword,
    WrongPassword,
)
from authsvc.flows import revoke, users
from authsvc.flows.deps import OPERATOR, Caller
from authsvc.flows.issue import issue
from authsvc.flows.password import change_password, new_reset_code, require_reset, reset_password
from tests.conftest import PASSWORD, Clock, Service, bearer
from tests.flows.conftest import HERE, Hashes, World
from tests.flows.contents import Commands

NEW = "seven quiet herons wading"
WRONG = "a walk by the sea shore"


async def refused_login(world: World, password: str) -> None:
    with pytest.raises(InvalidCredentials):
        await world.login(password=password)


async def test_changing_it_ends_every_other_session(service: Service) -> None:
    """The session stays with fresh tokens, and the old tokens stop at once. Only the new password works."""
    await service.user()
    other, here = await service.login(), await service.login(scope="read")
    change = {"current_password": PASSWORD, "new_password": NEW}
    answer = await service.http.post("/password", json=change, headers=bearer(here["access_token"]))
    fresh = answer.json()
    assert answer.status_code == 200
    assert (fresh["session_id"], fresh["scope"]) == (here["session_id"], "read")
    for dead in (other["access_token"], other["refresh_token"], here["access_token"], here["refresh_token"]):
        assert not await service.active(dead)
    assert await service.active(fresh["access_token"])
    assert (await service.refresh(fresh["refresh_token"])).status_code == 200
    assert (await service.http.post("/login", json={"username": "ada", "password": PASSWORD})).status_code == 401
    assert await service.active((await service.login(password=NEW))["access_token"])


async def test_a_wrong_current_password_changes_nothing(service: Service) -> None:
    """400, and the session goes on."""
    await service.user()
    here = await service.login()
    change = {"current_password": WRONG, "new_password": NEW}
    answer = await service.http.post("/password", json=change, headers=bearer(here["access_token"]))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert await service.active(here["access_token"])
    await service.login()


@pytest.mark.parametrize("new", ["short", "passwordpassword", "ada ada ada ada", "authsvc authsvc", "x" * 1025])
async def test_a_weak_new_password_is_refused(world: World, hashes: Hashes, new: str) -> None:
    """Short, common and context passwords are refused before a hash is computed."""
    await world.user()
    me = await world.me(await world.login())
    hashes.verified = hashes.hashed = 0
    with pytest.raises(WeakPassword):
        await change_password(world.deps, HERE, me, PASSWORD, new)
    assert (hashes.verified, hashes.hashed) == (0, 0)
    await world.login()


async def test_an_overlong_current_password_is_refused_before_anything(
    world: World, hashes: Hashes, commands: Commands
) -> None:
    """An overlong current password is refused before it is hashed."""
    await world.user()
    me = await world.me(await world.login())
    hashes.verified = hashes.hashed = 0
    commands.reset()
    with pytest.raises(InvalidRequest):
        await change_password(world.deps, HERE, me, "x" * 1025, NEW)
    assert (hashes.verified, hashes.hashed, commands.seen()) == (0, 0, {})


async def test_a_session_ended_meanwhile_changes_no_password(world: World) -> None:
    """If the session ends while the password is checked, the answer is InvalidToken and the old password stays."""
    user = await world.user()
    me = await world.me(await world.login())
    await revoke.revoke_user(world.deps, OPERATOR, user.sub)
    with pytest.raises(InvalidToken):
        await change_password(world.deps, HERE, me, PASSWORD, NEW)
    assert await world.alive(await world.login())


async def test_two_changes_at_once(world: World) -> None:
    """One change succeeds. The other one is told that its current password is wrong."""
    await world.user()
    for mine, theirs in ((PASSWORD, NEW), (NEW, PASSWORD)):
        me = await world.me(await world.login(password=mine))
        outcomes = await asyncio.gather(
            *(change_password(world.deps, HERE, me, mine, theirs) for _ in range(4)), return_exceptions=True
        )
        won = [one for one in outcomes if not isinstance(one, BaseException)]
        assert len(won) == 1
        assert all(isinstance(one, WrongPassword | InvalidToken) for one in outcomes if one is not won[0])
        assert await world.alive(won[0])
        await refused_login(world, mine)


async def test_a_reset_code_sets_a_password_once(service: Service) -> None:
    """A reset ends every session and spends the code. The new password works."""
    user = await service.user()
    here = await service.login()
    answer = await service.http.post(f"/admin/users/{user.sub}/reset-code", auth=service.admin)
    code = answer.json()["reset_code"]
    assert answer.json() == {"reset_code": code, "expires_in": 600}
    assert tokens.parse(code, Kind.RESET)
    assert await service.active(here["access_token"]), "making a code ends nothing"
    body = {"reset_code": code, "new_password": NEW}
    assert (await service.http.post("/password/reset", json=body)).status_code == 204
    assert not await service.active(here["access_token"])
    again = await service.http.post("/password/reset", json=body)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert await service.active((await service.login(password=NEW))["access_token"])
    assert (await service.http.post("/login", json={"username": "ada", "password": PASSWORD})).status_code == 401


async def test_a_code_works_once_also_in_parallel(world: World) -> None:
    """Of eight resets with one code at the same time one succeeds."""
    user = await world.user()
    passwords = [f"{NEW} number {n}" for n in range(8)]
    for n in range(10):
        code, _ = await new_reset_code(world.deps, OPERATOR, user.sub)
        outcomes = await asyncio.gather(
            *(reset_password(world.deps, Caller(ip=f"10.0.0.{n}"), code, new) for new in passwords),
            return_exceptions=True,
        )
        assert outcomes.count(None) == 1
        assert all(outcome is None or isinstance(outcome, InvalidGrant) for outcome in outcomes), outcomes
        assert await world.login(password=passwords[outcomes.index(None)])


async def test_a_code_lives_ten_minutes(world: World, clock: Clock) -> None:
    """A code stops after ten minutes, also if the store still holds it."""
    user = await world.user()
    code, life_s = await new_reset_code(world.deps, OPERATOR, user.sub)
    assert life_s == 600
    clock.forward(600)
    with pytest.raises(InvalidGrant):
        await reset_password(world.deps, HERE, code, NEW)
    code, _ = await new_reset_code(world.deps, OPERATOR, user.sub)
    clock.forward(599.9)
    await reset_password(world.deps, HERE, code, NEW)


async def test_a_newer_code_replaces_an_older_one(world: World) -> None:
    """A user has one outstanding code at most. Codes of other users are independent."""
    ada, bea = await world.user(), await world.user("bea")
    old, _ = await new_reset_code(world.deps, OPERATOR, ada.sub)
    new, _ = await new_reset_code(world.deps, OPERATOR, ada.sub)
    hers, _ = await new_reset_code(world.deps, OPERATOR, bea.sub)
    with pytest.raises(InvalidGrant):
        await reset_password(world.deps, HERE, old, NEW)
    await reset_password(world.deps, HERE, new, NEW)
    await reset_password(world.deps, HERE, hers, NEW)


async def test_a_password_change_spends_the_code(world: World) -> None:
    """A password change voids an outstanding code, which somebody else may know."""
    user = await world.user()
    code, _ = await new_reset_code(world.deps, OPERATOR, user.sub)
    await change_password(world.deps, HERE, await world.me(await world.login()), PASSWORD, NEW)
    with pytest.raises(InvalidGrant):
        await reset_password(world.deps, HERE, code, "an owl in the old barn")


async def test_a_weak_password_keeps_the_code_good(world: World) -> None:
    """A refused password does not spend the code."""
    user = await world.user()
    code, _ = await new_reset_code(world.deps, OPERATOR, user.sub)
    for weak in ("short", "passwordpassword", "ada ada ada ada", "x" * 1025):
        with pytest.raises(WeakPassword):
            await reset_password(world.deps, HERE, code, weak)
    await refused_login(world, "ada ada ada ada")
    await reset_password(world.deps, HERE, code, NEW)


async def test_other_strings_reset_nothing(world: World, commands: Commands) -> None:
    """Other kinds of token, forged secrets and mistyped codes reset nothing."""
    user = await world.user()
    code, _ = await new_reset_code(world.deps, OPERATOR, user.sub)
    handle = code[4:16]
    commands.reset()
    for text in (
        tokens.new(Kind.ACCESS, handle).text,
        tokens.new(Kind.REFRESH, handle).text,
        code[:-1],
        code + "A",
        "",
    ):
        with pytest.raises(InvalidGrant):
            await reset_password(world.deps, HERE, text, NEW)
    assert commands.seen() == {}
    with pytest.raises(InvalidGrant):
        await reset_password(world.deps, HERE, tokens.new(Kind.RESET, handle).text, NEW)
    await reset_password(world.deps, HERE, code, NEW)


async def test_a_reset_code_is_no_token(service: Service) -> None:
    """It opens, refreshes and introspects nothing."""
    user = await service.user()
    code, _ = await new_reset_code(service.deps, OPERATOR, user.sub)
    assert not await service.active(code)
    assert (await service.refresh(code)).status_code == 400
    assert (await service.http.get("/me", headers=bearer(code))).status_code == 401


async def test_a_first_password(world: World) -> None:
    """A user without a password gets a code to set the first one, and can log in after that."""
    _, code = await users.create(world.deps, OPERATOR, username="ada")
    assert code is not None
    await refused_login(world, PASSWORD)
    await reset_password(world.deps, HERE, code, PASSWORD)
    assert await world.alive(await world.login())


async def test_a_deleted_users_code(world: World) -> None:
    """The code of a deleted user is invalid, and makes no user."""
    user = await world.user()
    code, _ = await new_reset_code(world.deps, OPERATOR, user.sub)
    await users.delete(world.deps, OPERATOR, user.sub)
    with pytest.raises(InvalidGrant):
        await reset_password(world.deps, HERE, code, NEW)
    assert await world.deps.store.users.find(user.sub) is None


async def test_a_suspended_user_stays_so(world: World) -> None:
    """A new password does not reinstate a suspended user."""
    user = await world.user()
    await users.update(world.deps, OPERATOR, user.sub, status="suspended")
    code, _ = await new_reset_code(world.deps, OPERATOR, user.sub)
    await reset_password(world.deps, HERE, code, NEW)
    await refused_login(world, NEW)


async def test_who_may_make_a_code(service: Service) -> None:
    """Admins make codes for everybody. The permission `reset` excludes admins, or a help desk could become one."""
    user = await service.user()
    root = await service.user("root", roles=("admin",))
    _, helpdesk = await service.client("reset")
    _, other = await service.client("introspect", "revoke", "issue")
    path = "/admin/users/{}/reset-code".format
    assert (await service.http.post(path(user.sub), auth=helpdesk)).status_code == 201
    assert (await service.http.post(path(root.sub), auth=helpdesk)).status_code == 404
    assert (await service.http.post(path("nobody"), auth=helpdesk)).status_code == 404
    assert (await service.http.post(path(user.sub), auth=other)).status_code == 403
    assert (await service.http.post(path(user.sub))).status_code == 401
    assert (await service.http.post(path(root.sub), auth=service.admin)).status_code == 201


async def test_a_required_reset_voids_the_password(world: World) -> None:
    """The password, every session and older codes stop working. A new code lets the user in."""
    user = await world.user()
    session = await world.login()
    stale, _ = await new_reset_code(world.deps, OPERATOR, user.sub)
    await require_reset(world.deps, OPERATOR, user.sub)
    assert not await world.alive(session)
    with pytest.raises(InvalidCredentials):
        await world.login()
    with pytest.raises(InvalidGrant):
        await reset_password(world.deps, HERE, stale, NEW)
    code, _ = await new_reset_code(world.deps, OPERATOR, user.sub)
    await reset_password(world.deps, HERE, code, NEW)
    assert await world.alive(await world.login(password=NEW))
    assert "password.reset_required" in [event.event for event in await world.events()]


async def test_a_required_reset_of_a_user_without_a_password(world: World) -> None:
    """A user who logs in elsewhere loses the sessions only. An unknown user is NotFound."""
    await issue(world.deps, HERE, await world.client("issue"), sub="elsewhere|1")
    await require_reset(world.deps, OPERATOR, "elsewhere|1")
    with pytest.raises(NotFound):
        await require_reset(world.deps, OPERATOR, "nobody")


class WithFactors(Credentials, frozen=True, kw_only=True, omit_defaults=True):
    """Credentials that hold one more thing."""

    factors: tuple[str, ...] = ()


@pytest.mark.parametrize("how", ["change", "reset", "require a reset"])
async def test_a_new_password_keeps_other_credentials(world: World, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Changing, resetting or removing the password keeps everything else in the credentials."""
    monkeypatch.setattr("authsvc.store.users.Credentials", WithFactors)
    user = await world.user()
    grant = await world.login()

    def add_factor(user: User, credentials: Credentials | None) -> tuple[User, Credentials]:
        assert credentials is not None
        return user, credentials.but(factors=("totp",))

    await world.deps.store.users.swap_both(user.sub, add_factor)
    if how == "change":
        await change_password(world.deps, HERE, await world.me(grant), PASSWORD, NEW)
    elif how == "reset":
        code, _ = await new_reset_code(world.deps, OPERATOR, user.sub)
        await reset_password(world.deps, HERE, code, NEW)
    else:
        await require_reset(world.deps, OPERATOR, user.sub)
    found = await world.deps.store.users.find_account(user.sub)
    assert found is not None
    assert isinstance(found[1], WithFactors)
    assert found[1].factors == ("totp",)
