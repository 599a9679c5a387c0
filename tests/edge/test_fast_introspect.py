"""Introspections on the fast path get the answers of the general way, and odd requests go the general way."""

from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from authsvc.api.parsing import load_form, validated
from authsvc.api.schemas.requests import IntrospectForm
from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.edge.fast_requests import IntrospectRequest, fast_calls
from authsvc.flows.introspect import Asker
from tests.conftest import Service
from tests.edge.served import FORM, Served, basic, request_of
from tests.selection import examples

HINT = b"&token_type_hint=refresh_token"
read = fast_calls(())[b"/introspect"].read


async def cases(service: Service) -> list[tuple[str, bytes, bool]]:
    """Name, request, and whether the fast path should answer it."""
    await service.user(roles=("editor",), claims={"team": "blue", "näme": "ü"})
    live = await service.login(scope="read write")
    dead = await service.login()
    await service.http.post("/revoke", data={"token": dead["access_token"]}, auth=service.admin)
    _, narrow_auth = await service.client("introspect", audience=("orders",))
    _, powerless_auth = await service.client()
    form, admin = (b"content-type", FORM), (b"authorization", basic(*service.admin))
    plain = [form, admin]
    token = live["access_token"].encode()
    body = b"token=" + token
    known = b"token=" + dead["access_token"].encode()
    return [
        ("live", request_of(plain, body), True),
        ("hint", request_of(plain, body + b"&token_type_hint=access_token"), True),
        ("covered scope", request_of(plain, body + b"&scope=read"), False),
        ("scope that is not covered", request_of(plain, body + b"&scope=delete"), False),
        ("refresh token", request_of(plain, b"token=" + live["refresh_token"].encode()), True),
        ("refresh token with a hint", request_of(plain, b"token=" + live["refresh_token"].encode() + HINT), True),
        ("client secret", request_of(plain, b"token=" + service.admin[1].encode()), True),
        ("dead", request_of(plain, known), True),
        ("unknown", request_of(plain, b"token=" + tokens.new(Kind.ACCESS).text.encode()), True),
        ("garbage", request_of(plain, b"token=garbage"), True),
        ("form with a charset", request_of([(b"content-type", FORM + b";charset=UTF-8"), admin], body), True),
        ("not in the audience", request_of([form, (b"authorization", basic(*narrow_auth))], body), True),
        ("no permission", request_of([form, (b"authorization", basic(*powerless_auth))], body), False),
        ("wrong secret", request_of([form, (b"authorization", basic(service.admin[0], "no"))], b"token=x"), False),
        ("unknown client", request_of([form, (b"authorization", basic("nobody", "no"))], b"token=x"), False),
        ("no credentials", request_of([form], body), False),
        ("bearer", request_of([form, (b"authorization", b"Bearer " + token)], body), False),
        ("two credentials", request_of([*plain, admin], body), False),
        ("query", request_of(plain, body, b"/introspect?token=" + token), False),
        ("empty query", request_of(plain, body, b"/introspect?"), True),
        ("json", request_of([(b"content-type", b"application/json"), admin], b'{"token": "x"}'), False),
        ("not said to be a form", request_of([(b"content-type", b"application/json"), admin], b"token=x"), False),
        ("gzip", request_of([*plain, (b"content-encoding", b"gzip")], body), False),
        ("twice", request_of(plain, body + b"&" + body), False),
        ("empty", request_of(plain, b""), False),
        ("no value", request_of(plain, b"token="), False),
        ("escaped", request_of(plain, b"token=" + token.replace(b"_", b"%5f")), False),
        ("line break", request_of(plain, body + b"\n"), False),
        ("too large", request_of(plain, b"token=" + b"x" * 70_000), False),
        ("secret in the body", request_of(plain, b"client_secret=x&" + body), False),
        ("chunked", chunked(request_of(plain, body), body), False),
        ("HTTP/1.0", request_of(plain, body).replace(b"HTTP/1.1", b"HTTP/1.0"), False),
        ("asked to close", request_of([*plain, (b"connection", b"close")], body), False),
        ("keep-alive", request_of([*plain, (b"connection", b"Keep-Alive")], body), True),
        ("a signed answer", request_of([*plain, (b"accept", b"application/token-introspection+jwt")], body), False),
        ("any answer", request_of([*plain, (b"accept", b"*/*")], body), True),
        ("a proof of possession", request_of([*plain, (b"dpop", b"eyJ0eXAi")], body), False),
        ("an unknown field", request_of([*plain, (b"x-unknown", b"1")], body), False),
        ("from another origin", request_of([*plain, (b"origin", b"https://app.test")], body), False),
        ("by the cookie too", request_of([*plain, (b"cookie", b"a=b")], body), False),
        ("of a proxy", request_of([*plain, (b"x-forwarded-for", b"192.0.2.7"), (b"via", b"1.1 a")], body), True),
        ("with a trace", request_of([*plain, (b"traceparent", b"00-1-2-01")], body), True),
        ("not ASCII", request_of([*plain, (b"user-agent", b"\xff\t\xfe")], body), True),
        ("empty field", request_of([*plain, (b"user-agent", b"")], body), True),
    ]


def chunked(request: bytes, body: bytes) -> bytes:
    head = request[: -len(body)].replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked")
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


async def test_same_answers(service: Service) -> None:
    """Status, headers and body are the same both ways."""
    fast, general = Served(service), Served(service, fast=False)
    for name, request, own in await cases(service):
        before = fast.answered_fast
        async with fast.connected() as one, general.connected() as other:
            assert await one.ask(request) == await other.ask(request), name
        assert (fast.answered_fast > before) is own, name


async def test_an_allowed_field_changes_no_answer(service: Service) -> None:
    """Every field of the allow-list, whatever its value, leaves the answer of the general way as it is."""
    await service.user()
    body = b"token=" + (await service.login())["access_token"].encode()
    plain = [(b"content-type", FORM), (b"authorization", basic(*service.admin))]
    read_by_us = {b"host", b"accept", b"authorization", b"connection", b"content-type", b"content-length"}
    general = Served(service, fast=False)
    async with general.connected() as connection:
        expected = await connection.ask(request_of(plain, body))
        for field in sorted(fast_calls(())[b"/introspect"].fields - read_by_us):
            for value in (b"1", b"https://evil.test/, a; b=c"):
                assert await connection.ask(request_of([*plain, (field, value)], body)) == expected, field


async def test_an_empty_field_is_there(service: Service) -> None:
    """A field that is empty or all spaces, also in the place of a usual one, gets the answer of the general way."""
    await service.user()
    body = b"token=" + (await service.login())["access_token"].encode()
    plain = {b"content-type": FORM, b"authorization": basic(*service.admin)}
    fields = sorted(fast_calls(())[b"/introspect"].fields - {b"host", b"content-length"})  # each request has these
    fast, general = Served(service), Served(service, fast=False)
    async with fast.connected() as one, general.connected() as other:
        for field, value in product(fields, (b"", b" \t ")):
            request = request_of([*(plain | {field: value}).items()], body)
            assert await one.ask(request) == await other.ask(request), request
    assert fast.answered_fast > 0


async def test_the_id_of_the_request_comes_back(service: Service) -> None:
    """Both ways return a fit request id, and replace any other."""
    plain = [(b"content-type", FORM), (b"authorization", basic(*service.admin))]
    for served in (Served(service), Served(service, fast=False)):
        async with served.connected() as connection:
            for sent, kept in ((b"abc-123", True), (b"no good", False), (b"x" * 65, False), (b"%s%d", False)):
                connection.writer.write(request_of([*plain, (b"x-request-id", sent)], b"token=x"))
                head = await connection.reader.readuntil(b"\r\n\r\n")
                await connection.reader.readuntil(b"}")
                assert (b"x-request-id: %s\r\n" % sent in head) is kept
                assert b"x-request-id: " in head


BODIES = st.one_of(
    st.binary(max_size=80),
    st.from_regex(rb"token=[A-Za-z0-9_%+&=.~\-]{0,60}", fullmatch=True),
    st.from_regex(rb"(token|token_type_hint|x)=[a-z_%]{0,9}&(token|token_type_hint)=[a-z_+]{0,9}", fullmatch=True),
)


@given(body=BODIES)
@example(body=b"token=a&token_type_hint=b")
@example(body=b"token=a&token_type_hint=b\n")
@example(body=b"token=%61")
@settings(max_examples=examples(500), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_form_is_read_the_same(body: bytes) -> None:
    """The general reader takes every form that the fast path takes, and reads the same token."""
    request = read(b"", {b"authorization": basic("client-1", "sec_x")}, body)
    if request is not None:
        assert tokens.parse(validated(IntrospectForm, load_form(body)).token) == request.token


@given(client_id=st.text(max_size=20), secret=st.text(max_size=20))
@example(client_id="a%41", secret="s")
@example(client_id="a+b", secret="s")
@example(client_id="a", secret="b:c")
@settings(deadline=None)
def test_credentials_are_read_the_same(client_id: str, secret: str) -> None:
    """The fast path takes only credentials that need no decoding (RFC 6749 section 2.3.1)."""
    request = read(b"", {b"authorization": basic(client_id, secret)}, b"token=x")
    if request is not None:
        assert isinstance(request, IntrospectRequest)
        assert request.asker == Asker(client_id, tokens.digest(secret))
        assert "%" not in client_id + secret
        assert "+" not in client_id + secret


@pytest.mark.parametrize("value", [b"", b"Basic", b"Basic ===", b"Basic \xff", b"basic eDp5", b"Basic /zp4"])
def test_odd_credentials_are_for_the_general_way(value: bytes) -> None:
    """Credentials that the fast path cannot read raise nothing."""
    assert read(b"", {b"authorization": value}, b"token=x") is None


def test_the_secret_is_in_no_repr() -> None:
    """A request that is logged by accident shows no secret and no token."""
    token = tokens.new(Kind.ACCESS).text
    request = read(b"", {b"authorization": basic("client-1", "sec_hunter2")}, b"token=" + token.encode())
    assert "client-1" in repr(request)
    assert "hunter2" not in repr(request)
    assert token[16:] not in repr(request)


async def test_an_outage_costs_one_attempt(service: Service, valkey: Any) -> None:
    """When the store cannot be asked, the fast path answers 503 itself: another attempt would double the time."""
    await service.user()
    token = (await service.login())["access_token"].encode()
    request = request_of([(b"content-type", FORM), (b"authorization", basic(*service.admin))], b"token=" + token)
    valkey.delete("service")
    fast, general = Served(service), Served(service, fast=False)
    async with fast.connected() as one, general.connected() as other:
        answer = await one.ask(request)
        assert answer == await other.ask(request)
    assert (answer[0], answer[1][b"retry-after"], fast.answered_fast) == (503, b"1", 1)
    assert b"temporarily_unavailable" in answer[2]
