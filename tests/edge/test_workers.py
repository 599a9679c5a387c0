"""When the supervisor takes a worker for alive, and how a worker starts."""

import signal
import time
from multiprocessing import Pipe
from multiprocessing.context import SpawnProcess
from threading import Timer
from types import SimpleNamespace
from typing import cast

import pytest
from uvicorn import Config
from uvicorn.supervisors.multiprocess import Process

from authsvc.edge import workers
from authsvc.edge.server import Server
from authsvc.edge.workers import Worker
from authsvc.waiting import until


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A worker that has just begun: its process is there, and answers no ping by itself."""
    monkeypatch.setattr(workers, "LOOK_S", 0.01)
    made = Worker.__new__(Worker)
    made.parent_conn, made.child_conn = Pipe()
    made.process = cast(SpawnProcess, SimpleNamespace(is_alive=lambda: True))
    made.begun_at, made.has_answered = time.monotonic(), False
    return made


def test_a_starting_worker_is_waited_for(worker: Worker) -> None:
    """A worker that is starting has READY_WITHIN_S to answer."""
    assert all(worker.is_alive(0.01) for _ in range(5))
    worker.begun_at -= workers.READY_WITHIN_S + 1
    assert not worker.is_alive(0.01)


def test_a_hanging_worker_is_dead(worker: Worker) -> None:
    """A worker that has answered once has to go on answering. Late answers to early pings do not count."""
    for _ in range(5):
        worker.is_alive(0.01)
        worker.child_conn.send(True)
    assert not worker.is_alive(0.01)


def test_an_answering_worker_is_alive(worker: Worker) -> None:
    """A worker is alive, however late it answered the first ping."""
    worker.is_alive(0.01)
    worker.child_conn.send(True)
    worker.begun_at -= workers.READY_WITHIN_S + 1
    answering = Timer(0.05, worker.child_conn.send, [True])
    answering.start()
    assert worker.is_alive(5)
    answering.join()


def test_an_ended_worker_is_dead(worker: Worker) -> None:
    """A closed pipe is not taken for a slow start."""
    worker.child_conn.close()
    assert not worker.is_alive(0.01)


def blocked_signals() -> set[signal.Signals]:
    return {signal.Signals(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())}


def test_an_interrupt_waits_for_a_starting_worker(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process starts with SIGINT blocked, so that Ctrl-C can't end it before it has its handler."""
    inherited: list[set[signal.Signals]] = []
    monkeypatch.setattr(Process, "start", lambda _: inherited.append(blocked_signals()))
    worker.start()
    assert inherited == [blocked_signals() | {signal.SIGINT}]
    assert signal.SIGINT not in blocked_signals()


async def test_a_worker_that_has_started_is_interrupted() -> None:
    """The server unblocks SIGINT once it has its handler."""
    server = Server(Config("no application", workers=2))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    with server.capture_signals():
        assert signal.SIGINT not in blocked_signals()
        signal.raise_signal(signal.SIGINT)
        async for _ in until(5, pause_s=0.01):
            if server.should_exit:
                break
    assert server.should_exit
