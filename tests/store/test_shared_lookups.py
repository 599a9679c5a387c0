"""Concurrent lookups share their round trips and nothing else."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
import redis

from authsvc.core.record import FORMAT
from authsvc.core.session import Found
from authsvc.driver.connection import Connection
from authsvc.driver.reader import HearValues, NodeReader, Reader, Value
from authsvc.errors import CorruptRecord, NewerFormat, StoreUnavailable
from authsvc.store import keys
from authsvc.store.lookup import Lookup
from authsvc.store.moment import Moment
from tests.conftest import PATIENT, Service
from tests.edge.test_protocol import eventually
from tests.flows.contents import Commands


async def handles(service: Service, users: int = 5, each: int = 4) -> list[str]:
    found = []
    for number in range(users):
        await service.user(f"user{number}")
        found += [(await service.login(f"user{number}"))["session_id"] for _ in range(each)]
    return found


async def test_one_turn_of_the_loop_is_two_round_trips(service: Service, commands: Commands) -> None:
    """A hundred lookups that begin together go out as one MGET that learns whose the sessions are, and one for all."""
    sessions = await handles(service)
    commands.reset()
    answers = await asyncio.gather(*[service.deps.store.lookup.session(h) for h in sessions * 5])
    assert [answer.handle for answer in answers if answer] == sessions * 5
    assert commands.seen()["mget"] == 2


async def test_alone_means_at_once(service: Service, commands: Commands) -> None:
    """A single lookup is sent in the next turn of the event loop, and takes two round trips."""
    (handle,) = await handles(service, 1, 1)
    commands.reset()
    assert await service.deps.store.lookup.session(handle) is not None
    assert commands.seen()["mget"] == 2


async def test_what_was_asked_later_is_read_later(service: Service) -> None:
    """A lookup never joins a read that is already sent, so it sees every change acknowledged before it began."""
    sessions = await handles(service, 1, 3)
    store = service.deps.store
    for handle in sessions:
        earlier = [asyncio.ensure_future(store.lookup.session(handle)) for _ in range(20)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # the lookups are on their way
        await store.sessions.delete(handle)
        assert await store.lookup.session(handle) is None
        await asyncio.gather(*earlier)


async def test_cancelling_one_harms_no_other(service: Service) -> None:
    """Cancelling some lookups at any moment leaves the other callers with their own answers."""
    sessions = await handles(service)
    for turns in range(12):
        tasks = [asyncio.ensure_future(service.deps.store.lookup.session(h)) for h in sessions]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for handle, task, answer in zip(sessions, tasks, answers, strict=True):
            if not task.cancelled():
                assert isinstance(answer, Found)
                assert answer.handle == handle


async def test_a_batch_that_fails_fails_its_own(service: Service, valkey: "redis.Redis") -> None:
    """Lookups whose connection is killed get 503 or the right answer, and later lookups work."""
    sessions = await handles(service)
    lookup = service.deps.store.lookup
    for _ in range(20):
        tasks = [asyncio.ensure_future(lookup.session(h)) for h in sessions]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        valkey.client_kill_filter(_type="normal", skipme=True)
        for handle, answer in zip(sessions, await asyncio.gather(*tasks, return_exceptions=True), strict=True):
            assert isinstance(answer, StoreUnavailable) or (isinstance(answer, Found) and answer.handle == handle)
        again = await lookup.session(sessions[0])
        assert again is not None
        assert again.handle == sessions[0]


async def test_a_corrupt_record_fails_its_own(service: Service, valkey: "redis.Redis") -> None:
    """A record that does not parse fails its own lookup. Other lookups of the round trip get their answers."""
    broken, whole = await handles(service, 2, 1)
    valkey.set(keys.session(broken), "{nonsense")
    lookup = service.deps.store.lookup
    bad, good = await asyncio.gather(lookup.session(broken), lookup.session(whole), return_exceptions=True)
    assert isinstance(bad, CorruptRecord)
    assert isinstance(good, Found)


async def test_a_newer_format_fails_its_own(service: Service, valkey: "redis.Redis") -> None:
    """A record in a newer format fails its own lookup, of all in the round trip, and stays as it is."""
    newer, whole = await handles(service, 2, 1)
    for key in (keys.session(newer), keys.user(await sub_of(service, newer)), keys.client("app")):
        raw = valkey.get(key)
        assert isinstance(raw, bytes)
        marked = raw[:-1] + b',"v":%d}' % (FORMAT + 1)
        valkey.set(key, marked)
        lookup = service.deps.store.lookup
        bad, good = await asyncio.gather(lookup.session(newer), lookup.session(whole), return_exceptions=True)
        assert isinstance(bad, NewerFormat)
        assert isinstance(good, NewerFormat if key == keys.client("app") else Found)
        assert valkey.get(key) == marked
        valkey.set(key, raw)


async def sub_of(service: Service, handle: str) -> str:
    found = await service.deps.store.lookup.session(handle)
    assert found is not None
    return found.session.sub


async def test_a_record_under_anothers_key_decides_nothing(service: Service, valkey: "redis.Redis") -> None:
    """If the store ever mixed replies up, the user of one session would not become the user of another."""
    one, other = await handles(service, 2, 1)
    lookup = service.deps.store.lookup
    first, second = await lookup.session(one), await lookup.session(other)
    assert first is not None
    assert second is not None
    assert first.user is not None
    assert second.user is not None
    raw = valkey.get(keys.user(second.user.sub))
    assert isinstance(raw, bytes)
    valkey.set(keys.user(first.user.sub), raw)
    with pytest.raises(CorruptRecord):
        await lookup.session(one)


class NodeComesBack:
    """A reader whose first read finds the node of one key silent. From the second read on, the node answers."""

    def __init__(self, reader: Reader, silent: str) -> None:
        self._reader = reader
        self._silent = silent
        self.reads = 0

    def read(self, wanted: Sequence[str], give_up_at: float, hear: HearValues) -> None:
        self.reads += 1
        first = self.reads == 1

        def heard(values: Sequence[Value] | StoreUnavailable) -> None:
            if first and not isinstance(values, StoreUnavailable):
                silent = StoreUnavailable("silent")
                values = [silent if key == self._silent else value for key, value in zip(wanted, values, strict=True)]
            hear(values)

        self._reader.read(wanted, give_up_at, heard)

    async def close(self) -> None:
        await self._reader.close()


async def test_a_node_that_comes_back_between_the_reads_ends_no_session(service: Service, valkey_url: str) -> None:
    """A session that only the second read finds is unavailable, because its user was not read. It is not inactive."""
    (handle,) = await handles(service, 1, 1)
    connection = Connection(valkey_url, timeouts=PATIENT)
    lookup = Lookup(connection)
    node = lookup._reader = NodeComesBack(lookup._reader, keys.session(handle))
    with pytest.raises(StoreUnavailable):
        await lookup.session(handle)
    assert node.reads == 2
    found = await lookup.session(handle)
    assert found is not None
    assert found.user is not None
    await lookup.close()
    await connection.close()


async def test_a_late_reply_reaches_nobody(
    service: Service, valkey: "redis.Redis", valkey_url: str, shape: str
) -> None:
    """A lookup that timed out leaves its reply unread. The next lookup on the connection gets its own reply."""
    connection = Connection(valkey_url, timeouts=replace(PATIENT, request_s=0.5, reply_s=0.5))
    lookup = Lookup(connection)
    one, other = await handles(service, 2, 1)
    await asyncio.gather(lookup.session(one), lookup.session(other))
    everywhere = {"target_nodes": "primaries"} if shape == "cluster" else {}
    valkey.execute_command("CLIENT PAUSE", 1500, "ALL", **everywhere)
    given_up = await asyncio.gather(lookup.session(one), lookup.client("app"), return_exceptions=True)
    assert all(isinstance(answer, StoreUnavailable) for answer in given_up)
    deadline = asyncio.get_running_loop().time() + 5
    while True:
        try:
            found = await lookup.session(other)
            break
        except StoreUnavailable:  # still paused
            assert asyncio.get_running_loop().time() < deadline, "the store did not come back"
            await asyncio.sleep(0.01)
    assert found is not None
    assert found.handle == other
    await lookup.close()
    await connection.close()


async def test_every_lookup_has_the_time_of_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lookup is given up after `request_s`, whether it runs in a request's task or on the fast path."""
    deadlines: list[float] = []

    def silent(self: NodeReader, wanted: Sequence[str], give_up_at: float, hear: HearValues) -> None:
        deadlines.append(give_up_at)
        raise StoreUnavailable("silent")

    monkeypatch.setattr(NodeReader, "read", silent)
    connection = Connection("redis://127.0.0.1:1", timeouts=replace(PATIENT, request_s=3.0, call_s=7.0))
    lookup = Lookup(connection)
    began = asyncio.get_running_loop().time()
    heard: list[object] = []
    lookup.ask((), (keys.client("app"),), heard.append)
    await eventually(lambda: len(heard) == 1)
    with pytest.raises(StoreUnavailable):
        await lookup.sessions("app", ())
    assert isinstance(heard[0], StoreUnavailable)
    ended = asyncio.get_running_loop().time()
    assert all(began + 3.0 <= at <= ended + 3.0 for at in deadlines)
    assert len(deadlines) == 2
    await connection.close()


async def test_many_batches_at_once(service: Service) -> None:
    """Lookups of every size, started at every moment, each get exactly what they asked for."""
    sessions = await handles(service)

    async def some(number: int) -> None:
        for _ in range(number % 4):
            await asyncio.sleep(0)
        wanted = [sessions[(number * k) % len(sessions)] for k in range(number % 7)] + [f"{number:012d}"]
        answer = await service.deps.store.lookup.sessions("app", wanted)
        client = answer.client("app")
        assert client is not None
        assert client.client_id == "app"
        assert answer.found(wanted[-1]) is None
        for handle in wanted[:-1]:
            found = answer.found(handle)
            assert found is not None
            assert found.handle == handle

    await asyncio.gather(*[some(number) for number in range(500)])


async def test_a_caller_that_fails_takes_no_answer_from_the_others(service: Service) -> None:
    """An error of one caller, while its answer is handed over, leaves the other callers of the batch their answers."""
    (handle,) = await handles(service, 1, 1)

    def broken(found: object) -> None:
        raise RuntimeError("a fault")

    heard: list[object] = []
    lookup = service.deps.store.lookup
    for hear in (heard.append, broken, heard.append):
        lookup.ask((handle,), (keys.SERVICE,), hear)
    assert (await lookup.session(handle)) is not None
    assert len(heard) == 2
    assert all(isinstance(found, Moment) for found in heard)


async def test_a_dropped_question_is_not_answered(service: Service, commands: Commands) -> None:
    """A question that was dropped before it was sent is not sent, and one that was sent is not answered."""
    (handle,) = await handles(service, 1, 1)
    lookup, heard = service.deps.store.lookup, list[object]()
    commands.reset()
    lookup.ask((handle,), (keys.SERVICE,), heard.append).cancel()
    await asyncio.sleep(0)
    assert commands.seen() == {}
    question = lookup.ask((handle,), (keys.SERVICE,), heard.append)
    await asyncio.sleep(0)
    question.cancel()
    assert (await lookup.session(handle)) is not None
    assert heard == []
