"""A worker that remembers answers needs the store for each one, keeps no secret, and tells nobody what others asked."""

import gc
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.driver.breaker import MIN_FAILURES
from authsvc.driver.timeouts import Timeouts
from authsvc.store.memory import Memory
from tests import topologies
from tests.conftest import Clock, Service
from tests.driver.test_topologies import eventually, service_on
from tests.edge.served import FORM, Connection, Served, basic, request_of, turns
from tests.flows.contents import Commands
from tests.selection import slow
from tests.stores import running_store


def introspection(client: tuple[str, str], token: str, path: bytes = b"/introspect") -> bytes:
    fields = [(b"Content-Type", FORM), (b"Authorization", basic(*client))]
    return request_of(fields, b"token=" + token.encode(), path)


def batch(client: tuple[str, str], *presented: str) -> bytes:
    fields = [(b"Content-Type", b"application/json"), (b"Authorization", basic(*client))]
    return request_of(fields, json.dumps({"tokens": presented}).encode(), b"/introspect/batch")


def verification(token: str, query: str = "") -> bytes:
    return f"GET /verify{query} HTTP/1.1\r\nHost: auth.test\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def another(token: str) -> str:
    """A token that was never issued, of the same session."""
    return tokens.new(Kind.ACCESS, token[4:16]).text


async def often(connection: Connection, *requests: bytes) -> None:
    """Ask until the answers are remembered."""
    for _ in range(3):
        for request in requests:
            assert (await connection.ask(request))[0] == 200


@pytest.mark.parametrize("fault", ["hangs", slow("is dead"), slow("breaker")])
async def test_without_the_store_nothing_is_answered(tmp_path: Path, fault: str) -> None:
    """A store that hangs or is dead gives 503, and so does an open breaker. No remembered answer is given."""
    with topologies.standalone(tmp_path) as server:
        async with service_on(server.url, Timeouts()) as service:
            await service.user()
            token = (await service.login())["access_token"]
            requests = introspection(service.admin, token), batch(service.admin, token), verification(token)
            async with Served(service).connected() as connection:
                await often(connection, *requests)
                if fault == "is dead":
                    server.kill()
                else:
                    server.pause()
                for _ in range(MIN_FAILURES if fault == "breaker" else 1):
                    for request in requests:
                        status, _, body = await connection.ask(request)
                        assert (status, json.loads(body)["error"]) == (503, "temporarily_unavailable")
                if fault != "is dead":
                    server.resume()


async def test_while_the_store_loads_nothing_is_answered() -> None:
    """A store that still reads its file gives 503, also for a token whose answer was remembered before."""
    with running_store() as store:
        with store.connect() as client:
            client.config_set("save", "")
        async with service_on(store.url, Timeouts()) as service:
            await service.user()
            token = (await service.login())["access_token"]
            requests = introspection(service.admin, token), batch(service.admin, token), verification(token)
            async with Served(service).connected() as connection:
                await often(connection, *requests)
                with store.connect() as client:
                    client.mset({f"filling:{n}": os.urandom(1000).hex() for n in range(200)})
                    client.save()
                store.process.kill()
                store.process.wait()
                slow = ("--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024")
                with running_store(*slow, directory=store.directory) as again:
                    with again.connect() as client:
                        for request in requests:
                            status, _, body = await connection.ask(request)
                            assert client.info("persistence")["loading"], "it was to load for longer"
                            assert (status, json.loads(body)["error"]) == (503, "temporarily_unavailable")
                        client.config_set("key-load-delay", 0)
                    await eventually(partial(is_answered, connection, requests[0]))
                    await often(connection, *requests)


async def is_answered(connection: Connection, request: bytes) -> bool:
    return (await connection.ask(request))[0] == 200


# Seconds between two uses. The touch interval is 90 s: with some of these steps a use falls on it, with others not.
STEPS = (1, 44, 44, 1, 1, 89, 1, 90, 91, 30, 30, 29, 1, 180, 45, 45, 45)


async def uses_noted(service: Service, clock: Clock, client_id: str) -> list[float | None]:
    """The noted uses of a new session after each use, in seconds since its login. Each use is asked for five times."""
    granted = await service.login(client_id=client_id)
    token, start = granted["access_token"], clock()
    requests = introspection(service.admin, token), batch(service.admin, token), verification(token)
    seen: list[float | None] = []
    async with Served(service).connected() as connection:
        for number, step in enumerate(STEPS):
            clock.forward(step)
            for _ in range(5):
                assert (await connection.ask(requests[number % 3]))[0] == 200
            await turns(50)  # a use is noted in the background
            session = await service.deps.store.sessions.get(granted["session_id"])
            seen.append(None if session.used_at is None else session.used_at - start)
    return seen


async def test_uses_are_noted_as_often_as_without_the_memory(service: Service, clock: Clock) -> None:
    """A session whose answers are remembered has the same idle deadline at each moment."""
    await service.user()
    app, _ = await service.client(public=True, access_ttl_s=3600, idle_ttl_s=1800, session_ttl_s=7200)
    remembering = await uses_noted(service, clock, app.client_id)
    assert len(service.deps.memory) >= 2, "the answers were remembered"
    without = replace(service, deps=replace(service.deps, memory=Memory(0)))
    assert await uses_noted(without, clock, app.client_id) == remembering
    assert len(set(remembering)) > 5, "some uses were noted, and some were not"


async def test_a_login_gets_too_old_for_a_gateway(service: Service, clock: Clock) -> None:
    """A remembered answer to `max_age` holds until the login is older than that, and no longer."""
    await service.user()
    token = (await service.login())["access_token"]
    request = verification(token, "?max_age=30&acr=aal1")
    async with Served(service).connected() as connection:
        await often(connection, request)
        assert len(service.deps.memory) >= 1, "the answer was remembered"
        for seconds, status in ((29, 200), (1, 200), (1, 401)):
            clock.forward(seconds)
            assert (await connection.ask(request))[0] == status


def texts_in_the_heap() -> Iterator[str | bytes]:
    """Every text that an object of the garbage collector leads to, through objects that it does not track as well."""
    seen: set[int] = set()
    todo: list[Any] = gc.get_objects()
    while todo:
        for held in gc.get_referents(todo.pop()):
            if id(held) not in seen:
                seen.add(id(held))
                if isinstance(held, str | bytes | bytearray):
                    yield bytes(held) if isinstance(held, bytearray) else held
                else:
                    todo.append(held)


async def ask_a_thousand_times(service: Service, connections: list[Connection]) -> list[bytes]:
    """Ask by new bytes, by bytes that were sent before, and with an id. Returns parts of the secrets that were sent."""
    _, client = await service.client("introspect")
    token = (await service.login())["access_token"]
    fields = [(b"Content-Type", FORM), (b"Authorization", basic(*client)), (b"X-Request-ID", b"mine")]
    requests = introspection(client, token), verification(token), request_of(fields, b"token=" + token.encode())
    for _ in range(334):
        for connection, request in zip(connections, requests, strict=True):
            assert (await connection.ask(request))[0] == 200
    return [token[16:].encode(), client[1][16:].encode(), basic(*client)[6:]]


@pytest.mark.slow
async def test_no_secret_stays_in_memory(service: Service) -> None:
    """After a thousand requests on open connections no clear token and no clear secret is in the worker's heap."""
    await service.user()
    served = Served(service)
    async with served.listening() as address:
        connections = [await served.client(address) for _ in range(3)]
        secrets = await ask_a_thousand_times(service, connections)
        await turns(3)
        gc.collect()
        held = [text if isinstance(text, bytes) else text.encode("utf-8", "replace") for text in texts_in_the_heap()]
        found = [text for text in held if any(secret in text and secret != text for secret in secrets)]
    assert not found, len(found)


async def test_a_refusal_does_not_tell_what_others_have_asked(service: Service, commands: Commands) -> None:
    """A refusal takes the same commands, whether somebody else has asked about the same session or not."""
    await service.user()
    _, outsider = await service.client("introspect", audience=("https://other.test",))
    remembered, unknown = [(await service.login())["access_token"] for _ in range(2)]
    admin, wrong = service.admin, (service.admin[0], tokens.new(Kind.SECRET).text)
    served = Served(service)
    async with served.connected() as asker, served.connected() as other:
        await often(asker, introspection(admin, remembered), verification(remembered), batch(admin, remembered))
        refusals: tuple[Callable[[str], bytes], ...] = (
            lambda token: introspection(admin, another(token)),
            lambda token: verification(another(token)),
            lambda token: batch(admin, another(token)),
            lambda token: introspection(wrong, token),
            lambda token: introspection(outsider, token),
            lambda token: verification(token, "?role=root"),
        )
        for refusal in refusals:
            taken = []
            for token in (remembered, unknown):
                commands.reset()
                status, _, body = await other.ask(refusal(token))
                assert status in (401, 403) or b'"active":false' in body
                taken.append(commands.seen())
            assert taken[0] == taken[1]
