"""A fault at any call in the package: the client gets an answer, and the log holds no secret."""

import asyncio
import gc
import json
import logging
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import pytest
import redis

from authsvc.logs import JsonLines
from authsvc.web.middleware.last_resort import LastResort
from tests.conftest import PASSWORD, Service
from tests.edge.faults import Site, fault_at, name, recorded
from tests.edge.served import FORM, Connection, Served, basic, request_of, turns

pytestmark = pytest.mark.slow

# The longest time for an answer. Most take a millisecond; a login hashes, and another test may hold the core.
WITHIN_S = 60.0


@dataclass
class World:
    """A running server, one request of each kind, and everything secret in these requests."""

    served: Served
    address: tuple[str, int]
    requests: dict[str, bytes]
    secrets: list[str]
    valkey: "redis.Redis"

    def forget_guesses(self) -> None:
        for key in self.valkey.scan_iter("throttle:*", count=1000):
            self.valkey.delete(key)

    async def ask(self, what: str, during: AbstractContextManager[None] | None = None) -> tuple[int, bytes]:
        """The answer to a request on a connection of its own. during: entered from the request to its answer."""
        self.forget_guesses()
        async with asyncio.timeout(WITHIN_S):
            reader, writer = await asyncio.open_connection(*self.address)
            await turns(1)  # the server has accepted the connection
            try:
                with during or nullcontext():
                    status, _, body = await Connection(reader, writer).ask(self.requests[what])
                return status, body
            finally:
                writer.close()


@pytest.fixture
async def world(service: Service, valkey: "redis.Redis") -> AsyncIterator[World]:
    await service.user(roles=("editor",))
    grant, other = await service.login(scope="read"), await service.login()
    token, refresh, id_, secret = grant["access_token"], grant["refresh_token"], *service.admin
    form, auth = (b"content-type", FORM), (b"authorization", basic(*service.admin))
    bearer = (b"Authorization", b"Bearer " + token.encode())
    asked = f"token={token}".encode()
    wrong = "sec_a-wrong-one-but-secret-all-the-same"
    requests = {
        "introspect, fast": request_of([form, auth], asked),
        "introspect, general": request_of([form], asked + f"&client_id={id_}&client_secret={secret}".encode()),
        "introspect, refused": request_of([form, (b"authorization", basic(id_, wrong))], asked),
        "introspect many": request_of(
            [(b"content-type", b"application/json"), auth],
            json.dumps({"tokens": [token]}).encode(),
            b"/introspect/batch",
        ),
        "verify, fast": _get(b"/verify", bearer, (b"X-Forwarded-Method", b"GET")),
        "verify by cookie": _get(
            b"/verify", (b"Cookie", b"__Host-session=" + token.encode()), (b"X-Forwarded-Method", b"GET")
        ),
        "verify, dead": _get(b"/verify", (b"Authorization", b"Bearer " + wrong.encode())),
        "verify, general": _get(b"/verify", bearer, (b"X-Unknown", b"1")),
        "who am I": _get(b"/me", bearer),
        "log in": request_of(
            [(b"content-type", b"application/json")],
            json.dumps({"username": "ada", "password": PASSWORD}).encode(),
            b"/login",
        ),
        "refresh": request_of(
            [form], f"grant_type=refresh_token&client_id=app&refresh_token={refresh}".encode(), b"/token"
        ),
        "revoke": request_of([form, auth], f"token={other['access_token']}".encode(), b"/revoke"),
    }
    served = Served(service)
    served.config.loaded_app = LastResort(service.app, service.deps.metrics)
    secrets = [token, refresh, secret, wrong, PASSWORD, other["access_token"]]
    secrets += [b64encode(f"{id_}:{part}".encode()).decode() for part in (secret, wrong)]
    async with served.listening() as address:
        yield World(served, address, requests, secrets, valkey)


def _get(path: bytes, *fields: tuple[bytes, bytes]) -> bytes:
    lines = b"".join(b"%s: %s\r\n" % field for field in fields)
    return b"GET %s HTTP/1.1\r\nHost: auth.test\r\n%s\r\n" % (path, lines)


# A generator whose end got the fault is collected in another context.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("every", [8, 1])
async def test_a_fault_at_any_call_is_answered_and_tells_nothing(
    world: World, caplog: pytest.LogCaptureFixture, every: int
) -> None:
    """The answer is the right one, or a 500 or 503 in the documented form. The next request is answered as ever.

    No log line and no argument of a log line has a token, a secret, a password or the Authorization field.
    every: `make test` tries each eighth call.
    """
    caplog.set_level(logging.DEBUG)
    tried: set[Site] = set()
    wrong: list[str] = []
    for what in world.requests:
        right = await world.ask(what)
        for number, site in enumerate(await _sites(world, what)):
            if site not in tried:
                tried.add(site)
                if number % every:
                    continue
                wrong += [f"{what}: {name(site)}: {problem}" for problem in await _with_fault(world, what, site, right)]
    for _ in range(3):
        await turns(5)
        gc.collect()  # tasks whose exception nobody fetched log it now
    assert not wrong, "\n".join(wrong)
    assert len(tried) > 700
    assert world.served.load.in_progress(0) == 0
    shown = "\n".join(f"{JsonLines().format(record)} {vars(record)!r}" for record in caplog.records)
    assert "a fault of a test" in shown
    assert [secret for secret in world.secrets if secret in shown] == []


async def _sites(world: World, what: str) -> list[Site]:
    sites: dict[Site, None] = {}
    await world.ask(what, recorded(sites))
    return list(sites)


async def _with_fault(world: World, what: str, site: Site, right: tuple[int, bytes]) -> list[str]:
    problems = []
    try:
        status, body = await world.ask(what, fault_at(site))
    except (TimeoutError, OSError, EOFError) as error:
        problems.append(f"no answer: {error!r}")
    else:
        if status in (500, 503):
            if set(json.loads(body)) != {"error", "error_description"}:
                problems.append(f"another form: {body!r}")
        elif status != right[0] or (what.startswith("introspect") and body != right[1]):
            problems.append(f"another answer: {status} {body!r}")
    try:
        status, _ = await world.ask("introspect, fast")
    except (TimeoutError, OSError, EOFError) as error:
        problems.append(f"no answer afterwards: {error!r}")
    else:
        if status != 200:
            problems.append(f"{status} afterwards")
    return problems
