"""What nobody may ever read: no token, secret, code or password gets into logs, errors, the audit trail or a repr."""

import json
import logging
from typing import Any

import httpx
import pytest
import redis

from authsvc.core import token as tokens
from authsvc.core.session import Found
from authsvc.core.token import Kind
from authsvc.errors import AuthError
from authsvc.flows.deps import Deps
from authsvc.flows.grants import Grant
from authsvc.logs import JsonLines
from authsvc.settings import Settings
from tests.conftest import CHEAP, Service, bearer
from tests.web.conftest import ORIGIN, cookie, cookie_of

FIRST = "canary one sings at dawn"
SECOND = "canary two sings at noon"
THIRD = "canary three sings at dusk"
WRONG = "canary nobody has this one"


class Canaries:
    """Every secret that a run has seen, and every answer, header and log line that may not hold one unasked."""

    def __init__(self) -> None:
        self.secrets: dict[str, None] = dict.fromkeys([FIRST, SECOND, THIRD, WRONG])
        self.errors: list[httpx.Response] = []
        self.headers: list[str] = []

    def seen(self, answer: httpx.Response) -> Any:
        """Take note of an answer: what it gives out from now on is a canary."""
        self.headers += [f"{name}: {value}" for name, value in answer.headers.items() if name != "set-cookie"]
        if answer.status_code >= 400:
            self.errors.append(answer)
        body = answer.json() if answer.headers.get("content-type") == "application/json" else {}
        for name in ("access_token", "refresh_token", "client_secret", "reset_code"):
            if isinstance(body, dict) and isinstance(body.get(name), str):
                self.secrets[body[name]] = None
        if "set-cookie" in answer.headers and len(cookie_of(answer)) == tokens.LENGTH:
            self.secrets[cookie_of(answer)] = None
        return body

    def in_text(self, text: str) -> list[str]:
        """The canaries in a text: whole, or the secret part of a token."""
        parts = {secret: secret[16:43] if tokens.parse(secret) else secret for secret in self.secrets}
        return [secret for secret, part in parts.items() if part in text]


async def run_through_everything(service: Service, canaries: Canaries) -> None:
    """Every flow once, as it should go and as it should not."""
    http, admin, seen = service.http, service.admin, canaries.seen
    canaries.secrets[admin[1]] = None
    user = seen(await http.post("/admin/users", json={"username": "ada"}, auth=admin))
    reset = {"reset_code": user["reset_code"], "new_password": FIRST}
    seen(await http.post("/password/reset", json=reset))
    seen(await http.post("/password/reset", json=reset))
    seen(await http.post("/admin/users", json={"username": "bob", "password": SECOND}, auth=admin))
    seen(await http.post("/admin/users", json={"username": "eve", "password": "bobbob" + "9" * 4}, auth=admin))
    for password in (WRONG, FIRST):
        login = {"username": "ada", "password": password, "device": "phone"}
        grant = seen(await http.post("/login", json=login))
    seen(await http.post("/login", json={"username": WRONG, "password": FIRST}))
    by_cookie = await http.post("/login", json=login | {"cookie": True}, headers={"Origin": ORIGIN})
    seen(by_cookie)
    for headers in (cookie(cookie_of(by_cookie)), bearer(grant["access_token"]), bearer(grant["refresh_token"])):
        for path in ("/me", "/sessions", "/admin/users"):
            seen(await http.get(path, headers=headers))
    form = {"grant_type": "refresh_token", "client_id": "app"}
    fresh = seen(await http.post("/token", data=form | {"refresh_token": grant["refresh_token"]}))
    forged = tokens.new(Kind.REFRESH, grant["session_id"]).text
    canaries.secrets[forged] = None
    for refused in (forged, fresh["access_token"], admin[1], FIRST):
        seen(await http.post("/token", data=form | {"refresh_token": refused}))
        seen(await http.post("/token", data=form | {"grant_type": refused, "scope": refused}))
        seen(await http.post("/login", json={"username": refused, "password": refused, refused: refused}))
        seen(await http.get("/me", headers=bearer(refused)))
        seen(await http.get(f"/admin/users/{refused}", auth=admin))
        seen(await http.delete(f"/sessions/{refused}", headers=bearer(fresh["access_token"])))
        seen(await http.post("/introspect", data={"token": refused}, auth=(refused, refused)))
        seen(await http.post(f"/introspect?token={refused}", data={"token": refused}, auth=admin))
        seen(await http.get("/me", headers={"X-Request-ID": f"{refused}.", "User-Agent": "x"}))
    changed = {"current_password": FIRST, "new_password": THIRD}
    for body in ({"current_password": WRONG, "new_password": THIRD}, changed):
        fresh = seen(await http.post("/password", json=body, headers=bearer(fresh.get("access_token", "")))) or fresh
        if "error" in fresh:
            fresh = seen(await http.post("/token", data=form | {"refresh_token": grant["refresh_token"]}))
    client = seen(await http.post("/admin/clients", json={"name": "c", "permissions": ["introspect"]}, auth=admin))
    path = f"/admin/clients/{client['client_id']}"
    seen(await http.post(f"{path}/secret", auth=admin))
    seen(await http.get(path, auth=admin))
    seen(await http.post(f"/admin/users/{user['sub']}/reset-code", auth=admin))
    issued = seen(await http.post("/tokens", json={"sub": "elsewhere"}, auth=admin))
    seen(await http.post("/introspect", data={"token": issued["access_token"]}, auth=admin))
    seen(await http.post("/introspect/batch", json={"tokens": list(canaries.secrets)}, auth=admin))
    seen(await http.post("/revoke", data={"token": issued["access_token"]}, auth=admin))
    again = seen(await http.post("/login", json={"username": "ada", "password": THIRD}))
    seen(await http.post("/logout", headers=bearer(again["access_token"])))


async def test_no_canary_anywhere(service: Service, valkey: "redis.Redis", caplog: pytest.LogCaptureFixture) -> None:
    """After a run through every flow, with an outage, no secret is in a log, an error, a header or the trail."""
    caplog.set_level(logging.DEBUG)
    for name in ("authsvc", "authsvc.audit", "asyncio", "redis"):
        caplog.set_level(logging.DEBUG, logger=name)
    canaries = Canaries()
    await run_through_everything(service, canaries)
    login = {"username": "ada", "password": THIRD}
    grant = canaries.seen(await service.http.post("/login", json=login))

    held = valkey.get("service")
    assert held is not None
    valkey.delete("service")
    canaries.seen(await service.http.get("/me", headers=bearer(grant["access_token"])))
    for corrupt in (b"{", b'{"epoch":"' + grant["access_token"].encode() + b'"}'):
        valkey.set("service", corrupt)
        valkey.set(f"session:{grant['session_id']}", corrupt)
        valkey.set("client:app", corrupt)
        for path in ("/me", "/sessions"):
            answer = await service.http.get(path, headers=bearer(grant["access_token"]))
            assert answer.status_code == 503
            canaries.seen(answer)
    valkey.set("service", held)

    # httpx is the client here, and logs which URLs this test asks for.
    records = [record for record in caplog.records if not record.name.startswith("http")]
    formatted = "\n".join(JsonLines().format(record) for record in records)
    trail = "".join(
        [json.dumps(item) for item in (await pages(service, "/admin/audit"))]
        + [json.dumps(item) for path in ("/admin/users", "/admin/clients") for item in await pages(service, path)]
    )
    assert len(canaries.errors) > 30
    assert "login.succeeded" in formatted
    assert "password.changed" in trail
    places = {
        "log": formatted,
        "records": "".join(repr(vars(record)) for record in records),
        "errors": "".join(answer.text for answer in canaries.errors),
        "headers": "\n".join(canaries.headers),
        "trail": trail,
    }
    assert {name: canaries.in_text(text) for name, text in places.items() if canaries.in_text(text)} == {}


async def pages(service: Service, path: str) -> list[Any]:
    answer = await service.http.get(path, params={"limit": 1000}, auth=service.admin)
    assert answer.status_code in (200, 503)
    items: list[Any] = answer.json().get("items", [])
    return items


class TestWithAccessLog:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(**CHEAP, access_log_share=1.0)

    async def test_a_token_in_a_path_is_not_logged(self, service: Service, caplog: pytest.LogCaptureFixture) -> None:
        """A token that somebody takes for an id and puts into a path does not get into the access log."""
        caplog.set_level(logging.DEBUG)
        await service.user()
        token = (await service.login())["access_token"]
        for path in (f"/admin/users/{token}", f"/sessions/{token}", f"/{token}"):
            await service.http.delete(path, headers=bearer(token))
        records = [record for record in caplog.records if record.name == "authsvc.access"]
        assert records
        assert not [record for record in records if token in JsonLines().format(record)]


async def test_no_secret_in_a_repr(deps: Deps, service: Service) -> None:
    """Whatever is printed while debugging, a token, a grant, a record, the parts of the service, shows no secret."""
    await service.user()
    grant = await service.login()
    secret = tokens.parse(grant["access_token"])
    refresh = tokens.parse(grant["refresh_token"])
    assert secret is not None
    assert refresh is not None
    found = await deps.store.lookup.session(secret.handle)
    assert isinstance(found, Found)
    client = await deps.store.clients.get(service.admin[0])
    whole = Grant("h", "s", 1, 1, secret.text, refresh.text)
    things: list[object] = [secret, refresh, whole, deps, deps.store, deps.hasher, deps.settings, found, client]
    for thing in things:
        for text in (repr(thing), str(thing), f"{thing!r:.9999}"):
            for token in (secret.text, refresh.text, service.admin[1]):
                assert token not in text
                assert token[16:43] not in text


async def test_no_secret_in_an_exception(service: Service) -> None:
    """The exception tree says what happened, and not with what."""
    await service.user()
    grant = await service.login()
    for work in (
        lambda: service.deps.store.users.get(grant["access_token"]),
        lambda: service.deps.store.clients.get(grant["access_token"]),
    ):
        with pytest.raises(AuthError) as caught:
            await work()
        assert grant["access_token"] not in f"{caught.value!r} {caught.value}"


HOSTILE = 'a\n{"event":"login.succeeded"}\r\n\x1b[2J\u2028\u2029\x85\x00"\\'


async def test_one_event_is_one_line(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever somebody types as a name, device or agent, each log line is one JSON object on one line of ASCII."""
    caplog.set_level(logging.DEBUG)
    await service.user()
    for name in (HOSTILE, "ada"):
        body = {"username": name.replace("\0", ""), "password": "a walk by the river", "device": "phone"}
        agent = HOSTILE.encode().replace(b"\n", b"").replace(b"\r", b"").replace(b"\0", b"")
        await service.http.post("/login", json=body, headers=[(b"User-Agent", agent)])
    assert {record.getMessage() for record in caplog.records} >= {"login.failed", "login.succeeded"}
    for record in caplog.records:
        assert_one_line(JsonLines().format(record))


@pytest.mark.parametrize("text", [HOSTILE, "%s", "%(x)s", "\ud800", "é", ""])
def test_one_record_is_one_line(text: str) -> None:
    """So is a record with a hostile message, extra field or traceback, as the logger formats it."""
    record = logging.LogRecord("authsvc", logging.WARNING, __file__, 1, "message %s", (text,), None)
    record.fields = {"event": text, "details": {text: [text]}}
    line = assert_one_line(JsonLines().format(record))
    assert line["event"] == text
    assert line["message"] == f"message {text}"
    try:
        raise ValueError(text)
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    assert "ValueError" in assert_one_line(JsonLines().format(record))["traceback"]


def assert_one_line(line: str) -> dict[str, Any]:
    assert line.isascii()
    assert line.isprintable()
    parsed: dict[str, Any] = json.loads(line)
    assert parsed["at"].endswith("Z")
    return parsed
