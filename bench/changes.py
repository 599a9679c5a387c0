"""Ends and refreshes sessions at a steady rate, as the client that began them.

    python -m bench.changes PORT CLIENT_ID:SECRET FILE EACH_S

FILE has a line for each session, with its access token and its refresh token. The sessions of the first line, the third
line and so on are revoked, those of the others are refreshed. Ends with the file, and prints how many were changed.
"""

import asyncio
import sys
import time
from base64 import b64encode
from pathlib import Path


async def changes(port: int, credentials: str, sessions: list[str], each_s: float) -> None:
    """Raises SystemExit if a change failed, or if the service is too slow for the rate."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    authorization, begun = b64encode(credentials.encode()), time.perf_counter()
    for number, line in enumerate(sessions):
        await asyncio.sleep(max(begun + number * each_s - time.perf_counter(), 0))
        access, refresh = line.split()
        path, body = ("/revoke", f"token={access}")
        if number % 2:
            path, body = ("/token", f"grant_type=refresh_token&refresh_token={refresh}")
        writer.write(
            b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic %s\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s"
            % (path.encode(), authorization, len(body), body.encode())
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]))
        if head[9:12] != b"200":
            raise SystemExit(f"{path} was answered {head[9:12].decode()}")
    if time.perf_counter() - begun > len(sessions) * each_s * 1.1:
        raise SystemExit("the service is too slow for so many changes")
    writer.close()


asyncio.run(changes(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]).read_text().splitlines(), float(sys.argv[4])))
