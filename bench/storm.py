"""Logs in as fast as the service allows, with several browsers at once. Each browser has its own address.

    python -m bench.storm PORT USERS BROWSERS SECONDS

Prints the rates of the successful logins and of the attempts that got 503.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter

from bench.loads import PASSWORD, USER_AGENT

# A browser waits so long after a 503. The service asks for a second, but a storm does not obey.
BACK_OFF_S = 0.1


async def browser(number: int, port: int, users: int, end: float, seen: Counter[int]) -> None:
    # The service counts attempts by address. All addresses of 127/8 belong to this machine.
    address = f"127.0.{1 + number // 200}.{1 + number % 200}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    while time.perf_counter() < end:
        body = json.dumps({"username": f"login{random.randrange(users):05d}", "password": PASSWORD}).encode()
        writer.write(
            b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"User-Agent: %s\r\nContent-Length: %d\r\n\r\n%s" % (USER_AGENT.encode(), len(body), body)
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]))
        status = int(head[9:12])
        if time.perf_counter() < end:
            seen[status] += 1
        if status == 503:
            await asyncio.sleep(BACK_OFF_S)
    writer.close()


async def storm(port: int, users: int, browsers: int, seconds: float) -> dict[str, float]:
    begun = time.perf_counter()
    seen: Counter[int] = Counter()
    await asyncio.gather(*(browser(number, port, users, begun + seconds, seen) for number in range(browsers)))
    others = sum(count for status, count in seen.items() if status not in (200, 503))
    return {"rate": seen[200] / seconds, "refused": seen[503] / seconds, "others": others}


if __name__ == "__main__":
    port, users, browsers, seconds = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    print(json.dumps(asyncio.run(storm(port, users, browsers, seconds))))
