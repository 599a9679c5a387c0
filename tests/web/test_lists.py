"""The lists for admins: users by name and state, the newest sessions, and the audit trail with its filters."""

from collections.abc import Sequence
from typing import Any

import pytest
import redis

from authsvc.core.token import ALPHABET
from authsvc.core.user import User
from authsvc.driver.topology import SlotBatch
from authsvc.flows import directory, indexes, newest_sessions, trail
from authsvc.store import keys, newest
from tests.conftest import Clock, Service, bearer
from tests.flows.contents import Commands
from tests.selection import one_in
from tests.web.conftest import assert_problem
from tests.web.phone import with_phone


async def listed(service: Service, path: str, limit: int = 100) -> list[dict[str, Any]]:
    """All items of a list, page by page."""
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        joined = "&" if "?" in path else "?"
        answer = await service.http.get(f"{path}{joined}limit={limit}{cursor}", auth=service.admin)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert len(body["items"]) <= limit
        items += body["items"]
        if body["next"] is None:
            return items
        cursor = f"&cursor={body['next']}"


async def names(service: Service, query: str, limit: int = 100) -> list[str]:
    return [item["username"] or item["sub"] for item in await listed(service, f"/admin/users?{query}", limit)]


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_users_by_the_beginning_of_a_name_or_sub(service: Service, limit: int) -> None:
    """Users are found by the beginning of the name, whatever its case, or of the sub, each once, by name."""
    # No random sub has an underscore.
    for name in ("a_am", "A_a", "Ä_A", "bob", "a_"):
        await service.user(name)
    ada = await service.deps.store.users.find_by_name("a_a")
    assert ada is not None
    await service.http.post("/tokens", json={"sub": "a_|outside"}, auth=service.admin)
    await service.deps.store.users.create("a_x", User(sub="a_x", username=None, epoch=1, created_at=1))
    assert await names(service, "q=A_", limit) == ["a_", "A_a", "a_am"], "subs have a case"
    assert await names(service, "q=a_", limit) == ["a_", "A_a", "a_am", "a_x", "a_|outside"]
    assert await names(service, "q=ä_", limit) == ["Ä_A"]
    assert await names(service, f"q={ada.user.sub[:6]}", limit) == ["A_a"]
    assert await names(service, "q=zz_", limit) == []


@pytest.mark.parametrize("limit", [1, 100])
async def test_users_by_status_and_role(service: Service, limit: int) -> None:
    """Filters by status, role and beginning all have to fit, and hold at once after a change."""
    subs = {name: (await service.user(name, roles=roles)).sub for name, roles in
            (("ada", ("editor",)), ("bob", ()), ("cy", ("editor", "admin")))}  # fmt: skip
    await service.http.post(f"/admin/users/{subs['bob']}/suspend", auth=service.admin)
    await service.http.post(f"/admin/users/{subs['ada']}/suspend", auth=service.admin)
    assert await names(service, "status=suspended", limit) == ["ada", "bob"]
    assert await names(service, "status=suspended&role=editor", limit) == ["ada"]
    assert await names(service, "status=suspended&q=bob", limit) == ["bob"]
    assert await names(service, "status=active", limit) == ["cy"]
    assert await names(service, "role=editor", limit) == ["ada", "cy"]
    assert await names(service, "role=admin", limit) == ["cy"]
    await service.http.post(f"/admin/users/{subs['bob']}/reinstate", auth=service.admin)
    await service.http.patch(f"/admin/users/{subs['ada']}", json={"username": "zoe"}, auth=service.admin)
    assert await names(service, "status=suspended", limit) == ["zoe"]
    assert await names(service, "q=ada", limit) == []
    assert await names(service, "q=zoe", limit) == ["zoe"]
    deleted = await service.http.delete(f"/admin/users/{subs['ada']}", auth=service.admin)
    assert deleted.status_code == 204, deleted.text
    assert await names(service, "status=suspended", limit) == []
    assert await names(service, "q=zoe", limit) == []


@pytest.mark.parametrize("limit", [1, 100])
async def test_users_without_a_second_factor(service: Service, limit: int) -> None:
    """A user is listed until a second factor is confirmed, and again once it is removed."""
    await with_phone(service, "ada")
    await service.user("bob")
    cy = await service.user("cy", roles=("editor",))
    assert await names(service, "factor=none", limit) == ["bob", "cy"]
    assert await names(service, "factor=none&role=editor", limit) == ["cy"]
    assert await names(service, "factor=none&q=ada", limit) == []
    ada = await service.deps.store.users.find_by_name("ada")
    assert ada is not None
    removed = await service.http.delete(f"/admin/users/{ada.user.sub}/factors", auth=service.admin)
    assert removed.status_code == 204, removed.text
    assert await names(service, "factor=none", limit) == ["ada", "bob", "cy"]
    await service.http.delete(f"/admin/users/{cy.sub}", auth=service.admin)
    assert await names(service, "factor=none", limit) == ["ada", "bob"]


async def test_many_users_with_a_factor_do_not_end_a_list(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page looks at a bounded number of users, and its cursor leads to the next ones."""
    monkeypatch.setattr(directory, "MOST_LOOKED_AT", 2)
    monkeypatch.setattr(directory, "_STEP", 3)
    for name in ("a", "b", "c", "d"):
        await with_phone(service, name)
    await service.user("e")
    page = (await service.http.get("/admin/users?factor=none", auth=service.admin)).json()
    assert page["items"] == []
    assert page["next"]
    assert await names(service, "factor=none") == ["e"]


async def wrong_logins(service: Service, username: str, number: int) -> None:
    """Wrong passwords from as many networks, so that only the limit of the account counts all of them."""
    for at in range(number):
        body = {"username": username, "password": "not the right one", "ip": f"203.0.{at // 250}.{at % 250}"}
        _, auth = await web(service)
        await service.http.post("/login", json=body, auth=auth)


async def web(service: Service) -> tuple[Any, tuple[str, str]]:
    return await service.client("client_ip")


class TestLocked:
    """With a limit of 3 for each account."""

    @pytest.fixture
    def settings(self, settings: Any) -> Any:
        return settings.but(limit_per_account=3)

    async def test_locked_users_and_unlocking(self, service: Service, clock: Clock) -> None:
        """An account that wrong passwords have locked is listed until the lock ends, or until it is unlocked."""
        users = {name: (await service.user(name)).sub for name in ("ada", "bob", "cy")}
        for name in ("ada", "bob", "nobody"):
            await wrong_logins(service, name, 4)
        found = await listed(service, "/admin/users?locked=true")
        assert {item["username"]: item["locked_until"] for item in found} == dict.fromkeys(
            ("ada", "bob"), int(clock()) + 60
        )
        answer = await service.http.post(f"/admin/users/{users['ada']}/unlock", auth=service.admin)
        assert answer.json()["locked_until"] is None
        await service.login("ada")
        assert await names(service, "locked=true") == ["bob"]
        one = (await service.http.get(f"/admin/users/{users['bob']}", auth=service.admin)).json()
        assert one["locked_until"] == int(clock()) + 60
        clock.forward(61)
        assert await names(service, "locked=true") == []

    async def test_unknown_names_cost_the_same(self, service: Service, commands: Commands) -> None:
        """A guess that locks takes the same commands for a name that nobody has: the time tells nothing."""
        await service.user("ada")
        _, auth = await web(service)
        seen = []
        for name in ("ada", "nobody"):
            for at in range(3):
                body = {"username": name, "password": "not the right one", "ip": f"203.0.113.{at}"}
                commands.reset()
                await service.http.post("/login", json=body, auth=auth)
            seen.append({kind: number for kind, number in commands.seen().items() if kind in ("eval", "get", "mget")})
        assert seen[0] == seen[1]


async def test_when_a_user_last_logged_in(service: Service, clock: Clock) -> None:
    """The time of the newest login outlives its session, and takes no round trip of its own."""
    ada = await service.user()
    path = f"/admin/users/{ada.sub}"
    assert (await service.http.get(path, auth=service.admin)).json()["last_login_at"] is None
    clock.forward(100)
    login = await service.login()
    at = int(clock())
    await service.http.post("/logout", headers=bearer(login["access_token"]))
    clock.forward(100)
    assert (await service.http.get(path, auth=service.admin)).json()["last_login_at"] == at
    assert (await listed(service, "/admin/users?q=ada"))[0]["last_login_at"] == at


@pytest.mark.parametrize("limit", one_in(2, [1, 3, 100]))
async def test_the_newest_sessions(service: Service, clock: Clock, limit: int) -> None:
    """Live sessions of all users, newest first, each once, with names, by client and since a time."""
    client, _ = await service.client(public=True)
    for name in ("ada", "bob"):
        await service.user(name)
    started = []
    for at in range(6):
        clock.forward(at % 2)  # two sessions of each moment
        which = {"client_id": client.client_id} if at % 3 == 0 else {}
        started.append((await service.login(("ada", "bob")[at % 2], **which))["session_id"])
    items = await listed(service, "/admin/sessions", limit)
    assert sorted(items, key=lambda one: -one["created_at"]) == items
    assert {one["session_id"] for one in items} == set(started)
    assert len(items) == len(started)
    assert {one["user"] for one in items} == {"ada", "bob"}
    of_client = await listed(service, f"/admin/sessions?client_id={client.client_id}", limit)
    assert [one["session_id"] for one in of_client] == [started[3], started[0]]
    assert {one["client"] for one in of_client} == {"a test's client"}
    since = await listed(service, f"/admin/sessions?since={int(clock())}", limit)
    assert {one["session_id"] for one in since} == {one["session_id"] for one in items if one["created_at"] == clock()}
    assert await listed(service, "/admin/sessions?client_id=nobody", limit) == []


async def test_sessions_that_ended_are_in_no_list(service: Service, valkey: "redis.Redis", clock: Clock) -> None:
    """Whatever ends a session takes it out of the list and of the number, at once."""
    await indexes.fill_lists(service.deps)
    people = [await service.user(name) for name in ("ada", "bob", "cy", "dee")]
    gone = [await service.login(name) for name in ("ada", "bob", "cy")]
    stays = await service.login("dee")
    await service.http.post("/logout", headers=bearer(gone[0]["access_token"]))
    await service.http.post(f"/admin/users/{people[1].sub}/suspend", auth=service.admin)
    await service.http.delete(f"/admin/users/{people[2].sub}", auth=service.admin)
    first = (await service.http.get("/admin/sessions", auth=service.admin)).json()
    assert [one["session_id"] for one in first["items"]] == [stays["session_id"]]
    assert first["count"] == {"sessions": 1, "exact": True}
    await service.deps.store.sessions.finish()
    assert valkey.zcard(keys.newest()) == valkey.zcard(keys.newest("app")) == 1, "ended sessions leave the index"
    clock.forward(15 * 86400)  # idle
    assert (await service.http.get("/admin/sessions", auth=service.admin)).json()["count"]["sessions"] == 0


async def test_the_index_keeps_the_newest_sessions(
    service: Service, valkey: "redis.Redis", clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index has a bound: older sessions go, and the number says that there may be more."""
    monkeypatch.setattr(newest, "MOST", 3)
    monkeypatch.setattr(newest_sessions, "MOST", 3)
    await indexes.fill_lists(service.deps)
    await service.user()
    handles = []
    for _ in range(5):
        clock.forward(1)
        handles.append((await service.login())["session_id"])
    answer = (await service.http.get("/admin/sessions", auth=service.admin)).json()
    assert [one["session_id"] for one in answer["items"]] == handles[:1:-1]
    assert answer["count"] == {"sessions": 3, "exact": False}
    assert valkey.zcard(keys.newest("app")) == 3
    session = await service.deps.store.sessions.get(handles[-1])
    assert valkey.pexpiretime(keys.newest()) == session.end * 1000


async def test_a_store_from_before_the_indexes(service: Service, valkey: "redis.Redis") -> None:
    """A start fills the indexes with the users and sessions that there are. Until then, lists say what they lack."""
    ada = await service.user()
    await service.user("gone")
    session = (await service.login())["session_id"]
    await service.http.post(f"/admin/users/{ada.sub}/suspend", auth=service.admin)
    await service.http.post(f"/admin/users/{ada.sub}/reinstate", auth=service.admin)
    session = (await service.login())["session_id"]
    valkey.delete(keys.USERS_INDEX, keys.newest(), keys.newest("app"), keys.INDEX_FILLED)
    answer = (await service.http.get("/admin/users?q=ada", auth=service.admin)).json()
    assert (answer["items"], answer["complete"]) == ([], False)
    assert (await service.http.get("/admin/sessions", auth=service.admin)).json()["count"]["exact"] is False
    valkey.zadd(keys.USERS_INDEX, {"aada\0other": 0, f"dada\0{ada.sub}": 0, "bnobody": 0})
    await indexes.fill_lists(service.deps)
    answer = (await service.http.get("/admin/users?q=ada", auth=service.admin)).json()
    assert ([one["username"] for one in answer["items"]], answer["complete"]) == (["ada"], True)
    assert await names(service, "status=suspended") == []
    assert {b"aada\0other", b"bnobody"}.isdisjoint(valkey.zrange(keys.USERS_INDEX, 0, -1))
    assert [one["session_id"] for one in await listed(service, "/admin/sessions")] == [session]
    assert valkey.zrange(keys.newest("app"), 0, -1) == [session.encode()]


async def test_the_trail_by_its_filters(service: Service, clock: Clock) -> None:
    """Each filter leaves exactly the events that fit, and the names of users and clients stand beside the ids."""
    await service.user("root", roles=("admin",))
    ada = await service.user("ada")
    root = await service.login("root")
    began = clock()
    clock.forward(30)
    await service.http.post(f"/admin/users/{ada.sub}/suspend", headers=bearer(root["access_token"]))
    await service.http.post(f"/admin/users/{ada.sub}/reinstate", auth=service.admin)
    await service.login("ada")

    async def found(query: str) -> list[str]:
        return [item["event"] for item in await listed(service, f"/admin/audit?{query}", 2)]

    assert await found(f"sub={ada.sub}") == ["login.succeeded", "user.reinstated", "user.suspended", "user.created"]
    assert await found(f"sub={ada.sub}&event=user") == ["user.reinstated", "user.suspended", "user.created"]
    assert await found("event=user.suspended") == ["user.suspended"]
    assert await found("event=use") == []
    assert await found(f"actor=client:{service.admin[0]}") == ["user.reinstated"]
    assert await found(f"client_id=app&sub={ada.sub}") == ["login.succeeded"]
    assert await found(f"sub={ada.sub}&since={int(clock())}") == [
        "login.succeeded",
        "user.reinstated",
        "user.suspended",
    ]
    assert await found(f"sub={ada.sub}&until={int(began) + 1}") == ["user.created"]
    (item,) = await listed(service, "/admin/audit?event=user.suspended")
    assert (item["user"], item["actor_name"]) == ("ada", "user:root")


async def test_a_page_of_the_trail_looks_at_so_many_events(
    service: Service, valkey: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one page reads has a bound. A page without a find says how far it has looked, and where to go on."""
    monkeypatch.setattr(trail, "MOST_LOOKED_AT", 2000)
    valkey.delete(keys.AUDIT)
    valkey.xadd(keys.AUDIT, {"at": 1500, "e": b'{"event":"user.created","actor":"operator","sub":"old"}'})
    with valkey.pipeline(transaction=False) as pipeline:
        for at in range(4500):
            pipeline.xadd(keys.AUDIT, {"at": 2000 + at, "e": b'{"event":"x","actor":"operator"}'})
        pipeline.execute()
    pages, cursor = [], ""
    while True:
        answer = (await service.http.get(f"/admin/audit?sub=old{cursor}", auth=service.admin)).json()
        pages.append((len(answer["items"]), answer["searched_to"]))
        if answer["next"] is None:
            break
        cursor = f"&cursor={answer['next']}"
    assert pages == [(0, 4.5), (0, 2.5), (1, 1.5)]


async def test_a_page_of_users_looks_at_so_many(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter of which few users fit gives short pages, never a long wait."""
    monkeypatch.setattr(directory, "MOST_LOOKED_AT", 5)
    for at in range(12):
        await service.user(f"u{at:02}", roles=("rare",) if at == 11 else ())
    sizes, cursor = [], ""
    while True:
        answer = (await service.http.get(f"/admin/users?role=rare{cursor}", auth=service.admin)).json()
        sizes.append(len(answer["items"]))
        if answer["next"] is None:
            break
        cursor = f"&cursor={answer['next']}"
    assert sizes == [0, 0, 1]


@pytest.mark.parametrize(
    "path",
    one_in(
        3,
        [
            *(f"/admin/users?q=a&cursor={cursor}" for cursor in ("x", "!", "4", "%00", "YQ%3D%3D%3D", "é")),
            *(
                f"/admin/sessions?cursor={cursor}"
                for cursor in ("1", "1-2-x", "a-1-" + ALPHABET[:12], "-1-1-" + "a" * 12)
            ),
            *(
                "/admin/users?locked=maybe",
                "/admin/users?role=two+words",
                "/admin/users?status=gone",
                "/admin/users?factor=some",
            ),
            *(
                "/admin/sessions?since=yesterday",
                "/admin/audit?until=-5",
                "/admin/audit?sub=a%20b",
                "/admin/sessions?x=1",
            ),
        ],
    ),
)
async def test_a_cursor_or_filter_of_nobody_is_refused(service: Service, path: str) -> None:
    """What no answer has named as a cursor, and what is no filter, is the caller's mistake."""
    assert_problem(await service.http.get(path, auth=service.admin), 400, "invalid_request")


async def test_a_login_takes_no_more_round_trips(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The indexes are written beside the session: a login takes as many round trips as without them."""
    await service.user()
    await service.login()  # from now on the network is known
    topology, sent = service.deps.store.connection._topology, list[int]()
    send = topology.send

    async def counting(batches: Sequence[SlotBatch]) -> list[list[Any]]:
        sent.append(len(batches))
        return await send(batches)

    monkeypatch.setattr(topology, "send", counting)
    counts = []
    for indexed in (True, False):
        if not indexed:
            monkeypatch.setattr(newest, "beside", lambda _handle, _session, apart: [])
        sent.clear()
        await service.login()
        counts.append((len(sent), sum(sent)))
    more = 2 if service.deps.store.connection.clustered else 1
    assert counts[0] == (counts[1][0], counts[1][1] + more)
