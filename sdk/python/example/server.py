"""A resource server with asyncio: `GET /` tells whom a token speaks for. See sdk/vectors/README.md for its contract.

AUTH_URL=… AUTH_CLIENT_ID=… AUTH_CLIENT_SECRET=… python sdk/python/example/server.py
"""

import asyncio
import json
import os
import signal
import socket
import time
from typing import Any

import uvicorn
from authsvc_sdk import Active, AsyncIntrospector, AuthMiddleware, token_in

introspector = AsyncIntrospector(
    os.environ["AUTH_URL"],
    os.environ["AUTH_CLIENT_ID"],
    os.environ["AUTH_CLIENT_SECRET"],
    cache=True,
    timeout_s=float(os.environ.get("AUTH_TIMEOUT_S", "3")),
    feed_silence_s=float(os.environ.get("AUTH_FEED_SILENCE_S", "2")),
    serve_stale_for_s=float(os.environ.get("AUTH_SERVE_STALE_FOR_S", "0")),
)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Behind the middleware: only requests with an active token get here."""
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    user: Active = scope["user"]
    body = json.dumps({"sub": user.sub, "cached": scope["cached"]}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


protected = AuthMiddleware(application, introspector)


async def observed(scope: Any, receive: Any, send: Any) -> None:
    """Notes whether the middleware will find its answer in the cache."""
    if scope["type"] == "http":
        headers = [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]
        token = token_in(headers[:1])
        scope["cached"] = token is not None and introspector.cached(token) is not None
    await protected(scope, receive, send)


def move_clock(*_: object) -> None:
    """Move the wall clock of this process forward by a day."""
    real = time.time
    time.time = lambda: real() + 86_400


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, move_clock)
    listening = socket.create_server(("127.0.0.1", 0))
    print(json.dumps({"port": listening.getsockname()[1], "moves_clock": True}), flush=True)
    server = uvicorn.Server(uvicorn.Config(observed, log_level="warning"))
    asyncio.run(server.serve([listening]))
