"""Middleware that protects any ASGI application. It imports no framework."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from authsvc_sdk.answers import Active
from authsvc_sdk.async_introspector import AsyncIntrospector
from authsvc_sdk.bearer import cookie_in, demand, refusal_of, token_in
from authsvc_sdk.errors import Unavailable
from authsvc_sdk.refused import Refused
from authsvc_sdk.requirements import check_introspector
from authsvc_sdk.streams import user_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_POLICY_VIOLATION = 1008  # RFC 6455 section 7.4.1
_TRY_AGAIN_LATER = 1013  # IANA's registry of close codes: an outage must not look like a logout
# Where the middleware puts the function that watches the token. A function, because its `repr` hides the token.
_WATCH = "authsvc.watch"


class Anonymous(NamedTuple):
    """The `user` of a request without a token, if the middleware allows such requests. Starlette knows its fields."""

    is_authenticated: bool = False
    display_name: str = ""
    identity: str = ""


class AuthCredentials(NamedTuple):
    """The `auth` of a request. Starlette's `@requires` reads its scopes."""

    scopes: list[str]


class RefusalMiddleware:
    """Answers if the application raises Refused or Unavailable (503). Opens and closes the introspector with it."""

    def __init__(self, app: App, introspector: AsyncIntrospector) -> None:
        check_introspector(introspector, AsyncIntrospector)
        self._app = app
        self._introspector = introspector

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        begun = closed = False

        async def sending(message: Message) -> None:
            nonlocal begun, closed
            begun, closed = True, message["type"] == "websocket.close"
            await send(message)

        try:
            await self._serve(scope, receive, sending)
        except (Refused, Unavailable) as error:
            if begun and scope["type"] == "http":
                raise  # the answer has begun, so the server can only close the connection
            if not closed:
                await refuse(scope, send, refusal_of(error), accepted=begun)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open the feed of changes at the start, and close the connections at the end."""

        async def receiving() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._introspector.start()
            elif message["type"] == "lifespan.shutdown":
                await self._introspector.aclose()
            return message

        await self._app(scope, receiving, send)


class AuthMiddleware(RefusalMiddleware):
    """Passes requests with an active token, and refuses all others.

    The application finds `user` (an Active) and `auth` in the connection's scope.
    optional: requests without a token pass as Anonymous, and the routes decide with `authorized`. Requests with an
    inactive token are refused.
    A WebSocket is closed with code 1008 when its token ends. For other streams see `while_active`.
    A CORS preflight passes as Anonymous: it never carries a token, and the application answers it.
    cookie: the name of a cookie that may carry the token, for pages of the same site. The application must then
    protect its HTTP routes from cross-site requests.
    """

    def __init__(
        self, app: App, introspector: AsyncIntrospector, *, optional: bool = False, cookie: str | None = None
    ) -> None:
        super().__init__(app, introspector)
        self._optional = optional
        self._cookie = cookie

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._authenticate(scope)
        if scope["type"] == "websocket" and _WATCH in scope:
            async with while_active(scope):
                await self._app(scope, receive, send)
        else:  # a request is over in a moment, and watching costs more than its check
            await self._app(scope, receive, send)

    async def _authenticate(self, scope: Scope) -> None:
        headers = _Headers(scope)
        token = token_in(headers.all("authorization"), self._cookie_of(scope, headers))
        if token is None:
            if not (self._optional or _is_preflight(scope, headers)):
                raise Refused.without_token()
            scope["user"], scope["auth"] = Anonymous(), AuthCredentials([])
            return
        await admit(scope, self._introspector, token)

    def _cookie_of(self, scope: Scope, headers: "_Headers") -> str | None:
        if self._cookie is None:
            return None
        if scope["type"] == "websocket" and not headers.same_origin():
            return None  # pages of any site can open a WebSocket to us with their visitor's cookies
        return cookie_in(headers.all("cookie"), self._cookie)


async def admit(scope: Scope, introspector: AsyncIntrospector, token: str) -> Active:
    """Return the user of an active token. Put the user into the scope, for `authorized` and `while_active`.

    Raises Refused.
    """
    user = await user_of(introspector.introspect, token)
    scope["user"], scope["auth"] = user, AuthCredentials(["authenticated", *user.scopes])
    scope[_WATCH] = lambda: introspector.while_active(token)
    return user


def authorized(
    connection: Mapping[str, Any],
    *,
    scope: str = "",
    role: str | None = None,
    acr: str | None = None,
    max_age_s: int | None = None,
) -> Active:
    """Like `demand`, for the user of a connection: an ASGI scope, or a request of Starlette."""
    return demand(connection.get("user"), scope=scope, role=role, acr=acr, max_age_s=max_age_s)


def while_active(connection: Mapping[str, Any]) -> AbstractAsyncContextManager[Active]:
    """Like `AsyncIntrospector.while_active`, for the token of a connection: `async with while_active(request): ...`.

    Raises Refused (401) if the connection has no token, and RuntimeError if nothing has looked for one.
    """
    if _WATCH not in connection and not isinstance(connection.get("user"), Anonymous):
        # Not Refused, which would hide the mistake: handlers of streams take Refused for the end of the token.
        raise RuntimeError(
            "while_active: nothing has checked the token of this request: add Depends(auth) to its route, or "
            "AuthMiddleware to the application"
        )
    authorized(connection)
    watch: Callable[[], AbstractAsyncContextManager[Active]] = connection[_WATCH]
    return watch()


def _is_preflight(scope: Scope, headers: "_Headers") -> bool:
    """Whether this is a CORS preflight (WHATWG Fetch, section 3.3.2)."""
    asked = headers.all("origin") and headers.all("access-control-request-method")
    return scope["type"] == "http" and scope["method"] == "OPTIONS" and bool(asked)


async def refuse(scope: Scope, send: Send, refused: Refused, *, accepted: bool) -> None:
    """Answer with the refusal. Close a WebSocket that was accepted, or whose server can't send an HTTP answer."""
    kind = "http"
    if scope["type"] == "websocket":
        if accepted or "websocket.http.response" not in scope.get("extensions", {}):
            code = _TRY_AGAIN_LATER if refused.status == 503 else _POLICY_VIOLATION
            await send({"type": "websocket.close", "code": code, "reason": str(refused)})
            return
        kind = "websocket.http"
    headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in refused.headers.items()]
    headers.append((b"content-length", str(len(refused.body)).encode()))
    await send({"type": f"{kind}.response.start", "status": refused.status, "headers": headers})
    await send({"type": f"{kind}.response.body", "body": refused.body})


class _Headers:
    def __init__(self, scope: Scope) -> None:
        self._headers = scope["headers"]

    def all(self, name: str) -> list[str]:
        wanted = name.encode()
        return [value.decode("latin-1") for key, value in self._headers if key.lower() == wanted]

    def same_origin(self) -> bool:
        origins, hosts = self.all("origin"), self.all("host")
        if len(origins) != 1 or len(hosts) != 1:
            return False
        try:
            origin_host = urlsplit(origins[0]).netloc
        except ValueError:  # `http://[`
            return False
        return origin_host != "" and origin_host.lower() == hosts[0].lower()
