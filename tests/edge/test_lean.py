"""The lean path answers what the general one answers, and only what it is sure of."""

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from authsvc.api.parsing import load_form, validated
from authsvc.api.schemas import IntrospectForm
from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.edge.plain import MAX_BYTES, Introspection, read, without_body
from tests.conftest import Service
from tests.edge.served import FORM, Connection, Served, basic, request_of


async def cases(service: Service) -> list[tuple[str, bytes, bool]]:
    """Name, request, and whether the lean path should answer itself."""
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
        ("live", request_of(plain, b"token=" + token), True),
        ("hint", request_of(plain, b"token=" + token + b"&token_type_hint=access_token"), True),
        ("refresh token", request_of(plain, b"token=" + live["refresh_token"].encode()), True),
        ("dead", request_of(plain, b"token=" + dead["access_token"].encode()), True),
        ("unknown", request_of(plain, b"token=" + tokens.new(Kind.ACCESS).text.encode()), True),
        ("garbage", request_of(plain, b"token=garbage"), True),
        (
            "not in the audience",
            request_of([plain[0], (b"authorization", basic(*narrow_auth))], b"token=" + token),
            True,
        ),
        ("no permission", request_of([plain[0], (b"authorization", basic(*powerless_auth))], b"token=" + token), False),
        ("wrong secret", request_of([plain[0], (b"authorization", basic(service.admin[0], "no"))], b"token=x"), False),
        ("unknown client", request_of([plain[0], (b"authorization", basic("nobody", "no"))], b"token=x"), False),
        ("no credentials", request_of(plain[:1], b"token=" + token), False),
        ("bearer", request_of([plain[0], (b"authorization", b"Bearer " + token)], b"token=" + token), False),
        ("two headers", request_of([*plain, plain[1]], b"token=" + token), False),
        ("query", request_of(plain, b"token=" + token, b"/introspect?token=" + token), False),
        ("json", request_of([(b"content-type", b"application/json"), plain[1]], b'{"token": "x"}'), False),
        ("not said to be a form", request_of([(b"content-type", b"application/json"), plain[1]], b"token=x"), False),
        ("gzip", request_of([*plain, (b"content-encoding", b"gzip")], b"token=" + token), False),
        ("twice", request_of(plain, b"token=" + token + b"&token=" + token), False),
        ("empty", request_of(plain, b""), False),
        ("no value", request_of(plain, b"token="), False),
        ("escaped", request_of(plain, b"token=" + token.replace(b"_", b"%5f")), False),
        ("line break", request_of(plain, b"token=" + token + b"\n"), False),
        ("too large", request_of(plain, b"token=" + b"x" * 70_000), False),
        ("secret in the body", request_of(plain, b"client_secret=x&token=" + token), False),
    ]


async def test_same_answers(service: Service) -> None:
    """Status, headers and body are the same on both paths; the unusual is left to the general one."""
    quick, general = Served(service, quick=True), Served(service, quick=False)
    for name, request, own in await cases(service):
        before = quick.lean.given
        async with quick.connected() as one, general.connected() as other:
            assert await one.ask(request) == await other.ask(request), name
        assert (quick.lean.given > before) is own, name


def pieces(request: bytes) -> Iterator[tuple[str, list[bytes], bool]]:
    """Ways in which a request may arrive, and whether the lean path should answer it."""
    head, body = request[: request.index(b"\r\n\r\n") + 4], request[request.index(b"\r\n\r\n") + 4 :]
    yield "whole", [request], True
    yield "head, body", [head, body], True
    yield "head, two halves of the body", [head, body[:5], body[5:]], False
    yield "in the middle of the head", [request[:30], request[30:]], False
    yield "first byte", [request[:1], request[1:]], False


async def test_a_request_in_pieces(service: Service) -> None:
    """However a request is cut, it gets its answer; one whose body follows its head, a lean one."""
    await service.user()
    token = (await service.login())["access_token"].encode()
    headers = [(b"Content-Type", FORM), (b"Authorization", basic(*service.admin))]
    served = Served(service, quick=True)
    async with served.connected() as connection:
        for name, parts, own in list(pieces(request_of(headers, b"token=" + token))) * 2:
            before = served.lean.given
            for part in parts:
                connection.writer.write(part)
                for _ in range(5):
                    await asyncio.sleep(0)
                await connection.writer.drain()
                await asyncio.sleep(0.01)
            status, _, body = await connection.answer()
            assert (status, b'"active":true' in body) == (200, True), name
            assert (served.lean.given > before) is own, name


async def test_pipelined_requests_are_answered_in_order(service: Service) -> None:
    """Requests sent without waiting are answered one by one in their order, plain ones and others."""
    await service.user()
    token = (await service.login())["access_token"].encode()
    headers = [(b"Content-Type", FORM), (b"Authorization", basic(*service.admin))]
    live = request_of(headers, b"token=" + token)
    dead = request_of(headers, b"token=garbage")
    wrong = request_of(headers, b"")
    sent = [live, dead, wrong, dead, live, live, wrong, live] * 5
    expected = {live: b'"active":true', dead: b'"active":false', wrong: b"invalid_request"}
    async with Served(service, quick=True).connected() as connection:
        connection.writer.write(sent[0])
        await asyncio.sleep(0)
        connection.writer.write(b"".join(sent[1:]))
        for request in sent:
            assert expected[request] in (await connection.answer())[2]


async def test_bytes_of_a_body_are_no_request(service: Service) -> None:
    """What follows the head of a request that is answered early is its body, whatever it looks like."""
    await service.user()
    token = (await service.login())["access_token"].encode()
    headers = [(b"Content-Type", FORM), (b"Authorization", basic(*service.admin))]
    smuggled = request_of(headers, b"token=" + token)
    served = Served(service, quick=True)
    async with served.connected() as connection:
        head = b"POST /nowhere HTTP/1.1\r\nHost: auth.test\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
        assert (await connection.ask(head))[0] == 404
        connection.writer.write(smuggled)
        connection.writer.write(b"GET /healthz HTTP/1.1\r\nHost: auth.test\r\n\r\n")
        rest = await connection.reader.readuntil(b"\r\n\r\n") if not connection.reader.at_eof() else b""
        assert served.lean.given == 0
        assert b"active" not in rest


async def test_a_client_that_leaves_disturbs_nobody(service: Service) -> None:
    """Connections lost while their answers are looked up leave those of others alone."""
    await service.user()
    token = (await service.login())["access_token"].encode()
    headers = [(b"Content-Type", FORM), (b"Authorization", basic(*service.admin))]
    request = request_of(headers, b"token=" + token)
    served = Served(service, quick=True)
    async with served.listening() as address:
        opened = [await asyncio.open_connection(*address) for _ in range(20)]
        for _, writer in opened:
            writer.write(request)
        for _, writer in opened[::2]:
            writer.transport.abort()
        for reader, writer in opened[1::2]:
            assert b'"active":true' in (await Connection(reader, writer).answer())[2]
            writer.close()


async def test_a_server_that_stops_answers_first(service: Service) -> None:
    """An introspection under way when the server is told to stop is answered, with `Connection: close`."""
    await service.user()
    token = (await service.login())["access_token"].encode()
    headers = [(b"Content-Type", FORM), (b"Authorization", basic(*service.admin))]
    served = Served(service, quick=True)
    async with served.connected() as connection:
        await connection.ask(request_of(headers, b"token=" + token))
        served.load.stop()
        served.protocols[0].shutdown()
        _, answered, body = await connection.ask(request_of(headers, b"token=" + token))
        assert answered[b"connection"] == b"close"
        assert b'"active":true' in body
        assert await connection.reader.read() == b""


async def test_an_idle_connection_is_given_up(service: Service) -> None:
    """After an answer of the lean path, and for a body that does not come, a connection is not kept for ever."""
    headers = [(b"Content-Type", FORM), (b"Authorization", basic(*service.admin))]
    request = request_of(headers, b"token=garbage")
    for sent, patience in ((request, 5), (request + request[: request.index(b"\r\n\r\n") + 4], 15)):
        served = Served(service, quick=True)
        async with served.connected() as connection:
            await connection.ask(sent)
            await asyncio.sleep(0.01)
            (protocol,) = served.protocols
            for second in range(patience):
                protocol.look(1000 + second)
            assert not protocol.transport.is_closing()
            protocol.look(1000 + patience + 1)
            assert protocol.transport.is_closing()


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
    plain = read(request_of([(b"content-type", FORM), (b"authorization", basic("client-1", "sec_x"))], body))
    if plain is not None:
        assert isinstance(plain, Introspection)
        assert tokens.parse(validated(IntrospectForm, load_form(body)).token) == plain.token


@given(client_id=st.text(max_size=20), secret=st.text(max_size=20))
@example(client_id="a%41", secret="s")
@example(client_id="a+b", secret="s")
@example(client_id="a", secret="b:c")
@settings(deadline=None)
def test_credentials_are_read_the_same(client_id: str, secret: str) -> None:
    """Credentials that RFC 6749 has form-urlencoded are left to the general parser, unless they need no decoding."""
    header = b"Basic " + base64.b64encode(f"{client_id}:{secret}".encode())
    plain = read(request_of([(b"content-type", FORM), (b"authorization", header)], b"token=x"))
    if plain is not None:
        assert isinstance(plain, Introspection)
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
    token = (await service.login())["access_token"].encode()
    request = request_of([(b"content-type", FORM), (b"authorization", basic(*service.admin))], b"token=" + token)
    valkey.delete("service")
    quick, general = Served(service, quick=True), Served(service, quick=False)
    async with quick.connected() as one, general.connected() as other:
        answer = await one.ask(request)
        assert answer == await other.ask(request)
    assert (answer[0], answer[1][b"retry-after"], quick.lean.given) == (503, b"1", 1)
    assert b"temporarily_unavailable" in answer[2]


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


@given(
    line=st.sampled_from((b"\r\n", b"\n", b"\r", b"\r\n ", b"\r\n\r\n")),
    name=st.sampled_from((b"X-A", b"X A", b"X-A ", b"Content-Length", b"Transfer-Encoding", b"Host", b"", b"X\x00")),
    colon=st.sampled_from((b": ", b":", b" : ", b":\t")),
    value=st.one_of(st.sampled_from((b"7", b"chunked", b"auth.test", b"")), st.binary(max_size=6)),
)
@settings(max_examples=500, deadline=None)
def test_odd_heads_go_the_general_way(line: bytes, name: bytes, colon: bytes, value: bytes) -> None:
    """A field that is not one of the plainest form, or that says anything about the body, is not for the lean path."""
    whole = request_of([(b"content-type", FORM), (b"authorization", basic("client-1", "sec_x"))], b"token=x")
    odd = whole.replace(b"\r\n", line + name + colon + value + b"\r\n", 1)
    plain = read(odd)
    if (line, name, colon) != (b"\r\n", b"X-A", b": "):
        assert plain is None
    elif plain is not None:
        assert all(0x20 <= byte < 0x7F for byte in value)


def test_what_waits_for_us_is_not_waited_for() -> None:
    """A head is not kept back when its client waits for `100 Continue`, or when no body follows."""
    headers = [(b"content-type", FORM), (b"authorization", basic("client-1", "sec_x"))]
    assert without_body(request_of(headers, b"token=x")[: -len(b"token=x")])
    assert not without_body(request_of(headers, b""))
    assert not without_body(request_of([*headers, (b"Expect", b"100-continue")], b"token=x")[: -len(b"token=x")])
    assert not without_body(request_of([*headers, (b"X-A", b"y" * MAX_BYTES)], b"token=x")[: -len(b"token=x")])


def test_errors_are_ours() -> None:
    """What the lean parser can't read never raises."""
    for header in (b"Basic", b"Basic ===", b"Basic \xff", b"basic eDp5", b"Basic " + base64.b64encode(b"\xff:x")):
        assert read(request_of([(b"content-type", FORM), (b"authorization", header)], b"token=x")) is None
    for raw in (b"", b"\r\n\r\n", b"POST /introspect HTTP/1.1\r\n\r\n", b"POST /introspect HTTP/1.1\r\n\r\ntoken=x"):
        assert read(raw) is None
        assert not without_body(raw)
