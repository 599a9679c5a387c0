"""Describes the outcome of an experiment for the terminal."""

from collections import Counter

from chaos.lab import Outcome


def told(outcome: Outcome) -> str:
    """Some lines: the figures and violations of an experiment, and the result of each control."""
    verdict = "ok" if outcome.passed else "FAILED"
    figures = ", ".join(f"{name} {value}" for name, value in outcome.figures.items())
    lines = [f"{verdict:<6} {outcome.experiment.name} ({outcome.seconds:.0f} s): {figures}"]
    if outcome.missed:
        lines.append(f"         in its second run; the first missed: {', '.join(outcome.missed)}")
    for code, count in Counter(violation.code for violation in outcome.violations).items():
        example = next(violation.text for violation in outcome.violations if violation.code == code)
        lines.append(f"         {code}: {count}, such as: {example}")
    for what, red, example in outcome.controls:
        said = "red, as it must be" if red else "GREEN: the experiment can't fail, so it shows nothing"
        lines.append(f"       control: {said} ({what}: {example})")
    if outcome.kept:
        lines.append(f"         logs in {outcome.kept}")
    return "\n".join(lines)
