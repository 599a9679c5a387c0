"""The row about introspection while other sessions are revoked and refreshed."""

import subprocess
import sys
from functools import partial
from pathlib import Path

from bench import loads, wrk
from bench.context import Bench, Turn, bodies_of
from bench.servers import OTHER_CORE, ROOT, BenchError
from bench.wrk import Figures, Target

CHANGES_PER_S = 50


def row_20(bench: Bench) -> list[Turn]:
    """Introspection by itself, and beside 50 revocations and refreshes a second."""
    target = bench.prepared(bench.introspection(bench.parties, bodies_of(bench.live), "undisturbed"))
    left = iter(_files(bench))
    return [
        Turn("undisturbed", partial(wrk.measure, target, bench.options.seconds)),
        Turn("disturbed", lambda: _beside_changes(bench, target, next(left))),
    ]


def _files(bench: Bench) -> list[Path]:
    """A file of sessions for each round, which nobody else asks about."""
    each = int(CHANGES_PER_S * bench.options.seconds)
    subs = loads.fill_users([bench.store], each * bench.options.rounds, bench.parties.now)
    by = loads.under(bench.store, bench.parties.app[0])
    sessions = loads.fill_sessions([bench.store], subs, by, bench.parties.now, pairs=True)
    files = []
    for number in range(bench.options.rounds):
        file = bench.directory / f"changes-{number}"
        file.write_text("\n".join(sessions[number * each : (number + 1) * each]))
        files.append(file)
    return files


def _beside_changes(bench: Bench, target: Target, file: Path) -> Figures:
    arguments = [str(target.port), ":".join(bench.parties.app), str(file), str(1 / CHANGES_PER_S)]
    command = ["taskset", "-c", OTHER_CORE, sys.executable, "-m", "bench.changes", *arguments]
    changing = subprocess.Popen(command, cwd=ROOT)
    try:
        return wrk.measure(target, bench.options.seconds)
    finally:
        if changing.wait() != 0:
            raise BenchError("the changes broke off, see above")
