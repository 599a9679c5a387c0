"""The short way for the one call that is made on every request of somebody else's system: a plain `/introspect`.

Starlette's request, form and response objects cost more than the work itself. This takes over a request only if it is
of the plainest kind and the answer is a success; whatever is unusual goes the general way, as if this were not here.
"""

import re
from base64 import b64decode
from typing import NamedTuple

from msgspec.json import encode
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authsvc.errors import StoreUnavailable
from authsvc.flows.deps import Deps
from authsvc.flows.introspect import introspect
from authsvc.web.envelope import headers, request_id, sealed
from authsvc.web.errors import answer
from authsvc.web.input import FORM, JSON

_BODY = re.compile(rb"token=([0-9A-Za-z_.~-]{1,200})(?:&token_type_hint=[a-z_]{1,20})?")
_CREDENTIALS = re.compile(r"([A-Za-z0-9._-]{1,64}):([A-Za-z0-9._-]{1,200})")
_FORM = FORM.encode()
_JSON = (b"content-type", JSON.encode())


class Plain(NamedTuple):
    """What a plain request says."""

    client_id: str
    secret: str
    token: str


class Lean:
    """Answers plain introspections itself, and hands everything else on."""

    def __init__(self, app: ASGIApp, deps: Deps) -> None:
        self._app = app
        self._deps = deps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/introspect" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        message = await receive()
        plain = read(scope, message)
        answers = None
        if plain is not None:
            try:
                answers = await introspect(self._deps, plain.client_id, plain.secret, [plain.token])
            except StoreUnavailable as error:  # asking again would double the time that an outage costs
                scope["request_id"] = request_id(scope)
                response = await answer(Request(scope), error)
                await response(scope, receive, sealed(scope, send))
                return
        if answers is None:
            await self._app(scope, _again(message, receive), send)
            return
        body = encode(answers[0])
        ours = [(b"content-length", b"%d" % len(body)), _JSON, *headers(request_id(scope))]
        await send({"type": "http.response.start", "status": 200, "headers": ours})
        await send({"type": "http.response.body", "body": body})


def read(scope: Scope, message: Message) -> Plain | None:
    """Parse a plain request; None if it is not plain."""
    if message["type"] != "http.request" or message.get("more_body") or scope["query_string"]:
        return None
    given = dict(scope["headers"])
    if len(given) != len(scope["headers"]):  # a header twice
        return None
    body = _BODY.fullmatch(message.get("body", b""))
    if body is None or given.get(b"content-type") != _FORM or b"content-encoding" in given:
        return None
    scheme, _, encoded = given.get(b"authorization", b"").partition(b" ")
    if scheme != b"Basic":
        return None
    try:
        credentials = _CREDENTIALS.fullmatch(b64decode(encoded, validate=True).decode("ascii"))
    except ValueError:  # not base64, not ASCII
        return None
    return None if credentials is None else Plain(credentials[1], credentials[2], body[1].decode())


def _again(message: Message, receive: Receive) -> Receive:
    """The stream of messages as if its first had not been taken."""
    waiting = [message]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed
