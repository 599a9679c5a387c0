"""Gateways' questions on the lean path: what the general way answers, byte for byte but for the request's id."""

import asyncio
import json
import random
from itertools import product

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.edge.lean import Headers
from authsvc.edge.plain import MAX_BYTES, read, without_body
from authsvc.web.cookies import NAME
from tests.conftest import Clock, Service
from tests.edge.served import FORM, Connection, Served, basic, request_of
from tests.web.conftest import StoreCalls, login_by_cookie

SAFE = (b"X-Original-Method", b"GET")


def asked(headers: Headers, query: bytes = b"", *, method: bytes = b"GET", body: bytes = b"") -> bytes:
    """A request of a gateway."""
    fields = [(b"Host", b"auth.test"), *headers]
    lines = b"".join(b"%s: %s\r\n" % field for field in fields)
    return b"%s /verify%s HTTP/1.1\r\n%s\r\n%s" % (method, query, lines, body)


def bearer(token: str) -> tuple[bytes, bytes]:
    return b"Authorization", b"Bearer " + token.encode()


def cookie(token: str) -> tuple[bytes, bytes]:
    return b"Cookie", f"{NAME}={token}".encode()


class Tokens:
    """Of every kind there is."""

    live: str
    refresh: str
    kept: str
    dead: str
    dead_kept: str


@pytest.fixture
async def held(service: Service) -> Tokens:
    await service.user(roles=("editor", "author"))
    held = Tokens()
    login = await service.login(scope="read write")
    held.live, held.refresh = login["access_token"], login["refresh_token"]
    held.kept, held.dead_kept = await login_by_cookie(service, "ada"), await login_by_cookie(service, "ada")
    held.dead = (await service.login())["access_token"]
    for token in (held.dead, held.dead_kept):
        await service.http.post("/revoke", data={"token": token}, auth=service.admin)
    return held


def credentials(held: Tokens) -> list[tuple[Headers, bool]]:
    """What may come with a request, and whether the lean path should answer it if the rest is plain."""
    live, kept = held.live.encode(), held.kept.encode()
    name = NAME.encode()
    unknown = tokens.new(Kind.ACCESS).text
    return [
        ([bearer(held.live)], True),
        ([bearer(held.dead)], True),
        ([bearer(unknown)], True),
        ([bearer(held.kept)], True),
        ([(b"Authorization", b"Bearer " + live), (b"Cookie", b"theme=dark; a=b")], True),
        ([cookie(held.kept), SAFE], True),
        ([cookie(held.dead_kept), SAFE], True),
        ([(b"Cookie", b"a=b; %s=%s ; c" % (name, kept)), (b"X-Forwarded-Method", b"HEAD")], True),
        ([cookie(held.kept), SAFE, (b"X-Forwarded-Method", b"GET"), (b"Origin", b"https://evil.test")], True),
        ([], False),
        ([bearer(held.refresh)], False),
        ([bearer("garbage")], False),
        ([(b"Authorization", b"bearer " + live)], False),
        ([(b"Authorization", b"Bearer  " + live)], False),
        ([(b"Authorization", b"Bearer " + live + b" ")], False),
        ([(b"Authorization", b"Bearer " + live + b", Bearer " + live)], False),
        ([(b"Authorization", live)], False),
        ([(b"Authorization", b"Basic " + live)], False),
        ([(b"Authorization", b"")], False),
        ([bearer(held.live), bearer(held.live)], False),
        ([bearer(held.live), (b"Authorization", b"Basic YTpi")], False),
        ([bearer(held.live), cookie(held.kept)], False),
        ([bearer(held.live), (b"Cookie", name + b"=")], False),
        ([cookie(held.kept)], False),
        ([cookie(held.kept), (b"X-Original-Method", b"POST")], False),
        ([cookie(held.kept), (b"X-Original-Method", b"get")], False),
        ([cookie(held.kept), SAFE, (b"X-Forwarded-Method", b"POST")], False),
        ([cookie(held.kept), SAFE, SAFE], False),
        ([cookie(held.kept), (b"X-Original-Method", b"POST"), (b"Origin", b"http://auth.test")], False),
        ([cookie(held.kept), (b"X-Original-Method", b"POST"), (b"Sec-Fetch-Site", b"same-origin")], False),
        ([cookie(held.kept), (b"Sec-Fetch-Site", b"cross-site")], False),
        ([cookie(held.kept), cookie(held.kept), SAFE], False),
        ([(b"Cookie", b"%s=%s; %s=%s" % (name, kept, name, kept)), SAFE], False),
        ([(b"Cookie", b'%s="%s"' % (name, kept)), SAFE], False),
        ([(b"Cookie", b"%s=%s" % (name.lower(), kept)), SAFE], False),
        ([(b"Cookie", b"x%s=%s" % (name, kept)), SAFE], False),
        ([cookie(held.refresh), SAFE], False),
        ([(b"Cookie", name), SAFE], False),
    ]


QUERIES = [
    *(b"", b"?", b"?scope=read", b"?scope=write+read", b"?scope=read%20write&role=editor", b"?role=author+editor"),
    *(b"?scope=delete", b"?scope=read+delete", b"?role=admin", b"?scope=read&role=admin", b"?audience=orders"),
    # Which is 403 whoever asks.
    *(b"?scope=", b"?scope", b"?scope=read&scope=read", b"?x=1", b"?scope=read&x=1", b"?scope=%ff", b"?role=%00"),
    *(b"?scope=read?", b"??scope=read", b"?scope=read;role=editor", b"?scope=read&", b"?&scope=read", b"?scope=a%22b"),
]  # fmt: skip
# The lean path leaves these alone.
UNPLAIN = {
    *(b"?scope=", b"?scope", b"?scope=read&scope=read", b"?x=1", b"?scope=read&x=1", b"?scope=%ff", b"?role=%00"),
    *(b"?scope=read?", b"??scope=read", b"?scope=read;role=editor", b"?scope=a%22b"),
}  # fmt: skip


async def test_same_answers(service: Service, held: Tokens) -> None:
    """For every credential with every demand: status, headers and body are the same on both paths."""
    quick, general = Served(service, quick=True), Served(service, quick=False)
    seen = set()
    async with quick.connected() as one, general.connected() as other:
        for (headers, own), query in product(credentials(held), QUERIES):
            before = quick.lean.given
            request = asked(headers, query)
            answer, expected = await asyncio.gather(one.ask(request), other.ask(request))
            for got in (answer[1], expected[1]):  # a cookie that is taken back expires now
                got[b"set-cookie"] = got.get(b"set-cookie", b"").partition(b"expires=")[0]
            assert answer == expected, request
            assert (quick.lean.given > before) is (own and query not in UNPLAIN), request
            seen.add(answer[0])
    assert seen == {200, 401, 403}


async def test_a_yes_names_all_and_only_the_service_does(service: Service, held: Tokens) -> None:
    """C22: all five headers, with what the service knows, whatever headers of their names were sent along."""
    forged = [(b"X-Auth-Subject", b"root"), (b"X-Auth-Roles", b"admin"), (b"X-Original-URL", b"/public")]
    served = Served(service, quick=True)
    told = await service.introspect(held.live)
    async with served.connected() as connection:
        status, headers, body = await connection.ask(asked([bearer(held.live), *forged]))
        assert (status, body, served.lean.given) == (200, b"", 1)
        assert {name: value.decode() for name, value in headers.items() if name.startswith(b"x-auth-")} == {
            b"x-auth-subject": told["sub"],
            b"x-auth-username": "ada",
            b"x-auth-roles": "editor author",
            b"x-auth-scope": "read write",
            b"x-auth-session": told["session_id"],
        }
        status, headers, _ = await connection.ask(asked([bearer(held.dead), *forged]))
        assert (status, served.lean.given) == (401, 2)
        assert not [name for name in headers if name.startswith(b"x-auth-")]


@pytest.mark.parametrize("method", [b"HEAD", b"POST", b"PUT", b"OPTIONS", b"get", b"TRACE"])
async def test_other_methods_go_the_general_way(service: Service, held: Tokens, method: bytes) -> None:
    """GET alone is plain."""
    assert read(asked([bearer(held.live)], method=method)) is None
    assert read(asked([bearer(held.live)])) is not None
    for path in (b"//verify", b"/verify/", b"/VERIFY", b"/verify;x", b"/verify%3F", b"http://auth.test/verify"):
        assert read(asked([bearer(held.live)]).replace(b"/verify", path)) is None


async def test_revoked_is_over_with_the_acknowledgement(service: Service, held: Tokens) -> None:
    """Nothing is remembered between two requests of one connection."""
    served = Served(service, quick=True)
    async with served.connected() as connection:
        for token, headers in ((held.live, [bearer(held.live)]), (held.kept, [cookie(held.kept), SAFE])):
            assert (await connection.ask(asked(headers)))[0] == 200
            await service.http.post("/revoke", data={"token": token}, auth=service.admin)
            assert (await connection.ask(asked(headers)))[0] == 401
    assert served.lean.given == 4


async def test_a_session_that_passes_is_used(service: Service, clock: Clock) -> None:
    """A question of a gateway keeps a session from expiring idle."""
    _, auth = await service.client("issue", idle_ttl_s=600)
    answer = await service.http.post("/tokens", json={"sub": "ext|1", "expires_in": 36_000}, auth=auth)
    request = asked([bearer(answer.json()["access_token"])])
    served = Served(service, quick=True)
    async with served.connected() as connection:
        for _ in range(4):
            clock.forward(400)
            assert (await connection.ask(request))[0] == 200
            await service.deps.store.sessions.finish()
        clock.forward(600)
        assert (await connection.ask(request))[0] == 401


async def test_one_lookup_each(service: Service, held: Tokens, store_calls: StoreCalls) -> None:
    """Two round trips a question, a dead token's included, and for many at once hardly more."""
    served = Served(service, quick=True)
    async with served.listening() as address:
        first, *others = [Connection(*await asyncio.open_connection(*address)) for _ in range(30)]
        for token, calls in ((held.live, 2), (held.dead, 1)):
            store_calls.reset()
            await first.ask(asked([bearer(token)]))
            assert store_calls.made() == {"mget": calls}
        store_calls.reset()
        assert {
            (await one)[0] for one in [asyncio.create_task(each.ask(asked([bearer(held.live)]))) for each in others]
        } == {200}
        assert store_calls.made()["mget"] <= 12
        for connection in (first, *others):
            connection.writer.close()
            await connection.writer.wait_closed()


async def test_cannot_know(service: Service, held: Tokens, valkey: "redis.Redis") -> None:
    """Without the service record: 503 with Retry-After, naming nobody, after one attempt."""
    valkey.delete("service")
    quick, general = Served(service, quick=True), Served(service, quick=False)
    async with quick.connected() as one, general.connected() as other:
        for headers in ([bearer(held.live)], [cookie(held.kept), SAFE]):
            answer = await one.ask(asked(headers))
            assert answer == await other.ask(asked(headers))
            assert (answer[0], answer[1][b"retry-after"]) == (503, b"1")
            assert not [name for name in answer[1] if name.startswith((b"x-auth-", b"set-cookie"))]
    assert quick.lean.given == 2


@pytest.mark.parametrize("role", ["éditeur", "王", "editor\r\nX-Auth-Subject: root"])
async def test_what_was_written_by_another_hand(
    service: Service, held: Tokens, valkey: "redis.Redis", role: str
) -> None:
    """A record with a role that fits into no header is a damaged one: 503 on both paths."""
    sub = (await service.introspect(held.live))["sub"]
    key = f"user:{{{sub}}}"
    raw = valkey.get(key)
    assert isinstance(raw, bytes)
    valkey.set(key, json.dumps(json.loads(raw) | {"roles": [role]}))
    quick, general = Served(service, quick=True), Served(service, quick=False)
    async with quick.connected() as one, general.connected() as other:
        answer = await one.ask(asked([bearer(held.live)]))
        assert answer == await other.ask(asked([bearer(held.live)]))
        assert (answer[0], quick.lean.given) == (503, 1)
        valkey.set(key, raw)
        assert (await one.ask(asked([bearer(held.live)])))[0] == 200


async def test_in_pieces(service: Service, held: Tokens) -> None:
    """However a question is cut, it gets its answer, and nothing is held back for a body that will not come."""
    request = asked([bearer(held.live)], b"?role=editor")
    served = Served(service, quick=True)
    async with served.connected() as connection:
        for cut in (1, 5, 20, 60, len(request) - 3, len(request) - 1, len(request)):
            before = served.lean.given
            for part in (request[:cut], request[cut:]):
                connection.writer.write(part)
                await connection.writer.drain()
                await asyncio.sleep(0.01)
            assert (await connection.answer())[0] == 200
            assert (served.lean.given > before) is (cut == len(request))


async def test_pipelined_among_others(service: Service, held: Tokens) -> None:
    """Questions of both kinds and others, sent without waiting, are answered in their order."""
    introspection = request_of(
        [(b"Content-Type", FORM), (b"Authorization", basic(*service.admin))], b"token=" + held.live.encode()
    )
    expected = {
        asked([bearer(held.live)]): (200, b""),
        asked([bearer(held.dead)]): (401, b"invalid_token"),
        asked([bearer(held.live)], b"?role=admin"): (403, b"insufficient_scope"),
        asked([]): (401, b"invalid_token"),
        introspection: (200, b'"active":true'),
        b"GET /healthz HTTP/1.1\r\nHost: auth.test\r\n\r\n": (200, b"ok"),
    }
    chance = random.Random(6)
    order = [chance.choice(list(expected)) for _ in range(80)]
    served = Served(service, quick=True)
    async with served.connected() as connection:
        assert (await connection.ask(asked([bearer(held.live)])))[0] == 200
        assert served.lean.given == 1
        sent = list(order)
        while sent:
            some = sent[: chance.randint(1, 6)]
            connection.writer.write(b"".join(some))
            del sent[: len(some)]
            await asyncio.sleep(0.001 * chance.randint(0, 3))
        for request in order:
            status, _, body = await connection.answer()
            assert (status, expected[request][1] in body) == (expected[request][0], True)


async def test_a_body_is_no_question(service: Service, held: Tokens) -> None:
    """What follows the head of a question that announces a body is that body, whatever it looks like."""
    smuggled = asked([bearer(held.live)])
    for length in (len(smuggled), 5, 0):
        head = asked([bearer(held.dead), (b"Content-Length", b"%d" % length)])
        assert read(head) is None
        assert not without_body(head)
    served = Served(service, quick=True)
    async with served.connected() as connection:
        head = asked([bearer(held.dead), (b"Content-Length", b"%d" % len(smuggled))])
        connection.writer.write(head)
        await asyncio.sleep(0.01)
        connection.writer.write(smuggled)
        connection.writer.write(b"GET /healthz HTTP/1.1\r\nHost: auth.test\r\n\r\n")
        assert (await connection.answer())[0] == 401
        rest = await connection.reader.readuntil(b"\r\n\r\n") if not connection.reader.at_eof() else b""
    assert b"x-auth-subject" not in rest
    assert served.lean.given == 0
    assert read(asked([bearer(held.live)], body=b"x")) is None
    assert read(asked([bearer(held.live)]) * 2) is None


async def test_a_lost_gateway_disturbs_nobody(service: Service, held: Tokens) -> None:
    """Connections that are lost while their answers are looked up leave those of others alone."""
    served = Served(service, quick=True)
    async with served.listening() as address:
        opened = [await asyncio.open_connection(*address) for _ in range(20)]
        for _, writer in opened:
            writer.write(asked([bearer(held.live)]))
        for _, writer in opened[::2]:
            writer.transport.abort()
        for reader, writer in opened[1::2]:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            writer.close()


@given(
    line=st.sampled_from((b"\r\n", b"\n", b"\r", b"\r\n ", b"\r\n\r\n")),
    name=st.sampled_from(
        (b"X-A", b"X A", b"X-A ", b"Content-Length", b"Transfer-Encoding", b"Host", b"", b"X\x00", b"Authorization")
    ),
    colon=st.sampled_from((b": ", b":", b" : ", b":\t")),
    value=st.one_of(st.sampled_from((b"7", b"chunked", b"auth.test", b"")), st.binary(max_size=6)),
)
@settings(max_examples=500, deadline=None)
def test_odd_heads_go_the_general_way(line: bytes, name: bytes, colon: bytes, value: bytes) -> None:
    """A field that is not one of the plainest form, or that says anything about a body, is not for the lean path."""
    whole = asked([bearer(tokens.new(Kind.ACCESS).text)])
    found = read(whole.replace(b"\r\n", line + name + colon + value + b"\r\n", 1))
    if (line, name, colon) != (b"\r\n", b"X-A", b": "):
        assert found is None
    elif found is not None:
        assert all(0x20 <= byte < 0x7F for byte in value)


def test_what_is_long_goes_the_general_way() -> None:
    """Nobody's plain question is that long."""
    good = bearer(tokens.new(Kind.ACCESS).text)
    assert read(asked([good, (b"X-A", b"y" * 100)])) is not None
    assert read(asked([good, (b"X-A", b"y" * MAX_BYTES)])) is None
    assert read(asked([good, *[(b"X-%d" % number, b"y") for number in range(99)]])) is None
