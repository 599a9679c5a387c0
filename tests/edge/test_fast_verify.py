"""A gateway's request gets the answer of the general way on the fast path, byte for byte but for the request's id."""

import asyncio
import json
from collections import Counter
from itertools import islice, product

import pytest
import redis
from authsvc_sdk.bearer import token_in
from authsvc_sdk.refused import Refused

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.edge.fast_cycle import Headers
from authsvc.edge.fast_requests import fast_calls
from authsvc.web.cookies import NAME
from tests.conftest import Clock, Service
from tests.edge.served import Served
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
    """One token of every kind."""

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
    """Credentials of a request, and whether the fast path should answer it if the rest is plain."""
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
    *(b"?from=cookie", b"?from=bearer", b"?roles_as=comma", b"?from=bearer&role=editor&roles_as=comma"),
    *(b"?from=x", b"?roles_as=x"),
    *(b"?scope=delete", b"?scope=read+delete", b"?role=admin", b"?scope=read&role=admin", b"?audience=orders"),
    # These are 403 with every token.
    *(b"?scope=", b"?scope", b"?scope=read&scope=read", b"?x=1", b"?scope=read&x=1", b"?scope=%ff", b"?role=%00"),
    *(b"?scope=read?", b"??scope=read", b"?scope=read;role=editor", b"?scope=read&", b"?&scope=read", b"?scope=a%22b"),
]  # fmt: skip
# The general way answers these.
UNPLAIN = {
    *(b"?from=x", b"?roles_as=x"),
    *(b"?scope=", b"?scope", b"?scope=read&scope=read", b"?x=1", b"?scope=read&x=1", b"?scope=%ff", b"?role=%00"),
    *(b"?scope=read?", b"??scope=read", b"?scope=read;role=editor", b"?scope=a%22b"),
}  # fmt: skip


async def test_same_answers(service: Service, held: Tokens) -> None:
    """Status, headers and body are the same both ways, for every credential with every requirement."""
    fast, general = Served(service), Served(service, fast=False)
    seen = set()
    async with fast.connected() as one, general.connected() as other:
        for (headers, own), query in product(credentials(held), QUERIES):
            before = fast.answered_fast
            request = asked(headers, query)
            answer, expected = await asyncio.gather(one.ask(request), other.ask(request))
            for got in (answer[1], expected[1]):  # a cookie that is taken back expires now
                got[b"set-cookie"] = got.get(b"set-cookie", b"").partition(b"expires=")[0]
            assert answer == expected, request
            if b"from=" not in query:  # which credentials are plain depends on it
                assert (fast.answered_fast > before) is (own and query not in UNPLAIN), request
            seen.add(answer[0])
    assert seen == {200, 401, 403}


SCHEMES = (b"Bearer", b"bearer", b"BEARER", b"Basic", b"Bearer:", b"")
SPACES = (b"", b" ", b"  ", b"\t", b" \t", b"\xa0", b"\x85")


# `make test` has one case in five; five divides none of the numbers of values.
@pytest.mark.slow
@pytest.mark.parametrize("every", [5, 1])
async def test_spaces_in_the_authorization_field(service: Service, held: Tokens, every: int) -> None:
    """Fast path, general way and SDK take the same bearer tokens, however many spaces stand where (RFC 9110 11.4)."""
    fast, general = Served(service), Served(service, fast=False)
    live, dead = held.live.encode(), held.dead.encode()
    texts = (live, dead, b"", b"a", live + b"=", live + b"," + live, b'"' + live + b'"', b"Bearer " + live, live[:-1])
    seen = Counter[int]()
    async with fast.connected() as one, general.connected() as other:
        cases = product(SPACES[:3], SCHEMES, SPACES, texts, SPACES)
        for before, scheme, between, text, after in islice(cases, 0, None, every):
            value = before + scheme + between + text + after
            request = asked([(b"Authorization", value), SAFE], b"")
            answer, expected = await asyncio.gather(one.ask(request), other.ask(request))
            assert answer == expected, request
            try:
                told = token_in([value.decode("latin-1")])
            except Refused:
                told = None
            assert (answer[0] == 200) is (told == held.live), request
            seen[answer[0]] += 1
    assert set(seen) == {200, 401}
    assert seen[200] > 50 / every


async def test_one_source(service: Service, held: Tokens) -> None:
    """With `from`, the fast path takes one credential, whatever is in the other's place, and clears a dead cookie."""
    fast, general = Served(service), Served(service, fast=False)
    basic = (b"Authorization", b"Basic YTpi")
    async with fast.connected() as one, general.connected() as other:
        for query, headers, status, clears in (
            (b"?from=cookie", [basic, cookie(held.kept), SAFE], 200, False),
            (b"?from=cookie", [bearer(held.live), cookie(held.kept), SAFE], 200, False),
            (b"?from=cookie", [bearer(held.live), cookie(held.dead_kept), SAFE], 401, True),
            (b"?from=bearer", [bearer(held.live), cookie(held.dead_kept), SAFE], 200, False),
            (b"?from=bearer", [bearer(held.dead), cookie(held.kept), SAFE], 401, False),
            (b"?audience=orders", [cookie(held.kept), SAFE], 401, False),
        ):
            request = asked(headers, query)
            answer, expected = await one.ask(request), await other.ask(request)
            assert (answer[0], b"set-cookie" in answer[1]) == (status, clears), request
            assert (expected[0], b"set-cookie" in expected[1]) == (status, clears), request
    assert fast.answered_fast == 6


@pytest.mark.parametrize("forged", [[], [(b"X-Auth-Subject", b"root"), (b"X-Auth-Roles", b"admin")]])
async def test_the_service_alone_says_who_it_is(service: Service, held: Tokens, forged: Headers) -> None:
    """A yes has all five headers, with what the service knows; a no has none, whatever headers the client sent."""
    served = Served(service)
    told = await service.introspect(held.live)
    async with served.connected() as connection:
        status, headers, body = await connection.ask(asked([bearer(held.live), *forged]))
        assert (status, body) == (200, b"")
        assert {name: value.decode() for name, value in headers.items() if name.startswith(b"x-auth-")} == {
            b"x-auth-subject": told["sub"],
            b"x-auth-username": "ada",
            b"x-auth-roles": "editor author",
            b"x-auth-scope": "read write",
            b"x-auth-session": told["session_id"],
        }
        status, headers, _ = await connection.ask(asked([bearer(held.dead), *forged]))
        assert status == 401
        assert not [name for name in headers if name.startswith(b"x-auth-")]
    assert served.answered_fast == (0 if forged else 2)


@pytest.mark.parametrize("method", [b"HEAD", b"POST", b"PUT", b"DELETE"])
async def test_other_methods_go_the_general_way(service: Service, held: Tokens, method: bytes) -> None:
    """Only GET is plain. Every method gets the same answer."""
    fast = Served(service)
    async with fast.connected() as connection:
        connection.writer.write(asked([bearer(held.live)], method=method))
        assert b" 200 OK\r\n" in await connection.reader.readuntil(b"\r\n\r\n")
    assert fast.answered_fast == 0


@pytest.mark.parametrize("path", [b"//verify", b"/verify/", b"/VERIFY", b"/verify;x", b"/verify%3F", b"/%76erify"])
async def test_other_paths_go_the_general_way(service: Service, held: Tokens, path: bytes) -> None:
    """Only the path itself is plain, whatever another spelling of it means."""
    fast, general = Served(service), Served(service, fast=False)
    request = asked([bearer(held.live)]).replace(b"/verify", path, 1)
    async with fast.connected() as one, general.connected() as other:
        assert await one.ask(request) == await other.ask(request)
    assert fast.answered_fast == 0


async def test_an_allowed_field_changes_no_answer(service: Service, held: Tokens) -> None:
    """Every field of the allow-list, whatever its value, leaves the answer of the general way as it is."""
    read_by_us = {b"host", b"authorization", b"connection", b"cookie"}
    general = Served(service, fast=False)
    async with general.connected() as connection:
        expected = await connection.ask(asked([bearer(held.live)]))
        for field in sorted(fast_calls(())[b"/verify"].fields - read_by_us):
            for value in (b"1", b"https://evil.test/, a; b=c"):
                assert await connection.ask(asked([bearer(held.live), (field, value)])) == expected, field


@pytest.mark.slow
@pytest.mark.parametrize("query", [b"", b"?from=cookie", b"?from=bearer", b"?role=editor"])
async def test_an_empty_field_is_there(service: Service, held: Tokens, query: bytes) -> None:
    """A field that is empty or all spaces gets the answer of the general way, beside each credential or none."""
    fast, general = Served(service), Served(service, fast=False)
    presented: list[Headers] = [[bearer(held.live)], [cookie(held.kept)], [cookie(held.kept), SAFE], []]
    async with fast.connected() as one, general.connected() as other:
        fields = sorted(fast_calls(())[b"/verify"].fields - {b"host"})  # each request has this one
        for headers, field, value in product(presented, fields, (b"", b" \t ")):
            request = asked([*headers, (field, value)], query)
            assert await one.ask(request) == await other.ask(request), request
    assert fast.answered_fast > 0


@pytest.mark.parametrize("field", [b"DPoP", b"X-Unknown", b"X-Auth-Subject", b"Expect", b"TE", b"Content-Length"])
async def test_an_unknown_field_goes_the_general_way(service: Service, held: Tokens, field: bytes) -> None:
    """A field that is not on the allow-list may change the answer one day."""
    fast, general = Served(service), Served(service, fast=False)
    request = asked([bearer(held.live), (field, b"0")])
    async with fast.connected() as one, general.connected() as other:
        assert await one.ask(request) == await other.ask(request)
    assert fast.answered_fast == 0


async def test_revoked_is_over_with_the_acknowledgement(service: Service, held: Tokens) -> None:
    """A revoked token is refused from the next request of the same connection on."""
    served = Served(service)
    async with served.connected() as connection:
        for token, headers in ((held.live, [bearer(held.live)]), (held.kept, [cookie(held.kept), SAFE])):
            assert (await connection.ask(asked(headers)))[0] == 200
            await service.http.post("/revoke", data={"token": token}, auth=service.admin)
            assert (await connection.ask(asked(headers)))[0] == 401
    assert served.answered_fast == 4


@pytest.mark.parametrize(("query", "status"), [(b"", 200), (b"?audience=stock", 401), (b"?role=admin", 403)])
async def test_only_a_request_that_passes_is_a_use(service: Service, clock: Clock, query: bytes, status: int) -> None:
    """A request that passes keeps the session from expiring idle; a refused one does not."""
    _, auth = await service.client("issue", audience=("orders",), idle_ttl_s=600)
    answer = await service.http.post("/tokens", json={"sub": "ext|1", "expires_in": 36_000}, auth=auth)
    token = bearer(answer.json()["access_token"])
    served = Served(service)
    async with served.connected() as connection:
        for _ in range(2):
            clock.forward(299)
            assert (await connection.ask(asked([token], query)))[0] == status
            await service.deps.store.sessions.finish()
        clock.forward(299)
        assert ((await connection.ask(asked([token])))[0] == 200) is (status == 200)
    assert served.answered_fast == 3


async def test_one_lookup_each(service: Service, held: Tokens, store_calls: StoreCalls) -> None:
    """A request takes two round trips, many at once hardly more, and one that is asked often takes one."""
    served = Served(service)
    async with served.listening() as address:
        first, *others = [await served.client(address) for _ in range(30)]
        for token, calls in ((held.live, 2), (held.dead, 2), (held.live, 2), (held.live, 1), (held.dead, 2)):
            store_calls.reset()
            await first.ask(asked([bearer(token)]))
            assert store_calls.made() == {"mget": calls}
        store_calls.reset()
        assert {
            (await one)[0] for one in [asyncio.create_task(each.ask(asked([bearer(held.live)]))) for each in others]
        } == {200}
        assert store_calls.made()["mget"] <= 12


async def test_cannot_know(service: Service, held: Tokens, valkey: "redis.Redis") -> None:
    """Without the service record the answer is 503 with Retry-After and names nobody, after one attempt."""
    valkey.delete("service")
    fast, general = Served(service), Served(service, fast=False)
    async with fast.connected() as one, general.connected() as other:
        for headers in ([bearer(held.live)], [cookie(held.kept), SAFE]):
            answer = await one.ask(asked(headers))
            assert answer == await other.ask(asked(headers))
            assert (answer[0], answer[1][b"retry-after"]) == (503, b"1")
            assert not [name for name in answer[1] if name.startswith((b"x-auth-", b"set-cookie"))]
    assert fast.answered_fast == 2


@pytest.mark.parametrize("role", ["éditeur", "王", "editor\r\nX-Auth-Subject: root"])
async def test_a_role_that_fits_into_no_header(
    service: Service, held: Tokens, valkey: "redis.Redis", role: str
) -> None:
    """A record with a role that does not fit into a header is damaged: 503 both ways."""
    sub = (await service.introspect(held.live))["sub"]
    key = f"user:{{{sub}}}"
    raw = valkey.get(key)
    assert isinstance(raw, bytes)
    valkey.set(key, json.dumps(json.loads(raw) | {"roles": [role]}))
    fast, general = Served(service), Served(service, fast=False)
    async with fast.connected() as one, general.connected() as other:
        answer = await one.ask(asked([bearer(held.live)]))
        assert answer == await other.ask(asked([bearer(held.live)]))
        assert (answer[0], fast.answered_fast) == (503, 1)
        valkey.set(key, raw)
        assert (await one.ask(asked([bearer(held.live)])))[0] == 200


async def test_the_bytes_of_a_body_are_no_request(service: Service, held: Tokens) -> None:
    """The bytes after a head that announces a body are that body, whatever they look like."""
    smuggled = asked([bearer(held.live)])
    served = Served(service)
    async with served.connected() as connection:
        head = asked([bearer(held.dead), (b"Content-Length", b"%d" % len(smuggled))])
        assert (await connection.ask(head))[0] == 401
        connection.writer.write(smuggled + b"GET /healthz HTTP/1.1\r\nHost: auth.test\r\n\r\n")
        assert b"x-auth-subject" not in (await connection.answer())[1]
    assert served.answered_fast == 0


def test_the_token_is_in_no_repr(held: Tokens) -> None:
    """A request that is logged by accident shows no token."""
    request = fast_calls(())[b"/verify"].read(b"", {b"authorization": b"Bearer " + held.live.encode()}, b"")
    assert held.live[4:16] in repr(request)
    assert held.live[16:] not in repr(request)
