"""The rows about backends that cache: the time of a check, the load on the service, the delay of a revocation."""

import json
import random
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bench import install, loads, servers
from bench.context import Bench, Turn, say
from bench.crowd import revoked_at
from bench.servers import BOTH_CORES, OTHER_CORE, ROOT, BenchError, Service, clean_environment
from bench.wrk import Figures

PROCESSES = 16
# Longer than an idle connection stays open, so that only connections in use are counted.
COUNTED_S = 8
# The subscribers run in several processes: one process would need most of the time to handle an event a hundred times.
SUBSCRIBERS, SUBSCRIBING = 100, 4
# The pause between two revocations. It is random, so that a revocation comes at any point between two heartbeats.
PAUSE_S = (0.005, 0.05)
MOST_LEFT_OUT = 0.1
ESTABLISHED = "01"
# The languages of the SDKs, and what the keys of their results end with.
LANGUAGES = {"python": "", "node": "_node", "go": "_go"}


class Backend:
    """A running process of bench.backend."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self._process = process
        self._log = log

    def hear(self) -> Any:
        """The next line that the backend prints."""
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise BenchError(f"a backend ended:\n{self._log.read_text()[-2000:]}")
        return json.loads(line)

    def order(self, text: str) -> None:
        if self._process.stdin is None:
            raise BenchError("a backend takes no orders")
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()


@contextmanager
def backend(
    bench: Bench,
    what: str,
    service: Service,
    tokens: Path,
    *more: str,
    cores: str = OTHER_CORE,
    language: str = "python",
) -> Iterator[Backend]:
    log = bench.directory / f"backend-{what}-{language}.log"
    arguments = [what, service.url, *bench.parties.resource, str(tokens), *more]
    program = _program(bench, language)
    environment = clean_environment() | {"PYTHONPATH": str(bench.checkout)}
    with log.open("ab") as sink:
        process = subprocess.Popen(
            ["taskset", "-c", cores, *program, *arguments],
            cwd=bench.checkout,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
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


def _program(bench: Bench, language: str) -> list[str]:
    if language == "node":
        return ["node", str(ROOT / "bench" / "sdks" / "node" / "backend.mjs"), str(install.node_sdk(bench.checkout))]
    if language == "go":
        return [str(install.go_backend(bench.checkout))]
    # -P: the packages are those of the checkout.
    return [str(servers.python(bench.checkout)), "-P", str(ROOT / "bench" / "backend.py")]


def row_12(bench: Bench) -> list[Turn]:
    """A check that the cache answers: in Python with an event loop and without one, in Node and in Go."""
    tokens = _file(bench, "cached", bench.live)
    return [_cached(bench, tokens, language, f"cached{suffix}") for language, suffix in LANGUAGES.items()]


def _cached(bench: Bench, tokens: Path, language: str, key: str) -> Turn:
    speed = bench.start(backend(bench, "speed", bench.parties.service, tokens, language=language))
    speed.hear()

    def measure() -> Figures:
        speed.order(str(bench.options.seconds / 2))
        figures: Figures = speed.hear()
        if figures.pop("wrong") or figures.pop("sync_wrong", 0):
            raise BenchError("a cached check gave a wrong answer")
        return figures

    return Turn(key, measure)


def costs(bench: Bench) -> Figures:
    """The requests and streams of many processes that check without a pause, as the service counts them. Runs once."""
    say(f"{PROCESSES} processes of one backend, row 12")
    tokens = _file(bench, "crowd", random.sample(bench.live, 1000))
    with ExitStack() as stack:
        # This service logs every request.
        service = stack.enter_context(bench.serving("authsvc-counting", bench.store, access_log_share=1))
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
    """The time from the answer of a revocation until the last of many subscribers refuses the token, by language."""
    parties, count = bench.parties, bench.options.refusals
    app = loads.under(bench.store, parties.app[0])
    found = {}
    for language, suffix in LANGUAGES.items():
        say(f"  the SDK for {language.capitalize()}")
        subs = loads.fill_users([bench.store], count, parties.now)
        sessions = loads.fill_sessions([bench.store], subs, app, parties.now)
        found[f"refused{suffix}"] = _refused(bench, language, sessions)
    say("  keys and exchanged tokens, with the SDK for Python")
    resource = loads.under(bench.store, parties.resource[0])
    made = {
        "keys": loads.fill_keys([bench.store], count, app, parties.now),
        "exchanged": loads.fill_exchanged([bench.store], count, app, resource, time.time()),
    }
    return found | {f"refused_{kind}": _refused(bench, "python", presented) for kind, presented in made.items()}


def _refused(bench: Bench, language: str, presented: list[str]) -> list[Figures]:
    count, parties = len(presented), bench.parties
    found, left_out = [], 0
    connection = HTTPConnection("127.0.0.1", parties.service.port)
    tokens = _file(bench, "refusals", presented)
    each = str(SUBSCRIBERS // SUBSCRIBING)
    with ExitStack() as stack:
        subscribing = [
            stack.enter_context(
                backend(bench, "refusals", parties.service, tokens, each, cores=BOTH_CORES, language=language)
            )
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
            # A subscriber refused before the revocation: it had lost the stream and forgotten all answers.
            if min(moments) < begun:
                left_out += 1
                continue
            refused = [max(at - acknowledged, 0) * 1000 for at in moments]
            found.append({"everywhere_ms": max(refused), "first_ms": min(refused)})
            time.sleep(random.uniform(*PAUSE_S))
    connection.close()
    if left_out:
        say(f"  {left_out} of {count} revocations left out: a subscriber had not heard the service for two seconds")
    if left_out > count * MOST_LEFT_OUT:
        raise BenchError("the subscribers did not hear the service: the machine has too much else to do")
    return found


def _file(bench: Bench, name: str, tokens: list[str]) -> Path:
    file = bench.directory / f"{name}.tokens"
    file.write_text("\n".join(tokens))
    return file


def _requests(log: Path) -> list[str]:
    """The path of each request in the log, without the bench's own requests for /readyz."""
    paths = re.findall(r'"path": ?"([^"]+)"', log.read_text())
    return [path for path in paths if path != "/readyz"]


def _connections(port: int) -> int:
    """The number of connections of the service, as the system counts them."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(line[1].endswith(f":{port:04X}") and line[3] == ESTABLISHED for line in lines)
