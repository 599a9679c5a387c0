"""Cookie mode: what browsers of first-party web apps get, and what other sites can't do with it."""

from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest

from authsvc.api import openapi
from authsvc.api.routes import ROUTES
from authsvc.settings import Settings
from authsvc.web.cookies import NAME
from tests.conftest import CHEAP, PASSWORD, Clock, Service, bearer
from tests.selection import one_in, slow
from tests.web.conftest import ORIGIN, StoreCalls, assert_problem, cookie, cookie_of, login_by_cookie

LOGIN = {"username": "ada", "password": PASSWORD, "cookie": True}
CHANGE = {"current_password": PASSWORD, "new_password": "four herons at dawn"}

# Every call that changes something and that a user, or an admin, can make: with what body.
CHANGING = [
    pytest.param(route.method, route.path, id=f"{route.method} {route.path}")
    for route in ROUTES
    if route.method != "GET" and {"user", "admin"} & set(route.who)
]
SAME_SITE = [
    {"Origin": ORIGIN},
    {"Sec-Fetch-Site": "same-origin"},
    {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"},
    {"Origin": ORIGIN, "Host": "AUTH.test"},
    {"Origin": ORIGIN, "Host": "auth.test:80"},  # the port that the scheme has by default
]
OTHER_SITE: list[dict[str, str]] = [
    {},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://["},
    {"Origin": "https://evil.test"},
    {"Origin": "http://auth.test.evil.test"},
    {"Origin": "http://evil-auth.test"},
    {"Origin": "http://sub.auth.test"},
    {"Origin": "http://auth.test:8080"},
    {"Origin": "http://auth.test@evil.test"},
    {"Origin": "auth.test"},
    {"Origin": ORIGIN, "Host": "auth.test:443"},
    {"Origin": ORIGIN, "Host": "auth.test:8080"},
    {"Origin": ORIGIN.upper()},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": ""},
    {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
    {"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"},
    {"Referer": "http://auth.test/"},
]


@pytest.fixture
async def token(service: Service) -> str:
    await service.user(roles=("admin",))
    return await login_by_cookie(service)


def parsed(answer: httpx.Response) -> dict[str, str]:
    (header,) = answer.headers.get_list("set-cookie")
    assert len(header) < 4096
    return {name: value for name, value in SimpleCookie(header)[NAME].items() if value}


def cleared(answer: httpx.Response) -> bool:
    attributes = parsed(answer)
    return cookie_of(answer) == '""' and attributes["max-age"] == "0" and attributes["path"] == "/"


async def test_attributes(service: Service) -> None:
    """The cookie is __Host-, Secure, HttpOnly, SameSite=Lax, for the whole path and no domain."""
    await service.user()
    answer = await service.http.post("/login", json=LOGIN, headers={"Origin": ORIGIN})
    attributes = parsed(answer)
    assert attributes.pop("samesite").lower() == "lax"
    assert attributes == {"secure": True, "httponly": True, "path": "/", "max-age": str(12 * 3600)}
    assert NAME == "__Host-session"


async def test_no_token_in_the_body(service: Service) -> None:
    """The body names the session and no token; there is no refresh token in this mode."""
    await service.user()
    answer = await service.http.post("/login", json=LOGIN, headers={"Origin": ORIGIN})
    assert set(answer.json()) == {"token_type", "expires_in", "session_id"}
    assert cookie_of(answer)[16:] not in answer.text
    assert (await service.http.get("/me", headers=cookie(cookie_of(answer)))).status_code == 200
    without = await service.http.post("/login", json=LOGIN | {"cookie": False})
    assert "set-cookie" not in without.headers


@pytest.mark.parametrize("session_ttl_s", [None, slow(60), slow(86400 * 3)])
async def test_max_age_is_the_sessions_own(service: Service, clock: Clock, session_ttl_s: int | None) -> None:
    """Browser and server agree on the end of the session, to the second."""
    await service.user()
    client, _ = await service.client(public=True, session_ttl_s=session_ttl_s, idle_ttl_s=session_ttl_s)
    login = LOGIN | {"client_id": client.client_id}
    clock.forward(0.7)
    answer = await service.http.post("/login", json=login, headers={"Origin": ORIGIN})
    max_age = int(parsed(answer)["max-age"])
    assert max_age == (session_ttl_s or 12 * 3600)
    headers = cookie(cookie_of(answer))
    for _ in range(max_age // 1700):  # kept in use, so that only the absolute end counts
        clock.forward(1700)
        assert (await service.http.get("/me", headers=headers)).status_code == 200
        await service.deps.store.sessions.finish()
    clock.forward(max_age % 1700 - 1)
    assert (await service.http.get("/me", headers=headers)).status_code == 200
    clock.forward(1)
    assert (await service.http.get("/me", headers=headers)).status_code == 401


async def test_max_age_after_a_password_change(service: Service, token: str, clock: Clock) -> None:
    """A new cookie late in the session lasts for what is left of it; the answer is 204, and the old cookie is dead."""
    clock.forward(1000)
    answer = await service.http.post("/password", json=CHANGE, headers=cookie(token))
    assert (answer.status_code, answer.content) == (204, b"")
    assert parsed(answer)["max-age"] == str(12 * 3600 - 1000)
    assert cookie_of(answer) not in ("", token)
    assert (await service.http.get("/me", headers=cookie(token))).status_code == 401
    assert (await service.http.get("/me", headers=cookie(cookie_of(answer)))).status_code == 200


@pytest.mark.parametrize(("method", "path"), one_in(3, CHANGING))
async def test_another_site_changes_nothing(
    service: Service, token: str, store_calls: StoreCalls, method: str, path: str
) -> None:
    """With the cookie alone, every changing call from elsewhere, or from nobody says where, is refused unread."""
    store_calls.reset()
    filled = path.replace("{session_id}", token[4:16]).replace("{factor_id}", token[4:16])
    filled = filled.replace("{client_id}", "app").replace("{sub}", "x")
    takes_form = path == "/revoke"
    body: dict[str, Any] = {"data": {"all": "true"}} if takes_form else {"json": CHANGE} if method == "POST" else {}
    for headers in OTHER_SITE:
        answer = await service.http.request(method, filled, headers={"Cookie": f"{NAME}={token}"} | headers, **body)
        assert_problem(answer, 403, "access_denied")
        assert store_calls.made() == {}, headers


@pytest.mark.parametrize("headers", one_in(3, OTHER_SITE), ids=str)
async def test_another_site_logs_nobody_in(service: Service, store_calls: StoreCalls, headers: dict[str, str]) -> None:
    """A login in cookie mode from elsewhere is refused before the password is looked at, and sets no cookie."""
    await service.user()
    store_calls.reset()
    answer = await service.http.post("/login", json=LOGIN, headers=headers)
    assert_problem(answer, 403, "access_denied")
    assert "set-cookie" not in answer.headers
    assert store_calls.made() == {}


@pytest.mark.parametrize("headers", SAME_SITE, ids=str)
async def test_our_own_pages_may(service: Service, token: str, headers: dict[str, str]) -> None:
    """Either header is enough to say that a call comes from our own pages."""
    answer = await service.http.post("/login", json=LOGIN, headers=headers)
    assert answer.status_code == 200
    answer = await service.http.post("/logout", headers={"Cookie": f"{NAME}={token}"} | headers)
    assert answer.status_code == 204


class TestAllowedOrigins:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(**CHEAP, allowed_origins=("https://app.example.org", "http://localhost:3000"))

    @pytest.mark.parametrize("site", [{}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "cross-site"}], ids=str)
    async def test_an_allowed_origin_may(self, service: Service, site: dict[str, str]) -> None:
        """Pages of an allowed origin may use the cookie, wherever they are."""
        await service.user()
        for origin in ("https://app.example.org", "http://localhost:3000"):
            answer = await service.http.post("/login", json=LOGIN, headers={"Origin": origin} | site)
            headers = {"Cookie": f"{NAME}={cookie_of(answer)}", "Origin": origin} | site
            assert (await service.http.post("/logout", headers=headers)).status_code == 204

    @pytest.mark.parametrize(
        "origin",
        [
            "http://app.example.org",
            "https://app.example.org:8443",
            "https://app.example.org.evil.test",
            "https://evil.test/https://app.example.org",
            "https://xapp.example.org",
            "https://example.org",
            "null",
            "*",
            "",
        ],
    )
    async def test_one_like_it_may_not(self, service: Service, origin: str) -> None:
        """An origin is allowed exactly as it is written."""
        await service.user()
        assert_problem(await service.http.post("/login", json=LOGIN, headers={"Origin": origin}), 403, "access_denied")


async def test_reading_needs_no_origin(service: Service, token: str) -> None:
    """GET and HEAD change nothing, so they may come from anywhere; the cookie is Lax."""
    for path in ("/me", "/sessions", "/admin/users", "/admin/audit"):
        for method in ("GET", "HEAD"):
            answer = await service.http.request(method, path, headers={"Cookie": f"{NAME}={token}"})
            assert answer.status_code == 200


async def test_reading_changes_nothing(service: Service, token: str) -> None:
    """No GET, with the query of a changing call, ends a session."""
    for path in ("/logout", "/sessions?all=true", "/revoke?all=true", "/password"):
        await service.http.get(path, headers={"Cookie": f"{NAME}={token}"})
    assert await service.active(token)


@pytest.mark.parametrize("headers", one_in(3, OTHER_SITE), ids=str)
async def test_a_bearer_token_needs_no_origin(service: Service, headers: dict[str, str]) -> None:
    """Another site can't make a browser send a bearer token, so nothing is asked about where it comes from."""
    await service.user()
    login = await service.http.post("/login", json=LOGIN | {"cookie": False}, headers=headers)
    answer = await service.http.post("/logout", headers=bearer(login.json()["access_token"]) | headers)
    assert answer.status_code == 204


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_two_cookies_are_refused(service: Service, token: str, method: str) -> None:
    """Of two session cookies one was planted: neither counts, be they equal, in one header or in two."""
    other = await login_by_cookie(service)
    path = "/me" if method == "GET" else "/sessions"
    origin = ("Origin", ORIGIN)
    for first, second in ((token, other), (token, token), (token, ""), ("x", token)):
        joined = [("Cookie", f"{NAME}={first}; {NAME}={second}"), origin]
        apart = [("Cookie", f"{NAME}={first}"), ("Cookie", f"a=b; {NAME} ={second}"), origin]
        for headers in (joined, apart):
            assert_problem(await service.http.request(method, path, headers=headers), 400, "invalid_request")
    assert await service.active(token)


async def test_two_cookies_do_not_hinder_a_login(service: Service, token: str) -> None:
    """A login with two session cookies works, ends the sessions of both, and sets the new cookie."""
    other = await login_by_cookie(service)
    headers = {"Cookie": f"{NAME}={token}; {NAME}={other}", "Origin": ORIGIN}
    answer = await service.http.post("/login", json=LOGIN, headers=headers)
    assert answer.status_code == 200, answer.text
    assert await service.active(cookie_of(answer))
    assert [await service.active(old) for old in (token, other)] == [False, False]


async def test_two_cookies_do_not_hinder_a_logout(service: Service, token: str) -> None:
    """A logout with two session cookies ends the sessions of both, and the browser forgets both cookies."""
    other = await login_by_cookie(service)
    cookies = f"{NAME}={token}; {NAME}={other}"
    refused = await service.http.post("/logout", headers={"Cookie": cookies, "Origin": "https://evil.test"})
    assert_problem(refused, 403, "access_denied")
    both = await service.http.post("/logout", headers={"Cookie": cookies, "Origin": ORIGIN} | bearer(token))
    assert_problem(both, 400, "invalid_request")
    assert await service.active(token)
    answer = await service.http.post("/logout", headers={"Cookie": cookies, "Origin": ORIGIN})
    assert answer.status_code == 204
    assert answer.headers["clear-site-data"] == '"cookies"'
    assert answer.headers["set-cookie"].startswith(f'{NAME}=""; ')
    assert [await service.active(old) for old in (token, other)] == [False, False]


# Python counts these characters as white space. RFC 6265bis counts only the space and the tab.
NO_WHITE_SPACE = ["\x85", "\xa0", "\x1c", "\x1d", "\x1e", "\x1f", "\x0b", "\x0c"]


@pytest.mark.parametrize("byte", NO_WHITE_SPACE, ids=ascii)
async def test_a_byte_before_the_name_makes_another_cookie(service: Service, token: str, byte: str) -> None:
    """A subdomain can plant a cookie whose name only ends in `__Host-session`: that cookie counts nowhere."""
    other = await login_by_cookie(service)

    async def ask(path: str, cookies: str) -> httpx.Response:
        return await service.http.get(path, headers=[(b"Cookie", cookies.encode("latin-1"))])

    for planted in (f"{byte}{NAME}={other}", f"{NAME}{byte}={other}"):
        assert_problem(await ask("/me", planted), 401, "invalid_token")
        for both in (f"{planted}; {NAME}={token}", f"{NAME}={token}; {planted}"):
            assert (await ask("/me", both)).json()["session"]["session_id"] == token[4:16]


@pytest.mark.parametrize(
    "text",
    [
        "%s=",
        '%s="TOKEN"',
        "%s=TOKENx",
        "%s=TOKEN,",
        "%s",
        "__host-session=TOKEN",
        "__Secure-session=TOKEN",
        "session=TOKEN",
    ],
)
async def test_only_the_very_cookie_counts(service: Service, token: str, text: str) -> None:
    """A name in other letters, a quoted value, an empty one: no session."""
    header = text.replace("%s", NAME).replace("TOKEN", token)
    answer = await service.http.get("/me", headers={"Cookie": header})
    assert_problem(answer, 401, "invalid_token")


async def test_other_cookies_do_not_matter(service: Service, token: str) -> None:
    """Cookies of others beside ours, even strange ones, change nothing."""
    header = f'$Version=1; a; =b; c="d; {NAME}={token}; e=é; {NAME}x=1'.encode("latin-1")
    answer = await service.http.get("/me", headers=[(b"Cookie", header)])
    assert answer.status_code == 200


async def test_cookie_and_bearer_are_refused(service: Service, token: str) -> None:
    """A call says once who is calling."""
    for headers in (bearer(token) | cookie(token), bearer("x") | cookie("y")):
        assert_problem(await service.http.get("/me", headers=headers), 400, "invalid_request")
        assert_problem(await service.http.post("/logout", headers=headers), 400, "invalid_request")


async def test_logout_clears_the_cookie(service: Service, token: str) -> None:
    """Logging out ends the session and takes the cookie out of the browser; by bearer token there is none to clear."""
    answer = await service.http.post("/logout", headers=cookie(token))
    assert answer.status_code == 204
    assert cleared(answer)
    assert not await service.active(token)
    by_bearer = await service.http.post("/logout", headers=bearer((await service.login())["access_token"]))
    assert "set-cookie" not in by_bearer.headers


async def test_ending_this_session_clears_the_cookie(service: Service, token: str) -> None:
    """So do ending this session by its id and ending all; ending another one does not."""
    other = await login_by_cookie(service)
    answer = await service.http.delete(f"/sessions/{other[4:16]}", headers=cookie(token))
    assert (answer.status_code, "set-cookie" in answer.headers) == (204, False)
    answer = await service.http.delete("/sessions", headers=cookie(token))
    assert (answer.status_code, "set-cookie" in answer.headers) == (204, False)
    assert await service.active(token)
    assert cleared(await service.http.delete(f"/sessions/{token[4:16]}", headers=cookie(token)))
    token = await login_by_cookie(service)
    assert cleared(await service.http.delete("/sessions?all=true", headers=cookie(token)))
    assert not await service.active(token)


async def test_a_dead_cookie_is_cleared(service: Service, token: str) -> None:
    """Once the session has ended, the next call takes the cookie out of the browser, by GET too."""
    await service.http.post("/revoke", data={"all": "true"}, auth=service.admin)
    for method, path in (("GET", "/me"), ("POST", "/logout"), ("GET", "/admin/users")):
        answer = await service.http.request(method, path, headers=cookie(token))
        assert_problem(answer, 401, "invalid_token")
        assert cleared(answer)
    assert "set-cookie" not in (await service.http.get("/me", headers=bearer(token))).headers


async def test_an_outage_clears_nothing(service: Service, token: str, valkey: object) -> None:
    """When nothing is known, the browser keeps its cookie."""
    valkey.delete("service")  # type: ignore[attr-defined]
    answer = await service.http.get("/me", headers=cookie(token))
    assert_problem(answer, 503, "temporarily_unavailable")
    assert "set-cookie" not in answer.headers


async def test_a_planted_cookie_is_never_adopted(service: Service, token: str) -> None:
    """A login gives a new token whatever cookie the browser brought (session fixation)."""
    planted = "tok_" + "0" * 45
    for brought in (planted, token):
        answer = await service.http.post("/login", json=LOGIN, headers=cookie(brought))
        assert cookie_of(answer) not in (planted, token)


async def test_a_browser_has_one_session(service: Service, token: str) -> None:
    """A login by cookie ends the session whose cookie came along; one for tokens, which replaces none, leaves it."""
    for_tokens = LOGIN | {"cookie": False}
    assert (await service.http.post("/login", json=for_tokens, headers=cookie(token))).status_code == 200
    assert await service.active(token)
    answer = await service.http.post("/login", json=LOGIN, headers=cookie(token))
    assert not await service.active(token)
    assert await service.active(cookie_of(answer))


async def test_a_refresh_token_is_no_cookie(service: Service) -> None:
    """Only an access token opens a session by cookie."""
    await service.user()
    refresh = (await service.login())["refresh_token"]
    assert_problem(await service.http.get("/me", headers=cookie(refresh)), 401, "invalid_token")


async def test_without_allowed_origins_there_are_no_preflights(service: Service) -> None:
    """A service without AUTHSVC_ALLOWED_ORIGINS answers a preflight like any method that a path does not take."""
    asks = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    refused = await service.http.options("/login", headers=asks)
    assert_problem(refused, 405, "method_not_allowed")
    assert "access-control-allow-origin" not in refused.headers


class TestOtherOrigins:
    """Pages of allowed origins, and only of those, may call the service from a browser."""

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(**CHEAP, allowed_origins=("https://app.example",))

    async def test_by_exact_list(self, service: Service) -> None:
        """An allowed origin is named in the answer; look-alikes, `null` and others are not,."""
        await service.user()
        asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        for origin, allowed in (
            ("https://app.example", True),
            ("https://app.example.evil.example", False),
            ("https://evil-app.example", False),
            ("https://sub.app.example", False),
            ("http://app.example", False),
            ("null", False),
        ):
            preflight = await service.http.options("/login", headers={"Origin": origin, **asks})
            assert ("access-control-allow-origin" in preflight.headers) is allowed
            body = {"username": "ada", "password": PASSWORD, "cookie": True}
            answer = await service.http.post("/login", json=body, headers={"Origin": origin})
            assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
            assert answer.status_code == (200 if allowed else 403)
            assert "Origin" in answer.headers["vary"]

    async def test_a_refused_preflight_is_an_error_like_all(self, service: Service) -> None:
        """A refused preflight has the one shape of errors, and allows what it would have allowed without the rest."""
        allowed = "https://app.example"
        for origin, method, fields in (
            ("https://evil.example", "POST", "content-type"),
            (allowed, "PUT", "content-type"),
            (allowed, "POST", "x-other"),
        ):
            asks = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": fields}
            refused = await service.http.options("/login", headers=asks)
            assert_problem(refused, 400, "invalid_request")
            assert "Disallowed CORS" in refused.json()["error_description"]
            assert refused.headers.get("access-control-allow-origin") == (allowed if origin == allowed else None)
            assert "Origin" in refused.headers["vary"]
            assert refused.headers.get_list("content-length") == [str(len(refused.content))]

    async def test_a_page_can_read_what_errors_say_in_headers(self, service: Service) -> None:
        """A page of an allowed origin can read each header field that the pages about errors tell clients to read."""
        answer = await service.http.get("/me", headers={"Origin": "https://app.example"})
        assert_problem(answer, 401, "invalid_token")
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert exposed == ["Allow", "Retry-After", "WWW-Authenticate", "X-Request-ID"]
        errors = openapi.document()["components"]["responses"].values()
        # Scripts can always read Cache-Control (CORS-safelisted).
        documented = {name for error in errors for name in error["headers"]} - {"Cache-Control"}
        assert documented <= set(exposed)


class TestHttpsIssuer:
    """A service whose public address is HTTPS."""

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(**CHEAP, issuer="https://auth.test")

    async def test_a_page_without_tls_is_another_site(self, service: Service) -> None:
        """On the way to the browser somebody may answer for the HTTP address of this host: its page changes nothing."""
        await service.user()
        assert_problem(await service.http.post("/login", json=LOGIN, headers={"Origin": ORIGIN}), 403, "access_denied")
        own = {"Origin": "https://auth.test"}
        answer = await service.http.post("/login", json=LOGIN, headers=own)
        assert answer.status_code == 200
        cookie = {"Cookie": f"{NAME}={cookie_of(answer)}"}
        assert_problem(await service.http.post("/logout", headers=cookie | {"Origin": ORIGIN}), 403, "access_denied")
        assert (await service.http.post("/logout", headers=cookie | own)).status_code == 204
