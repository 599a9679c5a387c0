"""The rows about backends that cache: what a check costs them, what they cost the service, how soon they refuse."""

import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bench import loads, servers
from bench.context import Bench, Turn, say
from bench.crowd import revoked_at
from bench.servers import BOTH_CORES, OTHER_CORE, ROOT, BenchError, Service
from bench.wrk import Figures

PROCESSES = 16
# Longer than an idle connection is kept open, so that only those remain which are in use.
COUNTED_S = 8
# In so many processes: one alone would be measured by how fast it takes the news a hundred times.
SUBSCRIBERS, SUBSCRIBING = 100, 4
# Between two revocations, so that they fall anywhere between two heartbeats.
PAUSE_S = (0.005, 0.05)
MOST_LEFT_OUT = 0.1
ESTABLISHED = "01"


class Backend:
    """A process of bench.backend."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self._process = process
        self._log = log

    def hear(self) -> Any:
        """What it says next."""
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise BenchError(f"a backend ended:\n{self._log.read_text()[-2000:]}")
        return json.loads(line)

    def order(self, text: str) -> None:
        if self._process.stdin is None:
            raise BenchError("a backend without an ear")
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()


@contextmanager
def backend(
    bench: Bench, what: str, service: Service, tokens: Path, *more: str, cores: str = OTHER_CORE
) -> Iterator[Backend]:
    log = bench.directory / f"backend-{what}.log"
    arguments = [what, service.url, *bench.parties.resource, str(tokens), *more]
    command = ["taskset", "-c", cores, sys.executable, "-m", "bench.backend", *arguments]
    with log.open("ab") as sink:
        process = subprocess.Popen(
            command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sink
        )
    try:
        yield Backend(process, log)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def row_12(bench: Bench) -> list[Turn]:
    """A check that the cache answers, from programs with and without an event loop."""
    tokens = _file(bench, "cached", bench.live)
    speed = bench.start(backend(bench, "speed", bench.parties.service, tokens))
    speed.hear()

    def measure() -> Figures:
        speed.order(str(bench.options.seconds / 2))
        figures: Figures = speed.hear()
        if figures.pop("wrong") or figures.pop("sync_wrong"):
            raise BenchError("a cached check gave a wrong answer")
        return figures

    return [Turn("cached", measure)]


def costs(bench: Bench) -> Figures:
    """What many processes that check without pause cost the service, as the service itself counts: once."""
    say(f"{PROCESSES} processes of one backend, row 12")
    tokens = _file(bench, "crowd", random.sample(bench.live, 1000))
    with ExitStack() as stack:
        # It logs every request that it gets.
        service = stack.enter_context(
            servers.authsvc(bench.directory, "authsvc-counting", bench.store, access_log_share=1)
        )
        log = bench.directory / "authsvc-counting.log"
        processes = [stack.enter_context(backend(bench, "crowd", service, tokens)) for _ in range(PROCESSES)]
        for each in processes:
            each.hear()
        before = _requests(log)
        for each in processes:
            each.order(str(COUNTED_S))
        checks = sum(each.hear() for each in processes)
        after = _requests(log)
        return {
            "processes": PROCESSES,
            "checks": checks,
            "requests": len(after) - len(before),
            "streams": after.count("/events"),
            "connections": _connections(service.port),
        }


def row_13(bench: Bench) -> dict[str, list[Figures]]:
    """From the acknowledgement of a revocation to the refusal by the last of many subscribers."""
    count = bench.options.refusals
    parties = bench.parties
    subs = loads.fill_users([bench.store], count, parties.now)
    presented = loads.fill_sessions([bench.store], subs, loads.under(bench.store, parties.app), parties.now)
    found, deaf = [], 0
    connection = HTTPConnection("127.0.0.1", parties.service.port)
    tokens = _file(bench, "refusals", presented)
    each = str(SUBSCRIBERS // SUBSCRIBING)
    with ExitStack() as stack:
        subscribing = [
            stack.enter_context(backend(bench, "refusals", parties.service, tokens, each, cores=BOTH_CORES))
            for _ in range(SUBSCRIBING)
        ]
        for subscribers in subscribing:
            subscribers.hear()
        for token in presented:
            for subscribers in subscribing:
                subscribers.order(token)
            for subscribers in subscribing:
                subscribers.hear()
            begun = time.perf_counter()
            acknowledged = revoked_at(connection, parties.service, f"token={token}")
            moments = [at for subscribers in subscribing for at in subscribers.hear()]
            if (
                min(moments) < begun
            ):  # not for the revocation: it did not hear the service, and so took nothing for known
                deaf += 1
                continue
            refused = [max(at - acknowledged, 0) * 1000 for at in moments]
            found.append({"everywhere_ms": max(refused), "first_ms": min(refused)})
            time.sleep(random.uniform(*PAUSE_S))
    connection.close()
    if deaf:
        say(f"  {deaf} of {count} revocations left out: somebody had not heard the service for two seconds")
    if deaf > count * MOST_LEFT_OUT:
        raise BenchError("the subscribers did not hear the service: the machine has too much else to do")
    return {"refused": found}


def _file(bench: Bench, name: str, tokens: list[str]) -> Path:
    file = bench.directory / f"{name}.tokens"
    file.write_text("\n".join(tokens))
    return file


def _requests(log: Path) -> list[str]:
    """The path of every request that the service has logged, but for those of the bench, which asks if it is ready."""
    paths = re.findall(r'"path": ?"([^"]+)"', log.read_text())
    return [path for path in paths if path != "/readyz"]


def _connections(port: int) -> int:
    """How many connections the service has, as the system sees it."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(line[1].endswith(f":{port:04X}") and line[3] == ESTABLISHED for line in lines)
