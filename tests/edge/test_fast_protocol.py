"""One connection with the fast path: order, pieces, limits, errors, and the way back to the application."""

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from authsvc.composition import open_deps
from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.edge import fast_path
from authsvc.edge.fast_cycle import FastCycle, FastHead
from authsvc.edge.fast_path import FastPath
from authsvc.edge.fast_requests import fast_calls
from authsvc.errors import StoreUnavailable
from authsvc.settings import Settings
from authsvc.store import keys
from authsvc.store.lookup import Hear, Question
from authsvc.store.moment import Moment
from authsvc.web.middleware.access_log import AccessLog
from tests.conftest import PATIENT, Service
from tests.edge.served import FORM, Served, basic, request_of, turns
from tests.edge.test_protocol import eventually

HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: auth.test\r\n\r\n"


@pytest.fixture
def plain(service: Service) -> list[tuple[bytes, bytes]]:
    """The header fields of a plain introspection."""
    return [(b"Content-Type", FORM), (b"Authorization", basic(*service.admin))]


@pytest.fixture
async def live(service: Service, plain: list[tuple[bytes, bytes]]) -> bytes:
    """An introspection of a live token."""
    await service.user()
    return request_of(plain, b"token=" + (await service.login())["access_token"].encode())


@pytest.fixture
def dead(plain: list[tuple[bytes, bytes]]) -> bytes:
    """An introspection of a token that was never issued; it needs the store."""
    return request_of(plain, b"token=" + tokens.new(Kind.ACCESS).text.encode())


@pytest.fixture
async def refused(service: Service) -> bytes:
    """An introspection by a client that may not introspect."""
    _, credentials = await service.client()
    return request_of([(b"Content-Type", FORM), (b"Authorization", basic(*credentials))], b"token=x")


class AskedStore:
    """Stands before the store: keeps the questions of the fast path, and lets the test answer them."""

    def __init__(self) -> None:
        self.questions: list[Question] = []

    def __call__(self, cycle: FastCycle, hear: Hear) -> Question:
        assert cycle.request is not None
        handles = () if cycle.request.token is None else (cycle.request.token.handle,)
        self.questions.append(Question(handles, cycle.request.wanted, hear, 0))
        return self.questions[-1]

    def answer(self, number: int, found: Moment | Exception) -> None:
        hear = self.questions[number].hear
        assert hear is not None, "nobody waits for this answer"
        hear(found)


def head_of(request: bytes) -> bytes:
    return request[: request.index(b"\r\n\r\n") + 4]


def pieces(request: bytes) -> Iterator[list[bytes]]:
    """Ways in which a request may arrive."""
    head = len(head_of(request))
    yield [request]
    for cut in (1, 30, head - 2, head, head + 5, len(request) - 1):
        yield [request[:cut], request[cut:]]
    yield [request[at : at + 1] for at in range(len(request))]


async def test_a_request_in_pieces(service: Service, live: bytes) -> None:
    """The fast path answers a request however its bytes arrive."""
    served = Served(service)
    async with served.connected() as connection:
        for number, parts in enumerate(pieces(live), 1):
            for part in parts:
                connection.writer.write(part)
                await connection.writer.drain()
                await turns(3)
            status, _, body = await connection.answer()
            assert (status, b'"active":true' in body, served.answered_fast) == (200, True, number)
        assert served.load.arriving == 0


async def test_pipelined_requests_are_answered_in_order(
    service: Service, live: bytes, dead: bytes, refused: bytes, plain: list[tuple[bytes, bytes]]
) -> None:
    """Requests sent without waiting are answered in their order, whichever way each of them goes."""
    odd = request_of([*plain, (b"DPoP", b"x")], b"token=x")
    expected = {
        live: b'"active":true',
        dead: b'"active":false',
        odd: b'"active":false',
        request_of(plain, b""): b"invalid_request",
        refused: b"unauthorized_client",
        HEALTHZ: b"ok",
    }
    order = [request for first in expected for second in expected for request in (first, second)]
    served = Served(service)
    async with served.connected() as connection:
        connection.writer.write(order[0])
        await turns(1)
        connection.writer.write(b"".join(order[1:40]))
        await turns(20)
        connection.writer.write(b"".join(order[40:]))
        for request in order:
            assert expected[request] in (await connection.answer())[2]
    assert served.answered_fast == sum(request in (live, dead) for request in order)
    assert served.state.total_requests == len(order)


@pytest.mark.parametrize("cut", [10, 60, -40, -1])
async def test_a_refused_client_behind_which_others_wait(
    service: Service, live: bytes, refused: bytes, cut: int
) -> None:
    """A request that goes back to the application leaves the requests behind it as they are, also half a head."""
    served = Served(service)
    async with served.connected() as connection:
        connection.writer.write(refused + live[:cut])
        assert (await connection.answer())[0] == 403
        connection.writer.write(live[cut:] + HEALTHZ)
        assert b'"active":true' in (await connection.answer())[2]
        assert (await connection.answer())[0] == 200
    assert served.answered_fast == 1


async def test_bytes_of_a_body_are_no_request(service: Service, live: bytes) -> None:
    """The bytes after the head of a request that is answered early are its body, whatever they look like."""
    served = Served(service)
    async with served.connected() as connection:
        head = b"POST /nowhere HTTP/1.1\r\nHost: auth.test\r\nContent-Length: %d\r\n\r\n" % len(live)
        assert (await connection.ask(head))[0] == 404
        connection.writer.write(live + HEALTHZ)
        assert b"active" not in (await connection.answer())[2]
    assert served.answered_fast == 0


async def test_expect_is_answered_before_the_body(service: Service, plain: list[tuple[bytes, bytes]]) -> None:
    """A client that waits for `100 Continue` gets it."""
    request = request_of([*plain, (b"Expect", b"100-continue")], b"token=x")
    async with Served(service).connected() as connection:
        connection.writer.write(head_of(request))
        assert await connection.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert b'"active":false' in (await connection.ask(b"token=x"))[2]


async def test_malformed_bytes_behind_a_request(service: Service, live: bytes) -> None:
    """A request on the fast path is answered before the error about the bytes behind it."""
    async with Served(service).connected() as connection:
        connection.writer.write(live + b"what is this\r\n\r\n")
        assert b'"active":true' in (await connection.answer())[2]
        assert (await connection.answer())[0] == 400
        assert await connection.reader.read() == b""


async def test_a_client_that_leaves_disturbs_nobody(service: Service, live: bytes) -> None:
    """Connections that are lost during a lookup leave the answers of others alone, and nothing counted."""
    served = Served(service)
    async with served.listening() as address:
        opened = [await served.client(address) for _ in range(20)]
        for connection in opened:
            connection.writer.write(live + live)
        for connection in opened[::2]:
            connection.writer.transport.abort()
        for connection in opened[1::2]:
            for _ in range(2):
                assert b'"active":true' in (await connection.answer())[2]
        await eventually(lambda: served.load.on_fast_path == 0)


async def test_a_lost_client_gives_its_lookup_up(
    service: Service, live: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is no longer asked for a client that has left."""
    asked = AskedStore()
    served = Served(service)
    monkeypatch.setattr(served.fast_path, "ask", asked)
    async with served.connected() as connection:
        connection.writer.write(live)
        await eventually(lambda: served.load.on_fast_path == 1)
        connection.writer.transport.abort()
        await eventually(lambda: asked.questions[0].hear is None)
        await eventually(lambda: served.load.on_fast_path == 0)


# Limits


async def test_the_limit_of_requests_holds(service: Service, dead: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """`max_requests` counts requests on the fast path; one too many gets the 503 of the general way."""
    asked = AskedStore()
    served, general = Served(service, max_requests=2), Served(service, fast=False, max_requests=0)
    monkeypatch.setattr(served.fast_path, "ask", asked)
    async with served.listening() as address, general.connected() as other:
        connections = [await served.client(address) for _ in range(6)]
        for connection in connections[:2]:
            connection.writer.write(dead)
        await eventually(lambda: len(asked.questions) == 2)
        assert served.load.in_progress(len(served.state.tasks)) == 2
        for connection in connections[2:]:
            answer = await connection.ask(dead)
            assert (answer[0], answer[1][b"retry-after"]) == (503, b"1")
            assert answer == await other.ask(dead)
        assert served.load.rejected == 4
        for number in range(2):
            asked.answer(number, StoreUnavailable("gone"))
        for connection in connections[:2]:
            assert (await connection.answer())[0] == 503
        assert served.load.in_progress(len(served.state.tasks)) == 0
        monkeypatch.undo()
        for connection in connections:
            assert (await connection.ask(dead))[0] == 200


def _has_a_request(served: Served) -> bool:
    return served.protocols[0].cycle is not None


async def test_a_body_that_does_not_come_takes_no_place(service: Service, live: bytes) -> None:
    """A request whose body is still arriving is not in progress, on either way."""
    for served in (Served(service, max_requests=1), Served(service, fast=False, max_requests=1)):
        async with served.listening() as address:
            slow, other = [await served.client(address) for _ in range(2)]
            slow.writer.write(live[:-5])
            await eventually(partial(_has_a_request, served))
            await turns(3)
            assert served.load.in_progress(len(served.state.tasks)) == 0
            assert (await other.ask(live))[0] == 200
            assert (await slow.ask(live[-5:]))[0] == 200
        assert served.load.arriving == 0


async def test_a_server_that_stops_answers_first(service: Service, live: bytes) -> None:
    """A request that crosses with the stop is answered, with `Connection: close`."""
    served = Served(service)
    async with served.connected() as connection:
        await connection.ask(live)
        served.load.stop()
        served.protocols[0].shutdown()
        _, headers, body = await connection.ask(live)
        assert headers[b"connection"] == b"close"
        assert b'"active":true' in body
        assert await connection.reader.read() == b""


async def test_a_request_in_progress_survives_the_stop(
    service: Service, live: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request during whose lookup the worker is told to stop is answered, then the connection is closed."""
    served = Served(service)
    asked = AskedStore()
    monkeypatch.setattr(served.fast_path, "ask", asked)
    async with served.connected() as connection:
        connection.writer.write(live)
        await eventually(lambda: served.load.on_fast_path == 1)
        served.load.stop()
        served.protocols[0].shutdown()
        question = asked.questions[0]
        asked.answer(0, await service.deps.store.lookup.sessions(None, question.handles, question.wanted))
        _, headers, body = await connection.answer()
        assert (headers[b"connection"], b'"active":true' in body) == (b"close", True)
        assert await connection.reader.read() == b""


@pytest.mark.parametrize("unfinished", [False, True])
async def test_an_idle_connection_is_closed(service: Service, dead: bytes, unfinished: bool) -> None:
    """After an answer of the fast path, and during a body that does not come, a connection has its time limits."""
    patience = 15 if unfinished else 20
    served = Served(service)
    served.load.keep_alive_s = 20
    async with served.connected() as connection:
        await connection.ask(dead)
        if unfinished:
            connection.writer.write(head_of(dead))
        (protocol,) = served.protocols
        await eventually(lambda: protocol.is_sending() is unfinished)
        for second in range(patience):
            protocol.check_time(1000 + second)
        assert not protocol.transport.is_closing()
        protocol.check_time(1000 + patience + 1)
        assert protocol.transport.is_closing()


async def test_a_new_connection_has_the_time_of_a_head_from_its_first_byte(service: Service, dead: bytes) -> None:
    """The time for a head begins with the first byte of it, not with the connection."""
    served = Served(service)
    async with served.connected() as connection:
        (protocol,) = served.protocols
        for second in range(10):
            protocol.check_time(1000 + second)
        connection.writer.write(dead[:5])
        await eventually(lambda: protocol.scope is not None)
        for second in range(10, 19):
            protocol.check_time(1000 + second)
        assert not protocol.transport.is_closing()


# Errors


async def test_a_fault_is_answered(
    service: Service, live: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error nobody expected is a 500 in the one shape, counted, and logged with its traceback."""

    def broken(*_: object) -> None:
        raise RuntimeError("a fault")

    def counted() -> float:
        return sum(service.deps.metrics.unexpected_errors._values[at] for at in (offset(),))

    def offset() -> int:
        return service.deps.metrics.unexpected_errors.cell()

    served, general = Served(service), Served(service, fast=False)
    monkeypatch.setattr("authsvc.edge.fast_requests.IntrospectRequest.answer", broken)
    monkeypatch.setattr("authsvc.flows.introspect.answer", broken)
    before = counted()
    async with served.connected() as connection, general.connected() as other:
        async with asyncio.timeout(5):
            answer = await connection.ask(live)
        assert answer == await other.ask(live)
        assert answer[0] == 500
        assert json.loads(answer[2])["error"] == "server_error"
        monkeypatch.undo()
        assert (await connection.ask(live))[0] == 200
    assert counted() == before + 2
    (logged, *_) = [record for record in caplog.records if record.name == "authsvc.edge.errors"]
    assert logged.levelno == logging.ERROR
    assert logged.exc_info


@pytest.mark.parametrize("broken_at", ["recognise", "read", "ask"])
async def test_a_fault_while_a_request_is_read(
    service: Service, live: bytes, monkeypatch: pytest.MonkeyPatch, broken_at: str
) -> None:
    """An error in the reader is a 500 as well, and no 400: the client did nothing wrong."""

    def broken(*_: object) -> None:
        raise RuntimeError("a fault")

    served = Served(service)
    monkeypatch.setattr(served.fast_path, broken_at, broken)
    async with asyncio.timeout(5), served.connected() as connection:
        assert (await connection.ask(live))[0] == 500
        monkeypatch.undo()
        if broken_at == "ask":
            assert (await connection.ask(live))[0] == 200
        else:
            assert await connection.reader.read() == b""
    assert served.load.on_fast_path == 0


async def test_any_header_of_the_server_may_be_configured(service: Service, live: bytes) -> None:
    """A default header with a percent sign is sent as it is."""
    served = Served(service)
    served.state.default_headers = [(b"x-notice", b"100%s sure")]
    async with served.connected() as connection:
        assert (await connection.ask(live))[1][b"x-notice"] == b"100%s sure"


async def test_the_store_is_asked_for_as_long_as_one_request_may_take(
    service: Service, settings: Settings, valkey_url: str
) -> None:
    """The fast path has the time budget of a request, as the general way has, and no budget of its own."""
    loop = asyncio.get_running_loop()
    async with open_deps(settings, valkey_url, timeouts=replace(PATIENT, request_s=PATIENT.call_s / 2)) as deps:
        before = loop.time()
        heard: list[Any] = []
        fields = {b"authorization": basic("client-1", "no")}
        cycle = FastCycle({}, FastHead(fast_calls(())[b"/introspect"], b"", fields), keep_alive=True)
        cycle.content = b"token=x"
        fast_path = FastPath(deps)
        assert fast_path.read(cycle, b"")
        question = fast_path.ask(cycle, heard.append)
        assert before <= question.give_up_at - PATIENT.call_s / 2 <= loop.time()
        await eventually(lambda: len(heard) == 1)


# Logs, traces and metrics


@pytest.mark.parametrize(("waited", "status"), [(0, 403), (1, 503)])
async def test_a_refused_client_has_one_budget(
    service: Service, monkeypatch: pytest.MonkeyPatch, waited: float, status: int
) -> None:
    """The time for which the fast path waited is missing on the general way. When nothing is left, that way is 503."""
    client, credentials = await service.client()
    served, asked = Served(service), AskedStore()
    monkeypatch.setattr(served.fast_path, "ask", asked)
    request = request_of([(b"Content-Type", FORM), (b"Authorization", basic(*credentials))], b"token=x")
    async with served.connected() as connection:
        connection.writer.write(request)
        await eventually(lambda: len(asked.questions) == 1)
        cycle = served.protocols[0].cycle
        assert isinstance(cycle, FastCycle)
        cycle.began -= waited * PATIENT.request_s
        asked.answer(0, Moment({keys.client(client.client_id): client.to_json()}))
        assert (await connection.answer())[0] == status


async def test_the_access_log_has_its_share(
    service: Service, live: bytes, refused: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The fast path draws once for each request, and the general way logs the drawn ones."""
    caplog.set_level(logging.INFO, "authsvc.access")
    drawn = iter([0.2, 0.8, 0.2, 0.8, 0.2])
    monkeypatch.setattr("random.random", lambda: next(drawn))
    served = Served(service)
    monkeypatch.setattr(served.fast_path, "share", 0.5)
    served.config.loaded_app = AccessLog(service.app, 0.5)
    async with served.connected() as connection:
        for request in (live, live, refused, refused, HEALTHZ):
            await connection.ask(request)
    logged = [record.fields["path"] for record in caplog.records if record.name == "authsvc.access"]  # type: ignore[attr-defined]
    assert logged == ["/introspect", "/introspect", "/healthz"]
    assert served.answered_fast == 1
    assert next(drawn, None) is None


async def test_a_trace_is_for_the_general_way(service: Service, plain: list[tuple[bytes, bytes]]) -> None:
    """A service that writes traces leaves a request of a traced caller to the general way, which makes the span."""
    request = request_of(
        [*plain, (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")], b"token=x"
    )
    for traced in (False, True):
        served = Served(service, traced=traced)
        async with served.connected() as connection:
            assert (await connection.ask(request))[0] == 200
        assert served.answered_fast == (not traced)


async def test_answers_are_counted(service: Service, live: bytes, refused: bytes, dead: bytes) -> None:
    """Both ways count an answer under its route and status."""
    requests = service.deps.metrics.requests
    cells = [requests.cell("POST", "/introspect", status) for status in ("200", "403")]
    counts = []
    for served in (Served(service), Served(service, fast=False)):
        before = [requests._values[cell] for cell in cells]
        async with served.connected() as connection:
            for request in (live, dead, refused):
                await connection.ask(request)
        counts.append([requests._values[cell] - was for cell, was in zip(cells, before, strict=True)])
    assert counts == [[2, 1], [2, 1]]


def test_lines_are_header_fields() -> None:
    """Header fields are written as HTTP has them."""
    assert fast_path.lines([(b"a", b"1"), (b"b", b"100%")]) == b"a: 1\r\nb: 100%\r\n"
