"""The lean path answers what the general one answers, and only what it is sure of."""

import asyncio
import base64
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.errors import AuthError
from authsvc.web import lean
from authsvc.web.bodies import IntrospectForm
from authsvc.web.input import load_form, validated
from tests.conftest import Service

FORM = b"application/x-www-form-urlencoded"


def scope_of(headers: list[tuple[bytes, bytes]], query: bytes = b"") -> Scope:
    return {
        "type": "http",
        "method": "POST",
        "path": "/introspect",
        "raw_path": b"/introspect",
        "query_string": query,
        "headers": headers,
        "client": ("192.0.2.1", 50000),
        "server": ("auth.test", 80),
        "scheme": "http",
        "http_version": "1.1",
        "root_path": "",
    }


async def ask(app: Any, scope: Scope, body: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    """Put a request to an ASGI application as a server does."""
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    await app(dict(scope), receive, send)
    start, *rest = messages
    headers = {name.lower(): value for name, value in start["headers"] if name.lower() != b"x-request-id"}
    return start["status"], headers, b"".join(message.get("body", b"") for message in rest)


class Counting:
    """The general application, counting how often it is asked."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        await self.app(scope, receive, send)


def basic(client_id: str, secret: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{client_id}:{secret}".encode())


async def cases(service: Service) -> list[tuple[str, Scope, bytes, bool]]:
    """Name, scope, body, and whether the lean path should answer itself."""
    await service.user(roles=("editor",), claims={"team": "blue", "näme": "ü"})
    live = await service.login(scope="read write")
    dead = await service.login()
    await service.http.post("/revoke", data={"token": dead["access_token"]}, auth=service.admin)
    _, narrow_auth = await service.client("introspect", audience=("orders",))
    _, powerless_auth = await service.client()
    admin = basic(*service.admin)
    plain = [(b"content-type", FORM), (b"authorization", admin)]
    token = live["access_token"].encode()
    return [
        ("live", scope_of(plain), b"token=" + token, True),
        ("hint", scope_of(plain), b"token=" + token + b"&token_type_hint=access_token", True),
        ("refresh token", scope_of(plain), b"token=" + live["refresh_token"].encode(), True),
        ("dead", scope_of(plain), b"token=" + dead["access_token"].encode(), True),
        ("unknown", scope_of(plain), b"token=" + tokens.new(Kind.ACCESS).text.encode(), True),
        ("garbage", scope_of(plain), b"token=garbage", True),
        ("not in the audience", scope_of([plain[0], (b"authorization", basic(*narrow_auth))]), b"token=" + token, True),
        ("no permission", scope_of([plain[0], (b"authorization", basic(*powerless_auth))]), b"token=" + token, False),
        ("wrong secret", scope_of([plain[0], (b"authorization", basic(service.admin[0], "no"))]), b"token=x", False),
        ("unknown client", scope_of([plain[0], (b"authorization", basic("nobody", "no"))]), b"token=x", False),
        ("no credentials", scope_of(plain[:1]), b"token=" + token, False),
        ("bearer", scope_of([plain[0], (b"authorization", b"Bearer " + token)]), b"token=" + token, False),
        ("two headers", scope_of([*plain, plain[1]]), b"token=" + token, False),
        ("query", scope_of(plain, b"token=" + token), b"token=" + token, False),
        ("json", scope_of([(b"content-type", b"application/json"), plain[1]]), b'{"token": "x"}', False),
        ("not said to be a form", scope_of([(b"content-type", b"application/json"), plain[1]]), b"token=x", False),
        ("gzip", scope_of([*plain, (b"content-encoding", b"gzip")]), b"token=" + token, False),
        ("twice", scope_of(plain), b"token=" + token + b"&token=" + token, False),
        ("empty", scope_of(plain), b"", False),
        ("no value", scope_of(plain), b"token=", False),
        ("escaped", scope_of(plain), b"token=" + token.replace(b"_", b"%5f"), False),
        ("line break", scope_of(plain), b"token=" + token + b"\n", False),
        ("too large", scope_of(plain), b"token=" + b"x" * 70_000, False),
        ("secret in the body", scope_of(plain), b"client_secret=x&token=" + token, False),
    ]


async def test_same_answers(service: Service) -> None:
    """Status, headers and body are the same on both paths; the unusual is left to the general one."""
    general = service.app._app  # type: ignore[attr-defined]
    for name, scope, body, own in await cases(service):
        behind = Counting(general)
        quick = await ask(lean.Lean(behind, service.deps), scope, body)
        slow = await ask(general, scope, body)
        assert quick == slow, name
        assert (behind.asked == 0) is own, name


async def test_a_body_in_pieces_goes_the_general_way(service: Service) -> None:
    """A body that arrives in two messages is answered as if it had come in one."""
    await service.user()
    token = (await service.login())["access_token"]
    pieces: list[Message] = [
        {"type": "http.request", "body": b"token=", "more_body": True},
        {"type": "http.request", "body": token.encode(), "more_body": False},
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return pieces.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await service.app(scope_of([(b"content-type", FORM), (b"authorization", basic(*service.admin))]), receive, send)
    assert sent[0]["status"] == 200
    assert b'"active":true' in sent[1]["body"]


async def test_the_id_of_the_request_comes_back(service: Service) -> None:
    """A fit request id is returned on the lean path as on the general one, and any other is replaced."""
    await service.user()
    token = (await service.login())["access_token"]
    for given_id, kept in (("abc-123", True), ("no good", False), ("x" * 65, False)):
        answer = await service.http.post(
            "/introspect", data={"token": token}, auth=service.admin, headers={"X-Request-ID": given_id}
        )
        assert (answer.headers["x-request-id"] == given_id) is kept


BODIES = st.one_of(
    st.binary(max_size=80),
    st.from_regex(rb"token=[A-Za-z0-9_%+&=.~\-]{0,60}", fullmatch=True),
    st.from_regex(rb"(token|token_type_hint|x)=[a-z_%]{0,9}&(token|token_type_hint)=[a-z_+]{0,9}", fullmatch=True),
)


@given(body=BODIES)
@example(body=b"token=a&token_type_hint=b")
@example(body=b"token=a&token_type_hint=b\n")
@example(body=b"token=%61")
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_lean_parser_agrees_with_the_general_one(body: bytes) -> None:
    """Whatever the lean parser takes, the general parsers take too, and read the same out of it."""
    headers = [(b"content-type", FORM), (b"authorization", basic("client-1", "sec_x"))]
    plain = lean.read(scope_of(headers), {"type": "http.request", "body": body, "more_body": False})
    if plain is not None:
        assert validated(IntrospectForm, load_form(body)).token == plain.token


@given(client_id=st.text(max_size=20), secret=st.text(max_size=20))
@example(client_id="a%41", secret="s")
@example(client_id="a+b", secret="s")
@example(client_id="a", secret="b:c")
@settings(deadline=None)
def test_credentials_are_read_the_same(client_id: str, secret: str) -> None:
    """Credentials that RFC 6749 has form-urlencoded are left to the general parser, unless they need no decoding."""
    header = b"Basic " + base64.b64encode(f"{client_id}:{secret}".encode())
    headers = [(b"content-type", FORM), (b"authorization", header)]
    plain = lean.read(scope_of(headers), {"type": "http.request", "body": b"token=x", "more_body": False})
    if plain is not None:
        assert (plain.client_id, plain.secret) == (client_id, secret)
        assert "%" not in client_id + secret
        assert "+" not in client_id + secret


async def test_batch_answers_what_single_calls_answer(service: Service) -> None:
    """One answer for each token, in order, the same as one by one, for callers of every kind."""
    await service.user()
    await service.user("grace", roles=("editor",))
    _, orders_auth = await service.client("introspect", audience=("orders",))
    live = [await service.login(name) for name in ("ada", "grace", "ada")]
    await service.http.post("/revoke", data={"token": live[2]["access_token"]}, auth=service.admin)
    _, issuer_auth = await service.client("issue", audience=("orders",))
    issued = await service.http.post("/tokens", json={"sub": "ext|1", "scope": "read"}, auth=issuer_auth)
    asked = [one[kind] for one in live for kind in ("access_token", "refresh_token")]
    asked += [issued.json()["access_token"], "garbage", "", tokens.new(Kind.ACCESS).text, asked[0], asked[0][:-1] + "!"]
    for auth in (service.admin, orders_auth):
        batch = await service.http.post("/introspect/batch", json={"tokens": asked}, auth=auth)
        assert batch.status_code == 200
        one_by_one = [await service.introspect(text, auth) if text else {"active": False} for text in asked]
        assert batch.json() == one_by_one


async def test_batch_is_refused_like_single_calls(service: Service) -> None:
    """No credentials, a wrong secret, no permission, too many tokens, wrong types: the documented errors."""
    _, powerless_auth = await service.client()

    async def status(body: Any, auth: tuple[str, str] | None) -> tuple[int, str]:
        answer = await service.http.post("/introspect/batch", json=body, auth=auth or httpx.USE_CLIENT_DEFAULT)
        return answer.status_code, answer.json()["error"] if answer.status_code != 200 else ""

    assert await status({"tokens": ["x"]}, None) == (401, "invalid_client")
    assert await status({"tokens": ["x"]}, (service.admin[0], "no")) == (401, "invalid_client")
    assert await status({"tokens": ["x"]}, powerless_auth) == (403, "unauthorized_client")
    assert await status({"tokens": ["x"] * 1001}, service.admin) == (400, "invalid_request")
    assert await status({"tokens": "x"}, service.admin) == (400, "invalid_request")
    assert await status({"tokens": [1]}, service.admin) == (400, "invalid_request")
    assert await status({}, service.admin) == (400, "invalid_request")
    assert await status({"tokens": []}, service.admin) == (200, "")
    assert await status({"tokens": ["x"] * 1000}, service.admin) == (200, "")


async def test_an_outage_costs_one_attempt(service: Service, valkey: Any) -> None:
    """When the store can't be asked, the lean path says 503 itself instead of having the general one ask again."""
    await service.user()
    token = (await service.login())["access_token"]
    valkey.delete("service")
    behind = Counting(service.app._app)  # type: ignore[attr-defined]
    scope = scope_of([(b"content-type", FORM), (b"authorization", basic(*service.admin))])
    status, headers, body = await ask(lean.Lean(behind, service.deps), scope, b"token=" + token.encode())
    assert (status, headers[b"retry-after"], behind.asked) == (503, b"1", 0)
    assert b"temporarily_unavailable" in body


@pytest.mark.parametrize("concurrent", [2, 40])
async def test_concurrent_introspections_do_not_mix(service: Service, concurrent: int) -> None:
    """Many callers at once each learn about their own token."""
    names = [f"user{number}" for number in range(8)]
    for name in names:
        await service.user(name)
    live = {name: (await service.login(name))["access_token"] for name in names}

    async def one(number: int) -> None:
        name = names[number % len(names)]
        assert (await service.introspect(live[name]))["username"] == name

    await asyncio.gather(*[one(number) for number in range(concurrent * 5)])


def test_errors_are_ours() -> None:
    """What the lean parser can't read never raises."""
    for header in (b"Basic", b"Basic ===", b"Basic \xff", b"basic eDp5", b"Basic " + base64.b64encode(b"\xff:x")):
        scope = scope_of([(b"content-type", FORM), (b"authorization", header)])
        try:
            assert lean.read(scope, {"type": "http.request", "body": b"token=x", "more_body": False}) is None
        except AuthError:  # pragma: no cover
            pytest.fail("raised")
