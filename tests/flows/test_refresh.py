"""Refreshing: rotation, the retry, reuse, forgery, other clients, deadlines, scopes."""

import pytest
import redis

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.errors import InvalidGrant, InvalidScope
from authsvc.flows import users
from authsvc.flows.deps import OPERATOR
from authsvc.settings import Settings
from authsvc.store.sessions import LAST_LOGIN
from tests.conftest import CHEAP, PASSWORD, Clock, Service
from tests.flows.conftest import World
from tests.flows.contents import Commands

GRACE_S = 10


async def refused(world: World, token: str | None, **fields: str) -> None:
    with pytest.raises(InvalidGrant):
        await world.refresh(token, **fields)  # type: ignore[arg-type]  # the scope at most


async def test_rotation(service: Service) -> None:
    """A refresh gives a new pair for the same session; the old refresh token is spent (RFC 9700 section 4.14)."""
    await service.user()
    first = await service.login(scope="read")
    answer = await service.refresh(first["refresh_token"])
    second = answer.json()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert second.keys() == first.keys()
    assert (second["session_id"], second["scope"]) == (first["session_id"], "read")
    assert len({first["access_token"], first["refresh_token"], second["access_token"], second["refresh_token"]}) == 4
    assert await service.active(second["access_token"])
    assert await service.active(second["refresh_token"])
    assert not await service.active(first["refresh_token"])


async def test_a_lost_answer_is_given_again(world: World, clock: Clock) -> None:
    """Within the grace the previous token gets the identical pair every time, and nothing is written."""
    await world.user()
    first = await world.login()
    second = await world.refresh(first.refresh_token)
    record = await world.deps.store.sessions.get(first.session_id)
    for later in (0, 0.1, 5, 4.8):
        clock.forward(later)
        again = await world.refresh(first.refresh_token)
        assert (again.access_token, again.refresh_token) == (second.access_token, second.refresh_token)
    assert await world.deps.store.sessions.get(first.session_id) == record
    assert await world.alive(second)


async def test_reuse_after_the_grace_ends_the_session(world: World, clock: Clock) -> None:
    """A spent token is refused, and the newest tokens die too."""
    await world.user()
    first = await world.login()
    second = await world.refresh(first.refresh_token)
    clock.forward(GRACE_S)
    assert await world.alive(second)
    await refused(world, first.refresh_token)
    assert not await world.alive(second)
    await refused(world, second.refresh_token)
    assert (await world.events())[-1].event == "token.reused"


async def test_an_older_generation_ends_the_session_at_any_time(world: World) -> None:
    """A token before the previous one is reuse, also within the grace of the previous one."""
    await world.user()
    first = await world.login()
    second = await world.refresh(first.refresh_token)
    third = await world.refresh(second.refresh_token)
    await refused(world, first.refresh_token)
    assert not await world.alive(third)
    await refused(world, second.refresh_token)


async def test_reuse_takes_the_session_off_the_list(world: World, valkey: "redis.Redis") -> None:
    """A session that reuse ended leaves no entry in the index."""
    user = await world.user()
    first = await world.login()
    second = await world.refresh(first.refresh_token)
    await world.refresh(second.refresh_token)
    await refused(world, first.refresh_token)
    assert not valkey.exists(f"session:{first.session_id}")
    assert valkey.zrange(f"sessions:{{{user.sub}}}", 0, -1) == [LAST_LOGIN.encode()]


async def test_the_previous_access_token_lives_through_the_grace(world: World, clock: Clock) -> None:
    """The old access token works during the grace and then stops, also before it expires."""
    await world.user()
    first = await world.login()
    await world.refresh(first.refresh_token)
    clock.forward(GRACE_S - 0.5)
    assert await world.active(first.access_token)
    clock.forward(0.5)
    assert not await world.active(first.access_token)


async def test_a_refresh_revives_no_expired_access_token(service: Service, clock: Clock) -> None:
    """An expired access token stays expired during the grace."""
    await service.user()
    first = await service.login()
    clock.forward(first["expires_in"])
    assert not await service.active(first["access_token"])
    assert (await service.refresh(first["refresh_token"])).status_code == 200
    assert not await service.active(first["access_token"])


class TestStrict:
    """With a grace of 0."""

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(**CHEAP | {"refresh_grace_s": 0})

    async def test_the_second_use_ends_the_session(self, world: World) -> None:
        """With a grace of 0 there is no retry, and no previous access token."""
        await world.user()
        first = await world.login()
        second = await world.refresh(first.refresh_token)
        assert not await world.active(first.access_token)
        await refused(world, first.refresh_token)
        assert not await world.alive(second)


async def test_a_forged_token_changes_nothing(world: World, valkey: "redis.Redis") -> None:
    """A forged token with the right handle is invalid_grant, and the session stays."""
    await world.user()
    grant = await world.refresh((await world.login()).refresh_token)
    key = f"session:{grant.session_id}"
    before = valkey.dump(key)
    for _ in range(3):
        await refused(world, tokens.new(Kind.REFRESH, grant.session_id).text)
    assert valkey.dump(key) == before
    assert await world.alive(grant)


async def test_only_a_refresh_token_refreshes(world: World) -> None:
    """Other kinds of token with the right handle are invalid_grant."""
    await world.user()
    grant = await world.login()
    await refused(world, grant.access_token)
    await refused(world, "ref" + grant.access_token[3:])
    for kind in (Kind.ACCESS, Kind.RESET, Kind.SECRET):
        await refused(world, tokens.new(kind, grant.session_id).text)
    assert await world.alive(grant)


async def test_what_is_no_token_is_refused_without_a_store_call(world: World, commands: Commands) -> None:
    """Every changed or truncated refresh token is refused without a store call."""
    await world.user()
    token = (await world.login()).refresh_token or ""
    mistyped = [token[:at] + ("x" if token[at] != "x" else "y") + token[at + 1 :] for at in range(len(token))]
    commands.reset()
    for text in (*mistyped, *(token[:cut] for cut in range(len(token))), token + "\n", "ref_" + "é" * 45):
        await refused(world, text)
    assert commands.seen() == {}
    await world.refresh(token)


async def test_another_clients_token_is_refused_and_stays_good(service: Service) -> None:
    """A token of another client is refused and changes nothing, also as reuse (RFC 6749 section 6)."""
    await service.user()
    mine, _ = await service.client(public=True)
    first = await service.login(client_id=mine.client_id)
    _, stranger_auth = await service.client()
    for _ in range(2):
        stolen = await service.http.post(
            "/token", data={"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}, auth=stranger_auth
        )
        assert (stolen.status_code, stolen.json()["error"]) == (400, "invalid_grant")
        public = await service.refresh(first["refresh_token"])  # the built-in client
        assert (public.status_code, public.json()["error"]) == (400, "invalid_grant")
    second = await service.refresh(first["refresh_token"], client_id=mine.client_id)
    assert second.status_code == 200
    third = await service.refresh(second.json()["refresh_token"], client_id=mine.client_id)
    assert (await service.refresh(first["refresh_token"])).status_code == 400  # reuse, but by a stranger
    assert await service.active(third.json()["access_token"])


async def test_a_confidential_client_has_to_authenticate(service: Service) -> None:
    """The refresh token of a confidential client is worthless without its secret."""
    await service.user()
    _, auth = await service.client()
    login = await service.http.post("/login", json={"username": "ada", "password": PASSWORD}, auth=auth)
    form = {"grant_type": "refresh_token", "refresh_token": login.json()["refresh_token"]}
    for wrong in ({"client_id": auth[0]}, {"client_id": auth[0], "client_secret": tokens.new(Kind.SECRET).text}, {}):
        answer = await service.http.post("/token", data=form | wrong)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    wrong = {"client_id": auth[0], "client_secret": tokens.new(Kind.SECRET).text}
    both = await service.http.post("/token", data=form | wrong, auth=auth)
    assert (both.status_code, both.json()["error"]) == (400, "invalid_request")
    posted = await service.http.post("/token", data=form | {"client_id": auth[0], "client_secret": auth[1]})
    assert posted.status_code == 200
    again = await service.http.post(
        "/token", data={"grant_type": "refresh_token", "refresh_token": posted.json()["refresh_token"]}, auth=auth
    )
    assert again.status_code == 200


@pytest.mark.parametrize("grant", ["password", "authorization_code", "Refresh_token"])
async def test_no_other_grant(service: Service, grant: str) -> None:
    """Other grants are unsupported_grant_type, above all the password grant (RFC 9700 section 2.4)."""
    answer = await service.http.post("/token", data={"grant_type": grant, "client_id": "app", "username": "ada"})
    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")


async def test_idle_and_absolute_deadlines(world: World, clock: Clock) -> None:
    """A refresh moves the idle deadline and never the absolute one."""
    await world.user()
    client = await world.client(public=True, access_ttl_s=60, idle_ttl_s=600, session_ttl_s=2000)
    grant = await world.login(client=client)
    for _ in range(3):
        clock.forward(599)
        grant = await world.refresh(grant.refresh_token, client=client)
    assert (grant.expires_in, grant.session_ends_in) == (60, 2000 - 3 * 599)
    clock.forward(2000 - 3 * 599 - 1)
    grant = await world.refresh(grant.refresh_token, client=client)
    assert (grant.expires_in, grant.session_ends_in) == (1, 1)
    clock.forward(1)
    with pytest.raises(InvalidGrant):
        await world.refresh(grant.refresh_token, client=client)
    assert not await world.alive(grant)


async def test_an_idle_session_refreshes_no_more(world: World, clock: Clock) -> None:
    """Unused refresh tokens expire (RFC 9700 section 4.14.2)."""
    await world.user()
    client = await world.client(public=True, idle_ttl_s=600)
    grant = await world.login(client=client)
    clock.forward(600)
    with pytest.raises(InvalidGrant):
        await world.refresh(grant.refresh_token, client=client)


async def test_introspection_counts_as_use(world: World, clock: Clock) -> None:
    """A session whose tokens are introspected does not go idle."""
    await world.user()
    client = await world.client(public=True, access_ttl_s=5000, idle_ttl_s=600, session_ttl_s=5000)
    grant = await world.login(client=client)
    for _ in range(8):
        clock.forward(500)
        assert await world.active(grant.access_token)
        await world.deps.store.sessions.finish()
    clock.forward(600)
    assert not await world.active(grant.access_token)


async def test_scope_can_be_narrowed_and_is_whole_again(service: Service) -> None:
    """A narrower scope applies to one access token. A wider one is invalid_scope and spends nothing."""
    await service.user()
    first = await service.login(scope="read write")
    wide = await service.refresh(first["refresh_token"], scope="read delete")
    assert (wide.status_code, wide.json()["error"]) == (400, "invalid_scope")
    narrow = (await service.refresh(first["refresh_token"], scope="read")).json()
    assert narrow["scope"] == "read"
    assert (await service.introspect(narrow["access_token"]))["scope"] == "read"
    assert (await service.introspect(first["access_token"]))["scope"] == "read write"
    whole = (await service.refresh(narrow["refresh_token"])).json()
    assert whole["scope"] == "read write"
    assert (await service.introspect(whole["access_token"]))["scope"] == "read write"
    assert (await service.introspect(narrow["access_token"]))["scope"] == "read"
    assert (await service.refresh(whole["refresh_token"], scope="")).json()["scope"] == "read write"  # empty is absent


async def test_a_retry_may_not_widen(world: World) -> None:
    """A repeated answer is the same answer, whatever scope the retry asks for."""
    await world.user()
    first = await world.login(scope="read write")
    narrow = await world.refresh(first.refresh_token, scope="read")
    again = await world.refresh(first.refresh_token, scope="read write")
    assert again == narrow
    with pytest.raises(InvalidScope):
        await world.refresh(first.refresh_token, scope="delete")
    assert await world.alive(narrow)


async def test_a_suspended_users_session_refreshes_no_more(world: World) -> None:
    """A suspended user gets no refresh, and reinstating does not bring the session back."""
    user = await world.user()
    grant = await world.login()
    await users.update(world.deps, OPERATOR, user.sub, status="suspended")
    await refused(world, grant.refresh_token)
    await users.update(world.deps, OPERATOR, user.sub, status="active")
    await refused(world, grant.refresh_token)
    assert not await world.alive(grant)


async def test_a_session_without_refresh_has_none(world: World) -> None:
    """In cookie mode no token refreshes the session."""
    await world.user()
    grant = await world.login(cookie=True)
    assert grant.refresh_token is None
    await refused(world, tokens.new(Kind.REFRESH, grant.session_id).text)
    assert await world.alive(grant)
