"""The ceiling: an ASGI application that reads the body and answers a constant with the size of a real answer."""

import gc
import os

from starlette.types import Message, Receive, Scope, Send

_LENGTH = int(os.environ.get("BENCH_ANSWER_BYTES", "400"))
_BODY = b'{"active":true,"padding":"%s"}' % (b"x" * (_LENGTH - 29))
# The same settings as `authsvc serve`, so that they make no difference.
gc.freeze()
gc.set_threshold(50_000, 20, 100)

_START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-length", b"%d" % len(_BODY)), (b"content-type", b"application/json")],
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await send(_START)
    await send({"type": "http.response.body", "body": _BODY})
