"""Logging in: successes, refusals, and their cost."""

from typing import Any

import httpx
import pytest
import redis

from authsvc.composition import open_deps
from authsvc.core import token as tokens
from authsvc.core.client import BUILT_IN
from authsvc.core.device import MAX_LABEL
from authsvc.core.token import Kind
from authsvc.errors import InvalidCredentials, InvalidRequest, InvalidScope, StartupError, StoreUnavailable
from authsvc.flows import clients, users
from authsvc.flows.deps import OPERATOR, Caller
from authsvc.settings import Settings
from tests.conftest import CHEAP, PASSWORD, PATIENT, Clock, Service, bearer
from tests.flows.conftest import Hashes, World, world_of
from tests.flows.contents import Commands, keys

WRONG = "a walk by the sea shore"


async def accounts(service: Service) -> None:
    await service.user("ada")
    suspended = await service.user("bea")
    await users.update(service.deps, OPERATOR, suspended.sub, status="suspended")
    await users.create(service.deps, OPERATOR, username="cyn")  # invited, no password set yet


# name, password: everything that is not the password of an active account
REFUSED = [
    ("nobody", WRONG),
    ("ada", WRONG),
    ("ada", PASSWORD[:-1]),
    ("ada", PASSWORD.upper()),
    ("ada", PASSWORD + " "),
    ("ada", ""),
    ("bea", PASSWORD),
    ("bea", WRONG),
    ("cyn", PASSWORD),
    ("cyn", ""),
    ("cyn", "nobody has this password"),
    ("a\u200bda", PASSWORD),
    ("", PASSWORD),
    ("x" * 4000, PASSWORD),
]


def told(answer: httpx.Response) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """The parts of an answer that are the same for two equal answers."""
    headers = [pair for pair in answer.headers.raw if pair[0].lower() not in (b"x-request-id", b"date")]
    return answer.status_code, headers, answer.content


async def test_every_refusal_is_the_same_answer(service: Service, valkey: "redis.Redis") -> None:
    """Unknown, suspended, no password and wrong password are byte-identical: status, headers and body."""
    await accounts(service)
    answers = []
    for name, password in REFUSED:
        valkey.delete(*valkey.keys("throttle:*"), "nothing")
        answer = await service.http.post("/login", json={"username": name, "password": password})
        answers.append(told(answer))
    assert answers[0][0] == 401
    for (name, _), answered in zip(REFUSED, answers, strict=True):
        assert answered == answers[0], name


async def test_every_refusal_is_the_same_work(
    service: Service, valkey: "redis.Redis", hashes: Hashes, commands: Commands
) -> None:
    """Each refusal costs one hash with the current parameters and the same store commands."""
    await accounts(service)
    await service.deps.store.sessions.finish()  # what nobody waited for is no part of a refusal
    work = []
    for name, password in REFUSED:
        valkey.delete(*valkey.keys("throttle:*"), "nothing")
        before = hashes.verified
        commands.reset()
        await service.http.post("/login", json={"username": name, "password": password})
        work.append((hashes.verified - before, commands.seen()))
    assert work[0][0] == 1
    for (name, _), done in zip(REFUSED, work, strict=True):
        assert done == work[0], name
    parameters = {stored.rpartition("$")[0].rpartition("$")[0] for stored in hashes.stored}
    assert parameters == {"$argon2id$v=19$m=8,t=1,p=1"}


async def test_the_right_password_opens(service: Service) -> None:
    """The answer is that of RFC 6749 section 5.1, and both tokens are active."""
    await service.user()
    answer = await service.http.post("/login", json={"username": "ada", "password": PASSWORD, "scope": "b a b"})
    body = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert body.keys() == {"access_token", "token_type", "expires_in", "refresh_token", "scope", "session_id"}
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 900, "b a")
    assert tokens.parse(body["access_token"], Kind.ACCESS)
    assert tokens.parse(body["refresh_token"], Kind.REFRESH)
    assert body["access_token"][4:16] == body["refresh_token"][4:16] == body["session_id"]
    assert await service.active(body["access_token"])
    assert await service.active(body["refresh_token"])


@pytest.mark.parametrize("variant", ["ada", "ADA", "Ａｄａ", "ᴬda"])  # noqa: RUF001 - look-alikes are the point
async def test_a_name_may_be_typed_in_any_of_its_forms(world: World, variant: str) -> None:
    """Every form of a name finds the account."""
    await world.user("Ada")
    assert await world.alive(await world.login(variant))


async def test_a_password_is_verified_as_received(world: World) -> None:
    """A password is neither trimmed nor cut nor normalised."""
    long = "é" + "correct horse battery staple " * 4 + "xyzzy qwom"
    await world.user(password=long)
    for other in (long[:-1], long.strip() + " ", "e\u0301" + long[1:], long[:72]):
        with pytest.raises(InvalidCredentials):
            await world.login(password=other)
    assert await world.alive(await world.login(password=long))


@pytest.mark.parametrize("password", ["x" * 1025, "é" * 513, "x" * 60_000])
async def test_over_1024_bytes_are_refused_before_anything_is_asked(
    world: World, hashes: Hashes, commands: Commands, password: str
) -> None:
    """An overlong password costs neither a hash nor a store call."""
    await world.user()
    hashes.hashed, service = 0, await world.deps.store.service.get()
    commands.reset()
    with pytest.raises(InvalidRequest):
        await world.login(password=password, client=world.app, service=service)
    assert (hashes.verified, hashes.hashed, commands.seen()) == (0, 0, {})


async def test_a_long_password_is_a_400_without_a_write(
    service: Service, hashes: Hashes, valkey: "redis.Redis"
) -> None:
    """Over HTTP an overlong password is invalid_request, and nothing is counted."""
    before = keys(valkey)
    answer = await service.http.post("/login", json={"username": "ada", "password": "x" * 1025})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert hashes.verified == 0
    assert keys(valkey) == before


async def test_rehash_when_the_parameters_have_changed(
    world: World, valkey_url: str, settings: Settings, clock: Clock
) -> None:
    """A successful login renews an outdated hash, and a failed one does not. The password stays."""
    user = await world.user()
    stronger = Settings(**CHEAP | {"argon2_time_cost": 3})
    async with open_deps(stronger, valkey_url, clock, timeouts=PATIENT) as deps:
        new = await world_of(deps)
        before = await deps.store.credentials.get(user.sub)
        with pytest.raises(InvalidCredentials):
            await new.login(password=WRONG)
        assert await deps.store.credentials.get(user.sub) == before
        await new.login()
        after = await deps.store.credentials.get(user.sub)
        assert after.hash
        assert after.hash.startswith("$argon2id$v=19$m=8,t=3,p=1$")
        assert after.changed_at == before.changed_at
        await new.login()
        assert await deps.store.credentials.get(user.sub) == after
    assert await world.alive(await world.login())


async def test_rehashing_for_a_user_who_is_deleted_meanwhile(
    world: World, valkey_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The login succeeds as usual, and its tokens are dead."""
    user = await world.user()
    async with open_deps(Settings(**CHEAP | {"argon2_time_cost": 3}), valkey_url, clock, timeouts=PATIENT) as deps:
        new, really = await world_of(deps), deps.hasher.hash

        async def late(password: str) -> str:
            await users.delete(world.deps, OPERATOR, user.sub)
            return await really(password)

        monkeypatch.setattr(deps.hasher, "hash", late)
        grant = await new.login()
        assert not await world.active(grant.access_token)


async def test_scope(service: Service) -> None:
    """The scope is within that of the client, and anything else is invalid_scope.

    No requested scope is an empty one.
    """
    await service.user()
    client, _ = await service.client(public=True, scope="read write")
    granted = await service.login(client_id=client.client_id, scope="write")
    assert granted["scope"] == "write"
    assert (await service.introspect(granted["access_token"]))["scope"] == "write"
    assert "scope" not in await service.login(client_id=client.client_id)
    for scope in ("delete", "read delete", "admin", "read\u00a0write", "read "):
        answer = await service.http.post(
            "/login",
            json={"username": "ada", "password": PASSWORD, "client_id": client.client_id, "scope": scope},
        )
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope"), scope


async def test_an_empty_scope_is_absent(service: Service) -> None:
    """No answer has an empty scope (RFC 6749 section 3.3). `/verify` empties the header, which clients may send."""
    await service.user()
    granted = await service.login()
    headers = bearer(granted["access_token"])
    me = (await service.http.get("/me", headers=headers)).json()
    listed = (await service.http.get("/sessions", headers=headers)).json()["items"][0]
    refreshed = (await service.refresh(granted["refresh_token"])).json()
    told = await service.introspect(refreshed["access_token"])
    for answer in (granted, me, me["session"], listed, refreshed, told):
        assert "scope" not in answer
    verified = await service.http.get("/verify", headers=bearer(refreshed["access_token"]))
    assert verified.headers["x-auth-scope"] == ""


class TestAppScope:
    """What logins through the built-in client may ask for."""

    @pytest.fixture
    def settings(self, request: pytest.FixtureRequest) -> Settings:
        return Settings(**CHEAP, **getattr(request, "param", {}))

    async def asked(self, service: Service, scope: str, client_id: str | None) -> tuple[int, str | None]:
        body = {"username": "ada", "password": PASSWORD, "scope": scope}
        named = {} if client_id is None else {"client_id": client_id}
        answer = await service.http.post("/login", json=body | named)
        return answer.status_code, answer.json().get("error", answer.json().get("scope"))

    @pytest.mark.parametrize("client_id", [None, "app"])
    async def test_the_built_in_client_grants_no_scope_by_default(
        self, service: Service, client_id: str | None
    ) -> None:
        """Everybody may call as the built-in client, so it grants nothing that nobody has listed."""
        await service.user()
        for scope in ("reports", "a b", "openid"):
            assert await self.asked(service, scope, client_id) == (400, "invalid_scope")
        granted = await service.login()
        assert (await service.introspect(granted["access_token"])).get("scope", "") == ""
        widened = await service.refresh(granted["refresh_token"], scope="reports")
        assert widened.json()["error"] == "invalid_scope"
        verified = await service.http.get("/verify?scope=reports", headers=bearer(granted["access_token"]))
        assert verified.status_code == 403

    @pytest.mark.parametrize("settings", [{"app_scope": "read reports"}], indirect=True)
    async def test_the_built_in_client_grants_what_is_listed(self, service: Service) -> None:
        """AUTHSVC_APP_SCOPE bounds its logins, until its record has a scope."""
        await service.user()
        assert await self.asked(service, "reports", None) == (200, "reports")
        assert await self.asked(service, "reports write", None) == (400, "invalid_scope")
        await clients.update(service.deps, OPERATOR, BUILT_IN, scope="write")
        assert await self.asked(service, "write", None) == (200, "write")
        assert await self.asked(service, "reports", None) == (400, "invalid_scope")
        await clients.update(service.deps, OPERATOR, BUILT_IN, scope="")
        assert await self.asked(service, "read", None) == (400, "invalid_scope")

    async def test_other_clients_keep_their_meaning(self, service: Service) -> None:
        """A client without a scope that somebody registered grants every scope, as before."""
        await service.user()
        client, _ = await service.client(public=True)
        assert await self.asked(service, "reports", client.client_id) == (200, "reports")

    @pytest.mark.parametrize("scope", [" ", "a  b", " a", 'a"b', "a\\b", "a\tb", "é"])
    def test_the_setting_is_a_scope(self, scope: str) -> None:
        """A malformed scope in the setting stops the start."""
        with pytest.raises(StartupError, match="AUTHSVC_APP_SCOPE: must be words"):
            Settings.from_environment({"AUTHSVC_APP_SCOPE": scope})


async def test_a_refused_scope_counts_no_attempt(world: World, hashes: Hashes, commands: Commands) -> None:
    """A refused scope does not count as a wrong password."""
    service = await world.deps.store.service.get()
    commands.reset()
    with pytest.raises(InvalidScope):
        await world.login(scope="admin", client=world.app, service=service)
    assert hashes.verified == 0
    assert commands.seen() == {}


async def test_what_a_session_remembers_of_its_login(service: Service, clock: Clock) -> None:
    """A session keeps device, address and user agent, cut to a length, so that its owner recognises it."""
    await service.user()
    service.http.headers["user-agent"] = "browser/" + "9" * 500
    granted = await service.login(device="Ada's phone")
    session = (await service.http.get("/me", headers=bearer(granted["access_token"]))).json()["session"]
    assert session["device"] == "Ada's phone"
    assert session["ip"] == "192.0.2.1"
    assert session["user_agent"] == ("browser/" + "9" * 500)[:MAX_LABEL]
    assert session["created_at"] == int(clock())
    assert session["last_seen"] == int(clock())
    assert session["client_id"] == "app"
    assert session["current"] is True


async def test_a_confidential_client_has_to_authenticate(service: Service) -> None:
    """A confidential client must authenticate with its secret. Then the session is the client's."""
    await service.user()
    client, auth = await service.client()
    login: dict[str, Any] = {"username": "ada", "password": PASSWORD}
    refused = await service.http.post("/login", json=login | {"client_id": client.client_id})
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    wrong = await service.http.post("/login", json=login, auth=(client.client_id, "sec_wrong"))
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    assert "basic" in wrong.headers["www-authenticate"].lower()
    unknown = await service.http.post("/login", json=login | {"client_id": "nobody"})
    assert (unknown.status_code, unknown.json()["error"]) == (401, "invalid_client")
    granted = (await service.http.post("/login", json=login, auth=auth)).json()
    assert (await service.introspect(granted["access_token"]))["client_id"] == client.client_id
    other = await service.http.post("/login", json=login | {"client_id": "app"}, auth=auth)
    assert other.status_code == 400


async def test_lifetimes_of_the_client(service: Service, clock: Clock) -> None:
    """The client's access_ttl_s and session_ttl_s apply to the token and the session."""
    await service.user()
    client, _ = await service.client(public=True, access_ttl_s=60, idle_ttl_s=600, session_ttl_s=6000)
    granted = await service.login(client_id=client.client_id)
    told = await service.introspect(granted["access_token"])
    assert granted["expires_in"] == 60
    assert told["exp"] == clock() + 60
    assert (await service.deps.store.sessions.get(granted["session_id"])).end == clock() + 6000
    clock.forward(60)
    assert not await service.active(granted["access_token"])
    assert await service.active(granted["refresh_token"])


async def test_a_client_without_refresh_gets_no_refresh_token(service: Service, clock: Clock) -> None:
    """The access token of such a client lives as long as the session."""
    await service.user()
    client, _ = await service.client(public=True, refresh=False, session_ttl_s=5000)
    granted = await service.login(client_id=client.client_id)
    assert "refresh_token" not in granted
    assert granted["expires_in"] == 5000


SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


def max_age(answer: httpx.Response) -> int:
    (cookie,) = answer.headers.get_list("set-cookie")
    parts = dict(part.strip().lower().partition("=")[::2] for part in cookie.split(";")[1:])
    return int(parts["max-age"])


@pytest.mark.parametrize("fields", [{}, {"session_ttl_s": 7200}, {"session_ttl_s": 7200, "access_ttl_s": 60}])
async def test_the_cookie_lives_as_long_as_its_session(service: Service, clock: Clock, fields: dict[str, Any]) -> None:
    """Max-Age is the rest of the session, at the login and after a password change."""
    await service.user()
    client, _ = await service.client(public=True, **fields)
    login = {"username": "ada", "password": PASSWORD, "cookie": True, "client_id": client.client_id}
    answer = await service.http.post("/login", json=login, headers=SAME_ORIGIN)
    assert answer.status_code == 200, answer.text
    assert "access_token" not in answer.json()
    assert "refresh_token" not in answer.json()
    session = await service.deps.store.sessions.get(answer.json()["session_id"])
    assert max_age(answer) == session.end - clock() == fields.get("session_ttl_s", 43200)
    clock.forward(50)
    token = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
    changed = await service.http.post(
        "/password",
        json={"current_password": PASSWORD, "new_password": WRONG},
        headers=SAME_ORIGIN | {"Cookie": f"__Host-session={token}"},
    )
    assert changed.status_code == 204, changed.text
    assert max_age(changed) == session.end - clock()


async def test_a_login_adopts_no_session(service: Service) -> None:
    """Every login opens a new session, whatever cookie the request has (session fixation)."""
    await service.user()
    service.http.headers.update(SAME_ORIGIN)
    planted = (await service.login())["access_token"]
    answer = await service.http.post(
        "/login",
        json={"username": "ada", "password": PASSWORD, "cookie": True},
        headers={"Cookie": f"__Host-session={planted}"},
    )
    assert answer.status_code == 200
    assert planted not in answer.headers["set-cookie"]
    assert answer.json()["session_id"] != planted[4:16]


async def test_without_a_service_record_nobody_can_log_in(world: World, valkey: "redis.Redis") -> None:
    """A missing service record is an outage, and no refusal."""
    await world.user()
    valkey.delete("service")
    with pytest.raises(StoreUnavailable):
        await world.login(caller=Caller())
