"""The ceiling of forward-auth: an ASGI application that allows each request, with headers of the usual length."""

import gc

from starlette.types import Message, Receive, Scope, Send

# The same settings as `authsvc serve`, so that they make no difference.
gc.freeze()
gc.set_threshold(50_000, 20, 100)

_START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"x-auth-subject", b"x" * 12),
        (b"x-auth-username", b"user0000000"),
        (b"x-auth-roles", b"editor"),
        (b"x-auth-scope", b"orders:read"),
        (b"x-auth-session", b"x" * 12),
        (b"content-length", b"0"),
    ],
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await send(_START)
    await send({"type": "http.response.body", "body": b""})
