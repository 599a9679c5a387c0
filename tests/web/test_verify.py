"""Forward-auth: what a gateway is told about a request, and that anything unclear is a no."""

from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from authsvc.app import build
from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.flows.deps import Deps
from authsvc.web.cookies import NAME
from authsvc.web.verify import identity_headers
from tests.conftest import Clock, Service, bearer
from tests.selection import one_in, slow
from tests.web.conftest import ORIGIN, StoreCalls, assert_problem, cookie, login_by_cookie

IDENTITY = ("x-auth-subject", "x-auth-username", "x-auth-roles", "x-auth-scope", "x-auth-session")
GET = {"X-Forwarded-Method": "GET"}
OTHER_METHODS = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
async def login(service: Service) -> dict[str, Any]:
    await service.user(roles=("editor", "author"))
    return await service.login(scope="read write")


@pytest.fixture
async def kept(service: Service) -> str:
    """The token in a browser's cookie."""
    await service.user("cookie.monster")
    return await login_by_cookie(service, "cookie.monster")


def names_nobody(answer: httpx.Response) -> bool:
    return not any(name in answer.headers for name in IDENTITY)


async def test_who_it_is(service: Service, login: dict[str, Any]) -> None:
    """200 says who it is in headers, without a body, and may not be cached."""
    told = await service.introspect(login["access_token"])
    answer = await service.http.get("/verify", headers=bearer(login["access_token"]))
    assert (answer.status_code, answer.content) == (200, b"")
    assert {name: answer.headers[name] for name in IDENTITY} == {
        "x-auth-subject": told["sub"],
        "x-auth-username": "ada",
        "x-auth-roles": "editor author",
        "x-auth-scope": "read write",
        "x-auth-session": login["session_id"],
    }
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("method", ["GET", "HEAD", *OTHER_METHODS])
async def test_every_method_gets_the_same(service: Service, login: dict[str, Any], method: str) -> None:
    """A bearer token is as good with any method, and a missing one as bad."""
    answer = await service.http.request(method, "/verify", headers=bearer(login["access_token"]))
    assert (answer.status_code, answer.headers["x-auth-username"]) == (200, "ada")
    assert (await service.http.request(method, "/verify")).status_code == 401


async def test_what_there_is_not_is_empty(service: Service) -> None:
    """All five headers are always there, empty where there is nothing to say, so that a client's own go."""
    answer = await service.http.post("/tokens", json={"sub": "ext|1"}, auth=service.admin)
    answer = await service.http.get("/verify", headers=bearer(answer.json()["access_token"]))
    assert answer.status_code == 200
    assert [answer.headers[name] for name in IDENTITY[:4]] == ["ext|1", "", "", ""]


@pytest.mark.parametrize("username", ["ada@example.org", "zoë", "王", "a%0d%0ab", 'a"b,c;d', "a=b&c", "😀"])
async def test_any_username_fits_into_a_header(service: Service, username: str) -> None:
    """A name is percent-encoded: visible ASCII, one line, and decoding gives exactly the name."""
    await service.user(username)
    headers = bearer((await service.login(username))["access_token"])
    sent = (await service.http.get("/verify", headers=headers)).headers["x-auth-username"]
    assert unquote(sent, errors="strict") == username
    assert set(sent) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-@+%")


@given(username=st.text(st.characters(codec="utf-8")))
def test_no_name_breaks_out_of_its_header(username: str) -> None:
    """A line break, blank or comma in a record does not get into the header."""

    class Somebody:
        roles = ()
        sub = scope = handle = ""

    somebody: Any = Somebody()
    somebody.user, somebody.user.username = somebody, username
    sent = identity_headers(somebody)["x-auth-username"]
    assert sent.isascii()
    assert sent.isprintable()
    assert not set(sent) & set(" ,;\"'\\:=&<>")
    assert unquote(sent) == username


async def test_no_credentials(service: Service) -> None:
    """Without any, the challenge has no error code, and nobody is named."""
    answer = await service.http.get("/verify")
    assert_problem(answer, 401, "invalid_token")
    assert answer.headers["www-authenticate"] == 'Bearer realm="authsvc"'
    assert names_nobody(answer)


@pytest.mark.parametrize(
    "value",
    one_in(3, ["", "Bearer", "Bearer ", "Bearer  tok_x", "Bearer\ttok_x", "Bearer a,b", "Bearer tok_x, Bearer tok_y",
     "Basic YTpi", "tok_x", "Digest x", "Bearer é", "Bearer \x7f", "Bearer " + "x" * 16_000]),
)  # fmt: skip
async def test_malformed_credentials_are_401(service: Service, store_calls: StoreCalls, value: str) -> None:
    """A malformed credential is 401, because gateways take a 400 for an error of their own. The store is not asked."""
    store_calls.reset()
    answer = await service.http.get("/verify", headers=[(b"authorization", value.encode("latin-1"))])
    assert_problem(answer, 401, "invalid_token")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert names_nobody(answer)
    assert store_calls.made() == {}


async def test_ambiguous_credentials_are_401(service: Service, login: dict[str, Any], kept: str) -> None:
    """Two tokens, two cookies, or one of each are refused, even if all of them are good."""
    token = login["access_token"]
    good = ("Authorization", f"Bearer {token}")
    for headers in (
        [good, good],
        [good, ("Authorization", "Basic YTpi")],
        [good, ("Cookie", f"{NAME}={kept}")],
        [("Cookie", f"{NAME}={kept}; {NAME}={kept}")],
        [("Cookie", f"{NAME}={kept}"), ("Cookie", f"{NAME}={kept}")],
        [("Cookie", f'{NAME}="{kept}"')],
        [("Cookie", f"{NAME.lower()}={kept}")],
        [("Cookie", f"session={kept}")],
        [("Cookie", f"{NAME}=")],
    ):
        answer = await service.http.get("/verify", headers=httpx.Headers([*headers, ("X-Forwarded-Method", "GET")]))
        assert_problem(answer, 401, "invalid_token")
        assert names_nobody(answer)


async def test_only_access_tokens(service: Service, login: dict[str, Any]) -> None:
    """A refresh token, in the header or the cookie, and what was never issued, are no."""
    for token in (login["refresh_token"], tokens.new(Kind.ACCESS).text, tokens.new(Kind.SECRET).text):
        for headers in (bearer(token), cookie(token) | GET):
            assert_problem(await service.http.get("/verify", headers=headers), 401, "invalid_token")


async def test_revoked_is_over_with_the_acknowledgement(service: Service, login: dict[str, Any]) -> None:
    """A token, a suspended user: 401 from the next request on, and a role that was taken away is gone."""
    headers = bearer(login["access_token"])
    user = (await service.introspect(login["access_token"]))["sub"]
    await service.http.patch(f"/admin/users/{user}", json={"roles": ["guest"]}, auth=service.admin)
    assert (await service.http.get("/verify", headers=headers)).headers["x-auth-roles"] == "guest"
    await service.http.post("/revoke", data={"token": login["access_token"]}, auth=service.admin)
    assert_problem(await service.http.get("/verify", headers=headers), 401, "invalid_token")
    headers = bearer((await service.login())["access_token"])
    assert (await service.http.get("/verify", headers=headers)).status_code == 200
    await service.http.patch(f"/admin/users/{user}", json={"status": "suspended"}, auth=service.admin)
    assert_problem(await service.http.get("/verify", headers=headers), 401, "invalid_token")


async def test_expired(service: Service, clock: Clock, login: dict[str, Any]) -> None:
    """With its last second the token is over."""
    clock.forward(login["expires_in"])
    answer = await service.http.get("/verify", headers=bearer(login["access_token"]))
    assert_problem(answer, 401, "invalid_token")


async def test_a_session_that_passes_is_used(service: Service, clock: Clock) -> None:
    """Requests through a gateway keep a session from expiring idle, as introspections do."""
    _, auth = await service.client("issue", idle_ttl_s=600)
    answer = await service.http.post("/tokens", json={"sub": "ext|1", "expires_in": 36_000}, auth=auth)
    token = answer.json()["access_token"]
    for _ in range(4):
        clock.forward(400)
        assert (await service.http.get("/verify", headers=bearer(token))).status_code == 200
        await service.deps.store.sessions.finish()
    clock.forward(600)
    assert_problem(await service.http.get("/verify", headers=bearer(token)), 401, "invalid_token")


@pytest.mark.parametrize(
    ("query", "status"), [("audience=stock", 401), ("role=admin", 403), ("scope=delete", 403), ("audience=orders", 200)]
)
async def test_a_refused_request_is_no_use_of_the_session(
    service: Service, clock: Clock, query: str, status: int
) -> None:
    """Only a request that passes keeps a session from expiring idle; a refused one does not."""
    _, auth = await service.client("issue", audience=("orders",), idle_ttl_s=600)
    answer = await service.http.post("/tokens", json={"sub": "ext|1", "expires_in": 36_000}, auth=auth)
    token = bearer(answer.json()["access_token"])
    for _ in range(2):
        clock.forward(299)
        assert (await service.http.get(f"/verify?{query}", headers=token)).status_code == status
        await service.deps.store.sessions.finish()
    clock.forward(299)
    final = await service.http.get("/verify?audience=orders", headers=token)
    assert (final.status_code == 200) is (status == 200)


MET = ["", "scope=read", "scope=write+read", "scope=read%20write", "role=editor", "role=author+editor",
       "scope=read&role=editor"]  # fmt: skip
UNMET = ["scope=delete", "scope=read+delete", "scope=READ", "scope=rea", "role=admin", "role=editor+admin",
         "scope=read&role=admin", "scope=delete&role=editor", "scope=editor", "role=read", "role=edito"]  # fmt: skip
UNREADABLE = ["from=", "from=Cookie", "from=cookie+bearer", "from=cookie&from=cookie", "source=cookie",
              "roles_as=", "roles_as=,", "roles_as=comma&roles_as=space",
              "scope=", "scope", "role=", "scope=+", "scope=read+", "scope=read++write", "scope=read&scope=read",
              "role=editor&role=admin", "roles=editor", "Scope=read", "x=1", "scope=read&x=1", "scope=%ff",
              "scope=a%22b", "role=a%0d%0ab", "role=%00", "audience=", "access_token=x",
              "role=" + "x" * 1025]  # fmt: skip


async def test_demands(service: Service, login: dict[str, Any]) -> None:
    """All the scopes and all the roles that a gateway demands have to be there; else 403 insufficient_scope."""
    headers = bearer(login["access_token"])
    for query in MET:
        assert (await service.http.get(f"/verify?{query}", headers=headers)).status_code == 200, query
    for query in UNMET:
        answer = await service.http.get(f"/verify?{query}", headers=headers)
        assert_problem(answer, 403, "insufficient_scope")
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        assert names_nobody(answer)
    answer = await service.http.get("/verify?scope=read+delete", headers=headers)
    assert answer.headers["www-authenticate"].endswith(', scope="read delete"')
    assert_problem(await service.http.get("/verify?scope=read"), 401, "invalid_token")


@pytest.mark.parametrize("query", one_in(3, UNREADABLE))
async def test_a_demand_that_is_unclear_is_met_by_nobody(service: Service, login: dict[str, Any], query: str) -> None:
    """An unknown, empty, repeated or malformed requirement is 403, and so is a token in its place."""
    for headers in (bearer(login["access_token"]), {}):
        answer = await service.http.get(f"/verify?{query}", headers=headers)
        assert_problem(answer, 403, "access_denied")
        assert names_nobody(answer)


async def test_a_token_in_the_url_is_none(service: Service, login: dict[str, Any]) -> None:
    """A good token in the query opens nothing."""
    answer = await service.http.get("/verify", params={"access_token": login["access_token"]})
    assert_problem(answer, 403, "access_denied")


async def test_audience(service: Service) -> None:
    """A token for others is none, and so is one for nobody in particular where an audience is demanded."""
    await service.user()
    everywhere = (await service.login())["access_token"]
    _, auth = await service.client("issue", audience=("orders", "billing"))
    answer = await service.http.post("/tokens", json={"sub": "ext|1"}, auth=auth)
    orders = answer.json()["access_token"]
    for token, query, status in (
        (orders, "audience=orders", 200),
        (orders, "audience=stock+billing", 200),
        (orders, "audience=stock", 401),
        (orders, "", 200),
        (everywhere, "audience=orders", 401),
    ):
        answer = await service.http.get(f"/verify?{query}", headers=bearer(token))
        assert answer.status_code == status, query


SAFE: list[list[tuple[str, str]]] = [
    [("X-Forwarded-Method", "GET")],
    [("X-Original-Method", "HEAD")],
    [("X-Forwarded-Method", "GET"), ("X-Original-Method", "GET")],
]
UNSAFE: list[list[tuple[str, str]]] = [
    [],
    [("X-Forwarded-Method", "")],
    [("X-Forwarded-Method", "POST")],
    [("X-Original-Method", "DELETE")],
    [("X-Forwarded-Method", "get")],
    [("X-Forwarded-Method", "OPTIONS")],
    [("X-Forwarded-Method", "GET"), ("X-Original-Method", "POST")],
    [("X-Forwarded-Method", "GET"), ("X-Forwarded-Method", "POST")],
    [("X-Forwarded-Method", "GET, POST")],
]
ELSEWHERE: list[list[tuple[str, str]]] = [
    [],
    [("Origin", "https://evil.test")],
    [("Sec-Fetch-Site", "cross-site")],
    [("Sec-Fetch-Site", "same-site"), ("Origin", ORIGIN)],
    [("Sec-Fetch-Site", "none")],
    [("Origin", "null")],
]


async def test_a_cookie_changes_nothing_for_other_sites(service: Service, kept: str) -> None:
    """Unless the gateway says clearly that nothing is changed, a cookie counts only from our own pages."""
    held = ("Cookie", f"{NAME}={kept}")
    for said in UNSAFE:
        for place in ELSEWHERE:
            answer = await service.http.get("/verify", headers=httpx.Headers([held, *said, *place]))
            assert_problem(answer, 403, "access_denied")
            assert names_nobody(answer)
        for ours in (("Sec-Fetch-Site", "same-origin"), ("Origin", ORIGIN)):
            answer = await service.http.get("/verify", headers=httpx.Headers([held, *said, ours]))
            assert (answer.status_code, answer.headers["x-auth-username"]) == (200, "cookie.monster")
    for said in SAFE:
        for place in ELSEWHERE:
            answer = await service.http.get("/verify", headers=httpx.Headers([held, *said, *place]))
            assert (answer.status_code, answer.headers["x-auth-username"]) == (200, "cookie.monster")


async def test_the_gateway_may_name_the_host(service: Service, kept: str) -> None:
    """`X-Forwarded-Host` names the host whose pages may use the cookie for a change, at `/verify` and nowhere else."""
    fields = {**cookie(kept), "X-Forwarded-Host": "app.test", "X-Forwarded-Method": "POST"}
    for origin, status in (
        ("https://app.test", 200),
        ("https://evil.test", 403),
        ("https://sub.app.test", 403),
        ("null", 403),
        ("https://", 403),
    ):
        fields |= {"Origin": origin}
        fields.pop("Sec-Fetch-Site", None)
        assert (await service.http.get("/verify", headers=fields)).status_code == status, origin
    fields |= {"Origin": "https://app.test"}
    assert_problem(await service.http.post("/logout", headers=fields), 403, "access_denied")


@pytest.mark.parametrize("method", OTHER_METHODS)
async def test_the_own_method_counts_first(service: Service, kept: str, method: str) -> None:
    """Where the gateway asks with the user's method, no header makes a change look harmless."""
    headers = {"Cookie": f"{NAME}={kept}", "Origin": "https://evil.test", **GET}
    assert_problem(await service.http.request(method, "/verify", headers=headers), 403, "access_denied")
    answer = await service.http.request(method, "/verify", headers=cookie(kept))
    assert answer.status_code == 200


async def test_what_names_another_request_means_nothing(service: Service, login: dict[str, Any]) -> None:
    """Nothing is decided by the URL or host that a header says was asked for."""
    said = {
        "X-Original-URL": "/public/../admin",
        "X-Forwarded-Uri": "/healthz",
        "X-Forwarded-Host": "evil.test",
        "X-Auth-Subject": "root",
        "X-Auth-Roles": "admin",
        "X-Forwarded-For": "127.0.0.1",
    }
    assert_problem(await service.http.get("/verify", headers=said), 401, "invalid_token")
    headers = bearer(login["access_token"])
    alone = await service.http.get("/verify", headers=headers)
    beside = await service.http.get("/verify", headers=headers | said)
    assert [beside.headers[name] for name in IDENTITY] == [alone.headers[name] for name in IDENTITY]
    for path in ("//verify", "/verify/", "/verify/x", "/verify;x", "/VERIFY"):
        assert (await service.http.get(f"{ORIGIN}{path}", headers=headers)).status_code == 404


async def test_other_methods_get_no_yes(deps: Deps, service: Service, login: dict[str, Any]) -> None:
    """A preflight about which a gateway asks is no reason to let it pass, whatever origins are allowed."""
    preflight = {"Origin": "https://app.test", "Access-Control-Request-Method": "DELETE"}
    settings = deps.settings.but(allowed_origins=("https://app.test",))
    app = build(replace(deps, settings=settings))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as http:
        assert (await http.options("/me", headers=preflight)).status_code == 200
        for headers in (preflight, preflight | bearer(login["access_token"])):
            assert_problem(await http.options("/verify", headers=headers), 405, "method_not_allowed")
    assert_problem(await service.http.request("TRACE", "/verify"), 405, "method_not_allowed")


async def test_cannot_know(service: Service, valkey: "redis.Redis", login: dict[str, Any]) -> None:
    """Without the service record nothing is known: 503 with Retry-After, neither yes nor no."""
    valkey.delete("service")
    answer = await service.http.get("/verify", headers=bearer(login["access_token"]))
    assert_problem(answer, 503, "temporarily_unavailable")
    assert answer.headers["retry-after"] == "1"
    assert names_nobody(answer)


async def test_a_dead_cookie_is_taken_back(service: Service, kept: str) -> None:
    """401 to a browser ends its cookie, where the gateway passes that on."""
    headers = {"Cookie": f"{NAME}={kept}", **GET}
    await service.http.post("/revoke", data={"token": kept}, auth=service.admin)
    answer = await service.http.get("/verify", headers=headers)
    assert_problem(answer, 401, "invalid_token")
    assert answer.headers["set-cookie"].startswith(f'{NAME}=""; expires=')


APPLICATIONS_OWN = [
    "Basic YTpi",
    "ApiKey 1234",
    "Bearer eyJhbGciOiJub25lIn0.e30.",
    "Bearer",
    "Digest username=ada",
    "x",
]


@pytest.mark.parametrize("value", APPLICATIONS_OWN)
async def test_a_living_cookie_stays(service: Service, kept: str, value: str) -> None:
    """Beside credentials of the application, two cookies, or a missing requirement, the cookie is not taken back."""
    both = [("Cookie", f"{NAME}={kept}"), ("Authorization", value), ("X-Forwarded-Method", "GET")]
    cookies = [("Cookie", f"{NAME}={kept}; {NAME}={tokens.new(Kind.ACCESS).text}"), ("X-Forwarded-Method", "GET")]
    for headers, query in (
        (both, ""),
        (both, "from=bearer"),
        (cookies, ""),
        (cookies, "from=cookie"),
        ([both[0], both[2]], "audience=orders"),
        ([both[0], both[2]], "from=bearer"),
    ):
        answer = await service.http.get(f"/verify?{query}", headers=httpx.Headers(headers))
        assert_problem(answer, 401, "invalid_token")
        assert "set-cookie" not in answer.headers, query
    assert (await service.http.get("/me", headers=cookie(kept))).status_code == 200


@pytest.mark.parametrize("value", APPLICATIONS_OWN)
async def test_the_gateway_says_where_the_token_is(
    service: Service, login: dict[str, Any], kept: str, value: str
) -> None:
    """With `from=cookie` only the cookie counts, and only it is taken back; with `from=bearer` only the header."""
    token, refresh = login["access_token"], login["refresh_token"]
    for query, authorization, held, status, username in (
        ("from=cookie", value, kept, 200, "cookie.monster"),
        ("from=cookie", f"Bearer {token}", kept, 200, "cookie.monster"),
        ("from=cookie", f"Bearer {token}", refresh, 401, None),
        ("from=bearer", f"Bearer {token}", kept, 200, "ada"),
        ("from=bearer", f"Bearer {token}", refresh, 200, "ada"),
        ("from=bearer", f"Bearer {refresh}", kept, 401, None),
        ("from=bearer&role=editor", f"Bearer {token}", kept, 200, "ada"),
        ("from=cookie&role=editor", f"Bearer {token}", kept, 403, None),
    ):
        headers = {"Authorization": authorization, "Cookie": f"{NAME}={held}", **GET}
        answer = await service.http.get(f"/verify?{query}", headers=headers)
        assert (answer.status_code, answer.headers.get("x-auth-username")) == (status, username), query
        assert ("set-cookie" in answer.headers) is (query == "from=cookie" and held == refresh)
    without = await service.http.get("/verify?from=cookie", headers=bearer(token))
    assert (without.status_code, without.headers["www-authenticate"]) == (401, 'Bearer realm="authsvc"')
    changing = {"Authorization": value, "Cookie": f"{NAME}={kept}", "X-Forwarded-Method": "POST"}
    assert_problem(await service.http.get("/verify?from=cookie", headers=changing), 403, "access_denied")


async def test_the_gateway_chooses_what_separates_roles(service: Service, login: dict[str, Any]) -> None:
    """`roles_as=comma` puts commas between roles. No role contains one. The scope stays as it is."""
    for query, roles in (
        ("", "editor author"),
        ("roles_as=space", "editor author"),
        ("roles_as=comma", "editor,author"),
    ):
        answer = await service.http.get(f"/verify?{query}", headers=bearer(login["access_token"]))
        assert (answer.headers["x-auth-roles"], answer.headers["x-auth-scope"]) == (roles, "read write")
    refused = await service.http.post("/admin/users", json={"username": "b", "roles": ["a,b"]}, auth=service.admin)
    assert_problem(refused, 400, "invalid_request")


@pytest.mark.parametrize(
    "handshake",
    [
        {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="},
        slow({"Sec-WebSocket-Version": "13"}),
        slow({"Sec-WebSocket-Key": ""}),
        slow({"Upgrade": "WebSocket"}),
    ],
)
@pytest.mark.parametrize("place", ELSEWHERE)
async def test_a_handshake_by_cookie_comes_from_our_own_pages(
    service: Service, login: dict[str, Any], kept: str, handshake: dict[str, str], place: list[tuple[str, str]]
) -> None:
    """A page of another site can't open a WebSocket with the cookie, although a handshake is a GET."""
    for said in SAFE:
        fields = [("Cookie", f"{NAME}={kept}"), *said, *handshake.items()]
        answer = await service.http.get("/verify", headers=httpx.Headers([*fields, *place]))
        assert_problem(answer, 403, "access_denied")
        assert "set-cookie" not in answer.headers
        answer = await service.http.get("/verify", headers=httpx.Headers([*fields, ("Origin", ORIGIN)]))
        assert (answer.status_code, answer.headers["x-auth-username"]) == (200, "cookie.monster")
    headers = httpx.Headers([*bearer(login["access_token"]).items(), *handshake.items(), *place])
    assert (await service.http.get("/verify", headers=headers)).status_code == 200
