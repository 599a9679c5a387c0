"""Writes docs/chaos.md from the outcomes of a run."""

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version

from authsvc.ops.binary import find_binary
from bench.machine import _processor
from bench.servers import run
from chaos.checker import INVARIANTS
from chaos.lab import Outcome

PAGE = Path(__file__).resolve().parent.parent / "docs" / "chaos.md"

INTRODUCTION = """\
# Chaos experiments

`make chaos` runs the service as an operator runs it: two groups of two workers behind nginx, and one Valkey that syncs
each change to its disk. An experiment breaks something and records each call in a journal. Then a checker replays the
journal and compares each answer with the promises of the service. The journal of experiment 25 is a history, which
[Porcupine](https://github.com/anishathalye/porcupine) checks for linearizability.

An experiment that cannot fail shows nothing. So each one has controls: the same experiment with one guarantee taken
out, by a patch of a copy of the package or by a setting. The run fails unless each control is red.

A busy machine can exceed the times of an experiment. An experiment that exceeded only times is run once more; the table
says so. The run writes this page.
"""

NOT_SHOWN = """\
## What this does not show

- **A power failure.** `kill -9` ends a process and leaves its writes in the page cache. No experiment shows that an
  fsync reaches the disk, or what a power failure leaves.
- **Two machines.** All processes share one machine, and one clock except where a clock is faked. Loopback loses and
  reorders no packets; the proxies delay, swallow, cut and reset whole connections.
- **More replicas than `AUTHSVC_DURABILITY_REPLICAS`.** Then the level `replica` does not survive every failover. While
  sentinels promote one replica, another one may still acknowledge a revocation, which is lost then. A run with two
  replicas and a required number of one has shown this. The experiment has one replica.
- **Logins and rotations in a failover.** Only revocations wait for the replica. In experiments 4 to 7 lost logins and
  rotations are counted (*lost*) and break no promise. These experiments revoke sessions by their id, because a token of
  a lost rotation belongs to no session.
- **Isolated workers without a bound.** Workers that are cut off together with an old primary use it for at most 8 s
  with Sentinel at level `replica`. With one address, as in experiment 6, there is no bound (docs/store.md). A test
  shows the 8 s.
- **A node without a file.** If it is started again and promoted, the store is empty. Then each call gets 503, because
  there is no service record. The nodes of the experiments keep a file.
- **Linearizability beyond one server.** Experiment 25 has one store on one server. A Cluster promises no
  linearizability: the records of one answer can be on several nodes, which are not read at one moment. After a failover
  changes can be missing, as in experiments 4 to 7.
- **An exact end of a token.** A worker whose clock is behind accepts an expired token for the length of the skew.
- **Every race.** A race may exist that no round has met. The controls show that the checks see such races.
- **Other machines.** The durations are those of this machine, on which all processes compete for the cores.
"""


def write(outcomes: Sequence[Outcome], *, long: bool) -> None:
    rows = [_row(outcome) for outcome in outcomes]
    text = [INTRODUCTION, "## Promises checked after each experiment\n"]
    text += [f"- **{code}**: {promise}" for code, promise in INVARIANTS.items()]
    text += ["\n## The experiments\n", "| | fault | passes when | figures | controls, all red |"]
    text += [
        "| --- | --- | --- | --- | --- |",
        *rows,
        "",
        NOT_SHOWN,
        "## Measured on\n",
        f"- the {'long' if long else 'short'} form",
        *_machine(),
    ]
    PAGE.write_text("\n".join(text) + "\n")


def _row(outcome: Outcome) -> str:
    experiment = outcome.experiment
    told = [f"{name} {value}" for name, value in outcome.figures.items()]
    if outcome.missed:
        told.append(f"second go, the first missed: {', '.join(outcome.missed)}")
    figures = ", ".join(told)
    controls = "; ".join(control.what for control in experiment.controls)
    cells = (f"{experiment.number} {experiment.name}", experiment.injected, experiment.passes, figures, controls)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _machine() -> list[str]:
    store = run([find_binary(), "--version"]).split(" sha=")[0].strip()
    nginx = run(["sh", "-c", "nginx -v 2>&1"]).strip().removeprefix("nginx version: ")
    packages = ", ".join(f"{name} {version(name)}" for name in ("authsvc", "uvicorn", "redis"))
    return [
        f"- {datetime.now(UTC):%d %B %Y}, {_processor()}",
        f"- Python {python_version()}, {packages}",
        f"- {store}; {nginx}",
    ]
