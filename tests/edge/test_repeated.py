"""A worker that remembers answers sends the same bytes as one that remembers none, however the requests arrive."""

import asyncio
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from authsvc.app import build
from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.edge.fast_cycle import FastCycle
from authsvc.flows.introspect import Asker
from authsvc.store.lookup import Hear, Question
from authsvc.store.memory import Memory
from authsvc.web.middleware.access_log import AccessLog
from tests.conftest import Service
from tests.edge.served import FORM, Served, basic, request_of, turns
from tests.edge.test_protocol import eventually
from tests.selection import one_in

LAST = b"GET /healthz HTTP/1.1\r\nHost: auth.test\r\nX-Request-ID: the-last-one\r\n\r\n"
MALFORMED = b"what is this\r\n\r\n"
# The beginning of a request. The next piece is the value of its last field, and the rest of the request.
NESTING = b"GET /verify HTTP/1.1\r\nUser-Agent: "
# Ids that the service has made.
_MADE = re.compile(rb"x-request-id: [0-9a-f]{22}\r")

# What a test does between two pieces.
HOLD, RELEASE, STOP = "hold", "release", "stop"
Step = bytes | str


class Requests(dict[str, bytes]):
    """Requests by their names."""

    def __getattr__(self, name: str) -> bytes:
        return self[name]


@pytest.fixture
async def requests(service: Service) -> Requests:
    """Requests about a live session, of each kind."""
    await service.user(roles=("editor",))
    token = (await service.login())["access_token"]
    cookie = await service.http.post(
        "/login",
        json={"username": "ada", "password": "a walk by the river", "cookie": True},
        headers={"Origin": "http://auth.test"},
    )
    form, auth = (b"Content-Type", FORM), (b"Authorization", basic(*service.admin))
    body = b"token=" + token.encode()
    _, refused = await service.client()
    host = b"Host: auth.test\r\n"
    bearer = b"Authorization: Bearer %s\r\n" % token.encode()
    trace = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    session = b"Cookie: a=b; __Host-session=%s\r\n" % cookie.cookies["__Host-session"].encode()
    return Requests(
        live=request_of([form, auth], body),
        close=request_of([form, auth, (b"Connection", b"close")], body),
        named=request_of([form, auth, (b"X-Request-ID", b"mine-1")], body),
        traced=request_of([form, auth, (b"traceparent", trace)], body),
        presented=b"/introspect\n%s\n%s" % (basic(*service.admin), body),
        batch=request_of(
            [(b"Content-Type", b"application/json"), auth], b'{"tokens":["%s"]}' % token.encode(), b"/introspect/batch"
        ),
        batch_question=batch_question(service.admin, token),
        named_verify=b"GET /verify HTTP/1.1\r\n%s%sX-Request-ID: mine-2\r\n\r\n" % (host, bearer),
        verify_presented=b"/verify?\nauthorization: Bearer %s" % token.encode(),
        dead=request_of([form, auth], b"token=" + tokens.new(Kind.ACCESS).text.encode()),
        refused=request_of([form, (b"Authorization", basic(*refused))], body),
        verify=b"GET /verify HTTP/1.1\r\n%s%s\r\n" % (host, bearer),
        head=b"HEAD /verify HTTP/1.1\r\n%s%s\r\n" % (host, bearer),
        by_role=b"GET /verify?role=editor HTTP/1.1\r\n%s%s\r\n" % (host, bearer),
        by_other_role=b"GET /verify?role=owner HTTP/1.1\r\n%s%s\r\n" % (host, bearer),
        by_cookie=b"GET /verify HTTP/1.1\r\n%sX-Forwarded-Method: GET\r\n%s\r\n" % (host, session),
        healthz=b"GET /healthz HTTP/1.1\r\n%s\r\n" % host,
    )  # fmt: skip


def batch_question(client: tuple[str, str], token: str) -> bytes:
    """The text whose digest is the name of the question about this token in a batch."""
    texts: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("authsvc.flows.introspect.question_of", texts.append)
        Asker(client[0], tokens.digest(client[1])).questions([token])
    return texts[0]


class Gate:
    """Stands before the store of the fast path. While it is closed, questions wait."""

    def __init__(self, served: Served) -> None:
        self._ask = served.fast_path.ask
        self._waiting: list[tuple[FastCycle, Question]] = []
        self.closed = False
        served.fast_path.ask = self.ask  # type: ignore[method-assign]  # the test holds the question back

    def ask(self, cycle: FastCycle, hear: Hear) -> Question:
        if not self.closed:
            return self._ask(cycle, hear)
        question = Question((), (), hear, 0)
        self._waiting.append((cycle, question))
        return question

    def __len__(self) -> int:
        return sum(question.hear is not None for _, question in self._waiting)

    def open(self) -> None:
        self.closed = False
        waiting, self._waiting = self._waiting, []
        for cycle, question in waiting:
            self._ask(cycle, question.tell)


class Remembering(Served):
    """The service, counting the requests that are recognised by their bytes."""

    def __init__(self, service: Service, **options: Any) -> None:
        super().__init__(service, **options)
        self.recalled = 0
        self.gate = Gate(self)
        recall = self.fast_path.recall

        def counting(*arguments: Any, **more: Any) -> FastCycle | None:
            cycle = recall(*arguments, **more)
            self.recalled += cycle is not None
            return cycle

        self.fast_path.recall = counting  # type: ignore[method-assign]  # it counts

    async def settled(self) -> None:
        """Wait until everything that was sent has arrived, and is answered or held by the gate."""
        await turns(10)
        await eventually(lambda: self.load.in_progress(len(self.state.tasks)) == len(self.gate))
        await turns(2)

    async def bytes_for(self, steps: list[Step]) -> bytes:
        """All that one connection is sent, up to the end of the connection or the answer to LAST."""
        async with self.listening() as address:
            client = await self.client(address)
            reader, writer = client.reader, client.writer
            for step in steps:
                match step:
                    case bytes():
                        writer.write(step)
                        await self.settled()
                    case "hold":
                        self.gate.closed = True
                    case "release":
                        self.gate.open()
                        await self.settled()
                    case "stop":
                        self.load.stop()
                        self.protocols[-1].shutdown()
            writer.write(LAST)
            sent = b""
            with suppress(ConnectionError):  # the service has closed the connection
                while b"the-last-one" not in sent and (piece := await reader.read(65536)):
                    sent += piece
            return sent[: sent.rindex(b"HTTP/1.1 ")] if b"the-last-one" in sent else sent


def forgetful(service: Service) -> Service:
    """The same service on the same store, without a memory."""
    deps = replace(service.deps, memory=Memory(0))
    return replace(service, deps=deps, app=build(deps))


# By name: what a client sends. Each piece arrives alone.
Case = Callable[[Requests], list[Step]]
CASES: dict[str, Case] = {
    "one by one": lambda it: [it.live, it.live, it.live, it.verify, it.verify, it.verify, it.live],
    "each way of /verify": lambda it: [it.by_role, it.by_other_role, it.by_cookie, it.head] * 3,
    "refusals in between": lambda it: [it.live, it.dead, it.refused, it.healthz] * 3,
    "several in one piece": lambda it: [it.live, it.live * 3, it.live, it.live * 2 + it.verify, it.verify, it.live],
    "in pieces": lambda it: [it.live, it.live[:1], it.live[1:40], it.live[40:-1], it.live[-1:], it.live, it.live],
    "one in a field of another": lambda it: [it.healthz, NESTING, it.by_other_role, it.by_other_role, it.by_other_role],
    "head, then body": lambda it: [it.live, it.live[:-54], it.live[-54:], it.live],
    "half of one behind a whole one": lambda it: [it.live, it.live + it.live[:40], it.live[40:], it.live, it.live],
    "almost one behind a whole one": lambda it: [it.live, it.live + it.live[:-1], it.live[-1:] + it.live, it.live],
    "the first byte behind a whole one": lambda it: [it.live, it.live + it.live[:1], it.live[1:], it.live],
    "empty lines before": lambda it: [it.live, b"\r\n" + it.live, b"\r\n" + it.live, it.live, b"\r\n", it.live],
    "empty lines behind": lambda it: [it.live + b"\r\n", it.live + b"\r\n", it.live, b"\r\n\r\n" + it.live, it.live],
    "arriving while one waits": lambda it: [it.live, it.live, HOLD, it.live, it.live, it.dead, it.verify, RELEASE],
    "a half while one waits": lambda it: [it.live, HOLD, it.live, it.live[:50], RELEASE, it.live[50:], it.live],
    "the general way while one waits": lambda it: [it.live, HOLD, it.live, it.healthz, it.live, RELEASE, it.live],
    "names and traces": lambda it: [it.named, it.traced, it.named, it.live, it.traced] * 2,
    "connection: close": lambda it: [it.live, it.live, it.close, it.live],
    "connection: close in one piece": lambda it: [it.live, it.live + it.close + it.live],
    "malformed bytes": lambda it: [it.live, it.live, MALFORMED],
    "malformed bytes behind one": lambda it: [it.live, it.live, it.live + MALFORMED, it.live, it.live],
    "a null byte behind one": lambda it: [it.live, it.live, it.live + b"\0", it.live, it.live],
    "a null byte behind one that waits": lambda it: [it.live, HOLD, it.live, b"\0", RELEASE, it.live, it.live],
    "malformed bytes while one waits": lambda it: [it.live, HOLD, it.live, MALFORMED, RELEASE, it.live],
    "what a verification presents": lambda it: [*[it.named_verify] * 4, it.verify_presented],
    "what an introspection presents": lambda it: [*[it.named] * 4, it.presented],
    "a question of a batch": lambda it: [*[it.batch, it.live] * 3, it.batch_question],
    "the worker stops": lambda it: [it.live, it.live, STOP, it.live, it.live],
    "the worker stops while one waits": lambda it: [it.live, HOLD, it.live, STOP, RELEASE, it.live],
}  # fmt: skip


@pytest.mark.parametrize("name", one_in(4, CASES))
async def test_the_same_bytes_as_without_a_memory(
    service: Service, requests: Requests, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Apart from ids that the service makes, all that a connection is sent is the same without a memory."""
    caplog.set_level(logging.WARNING)
    steps = CASES[name](requests)
    for _ in range(3):  # the third connection finds everything remembered
        remembering, plain = Remembering(service), Remembering(forgetful(service))
        async with asyncio.timeout(10):
            sent, expected = await remembering.bytes_for(steps), await plain.bytes_for(steps)
        assert _MADE.sub(b"", sent) == _MADE.sub(b"", expected)
        assert plain.recalled == 0
        assert remembering.load.on_fast_path == 0
    assert sent
    assert not caplog.records  # such as an error


async def test_equal_bytes_are_recognised(service: Service, requests: Requests) -> None:
    """A request of the same bytes as one whose answer is remembered is not parsed, on this connection and on others."""
    served = Remembering(service)
    for request in (requests.live, requests.verify, requests.by_role):
        for asked, recalled in ((4, 1), (3, 2)):  # the first request of a connection is parsed
            served.recalled = 0
            await served.bytes_for([request] * asked)
            assert served.recalled == recalled


async def test_the_limit_of_requests_holds_for_repeated_ones(service: Service, requests: Requests) -> None:
    """Requests that are recognised count as requests in progress, and one too many gets 503."""
    answers = []
    for kind in (service, forgetful(service)):
        served = Remembering(kind, max_requests=1)
        async with asyncio.timeout(10), served.listening() as address:
            first, second = [await served.client(address) for _ in range(2)]
            for connection in (first, second) * 3:
                assert (await connection.ask(requests.live))[0] == 200
            served.gate.closed = True
            first.writer.write(requests.live)
            await eventually(lambda it=served: len(it.gate) == 1)  # type: ignore[misc]  # bound in each round
            refused = await second.ask(requests.live)
            served.gate.open()
            answers.append([refused, await first.answer(), await second.ask(requests.live)])
    assert answers[0] == answers[1]
    assert [answer[0] for answer in answers[0]] == [503, 200, 200]


async def test_a_client_that_leaves_while_its_repeated_request_waits(service: Service, requests: Requests) -> None:
    """The store is not asked for it any more, and nothing stays counted."""
    served = Remembering(service)
    async with served.listening() as address:
        leaving, staying = [await served.client(address) for _ in range(2)]
        for connection in (leaving, staying) * 3:
            await connection.ask(requests.live)
        served.recalled = 0
        served.gate.closed = True
        for connection in (leaving, staying):
            connection.writer.write(requests.live * (1 if connection is leaving else 2))
        await eventually(lambda: len(served.gate) == 2)
        leaving.writer.transport.abort()
        await eventually(lambda: len(served.gate) == 1)
        assert served.load.on_fast_path == 1
        served.gate.open()
        for _ in range(2):
            assert (await staying.answer())[0] == 200
    assert served.recalled == 1
    assert served.load.on_fast_path == 0


async def test_the_access_log_has_its_share_of_repeated_requests(
    service: Service, requests: Requests, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each request is drawn once for the access log. The answers and the lines are those without a memory."""
    caplog.set_level(logging.INFO, "authsvc.access")
    found = []
    for kind in (service, forgetful(service)):
        drawn = iter([0.8, 0.2] * 6)
        monkeypatch.setattr("random.random", partial(next, drawn))
        caplog.clear()
        served = Remembering(kind)
        served.fast_path.share = 0.5
        served.config.loaded_app = AccessLog(kind.app, 0.5)
        async with served.connected() as connection:
            answers = [await connection.ask(one) for one in [requests.live] * 6 + [requests.verify] * 6]
        lines = [(record.fields["path"], record.fields["status"]) for record in caplog.records]  # type: ignore[attr-defined]
        assert next(drawn, None) is None
        found.append((answers, lines))
    assert found[0] == found[1]
    assert len(found[0][1]) == 6
