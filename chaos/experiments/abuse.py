"""Malformed requests."""

import asyncio
import random

from chaos.http import NoAnswer, basic, connect, encoded
from chaos.lab import Control, Experiment, Lab
from chaos.variation import Patch, Variation

WAIT_S = 3.0
BIG = 64 * 1024 + 1

HEAD = b"POST /introspect HTTP/1.1\r\nHost: localhost\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"


def _probes() -> dict[str, bytes]:
    """Malformed requests by their name. Each is sent on its own connection."""
    credentials = "Authorization: " + basic("somebody", "something")["Authorization"]
    head = HEAD + credentials.encode() + b"\r\n" + FORM
    return {
        "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        "CL and TE": head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "two lengths": head + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\ntoken",
        "TE twice": head + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        "TE unknown": head + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "space before the colon": head + b"Content-Length : 5\r\n\r\ntoken",
        "folded header": head + b"X-Long: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        "negative length": head + b"Content-Length: -1\r\n\r\n",
        "chunk of nonsense": head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        "NUL in a header": head + b"X-Request-ID: a\x00b\r\nContent-Length: 0\r\n\r\n",
        "a header of 1 MB": head + b"X-Long: " + b"a" * 1_000_000 + b"\r\n\r\n",
        "10,000 headers": head + b"".join(b"X-%d: a\r\n" % number for number in range(10_000)) + b"\r\n",
        "a path of 100 kB": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "TRACE": b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "HTTP/9.9": b"GET /healthz HTTP/9.9\r\nHost: localhost\r\n\r\n",
        "a body of 64 KiB + 1": encoded("POST", "/login", document={"username": "a", "password": "b" * BIG}),
        "deep JSON": _json(b'{"username":' * 9000),
        "a number of 50,000 digits": _json(b'{"username": ' + b"9" * 50_000 + b"}"),
        "keys twice": _json(b'{"username": "a", "username": "b", "password": "c"}'),
        "surrogate": _json(b'{"username": "\\ud800", "password": "c"}'),
        "UTF-16": _json('{"username": "a", "password": "b"}'.encode("utf-16")),
    }


def _json(body: bytes) -> bytes:
    head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


async def abuse(lab: Lab) -> None:
    rig, world = await lab.set_up(users=4)
    session = await world.login(world.users[0])
    workers = rig.workers
    sent = 0
    for port in (rig.groups[0].port, rig.nginx.port):
        for name, probe in _probes().items():
            statuses = await _sent(port, probe)
            sent += 1
            odd = [status for status in statuses if status < 400 or (status >= 500 and status not in (501, 503, 505))]
            lab.require(not odd, "answers", f"{name} was answered {statuses} on port {port}")
            if name == "a body of 64 KiB + 1":
                lab.require(statuses == [413], "body", f"a body too large was answered {statuses}")
        for _ in range(lab.pick(100, 3000)):
            statuses = await _sent(
                port, _mutated(encoded("POST", "/introspect", form={"token": "x"}, headers=world.admin))
            )
            sent += 1
            lab.require(all(status < 500 or status in (501, 503, 505) for status in statuses), "answers", f"{statuses}")
    lab.figure("probes", sent)
    lab.require(rig.workers == workers, "exit", "a worker ended")
    if session is not None:
        for _ in range(20):
            call = await world.introspect(session.access)
            lab.require(bool(call.result.active), "after", f"introspection answers {call.status} afterwards")


def _mutated(request: bytes) -> bytes:
    """A correct request with some bytes changed, inserted or deleted."""
    found = bytearray(request)
    for _ in range(random.randint(1, 6)):
        at = random.randrange(len(found))
        how = random.random()
        if how < 0.5:
            found[at] = random.randrange(256)
        elif how < 0.8:
            found[at:at] = random.choice((b"\r\n", b"\0", b" ", b"\n", b":", b"\xff", b"0" * 30))
        else:
            del found[at : at + random.randint(1, 20)]
    return bytes(found)


async def _sent(port: int, probe: bytes) -> list[int]:
    """Send bytes; the statuses of all answers until the connection ends or WAIT_S pass in silence."""
    line = await connect(port)
    statuses: list[int] = []
    try:
        line.writer.write(probe)
        line.writer.write_eof()
        async with asyncio.timeout(WAIT_S):
            while True:
                statuses.append((await line.answer()).status)
    except (TimeoutError, OSError, EOFError, ValueError, NoAnswer, asyncio.LimitOverrunError):
        pass
    finally:
        line.close()
    return statuses


NO_CAP = [
    Patch("api/parsing.py", "MAX_ANONYMOUS_BODY = 20 * 1024\n", "MAX_ANONYMOUS_BODY = 64 * 1024 * 1024\n"),
]

EXPERIMENTS = (
    Experiment(
        "raw-http",
        22,
        "malformed requests (smuggled, folded, doubled, endless, nested, with random bytes changed) are sent directly "
        "and through nginx",
        "each gets a 4xx or a closed connection; no worker ends",
        abuse,
        [Control("bodies of 64 MiB are read", ("body",), Variation(NO_CAP))],
    ),
)
