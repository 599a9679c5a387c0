"""Revoking tokens and sessions."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.errors import NotFound
from authsvc.flows import revoke
from authsvc.flows.deps import OPERATOR
from tests.conftest import PASSWORD, Clock, Service, bearer
from tests.flows.conftest import World
from tests.flows.contents import Commands


async def post(service: Service, auth: tuple[str, str] | None = None, **form: str) -> httpx.Response:
    return await service.http.post("/revoke", data=form, auth=auth or service.admin)


def told(answer: httpx.Response) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    headers = [pair for pair in answer.headers.raw if pair[0].lower() not in (b"x-request-id", b"date")]
    return answer.status_code, headers, answer.content


async def login_through(service: Service, auth: tuple[str, str]) -> dict[str, Any]:
    answer = await service.http.post("/login", json={"username": "ada", "password": PASSWORD}, auth=auth)
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
async def test_revoked_token_is_dead_on_the_next_request(service: Service, which: str) -> None:
    """After the answer of /revoke all tokens of the session are inactive, whichever was sent (RFC 7009)."""
    await service.user()
    granted, other = await service.login(), await service.login()
    assert await service.active(granted["access_token"])
    assert (await post(service, token=granted[which])).status_code == 200
    assert not await service.active(granted["access_token"])
    assert not await service.active(granted["refresh_token"])
    assert (await service.refresh(granted["refresh_token"])).status_code == 400
    assert (await service.http.get("/me", headers=bearer(granted["access_token"]))).status_code == 401
    assert await service.active(other["access_token"])


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "urn:something else"])
async def test_the_hint_is_only_a_hint(service: Service, hint: str) -> None:
    """A wrong or unknown hint changes nothing (section 2.1)."""
    await service.user()
    granted = await service.login()
    assert (await post(service, token=granted["access_token"], token_type_hint=hint)).status_code == 200
    assert not await service.active(granted["access_token"])


async def test_a_client_takes_back_its_own(service: Service) -> None:
    """A client needs no permission to revoke its own tokens. A public client names itself."""
    await service.user()
    _, auth = await service.client()
    own = await login_through(service, auth)
    assert (await post(service, auth, token=own["access_token"])).status_code == 200
    assert not await service.active(own["access_token"])
    public = await service.login()
    answer = await service.http.post("/revoke", data={"token": public["refresh_token"], "client_id": "app"})
    assert answer.status_code == 200
    assert not await service.active(public["access_token"])


async def test_another_clients_token_is_refused_with_an_error(service: Service) -> None:
    """Another client's token stays active, and the request is refused (section 2.1)."""
    await service.user()
    granted = await service.login()
    _, stranger = await service.client("introspect")
    for which in ("access_token", "refresh_token"):
        answer = await post(service, stranger, token=granted[which])
        assert (answer.status_code, answer.json()["error"]) == (403, "unauthorized_client")
    assert await service.active(granted["access_token"])


async def test_the_permission_to_revoke(service: Service) -> None:
    """The permission `revoke` covers other clients' tokens within the audience."""
    await service.user()
    issuer, _ = await service.client(public=True, audience=("orders",))
    _, orders = await service.client("revoke", audience=("orders",))
    _, mail = await service.client("revoke", audience=("mail",))
    granted = await service.login(client_id=issuer.client_id)
    assert (await post(service, mail, token=granted["access_token"])).status_code == 403
    assert await service.active(granted["access_token"])
    assert (await post(service, orders, token=granted["access_token"])).status_code == 200
    assert not await service.active(granted["access_token"])


async def test_an_admin_user_may_revoke_any(service: Service) -> None:
    """An admin user revokes any token with a bearer token. Other users may not."""
    await service.user("root", roles=("admin",))
    await service.user()
    admin, ada = await service.login("root"), await service.login()
    refused = await service.http.post(
        "/revoke", data={"token": admin["access_token"]}, headers=bearer(ada["access_token"])
    )
    assert refused.status_code == 403
    assert await service.active(admin["access_token"])
    answer = await service.http.post(
        "/revoke", data={"token": ada["access_token"]}, headers=bearer(admin["access_token"])
    )
    assert answer.status_code == 200
    assert not await service.active(ada["access_token"])


async def test_every_unknown_token_is_the_same_200(service: Service, clock: Clock) -> None:
    """Invented, mistyped and revoked tokens and other kinds get the same success (section 2.2)."""
    await service.user()
    granted, gone = await service.login(), await service.login()
    await post(service, token=gone["access_token"])
    live = await service.login()
    answers = [
        told(await post(service, token=token))
        for token in (
            granted["access_token"],
            gone["access_token"],
            gone["refresh_token"],
            tokens.new(Kind.ACCESS).text,
            tokens.new(Kind.ACCESS, live["session_id"]).text,
            tokens.new(Kind.RESET, live["session_id"]).text,
            "nonsense",
            "tok_" + "A" * 45,
            "\u00fc",
        )
    ]
    assert answers[0][0] == 200
    assert all(answer == answers[0] for answer in answers)
    assert await service.active(live["access_token"]), "knowing a handle is not owning a token"


async def test_a_spent_or_expired_token_still_names_its_session(service: Service, clock: Clock) -> None:
    """Revoking a spent or expired token ends its session."""
    await service.user()
    first = await service.login()
    second = (await service.refresh(first["refresh_token"])).json()
    assert (await post(service, token=first["refresh_token"])).status_code == 200
    assert not await service.active(second["access_token"])
    third = await service.login()
    clock.forward(third["expires_in"])
    assert not await service.active(third["access_token"])
    assert (await post(service, token=third["access_token"])).status_code == 200
    assert not await service.active(third["refresh_token"])


async def test_what_is_no_token_costs_no_store_call(world: World, commands: Commands) -> None:
    """A malformed token is answered without a store call."""
    await world.user()
    token = (await world.login()).access_token
    commands.reset()
    for text in (token[:-1], token + "A", token[:-1] + ("A" if token[-1] != "A" else "B"), "", "tok_", "é" * 49):
        await revoke.revoke_token(world.deps, OPERATOR, None, text)
    assert commands.seen() == {}


async def test_callers_have_to_authenticate(service: Service) -> None:
    """Without a client, the right secret or a token nothing is revoked."""
    await service.user()
    granted = await service.login()
    assert (await service.http.post("/revoke", data={"token": granted["access_token"]})).status_code == 401
    client, _ = await service.client("revoke")
    wrong = await post(service, (client.client_id, "sec_wrong"), token=granted["access_token"])
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    assert (await post(service, token_type_hint="access_token")).status_code == 400
    assert (await post(service, token=granted["access_token"], all="true")).status_code == 400
    assert await service.active(granted["access_token"])


async def everybody(service: Service) -> dict[str, dict[str, Any]]:
    """The sessions of two users through two clients, by `<user> <client>`."""
    client, _ = await service.client(public=True)
    found = {}
    for name in ("ada", "bea"):
        await service.user(name)
        found[f"{name} app"] = await service.login(name)
        found[f"{name} own"] = await service.login(name, client_id=client.client_id)
    return found


async def living(service: Service, everyone: dict[str, dict[str, Any]]) -> set[str]:
    return {
        who
        for who, granted in everyone.items()
        if [await service.active(granted[which]) for which in ("access_token", "refresh_token")] == [True, True]
    }


async def test_by_session(service: Service) -> None:
    """An admin ends a session by its id. An unknown id gets the same answer."""
    everyone = await everybody(service)
    answer = await post(service, session_id=everyone["ada app"]["session_id"])
    assert await living(service, everyone) == {"ada own", "bea app", "bea own"}
    assert told(answer) == told(await post(service, session_id=everyone["ada app"]["session_id"]))
    assert told(answer) == told(await post(service, session_id="no such id"))


async def test_by_user(service: Service) -> None:
    """Revoking a user ends every session of that user, and no later login."""
    everyone = await everybody(service)
    sub = (await service.introspect(everyone["ada app"]["access_token"]))["sub"]
    assert (await post(service, sub=sub)).status_code == 200
    assert await living(service, everyone) == {"bea app", "bea own"}
    assert await service.active((await service.login())["access_token"])
    assert (await post(service, sub="nobody")).status_code == 404


async def test_by_client(service: Service) -> None:
    """Revoking a client ends every session of it, for admin clients and admin users."""
    everyone = await everybody(service)
    own = (await service.introspect(everyone["ada own"]["access_token"]))["client_id"]
    assert (await post(service, client_id=own)).status_code == 200
    assert await living(service, everyone) == {"ada app", "bea app"}
    assert await service.active((await service.login(client_id=own))["access_token"])
    await service.user("root", roles=("admin",))
    admin = await service.login("root", client_id=own)
    answer = await service.http.post("/revoke", data={"client_id": "app"}, headers=bearer(admin["access_token"]))
    assert answer.status_code == 200
    assert await living(service, everyone) == set()
    assert (await post(service, client_id="nobody")).status_code == 404


async def test_everything(service: Service) -> None:
    """Revoking everything ends every session in one write. Logging in works at once."""
    everyone = await everybody(service)
    assert (await post(service, all="true")).status_code == 200
    assert await living(service, everyone) == set()
    assert await service.active((await service.login())["access_token"])
    assert (await post(service, all="yes")).status_code == 400


async def test_only_admins_revoke_more_than_a_token(service: Service) -> None:
    """The permission `revoke` works only with a token."""
    everyone = await everybody(service)
    _, auth = await service.client("revoke", "introspect", "issue", "reset")
    sub = (await service.introspect(everyone["ada app"]["access_token"]))["sub"]
    for form in (
        {"session_id": everyone["ada app"]["session_id"]},
        {"sub": sub},
        {"client_id": "app"},
        {"all": "true"},
    ):
        assert (await post(service, auth, **form)).status_code in (400, 403)
    assert len(await living(service, everyone)) == 4


@pytest.mark.parametrize("sessions", [1, 40])
async def test_each_is_one_write_whatever_the_number_of_sessions(
    world: World, commands: Commands, sessions: int
) -> None:
    """One compare-and-swap of one record ends all sessions. Deleting their records only frees memory."""
    user = await world.user()
    grants = [await world.login() for _ in range(sessions)]
    acts: dict[str, Callable[[], Awaitable[None]]] = {
        "user": lambda: revoke.revoke_user(world.deps, OPERATOR, user.sub),
        "client": lambda: revoke.revoke_client(world.deps, OPERATOR, "app"),
        "all": lambda: revoke.revoke_all(world.deps, OPERATOR),
    }
    for what, act in acts.items():
        commands.reset()
        world.deps.store.sessions.delete_cut_off = lambda *_, **__: None  # type: ignore[method-assign]
        await act()
        seen = commands.seen()
        assert {name: seen.get(name, 0) for name in ("eval", "set", "del", "zrem", "zadd")} == {
            "eval": 1,
            "set": 1,  # inside of the script
            "del": 0,
            "zrem": 0,
            "zadd": 0,
        }, what
        assert not any([await world.active(grant.access_token) for grant in grants])


async def test_deleting_records_is_not_what_ends_sessions(world: World) -> None:
    """If the deletion of dead records fails, the sessions stay dead."""
    user = await world.user()
    grant = await world.login()
    world.deps.store.sessions.delete_cut_off = lambda *_, **__: None  # type: ignore[method-assign]
    await revoke.revoke_user(world.deps, OPERATOR, user.sub)
    assert await world.deps.store.sessions.find(grant.session_id) is not None
    assert not await world.alive(grant)


async def test_unknown_targets(world: World) -> None:
    """An unknown user or client is NotFound, so that a typing error does not look like success."""
    with pytest.raises(NotFound):
        await revoke.revoke_user(world.deps, OPERATOR, "nobody")
    with pytest.raises(NotFound):
        await revoke.revoke_client(world.deps, OPERATOR, "nobody")
    await revoke.revoke_session(world.deps, OPERATOR, "{}")
