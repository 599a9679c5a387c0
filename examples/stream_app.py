"""A WebSocket and a stream of server-sent events that end with the caller's session.

AUTH_URL=… AUTH_CLIENT_ID=… AUTH_CLIENT_SECRET=… uvicorn examples.stream_app:app   (with the package `websockets`)
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator

from authsvc_sdk import AsyncIntrospector, AuthMiddleware, Refused, while_active
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse

if missing := sorted({"AUTH_URL", "AUTH_CLIENT_ID", "AUTH_CLIENT_SECRET"} - os.environ.keys()):
    sys.exit(f"set {', '.join(missing)}: docs/sdk.md says how")

introspector = AsyncIntrospector(
    os.environ["AUTH_URL"], os.environ["AUTH_CLIENT_ID"], os.environ["AUTH_CLIENT_SECRET"], cache=True
)
app = FastAPI()
app.add_middleware(AuthMiddleware, introspector=introspector)


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    """The middleware closes the WebSocket with code 1008 when the session ends."""
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)


@app.get("/ticks")
async def ticks(request: Request) -> StreamingResponse:
    """A stream says itself how long it may live."""

    async def events() -> AsyncIterator[str]:
        try:
            async with while_active(request) as user:
                while True:
                    yield f"data: for {user.display_name}\n\n"
                    await asyncio.sleep(0.1)
        except Refused:
            return  # the page reconnects, and gets a 401 then

    return StreamingResponse(events(), media_type="text/event-stream")
