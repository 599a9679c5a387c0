"""A user's own sessions: the list, the ways to end them, and their number."""

import asyncio

import pytest

from authsvc.errors import InvalidToken
from authsvc.flows import revoke, sessions, users
from authsvc.flows.deps import OPERATOR
from authsvc.flows.grants import Grant
from authsvc.settings import Settings
from tests.conftest import CHEAP, PASSWORD, Clock, Service, bearer
from tests.flows.conftest import HERE, World


async def test_a_user_lists_the_own_devices(service: Service, clock: Clock) -> None:
    """The own sessions are listed with device, address, user agent and times, newest first, the current one marked."""
    await service.user("ada")
    await service.user("bea")
    await service.login("bea")
    service.http.headers["user-agent"] = "browser/1"
    old = await service.login(device="desk")
    clock.forward(100)
    new = await service.login(device="phone", scope="read")
    answer = await service.http.get("/sessions", headers=bearer(old["access_token"]))
    began = int(clock())
    shared = {"client_id": "app", "ip": "192.0.2.1", "user_agent": "browser/1"}
    assert answer.json() == {
        "items": [
            shared
            | {
                "session_id": new["session_id"],
                "device": "phone",
                "scope": "read",
                "created_at": began,
                "last_seen": began,
                "expires_at": began + 30 * 86400,
                "current": False,
            },
            shared
            | {
                "session_id": old["session_id"],
                "device": "desk",
                "created_at": began - 100,
                "last_seen": began // 60 * 60,
                "expires_at": began - 100 + 30 * 86400,
                "current": True,
            },
        ],
        "next": None,
    }
    assert not any(text in answer.text for text in (old["access_token"], new["refresh_token"], "digest", "seed"))


async def test_last_seen_tells_nothing_about_a_refresh(service: Service, clock: Clock) -> None:
    """At `/me` and `/sessions` the own session was last seen in the minute of the request, refreshed or not.

    A thief with an access token would see there when the owner refreshes.
    """
    await service.user()
    stolen, owner, began = bearer((first := await service.login())["access_token"]), first, int(clock())
    for seconds in (0.5, 1, 61, 7, 240):
        clock.forward(seconds)
        seen = []
        for _ in range(2):
            me = (await service.http.get("/me", headers=stolen)).json()["session"]
            (listed,) = (await service.http.get("/sessions", headers=stolen)).json()["items"]
            seen += [me["last_seen"], listed["last_seen"]]
            owner = (await service.refresh(owner["refresh_token"])).json() if len(seen) == 2 else owner
        assert seen == [max(int(clock()) // 60 * 60, began)] * 4
        stolen = bearer(owner["access_token"])


async def test_only_living_sessions_are_listed(world: World, clock: Clock) -> None:
    """Idle, ended, revoked and cut-off sessions are not listed, also if a record remains."""
    user = await world.user()
    other = await world.client(public=True)
    short = await world.client(public=True, idle_ttl_s=60)
    ended, idle, cut, kept = (
        await world.login(),
        await world.login(client=short),
        await world.login(client=other),
        await world.login(),
    )
    assert {one.handle for one in await sessions.list_active(world.deps, user.sub)} == {
        grant.session_id for grant in (ended, idle, cut, kept)
    }
    await revoke.revoke_token(world.deps, OPERATOR, None, ended.access_token)
    await revoke.revoke_client(world.deps, OPERATOR, other.client_id)
    clock.forward(60)
    assert [one.handle for one in await sessions.list_active(world.deps, user.sub)] == [kept.session_id]
    await revoke.revoke_user(world.deps, OPERATOR, user.sub)
    assert await sessions.list_active(world.deps, user.sub) == []


async def test_logout(service: Service) -> None:
    """A logout ends the session of the presented token and no other. A second logout is refused."""
    await service.user()
    mine, other = await service.login(), await service.login()
    assert (await service.http.post("/logout", headers=bearer(mine["access_token"]))).status_code == 204
    assert not await service.active(mine["access_token"])
    assert not await service.active(mine["refresh_token"])
    assert await service.active(other["access_token"])
    assert (await service.http.post("/logout", headers=bearer(mine["access_token"]))).status_code == 401


async def test_ending_one(service: Service) -> None:
    """A user can end a session on another device, or the current one."""
    await service.user()
    here, there = await service.login(), await service.login()
    answer = await service.http.delete(f"/sessions/{there['session_id']}", headers=bearer(here["access_token"]))
    assert answer.status_code == 204
    assert not await service.active(there["access_token"])
    assert await service.active(here["access_token"])
    again = await service.http.delete(f"/sessions/{there['session_id']}", headers=bearer(here["access_token"]))
    assert again.status_code == 404
    own = await service.http.delete(f"/sessions/{here['session_id']}", headers=bearer(here["access_token"]))
    assert own.status_code == 204
    assert not await service.active(here["access_token"])


async def test_anothers_session_is_a_404(service: Service) -> None:
    """Another user's session gets the same 404 as an unknown one, also for an admin, and it stays alive."""
    await service.user("ada", roles=("admin",))
    await service.user("bea")
    ada, bea = await service.login("ada"), await service.login("bea")
    answers = [
        await service.http.delete(f"/sessions/{handle}", headers=bearer(ada["access_token"]))
        for handle in (bea["session_id"], "000000000000", "x", "%7B%7D", bea["session_id"] + "A")
    ]
    assert [answer.status_code for answer in answers] == [404] * 5
    assert len({answer.content for answer in answers}) == 1
    assert await service.active(bea["access_token"])


async def test_ending_the_others_spares_exactly_this_one(service: Service) -> None:
    """All other sessions of the user end. This one can still be refreshed."""
    await service.user("ada")
    await service.user("bea")
    others = [await service.login() for _ in range(3)]
    here, bea = await service.login(), await service.login("bea")
    assert (await service.http.delete("/sessions", headers=bearer(here["access_token"]))).status_code == 204
    assert not any([await service.active(other["access_token"]) for other in others])
    assert await service.active(here["access_token"])
    assert await service.active(bea["access_token"])
    fresh = (await service.refresh(here["refresh_token"])).json()
    assert await service.active(fresh["access_token"])
    later = await service.login()
    assert await service.active(later["access_token"])
    # Now the other way round: the spared session is one of the others.
    assert (await service.http.delete("/sessions", headers=bearer(later["access_token"]))).status_code == 204
    assert not await service.active(fresh["access_token"])
    assert await service.active(later["access_token"])


async def test_ending_all(service: Service) -> None:
    """`?all=true` ends this session too. Any other value is refused."""
    await service.user()
    other, here = await service.login(), await service.login()
    for query in ("?all=yes", "?al=true", "?all=true&all=false"):
        answer = await service.http.delete("/sessions" + query, headers=bearer(here["access_token"]))
        assert answer.status_code == 400
    assert (await service.http.delete("/sessions?all=true", headers=bearer(here["access_token"]))).status_code == 204
    assert not await service.active(other["access_token"])
    assert not await service.active(here["access_token"])


async def test_a_session_that_ended_meanwhile_is_not_spared(world: World) -> None:
    """A session that was cut off after its lookup is not spared, nor one of a deleted user."""
    user = await world.user()
    mine, other = await world.login(), await world.login()
    me, too = await world.me(mine), await world.me(other)
    await revoke.revoke_user(world.deps, OPERATOR, user.sub)
    with pytest.raises(InvalidToken):
        await sessions.end_others(world.deps, HERE, me)
    assert not await world.alive(mine)
    await users.delete(world.deps, OPERATOR, user.sub)
    for act in (sessions.end_others, sessions.end_all):
        with pytest.raises(InvalidToken):
            await act(world.deps, HERE, too)


async def test_cookie_sessions(service: Service) -> None:
    """Ending the own session clears the cookie. Ending others does not."""
    await service.user()
    same = {"Sec-Fetch-Site": "same-origin"}
    answer = await service.http.post(
        "/login", json={"username": "ada", "password": PASSWORD, "cookie": True}, headers=same
    )
    cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]} | same
    service.http.cookies.clear()
    others = await service.http.delete("/sessions", headers=cookie)
    assert others.status_code == 204
    assert "set-cookie" not in others.headers
    assert (await service.http.get("/me", headers=cookie)).status_code == 200
    out = await service.http.post("/logout", headers=cookie)
    assert out.status_code == 204
    assert "max-age=0" in out.headers["set-cookie"].lower()
    assert (await service.http.get("/me", headers=cookie)).status_code == 401


class Ticking(Clock):
    """A clock that moves with each reading, so that two logins never begin in the same millisecond."""

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


class TestCap:
    """The number of sessions of one user."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Ticking()

    async def test_the_fifty_first_ends_the_oldest(self, world: World, clock: Clock) -> None:
        """Login 51 ends the oldest session of the user, and no other."""
        user = await world.user()
        await world.user("bea")
        bea = await world.login("bea")
        grants = []
        for _ in range(52):
            clock.forward(1)
            grants.append(await world.login())
        assert [await world.alive(grant) for grant in grants] == [False] * 2 + [True] * 50
        assert await world.alive(bea)
        assert len(await sessions.list_active(world.deps, user.sub)) == 50
        reasons = [event.reason for event in await world.events() if event.event == "session.ended"]
        assert reasons == ["too many sessions"] * 2

    async def test_sixty_parallel_logins_end_up_with_fifty(self, world: World) -> None:
        """Parallel logins together end exactly the surplus."""
        user = await world.user()
        for _ in range(3):
            await asyncio.gather(*(world.login() for _ in range(20)))
        assert len(await sessions.list_active(world.deps, user.sub)) == 50

    async def test_all_at_once(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Sixty logins at the same moment leave fifty sessions."""
        user = await world.user()
        monkeypatch.setattr(world.deps.hasher._pool, "_free", 100)
        await asyncio.gather(*(world.login() for _ in range(60)))
        assert len(await sessions.list_active(world.deps, user.sub)) == 50

    class TestSmall:
        """With a cap of 2."""

        @pytest.fixture
        def settings(self) -> Settings:
            return Settings(**CHEAP | {"max_sessions": 2})

        @pytest.fixture
        def clock(self) -> Clock:
            return Clock()

        async def test_the_newest_survives_the_same_millisecond(self, world: World) -> None:
            """A login never ends its own session."""
            await world.user()
            grants: list[Grant] = []
            for _ in range(6):
                grants.append(await world.login())
                assert await world.alive(grants[-1])
            assert sum([await world.alive(grant) for grant in grants]) == 2

        async def test_the_least_recently_used_session_makes_room(self, world: World, clock: Clock) -> None:
            """A login beyond the cap ends the session that was used least recently, however old the others are."""
            await world.user()
            client = await world.client(public=True, refresh=False)
            phone = await world.login(client=client)
            clock.forward(200)
            forgotten = await world.login(client=client)
            clock.forward(200)
            await world.me(phone)
            await world.deps.store.sessions.finish()
            clock.forward(1)
            new = await world.login(client=client)
            assert [await world.alive(grant) for grant in (phone, forgotten, new)] == [True, False, True]

        async def test_a_refresh_is_use(self, world: World, clock: Clock) -> None:
            """A session that was only refreshed counts as used at that moment."""
            await world.user()
            phone = await world.login()
            clock.forward(1000)
            forgotten = await world.login()
            clock.forward(1000)
            phone = await world.refresh(phone.refresh_token)
            clock.forward(1)
            new = await world.login()
            assert [await world.alive(grant) for grant in (phone, forgotten, new)] == [True, False, True]

        async def test_ended_sessions_make_room_first(self, world: World, clock: Clock) -> None:
            """An idle session is ended before an older active one."""
            await world.user()
            short = await world.client(public=True, idle_ttl_s=60)
            old = await world.login()
            clock.forward(1)
            idle = await world.login(client=short)
            clock.forward(60)
            new = await world.login()
            assert [await world.alive(grant) for grant in (old, idle, new)] == [True, False, True]
