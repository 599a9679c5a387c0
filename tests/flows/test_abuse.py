"""Attacks and mistakes that once succeeded and must fail."""

from typing import Any

import pytest
import redis
from starlette.types import Message

from authsvc.errors import InvalidRequest, LastAdmin, UsernameTaken
from authsvc.flows import clients, issue, users
from authsvc.flows.deps import OPERATOR
from authsvc.store import keys
from tests.conftest import PASSWORD, Clock, Service, bearer
from tests.flows.contents import Commands


async def test_refused_guesses_leave_nothing_behind(service: Service, valkey: "redis.Redis") -> None:
    """When the limit of an address is used up, further logins write no event and no key, whatever their names."""
    for number in range(20):
        await service.http.post("/login", json={"username": f"n{number}", "password": "wrong"})
    before = (valkey.xlen("audit"), valkey.dbsize())
    for number in range(50):
        answer = await service.http.post("/login", json={"username": f"m{number}", "password": "wrong"})
        assert answer.status_code == 429
    assert (valkey.xlen("audit"), valkey.dbsize()) == before


async def test_invented_clients_leave_nothing_behind(service: Service, valkey: "redis.Redis") -> None:
    """Guesses with invented client ids are throttled by address and store no record for each id."""
    before = (valkey.xlen("audit"), valkey.dbsize())
    answers = [
        (await service.http.post("/introspect", data={"token": "x"}, auth=(f"c{number}", "bad"))).status_code
        for number in range(60)
    ]
    assert set(answers) == {401, 429}
    assert valkey.xlen("audit") == before[0]
    assert valkey.dbsize() <= before[1] + 1


@pytest.mark.slow
async def test_the_trail_has_a_bound(service: Service, valkey: "redis.Redis") -> None:
    """The stream keeps no more events than it may, however many are written."""
    audit = service.deps.store.audit
    audit._max_events = 100
    await service.user()
    for _ in range(150):  # each writes two events; Valkey drops whole nodes of a hundred
        await service.http.post("/logout", headers=bearer((await service.login())["access_token"]))
    assert valkey.xlen("audit") < 250


async def test_an_issued_token_does_not_become_an_admins(service: Service) -> None:
    """An issued token gets no admin power when its user becomes an admin later. A login of the user does."""
    bob = await service.user("bob")
    _, issuer = await service.client("issue")
    token = (await service.http.post("/tokens", json={"sub": bob.sub}, auth=issuer)).json()["access_token"]
    await users.update(service.deps, OPERATOR, bob.sub, roles=("admin",))
    answer = await service.http.get("/admin/users", headers=bearer(token))
    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")
    own = (await service.login("bob"))["access_token"]
    assert (await service.http.get("/admin/users", headers=bearer(own))).status_code == 200


async def test_a_reset_code_does_not_become_an_admins(service: Service) -> None:
    """A help desk's reset code stops working when its user becomes an admin."""
    bob = await service.user("bob")
    _, desk = await service.client("reset")
    code = (await service.http.post(f"/admin/users/{bob.sub}/reset-code", auth=desk)).json()["reset_code"]
    await users.update(service.deps, OPERATOR, bob.sub, roles=("admin",))
    body = {"reset_code": code, "new_password": "another walk by the river"}
    answer = await service.http.post("/password/reset", json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert await service.login("bob")
    by_admin = (await service.http.post(f"/admin/users/{bob.sub}/reset-code", auth=service.admin)).json()["reset_code"]
    assert (await service.http.post("/password/reset", json=body | {"reset_code": by_admin})).status_code == 204


async def test_an_admin_who_cannot_log_in_is_no_admin(service: Service) -> None:
    """The last admin client stays while the only admin user has no password."""
    await users.create(service.deps, OPERATOR, username="root", roles=("admin",))
    with pytest.raises(LastAdmin):
        await clients.delete(service.deps, OPERATOR, service.admin[0])
    await service.user("toor", roles=("admin",))
    await clients.delete(service.deps, OPERATOR, service.admin[0])


async def test_a_body_that_breaks_off(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """A client that disconnects within its body causes no error 500."""
    for path in ("/login", "/introspect"):
        kind = b"application/json" if path == "/login" else b"application/x-www-form-urlencoded"
        messages: list[Message] = [
            {"type": "http.request", "body": b"t", "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive(messages: list[Message] = messages) -> Message:
            return messages.pop(0)

        sent: list[Message] = []

        async def send(message: Message, sent: list[Message] = sent) -> None:
            sent.append(message)

        scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"content-type", kind), (b"content-length", b"100")],
            "client": ("192.0.2.1", 1),
            "server": ("auth.test", 80),
            "scheme": "http",
            "http_version": "1.1",
            "root_path": "",
        }
        await service.app(scope, receive, send)
        assert sent[0]["status"] == 400
    assert not [record for record in caplog.records if record.exc_info]


async def test_the_cap_counts_only_who_lives(service: Service, clock: Clock) -> None:
    """The cap ends inactive sessions before active ones, however old those are."""
    await service.user()
    app, _ = await service.client(public=True)
    old = await service.login()
    for _ in range(service.deps.settings.max_sessions - 1):
        clock.forward(1)
        await service.login(client_id=app.client_id)
    await service.http.post("/revoke", data={"client_id": app.client_id}, auth=service.admin)
    clock.forward(1)
    new = await service.login()
    assert await service.active(old["access_token"])
    assert await service.active(new["access_token"])


async def test_issuing_does_not_overwrite_an_admins_change(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """An admin gives the user an account while a token is being issued, and that change stays."""
    client, _ = await service.client("issue")
    await issue.issue(service.deps, OPERATOR, client, sub="g|1", roles=("a",))
    store = service.deps.store.users
    find = store.find

    async def slow_find(sub: str) -> Any:
        found = await find(sub)
        monkeypatch.setattr(store, "find", find)
        await users.update(service.deps, OPERATOR, "g|1", username="gina", roles=("editor",))
        return found

    monkeypatch.setattr(store, "find", slow_find)
    with pytest.raises(InvalidRequest):
        await issue.issue(service.deps, OPERATOR, client, sub="g|1", roles=("x",))
    user = await store.get("g|1")
    assert (user.username, user.roles) == ("gina", ("editor",))


async def test_two_renamings_do_not_share_a_name(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow rename fails when another user has taken the name meanwhile."""
    first, second = await service.user("ann"), await service.user("bob")
    store = service.deps.store.users
    take = store._take_name

    async def overtaken(user: Any) -> None:
        await take(user)
        monkeypatch.setattr(store, "_take_name", take)
        await users.update(service.deps, OPERATOR, first.sub, username="bea")
        await users.update(service.deps, OPERATOR, second.sub, username="cleo")

    monkeypatch.setattr(store, "_take_name", overtaken)
    with pytest.raises(UsernameTaken):
        await users.update(service.deps, OPERATOR, first.sub, username="cleo")
    assert [(await store.get(user.sub)).username for user in (first, second)] == ["bea", "cleo"]
    for name in ("bea", "cleo"):
        assert await service.login(name)


async def test_a_hash_that_cannot_be_read_is_no_wrong_password(service: Service, valkey: "redis.Redis") -> None:
    """A damaged record is an outage, and does not count as a guess."""
    user = await service.user()
    valkey.set(keys.credentials(user.sub), '{"hash": "$argon2id$broken"}')
    for _ in range(8):
        answer = await service.http.post("/login", json={"username": "ada", "password": PASSWORD})
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")


async def test_cookie_and_token_live_equally_long(service: Service) -> None:
    """In cookie mode the token and the cookie live as long as the session, whatever the access lifetime."""
    await service.user()
    app, _ = await service.client(public=True, access_ttl_s=300, session_ttl_s=7200)
    body = {"username": "ada", "password": PASSWORD, "cookie": True, "client_id": app.client_id}
    answer = await service.http.post("/login", json=body, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.json()["expires_in"] == 7200
    assert "Max-Age=7200" in answer.headers["set-cookie"]


async def test_a_batch_is_not_looked_up_for_strangers(service: Service, commands: Commands) -> None:
    """A batch of a thousand tokens without credentials looks up no session."""
    await service.user()
    token = (await service.login())["access_token"]
    commands.reset()
    answer = await service.http.post("/introspect/batch", json={"tokens": [token] * 500}, auth=("app", "bad"))
    assert answer.status_code == 401
    assert commands.seen()["mget"] == 1
