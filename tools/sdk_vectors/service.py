"""A service that gives scripted responses."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from tools.sdk_vectors.answers import Response

DATE = "Fri, 15 Jan 2027 08:00:00 GMT"
_STANDARD = {"Date": DATE, "Content-Type": "application/json", "Connection": "close"}


@asynccontextmanager
async def serve(responses: Sequence[Response]) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Run the service. Yields its URL and the heads of the requests so far. One connection carries one request."""
    requests: list[bytes] = []
    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            response = responses[min(len(requests), len(responses)) - 1]
            if response.do == "hang":
                await over.wait()
            elif response.do != "close":
                writer.write(_written(response))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", requests
    finally:
        over.set()
        server.close()


def _written(response: Response) -> bytes:
    body = response.raw() + b" " * response.padding
    missing = 100 if response.do == "cut" else 0
    headers = _STANDARD | {"Content-Length": str(len(body) + missing)} | response.headers
    lines = [f"HTTP/1.1 {response.status} X", *(f"{name}: {value}" for name, value in headers.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode() + body
