"""The rows about logins: their rate, and the speed of introspection during a storm of logins."""

import json
import math
import subprocess
import sys
import time
from functools import partial

from bench import loads, servers, wrk
from bench.context import LOGIN_USERS, Bench, Turn, bodies_of
from bench.servers import BOTH_CORES, OTHER_CORE, ROOT, SERVER_CORE, BenchError, Service
from bench.wrk import Figures, Target

# The number of browsers for each hashing thread: enough to keep it busy, and fewer than the queue takes.
BROWSERS_PER_THREAD = 4
STORM_BROWSERS = 40


def row_7(bench: Bench) -> list[Turn]:
    """Logins and bare argon2id: with one thread on one core, and with two threads on both cores."""
    stored, turns = bench.password_hash, []
    for name, cores, threads in (("1", SERVER_CORE, 1), ("2", BOTH_CORES, 2)):
        service = bench.start(bench.serving(f"logins-{name}", bench.store, cores=cores, hash_threads=threads))
        turns.append(_logins(bench, f"logins_{name}", service, threads))
        turns.append(_argon2(bench, f"argon2_{name}", stored, cores, threads))
    return turns


def _logins(bench: Bench, key: str, service: Service, threads: int) -> Turn:
    def measure() -> Figures:
        figures = _finished(_storm(service, threads * BROWSERS_PER_THREAD, bench.options.seconds))
        if figures["others"] or figures["refused"] or not figures["rate"]:
            raise BenchError(f"logins failed: {figures}")
        return figures

    return Turn(key, measure)


def _argon2(bench: Bench, key: str, stored: str, cores: str, threads: int) -> Turn:
    command = ["taskset", "-c", cores, sys.executable, "-m", "bench.peers.argon2_loop", stored, loads.PASSWORD]

    def measure() -> Figures:
        return {"rate": float(servers.run([*command, str(threads), str(bench.options.seconds)]))}

    return Turn(key, measure)


def row_8(bench: Bench) -> list[Turn]:
    """Introspection during a storm of logins: at full load, and at about half of it."""
    _ = bench.password_hash
    full = bench.prepared(bench.introspection(bench.parties, bodies_of(bench.live)))
    rate = wrk.measure(full, 3)["rate"]
    pause_ms = math.ceil(full.connections / (rate / 2) * 1000)
    half = bench.prepared(bench.introspection(bench.parties, bodies_of(bench.live), "half", pause_ms=pause_ms))
    turns = []
    for name, target in (("full", full), ("half", half)):
        turns += [
            Turn(f"calm_{name}", partial(wrk.measure, target, bench.options.seconds)),
            Turn(f"storm_{name}", partial(_in_a_storm, bench, target)),
        ]
    return turns


def _in_a_storm(bench: Bench, target: Target) -> Figures:
    storm = _storm(bench.parties.service, STORM_BROWSERS, bench.options.seconds + 2)
    try:
        time.sleep(1)
        figures = wrk.measure(target, bench.options.seconds)
    finally:
        stormed = _finished(storm)
    if stormed["others"]:
        raise BenchError(f"a login was answered neither 200 nor 503: {stormed}")
    return figures | {"logins": stormed["rate"], "refused": stormed["refused"]}


def _storm(service: Service, browsers: int, seconds: float) -> "subprocess.Popen[str]":
    arguments = [str(service.port), str(LOGIN_USERS), str(browsers), str(seconds)]
    command = ["taskset", "-c", OTHER_CORE, sys.executable, "-m", "bench.storm", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _finished(storm: "subprocess.Popen[str]") -> Figures:
    printed, _ = storm.communicate(timeout=600)
    if storm.returncode != 0:
        raise BenchError("the logins broke off, see above")
    figures: Figures = json.loads(printed)
    return figures
