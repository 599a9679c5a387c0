"""A client that asks a resource server about one token without pause, and writes each answer down.

    python -m tests.sdk.caller PORT TOKEN

A line has three parts: `A`ctive (200), `I`nactive (401), `U`navailable (503) or `-` for none of these; `c` if the
answer came from the cache, else `-`; and the machine's monotonic clock when the request was sent. A request counts from
that moment: its check came later. Requests go out even while others wait, so some wait when a stopped server goes on.
"""

import asyncio
import json
import sys
import time

PAUSE_S = 0.002
# With so many requests waiting, the server hangs. The next requests go out at longer intervals.
CROWD, CROWD_PAUSE_S = 4, 0.1
TIMEOUT_S = 5
SAID = {200: "A", 401: "I", 503: "U"}

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Caller:
    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._request = f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        self._idle: list[Connection] = []
        self._waiting: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        while True:
            task = asyncio.create_task(self._call())
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)
            await asyncio.sleep(0)
            await asyncio.wait([task], timeout=PAUSE_S if len(self._waiting) < CROWD else CROWD_PAUSE_S)
            await asyncio.sleep(PAUSE_S)

    async def _call(self) -> None:
        sent = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status, body = await self._exchange()
        except (OSError, EOFError, ValueError, TimeoutError):
            status, body = 0, b""
        cached = status == 200 and json.loads(body)["cached"]
        print(f"{SAID.get(status, '-')} {'c' if cached else '-'} {sent}", flush=True)  # noqa: T201  # the output

    async def _exchange(self) -> tuple[int, bytes]:
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(self._request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            body = await _body(reader, head)
        except BaseException:
            writer.close()
            raise
        if "connection: close" in head:
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(head.split(" ", 2)[1]), body


async def _body(reader: asyncio.StreamReader, head: str) -> bytes:
    if "transfer-encoding: chunked" not in head:
        return await reader.readexactly(int(head.partition("content-length:")[2].partition("\r\n")[0]))
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


if __name__ == "__main__":
    asyncio.run(Caller(int(sys.argv[1]), sys.argv[2]).run())
