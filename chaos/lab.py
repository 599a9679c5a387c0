"""Defines an experiment and runs it: once with the real package, and once for each of its controls."""

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from chaos.checker import Violation, check, leaks, unanswered
from chaos.http import NoAnswer
from chaos.journal import Call, Journal
from chaos.load import Load
from chaos.processes import ExperimentError
from chaos.rig import Options, Rig
from chaos.variation import Variation
from chaos.world import World, admin_headers

T = TypeVar("T")

USERS = 24
# Codes that a busy machine can cause: exceeded times, and trouble of the rig. An experiment that found only these runs
# again, and the second run counts. A broken promise needs no second run.
OF_THE_MOMENT = {"rig", "setup", "time", "unanswered", "p99", "slow", "recovery", "respawn", "outage", "held", "exit"}
OF_THE_MOMENT |= {"descriptors", "starved", "late", "moved", "failed", "unchecked"}
# How long an experiment may take, short and long, on busy cores. The soak adds its own time.
LIMIT_S = (600, 1800)


@dataclass
class Lab:
    """The surroundings of one run of an experiment. The directory is kept if the run found a violation."""

    directory: Path
    long: bool
    variation: Variation
    soak_s: float
    figures: dict[str, str] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    grace_s: float = 10
    tolerated: tuple[str, ...] = ()  # invariants that the service does not promise here; they are only counted
    rig: Rig = field(init=False)
    world: World = field(init=False)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def pick(self, short: T, long: T) -> T:
        return long if self.long else short

    async def set_up(self, *, users: int = USERS, **options: Any) -> tuple[Rig, World]:
        """Start the rig, and register users."""
        self.rig = await Rig.start(self.directory, self.variation, Options(**options))
        self.stack.push_async_callback(self.rig.stop)
        journal = Journal(self.directory / "journal.jsonl")
        self.stack.callback(journal.close)
        self.world = World(self.rig.http, journal, admin_headers(self.rig.admin))
        self.world.secrets.add(self.rig.admin[1])
        await self.world.populate(users)
        return self.rig, self.world

    def load(self, **options: Any) -> Load:
        return Load(self.world, **options)

    def require(self, holds: bool, code: str, text: str) -> None:
        """Record a violation unless the experiment's own criterion holds."""
        if not holds:
            self.violations.append(Violation(code, text[-300:]))

    def figure(self, name: str, value: object) -> None:
        self.figures[name] = f"{value:.3g}" if isinstance(value, float) else f"{value}"

    @property
    def calls(self) -> list[Call]:
        return self.world.journal.calls

    def judge(self) -> None:
        """Replay the journal, and search the logs."""
        found = check(self.calls, grace_s=self.grace_s) + leaks(self.world.secrets, self.rig.logs())
        self.violations += [violation for violation in found if violation.code not in self.tolerated]
        counts = {"resurrected": "Inv1", "mixed up": "Inv2", "lost": "Inv3"}
        counted = {name: sum(violation.code == code for violation in found) for name, code in counts.items()}
        away = sum(call.status == 503 for call in self.calls)
        all_of_them = {"calls": len(self.calls), **counted, "503s": away, "unanswered": unanswered(self.calls)}
        if self.calls:  # an experiment that keeps a history has no journal, in which nothing can be found
            self.figures = {name: str(value) for name, value in all_of_them.items()} | self.figures


@dataclass(frozen=True)
class Control:
    """A guarantee that is taken out, and the codes of which the experiment has to find at least one then.

    An experiment makes its control red by construction: it brings about the moment in which the guarantee is needed,
    instead of waiting for it. Chance and the speed of the machine must not decide.
    """

    what: str
    finds: tuple[str, ...]
    variation: Variation


@dataclass(frozen=True)
class Experiment:
    """One kind of fault. number: the row in the table. long_only: too slow for the short form.

    needs: why the experiment cannot run here, None if it can.
    """

    name: str
    number: int
    injected: str
    passes: str
    run: Callable[[Lab], Awaitable[None]]
    controls: Sequence[Control] = ()
    long_only: bool = False
    needs: Callable[[], str | None] = lambda: None


@dataclass(frozen=True)
class Outcome:
    """The result of one experiment.

    controls: for each control its name, whether it was red, and an example. kept: the folder with the logs.
    missed: the codes of a first run that was repeated.
    """

    experiment: Experiment
    figures: dict[str, str]
    violations: list[Violation]
    controls: list[tuple[str, bool, str]]
    seconds: float
    kept: Path | None
    missed: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.violations and all(red for _, red, _ in self.controls)


async def conduct(experiment: Experiment, directory: Path, *, long: bool, soak_s: float) -> Outcome:
    """Run an experiment and its controls."""
    started = time.monotonic()
    plain = await _once(experiment, directory / experiment.name, Variation(), long=long, soak_s=soak_s)
    missed = tuple(dict.fromkeys(found.code for found in plain.violations))
    again = bool(missed) and OF_THE_MOMENT.issuperset(missed)
    if again:
        plain = await _once(experiment, directory / f"{experiment.name}-again", Variation(), long=long, soak_s=soak_s)
    controls = []
    kept = [directory / experiment.name, plain.directory] if plain.violations else []
    for number, control in enumerate(experiment.controls, 1):
        place = directory / f"{experiment.name}-control-{number}"
        # Always the short form: the violation has to be found, and its size does not matter.
        broken = await _once(experiment, place, control.variation, long=False, soak_s=soak_s)
        hits = [found for found in broken.violations if found.code in control.finds]
        if not hits:
            kept.append(place)
        codes = Counter(found.code for found in broken.violations)
        counted = ", ".join(f"{count} {code}" for code, count in codes.items()) or "nothing was found"
        controls.append((control.what, bool(hits), counted + (f", such as: {hits[0].text[:120]}" if hits else "")))
    own = ("", "-again", "-control-*")
    for lab in {place for end in own for place in directory.glob(experiment.name + end)} - set(kept):
        shutil.rmtree(lab, ignore_errors=True)
    seconds = time.monotonic() - started
    left = directory if kept else None
    return Outcome(experiment, plain.figures, plain.violations, controls, seconds, left, missed if again else ())


async def _once(experiment: Experiment, directory: Path, variation: Variation, *, long: bool, soak_s: float) -> Lab:
    directory.mkdir(parents=True)
    lab = Lab(directory, long, variation, soak_s)
    try:
        async with asyncio.timeout(LIMIT_S[long] + (soak_s if experiment.name == "soak" else 0)), lab.stack:
            await experiment.run(lab)
            lab.judge()
    except TimeoutError:
        lab.require(False, "time", "the experiment did not come to an end")
    except NoAnswer as error:
        lab.require(False, "unanswered", f"a call that the experiment needs got no answer ({error})")
    except ExperimentError as error:
        lab.require(False, "rig", f"{error}")
    return lab
