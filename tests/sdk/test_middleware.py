"""The middleware in applications of several frameworks: which requests pass, and how the others are answered."""

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from authsvc_sdk import (
    Active,
    Anonymous,
    AsyncIntrospector,
    AuthMiddleware,
    Unavailable,
    authorized,
    demand,
    while_active,
)
from authsvc_sdk.asgi import App, Message, Receive, Scope, Send
from authsvc_sdk.starlette import require
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.conftest import bearer
from tests.e2e.conftest import free_port
from tests.sdk.conftest import World

COOKIE = "__Host-session"


@pytest.fixture
async def ask(world: World) -> AsyncIterator[AsyncIntrospector]:
    async with AsyncIntrospector(world.server.url, *world.client) as introspector:
        yield introspector


def caller(app: App) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://api.test")


def issued(world: World, scope: str, **user: Any) -> str:
    sub = world.user(**user)
    issuer = world.client_of("issue")
    body = {"sub": sub, "scope": scope, "expires_in": 600}
    return str(world.http.post("/tokens", json=body, auth=issuer).json()["access_token"])


def fastapi_app(ask: AsyncIntrospector) -> App:
    app = FastAPI()
    app.add_middleware(AuthMiddleware, introspector=ask, optional=True)

    @app.get("/anybody")
    async def anybody(request: Request) -> dict[str, Any]:
        return {"name": request.user.display_name, "known": request.user.is_authenticated}

    @app.get("/me")
    async def me(user: Annotated[Active, Depends(require())]) -> dict[str, Any]:
        return {"sub": user.sub, "name": user.username}

    @app.get("/orders", dependencies=[Depends(require(scope="orders:read orders:list"))])
    async def orders() -> list[str]:
        return ["one"]

    @app.get("/rota", dependencies=[Depends(require(role="manager"))])
    async def rota() -> str:
        return "late"

    @app.get("/payout", dependencies=[Depends(require(max_age_s=300))])
    async def payout() -> str:
        return "done"

    return app


def starlette_app(ask: AsyncIntrospector) -> App:
    @requires("authenticated", status_code=401)
    async def me(request: Request) -> JSONResponse:
        return JSONResponse({"sub": request.user.identity, "name": request.user.display_name})

    @requires(["orders:read", "orders:list"])
    async def orders(request: Request) -> JSONResponse:
        return JSONResponse(["one"])

    async def rota(request: Request) -> JSONResponse:
        user = await require(role="manager")(request)
        return JSONResponse(user.sub)

    routes = [Route("/me", me), Route("/orders", orders), Route("/rota", rota)]
    middleware = [Middleware(AuthMiddleware, introspector=ask, optional=True)]
    return Starlette(routes=routes, middleware=middleware)


def plain_app(ask: AsyncIntrospector, **options: Any) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        user = authorized(scope)
        if scope["path"] == "/payout":
            demand(user, max_age_s=300)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps({"sub": user.sub}).encode()})

    return AuthMiddleware(app, ask, **options)


@pytest.fixture(params=[fastapi_app, starlette_app, plain_app])
async def api(request: pytest.FixtureRequest, ask: AsyncIntrospector) -> AsyncIterator[httpx.AsyncClient]:
    async with caller(request.param(ask)) as http:
        yield http


async def test_an_active_token_gets_in(world: World, api: httpx.AsyncClient) -> None:
    """The application gets the user, and a revoked token gets a 401 from the next request on."""
    sub = world.user()
    token = world.token()
    answer = await api.get("/me", headers=bearer(token))
    assert answer.status_code == 200
    assert answer.json()["sub"] == sub
    assert (await api.get("/me", headers={"authorization": f"bEARER  {token} "})).status_code == 200
    world.revoke(token=token)
    refused = await api.get("/me", headers=bearer(token))
    assert refused.status_code == 401
    assert refused.json() == {"error": "invalid_token", "error_description": "the access token is not active"}
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]
    assert refused.headers["Cache-Control"] == "no-store"
    assert token not in str(refused.headers) + refused.text


@pytest.mark.parametrize("app", [fastapi_app, plain_app])
async def test_without_a_token(ask: AsyncIntrospector, app: Any) -> None:
    """A request without a token gets a 401 with a challenge that names no error (RFC 6750 section 3.1)."""
    async with caller(app(ask)) as api:
        for headers in ({}, {"Authorization": "Basic YTpi"}):
            answer = await api.get("/me", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'
            assert answer.json()["error"] == "invalid_token"


async def test_more_than_one_token(world: World, ask: AsyncIntrospector) -> None:
    """Two headers, or a header and a cookie, are an invalid request."""
    world.user()
    token = world.token()
    async with caller(plain_app(ask, cookie=COOKIE)) as api:
        both = [("Authorization", f"Bearer {token}")] * 2
        assert (await api.get("/me", headers=both)).status_code == 400
        mixed = bearer(token) | {"Cookie": f"{COOKIE}={token}"}
        answer = await api.get("/me", headers=mixed)
        assert answer.status_code == 400
        assert answer.json()["error"] == "invalid_request"


@pytest.mark.parametrize("app", [fastapi_app, starlette_app])
async def test_scopes(world: World, ask: AsyncIntrospector, app: Any) -> None:
    """A token without one of the scopes gets a 403."""
    allowed = issued(world, "orders:list other orders:read")
    other = issued(world, "orders:read authenticated", username="grace")
    async with caller(app(ask)) as api:
        assert (await api.get("/orders", headers=bearer(allowed))).json() == ["one"]
        assert (await api.get("/orders", headers=bearer(other))).status_code == 403
        assert (await api.get("/orders")).status_code in (401, 403)  # Starlette's own `requires` says 403


async def test_what_a_403_says(world: World, ask: AsyncIntrospector) -> None:
    """A 403 for a scope names the scope (RFC 6750 section 3.1). A 403 for a role does not name the role."""
    token = issued(world, "other")
    async with caller(fastapi_app(ask)) as api:
        answer = await api.get("/orders", headers=bearer(token))
        assert answer.status_code == 403
        assert answer.json()["error"] == "insufficient_scope"
        assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
        assert 'scope="orders:read orders:list"' in answer.headers["WWW-Authenticate"]
        answer = await api.get("/rota", headers=bearer(token))
        assert answer.status_code == 403
        assert "scope=" not in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("app", [fastapi_app, starlette_app])
async def test_roles_are_live(world: World, ask: AsyncIntrospector, app: Any) -> None:
    """A change of roles holds from the next request on."""
    sub = world.user()
    token = world.token()
    async with caller(app(ask)) as api:
        for roles, status in [([], 403), (["manager"], 200), ([], 403)]:
            path = f"/admin/users/{sub}"
            world.http.patch(path, json={"roles": roles}, auth=world.server.admin).raise_for_status()
            assert (await api.get("/rota", headers=bearer(token))).status_code == status


@pytest.mark.parametrize("app", [fastapi_app, plain_app])
async def test_a_login_that_is_too_old(
    world: World, ask: AsyncIntrospector, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A route with `max_age_s` refuses an older login, and the answer names the limit (RFC 9470)."""
    world.user()
    token = world.token()
    async with caller(app(ask)) as api:
        assert (await api.get("/payout", headers=bearer(token))).status_code == 200
        later = time.time() + 302
        monkeypatch.setattr("authsvc_sdk.bearer.time.time", lambda: later)
        answer = await api.get("/payout", headers=bearer(token))
    assert answer.status_code == 401
    assert answer.json()["error"] == "insufficient_user_authentication"
    assert 'max_age="300"' in answer.headers["WWW-Authenticate"]


async def test_a_token_without_a_login(world: World, ask: AsyncIntrospector) -> None:
    """A token from `POST /tokens` passes, but never where a route sets `max_age_s`: nobody logged in for it."""
    token = issued(world, "orders:list")
    async with caller(plain_app(ask)) as api:
        assert (await api.get("/me", headers=bearer(token))).status_code == 200
        answer = await api.get("/payout", headers=bearer(token))
    assert (answer.status_code, answer.json()["error"]) == (401, "insufficient_user_authentication")


async def test_no_service(world: World) -> None:
    """Without a service the answer is 503 with `Retry-After`, which programs do not take for a logout."""
    ask = AsyncIntrospector(f"http://127.0.0.1:{free_port()}", *world.client)
    world.user()
    token = world.token()
    for app in (fastapi_app, starlette_app, plain_app):
        async with caller(app(ask)) as api:
            answer = await api.get("/me", headers=bearer(token))
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == "1"
            assert answer.json()["error"] == "temporarily_unavailable"
            assert "WWW-Authenticate" not in answer.headers
    await ask.aclose()


async def test_a_route_that_asks_by_itself(world: World, ask: AsyncIntrospector) -> None:
    """An application whose own question gets no answer is a 503 too, unless its answer has begun."""
    world.user()
    good = bearer(world.token())

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/begun":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await ask.exchange("tok_", audience="billing")

    async with caller(AuthMiddleware(app, ask)) as api:
        answer = await api.get("/orders", headers=good)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json()["error"] == "temporarily_unavailable"
    with pytest.raises(Unavailable):
        await through(AuthMiddleware(app, ask), connection("http", good, path="/begun"))
    (closed,) = await through(AuthMiddleware(app, ask), connection("websocket", good))
    assert closed["code"] == 1013


async def test_optional(world: World, ask: AsyncIntrospector) -> None:
    """With `optional`, a request without a token is Anonymous, and an inactive token is refused."""
    world.user()
    async with caller(fastapi_app(ask)) as api:
        assert (await api.get("/anybody")).json() == {"name": "", "known": False}
        known = await api.get("/anybody", headers=bearer(world.token()))
        assert known.json() == {"name": "ada", "known": True}
        assert (await api.get("/anybody", headers=bearer("tok_nonsense"))).status_code == 401


async def test_the_cookie(world: World, ask: AsyncIntrospector) -> None:
    """The middleware reads the token from the named cookie among other cookies, if it is set to."""
    world.user()
    cookies = {"Cookie": f'theme="dark; x"; {{"a":1}}; {COOKIE}={world.token()}; z=1'}
    async with caller(plain_app(ask)) as api:
        assert (await api.get("/me", headers=cookies)).status_code == 401
    async with caller(plain_app(ask, cookie=COOKIE)) as api:
        assert (await api.get("/me", headers=cookies)).status_code == 200
        assert (await api.get("/me", headers={"Cookie": f"{COOKIE}=tok_x"})).status_code == 401
        assert (await api.get("/me")).status_code == 401


@pytest.mark.parametrize("planted_first", [True, False])
async def test_a_planted_cookie(world: World, ask: AsyncIntrospector, planted_first: bool) -> None:
    """A second session cookie makes the request invalid, whichever comes first."""
    world.user()
    pair = [f"{COOKIE}=planted", f"{COOKIE}={world.token()}"]
    async with caller(plain_app(ask, cookie=COOKIE)) as api:
        answer = await api.get("/me", headers={"Cookie": "; ".join(pair if planted_first else pair[::-1])})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


PREFLIGHT = {"Origin": "https://app.test", "Access-Control-Request-Method": "DELETE"}


async def test_a_preflight(ask: AsyncIntrospector) -> None:
    """A CORS preflight, which never has a token, reaches the application, which answers it."""
    cors = CORSMiddleware(Starlette(), allow_origins=["*"], allow_headers=["*"], allow_methods=["*"])
    async with caller(AuthMiddleware(cors, ask)) as api:
        answer = await api.options("/orders", headers=PREFLIGHT | {"Access-Control-Request-Headers": "authorization"})
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("missing", PREFLIGHT)
@pytest.mark.parametrize("method", ["OPTIONS", "GET", "DELETE"])
async def test_what_is_no_preflight(ask: AsyncIntrospector, method: str, missing: str) -> None:
    """Another request without a token is refused, and so is a preflight for a route that acts on it."""
    partial = {name: value for name, value in PREFLIGHT.items() if name != missing}
    async with caller(AuthMiddleware(Starlette(), ask)) as api:
        assert (await api.request(method, "/orders", headers=partial)).status_code == 401
        if method != "OPTIONS":
            assert (await api.request(method, "/orders", headers=PREFLIGHT)).status_code == 401
    async with caller(plain_app(ask)) as api:
        assert (await api.options("/orders", headers=PREFLIGHT)).status_code == 401


async def test_an_application_that_fails_midway(world: World, ask: AsyncIntrospector) -> None:
    """A refusal after the answer has begun raises instead of starting a second answer."""
    world.user()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        authorized(scope, role="nobody-has-it")

    sent = await through(AuthMiddleware(app, ask), connection("http", bearer(world.token())), fails=True)
    assert [message["type"] for message in sent] == ["http.response.start"]


# The following tests play the server of a WebSocket.


def connection(kind: str, headers: dict[str, str], **fields: Any) -> Scope:
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": kind, "path": "/", "headers": [(b"host", b"api.test"), *pairs], "extensions": {}} | fields


async def through(app: App, scope: Scope, *, fails: bool = False) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    if fails:
        with pytest.raises(Exception, match="may not"):
            await app(scope, receive, send)
    else:
        await app(scope, receive, send)
    return sent


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    assert isinstance(scope["user"], Active | Anonymous)
    await receive()
    if "strict" in scope:
        authorized(scope, role="nobody-has-it")
    await send({"type": "websocket.accept"})
    authorized(scope)


async def test_a_websocket(world: World, ask: AsyncIntrospector) -> None:
    """An active token opens a WebSocket. Other requests are closed, or refused like HTTP if the server can do that."""
    world.user()
    app = AuthMiddleware(echo, ask)
    good, bad = bearer(world.token()), bearer("tok_x")
    assert [sent["type"] for sent in await through(app, connection("websocket", good))] == ["websocket.accept"]
    (closed,) = await through(app, connection("websocket", bad))
    assert (closed["type"], closed["code"]) == ("websocket.close", 1008)
    able: dict[str, Any] = {"websocket.http.response": {}}
    start, _ = await through(app, connection("websocket", bad, extensions=able))
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    start, _ = await through(app, connection("websocket", good, extensions=able, strict=True))
    assert start["status"] == 403


async def test_a_websocket_that_is_refused_later(ask: AsyncIntrospector) -> None:
    """A WebSocket that is refused after it was accepted is closed."""
    sent = await through(AuthMiddleware(echo, ask, optional=True), connection("websocket", {}))
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]


@pytest.mark.parametrize(
    ("origin", "kind"),
    [
        ("http://api.test", "websocket.accept"),
        ("http://evil.test", "websocket.close"),
        ("http://[", "websocket.close"),
        ("null", "websocket.close"),
        (None, "websocket.close"),
    ],
)
async def test_a_websocket_with_the_cookie(world: World, ask: AsyncIntrospector, origin: str | None, kind: str) -> None:
    """Only pages of the same origin can open a WebSocket with the cookie of their visitor."""
    world.user()
    headers = {"Cookie": f"{COOKIE}={world.token()}"} | ({"Origin": origin} if origin else {})
    sent = await through(AuthMiddleware(echo, ask, cookie=COOKIE), connection("websocket", headers))
    assert sent[0]["type"] == kind


async def test_a_stream_whose_token_nobody_checked(ask: AsyncIntrospector) -> None:
    """Watching the token of an unchecked request is an error of the program. Without a token it is a refusal."""
    with pytest.raises(RuntimeError, match=r"Depends\(auth\).*AuthMiddleware"):
        while_active(connection("http", {}))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with while_active(scope):
            pytest.fail("nobody has a token")

    (start, _) = await through(AuthMiddleware(app, ask, optional=True), connection("http", {}))
    assert start["status"] == 401


async def test_lifespan(world: World) -> None:
    """The connections open with the application and close with it."""
    ask = AsyncIntrospector(world.server.url, *world.client)
    messages: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(2):
            await receive()
            seen.append(ask._wire is not None)

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None: ...

    await AuthMiddleware(app, ask)({"type": "lifespan"}, receive, send)
    assert seen == [True, False]


def test_the_middleware_needs_no_framework() -> None:
    """Importing the middleware loads no web framework."""
    names = "import sys; from authsvc_sdk import AuthMiddleware; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", names], capture_output=True, text=True, check=True).stdout.split()
    assert not {"starlette", "fastapi", "django"} & set(loaded)
