"""Writes docs/chaos.md from the outcomes of a long run."""

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version

from authsvc.ops.embedded import _find_binary
from bench.machine import _processor
from bench.servers import run
from chaos.checker import INVARIANTS
from chaos.lab import Control, Outcome

PAGE = Path(__file__).resolve().parent.parent / "docs" / "chaos.md"

INTRODUCTION = """\
# What was broken on purpose

`make chaos` runs the service as it is run for real (two times two workers behind nginx, one Valkey that writes each
change to its disk), breaks something, and replays a journal of every call against what the service promises. Each
experiment is run again with one guarantee taken out, in a copy of the package or by a setting; the same checks have to
find that, or the run fails. What a control breaks may show by chance only: where the table says so, it has some goes,
of which one has to be red. An experiment has one go, and a second one if it missed nothing but times, as a busy machine
does; where it took that, the table says so. This page is written by the run.
"""

NOT_SHOWN = """\
## What this does not show

- `kill -9` ends a process, not a machine: what the process had written is still in the page cache. Nothing here shows
  that an fsync reaches the disk, or what is left after a power failure.
- All processes share one machine and one clock, but where a clock is faked. Packets on loopback are neither lost nor
  reordered; the proxies delay, swallow, cut and reset whole connections.
- With more replicas than `AUTHSVC_DURABILITY_REPLICAS` the level `replica` does not outlast every failover: while
  sentinels that were told to fail over promote one replica, another may still acknowledge a revocation, which is lost
  then. Seen in a run with two replicas of which one had to have it; the experiment has one.
- What a replica lacks of logins and rotations is lost with its primary: only revocations wait for it. In experiments 4
  to 7 such losses are counted (*lost*) and break no promise: nobody awaits the replica for a login. Where rotations get
  lost, sessions are revoked by their id: a token of a lost rotation belongs to none, and revoking it ends none.
- Workers that are cut off together with an old primary ask it for 8 s at most with Sentinel at level `replica`, without
  a bound with one address, as in experiment 6 (docs/store.md). The former is a test of its own, not an experiment.
- A node without a file that is started again and promoted is an empty store: everything is answered 503 then, by want
  of a service record. The experiments' nodes under sentinels keep a file.
- A worker whose clock is behind hears an expired token for as long as it is behind.
- A race that was not seen in so many rounds may still exist. The controls show that the checks see such races at all.
- The durations are of this machine, with everything competing for its cores.
"""


def write(outcomes: Sequence[Outcome], *, long: bool) -> None:
    rows = [_row(outcome) for outcome in outcomes]
    text = [INTRODUCTION, "## What is checked after each experiment\n"]
    text += [f"- **{code}**: {promise}" for code, promise in INVARIANTS.items()]
    text += ["\n## The experiments\n", "| | what was done | passes when | figures | controls, all red |"]
    text += [
        "| --- | --- | --- | --- | --- |",
        *rows,
        "",
        NOT_SHOWN,
        "## Run on\n",
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
    controls = "; ".join(_named(control) for control in experiment.controls)
    cells = (f"{experiment.number} {experiment.name}", experiment.injected, experiment.passes, figures, controls)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _named(control: Control) -> str:
    return control.what + (f" (up to {control.goes} goes)" if control.goes > 1 else "")


def _machine() -> list[str]:
    store = run([_find_binary(), "--version"]).split(" sha=")[0].strip()
    nginx = run(["sh", "-c", "nginx -v 2>&1"]).strip().removeprefix("nginx version: ")
    packages = ", ".join(f"{name} {version(name)}" for name in ("authsvc", "uvicorn", "redis"))
    return [
        f"- {datetime.now(UTC):%d %B %Y}, {_processor()}",
        f"- Python {python_version()}, {packages}",
        f"- {store}; {nginx}",
    ]
