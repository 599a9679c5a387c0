"""What is said about an experiment on the terminal."""

import shutil
from collections import Counter
from collections.abc import Iterable

from faults.lab import Experiment, Outcome

PLACES = "/usr/sbin:/usr/local/sbin:/sbin"


def missing_programs(wanted: Iterable[Experiment]) -> list[str]:
    names = {"nginx", *(name for experiment in wanted for name in experiment.needs)}
    return sorted(name for name in names if not (shutil.which(name) or shutil.which(name, path=PLACES)))


def told(outcome: Outcome) -> str:
    """An experiment in some lines: what was found, and what its controls found."""
    verdict = "ok" if outcome.passed else "FAILED"
    figures = ", ".join(f"{name} {value}" for name, value in outcome.figures.items())
    lines = [f"{verdict:<6} {outcome.experiment.name} ({outcome.seconds:.0f} s): {figures}"]
    for code, count in Counter(violation.code for violation in outcome.violations).items():
        example = next(violation.text for violation in outcome.violations if violation.code == code)
        lines.append(f"         {code}: {count}, such as: {example}")
    for what, red, example in outcome.controls:
        said = "red, as it must be" if red else "GREEN: the experiment can't fail, so it shows nothing"
        lines.append(f"       control: {said} ({what}: {example})")
    if outcome.kept:
        lines.append(f"         logs in {outcome.kept}")
    return "\n".join(lines)
