"""Several workers on one socket. A dead worker is replaced, SIGHUP replaces all workers, SIGTERM ends them in time.

uvicorn has a supervisor too. It only takes uvicorn's own server. While it replaces workers it neither watches them nor
reacts to SIGTERM. It waits without end for a worker that hangs.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable
from copy import copy
from functools import partial
from multiprocessing import resource_tracker
from socket import socket
from typing import Any, cast

from uvicorn import Config
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Process

from authsvc.edge.server import GRACE_S, Server
from authsvc.errors import StartupError
from authsvc.metrics.registry import SharedArray, WorkerRegistry

log = logging.getLogger(__name__)

LOOK_S = 0.25
READY_WITHIN_S = 30
ANSWER_WITHIN_S = 5
# How long a worker may take to close its parts after its grace, before it is killed.
CLOSING_S = 1


class Worker(Process):
    """uvicorn's process of one worker, with our server in it.

    successor: the worker takes the place of one that serves, so it must not start before it can serve.
    """

    give_up_at = 0.0

    def __init__(self, config: Config, sockets: list[socket], values: SharedArray, *, successor: bool) -> None:
        config = copy(config)
        config.app = partial(cast(Callable[..., Any], config.app), values, successor=successor)
        super().__init__(config, sockets)
        self.values = values
        self.begun_at = time.monotonic()
        self.has_answered = False

    @property
    def server(self) -> Server:
        if not isinstance(self._server, Server):
            self._server = Server(self.config)
        return self._server

    def start(self) -> None:
        resource_tracker.ensure_running()  # starting it later would unblock the signal
        # The new process inherits the blocked signal: a Ctrl-C waits until the server has its own handler, and does not
        # end the imports with a traceback.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        self.child_conn.close()  # or the pipe stays open when the worker dies, and `ping` waits for an answer

    def is_alive(self, timeout: float = ANSWER_WITHIN_S) -> bool:
        """Whether the worker answers, or may still be starting. On busy cores a start takes many seconds."""
        if not self.process.is_alive():
            return False
        try:
            while self.parent_conn.poll():  # answers to pings that were sent while it started
                self.parent_conn.recv()
                self.has_answered = True
        except (OSError, EOFError):
            return False
        if self.ping(timeout if self.has_answered else LOOK_S):
            self.has_answered = True
            return True
        return not self.has_answered and time.monotonic() < self.begun_at + READY_WITHIN_S

    def retire(self) -> None:
        """Tell the worker to stop, and note the time at which it is killed."""
        self.give_up_at = time.monotonic() + GRACE_S + CLOSING_S
        self.terminate()

    def has_ended(self) -> bool:
        if self.process.is_alive() and time.monotonic() > self.give_up_at:
            log.error("worker %s did not end in time: killed", self.pid)
            self.process.kill()
            self.process.join()
        return not self.process.is_alive()


class Workers:
    """As many workers as configured, over sockets that they share, each counted by the registry.

    reread: what makes the application of new workers, with settings that may have changed in their files. Raises
    StartupError.
    """

    def __init__(
        self, config: Config, sockets: list[socket], registry: WorkerRegistry, reread: Callable[[], Callable[..., Any]]
    ) -> None:
        self._config = config
        self._registry = registry
        self._sockets = sockets
        self._reread = reread
        self._workers: list[Worker] = []
        self._retired: list[Worker] = []
        self._stopping = threading.Event()
        self._renewal_wanted = False

    def run(self) -> None:
        """Return after SIGINT or SIGTERM. Raises StartupError when a worker can't be started."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._stopping.set())
        signal.signal(signal.SIGHUP, self._want_renewal)
        try:
            self._workers = [self._begin() for _ in range(self._config.workers)]
            while not self._stopping.wait(LOOK_S):
                self._replace_the_dead()
                self._forget_the_retired()
                if self._renewal_wanted:
                    self._renewal_wanted = False
                    self._renew()
        finally:
            self._end()

    def _want_renewal(self, *_: object) -> None:
        self._renewal_wanted = True

    def _begin(self, *, successor: bool = False) -> Worker:
        worker = Worker(self._config, self._sockets, self._registry.add_worker(), successor=successor)
        worker.start()
        return worker

    def _replace_the_dead(self) -> None:
        for at, worker in enumerate(self._workers):
            if worker.is_alive():
                continue
            worker.kill()  # it may still run, but hang
            worker.join()
            if worker.exitcode == STARTUP_FAILURE:  # the next one would fail too
                raise StartupError("a worker process could not be started")
            if self._stopping.is_set():
                return
            log.warning("worker %s ended: replaced", worker.pid)
            self._registry.remove_worker(worker.values, died=True)
            self._workers[at] = self._begin()

    def _renew(self) -> None:
        """Replace each worker, once another with the present settings is ready in its place."""
        log.info("SIGHUP: reading the files of settings again, and replacing the workers")
        former = self._config.app
        try:
            self._config.app = self._reread()
        except StartupError as error:
            log.error("the workers stay as they are: %s", error)
            return
        for at, old in enumerate(self._workers):
            new = self._begin(successor=True)
            if not new.wait_until_ready(READY_WITHIN_S, self._stopping):
                self._give_up(new)
                if at == 0:  # nobody has served with the new settings yet, so a replacement must not get them
                    self._config.app = former
                return
            self._workers[at] = new
            self._retired.append(old)
            old.retire()
        log.info("all workers are new")

    def _give_up(self, new: Worker) -> None:
        """End a worker that did not become ready."""
        ended = not new.process.is_alive()
        new.kill()
        new.join()
        self._registry.remove_worker(new.values)
        if self._stopping.is_set():
            return
        if ended:
            log.error("a new worker ended before it was ready: the others stay")
        else:
            log.error("a new worker was not ready in %d s: the others stay", READY_WITHIN_S)

    def _forget_the_retired(self) -> None:
        ended = [worker for worker in self._retired if worker.has_ended()]
        for worker in ended:
            self._retired.remove(worker)
            self._registry.remove_worker(worker.values)

    def _end(self) -> None:
        for listening in self._sockets:  # or the system would take connections that no worker accepts
            listening.close()
        for worker in self._workers:
            worker.retire()
        leaving = self._workers + self._retired
        while leaving := [worker for worker in leaving if not worker.has_ended()]:
            time.sleep(0.02)
