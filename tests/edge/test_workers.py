"""The supervisor's idea of a worker that is alive."""

import time
from multiprocessing import Pipe
from multiprocessing.context import SpawnProcess
from threading import Timer
from types import SimpleNamespace
from typing import cast

import pytest

from authsvc.edge import workers
from authsvc.edge.workers import Worker


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    """One that has just begun, whose process is there and says nothing by itself."""
    monkeypatch.setattr(workers, "LOOK_S", 0.01)
    made = Worker.__new__(Worker)
    made.parent_conn, made.child_conn = Pipe()
    made.process = cast(SpawnProcess, SimpleNamespace(is_alive=lambda: True))
    made.begun_at, made.has_answered = time.monotonic(), False
    return made


def test_one_that_is_starting_is_waited_for(worker: Worker) -> None:
    """It is not asked to answer as soon as one that runs, but within READY_WITHIN_S."""
    assert all(worker.is_alive(0.01) for _ in range(5))
    worker.begun_at -= workers.READY_WITHIN_S + 1
    assert not worker.is_alive(0.01)


def test_one_that_hangs_is_dead(worker: Worker) -> None:
    """Once it has answered it has to go on, and the answers to what it was asked while starting don't count."""
    for _ in range(5):
        worker.is_alive(0.01)
        worker.child_conn.send(True)
    assert not worker.is_alive(0.01)


def test_one_that_answers_is_alive(worker: Worker) -> None:
    """However late the answer to the first question is."""
    worker.is_alive(0.01)
    worker.child_conn.send(True)
    worker.begun_at -= workers.READY_WITHIN_S + 1
    answering = Timer(0.05, worker.child_conn.send, [True])
    answering.start()
    assert worker.is_alive(5)
    answering.join()


def test_one_that_has_ended_is_dead(worker: Worker) -> None:
    """A pipe that nobody holds the other end of is no start that takes long."""
    worker.child_conn.close()
    assert not worker.is_alive(0.01)
