"""The checks of `authsvc check` and of the console: small functions on Facts. Each names the rule behind it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from authsvc.checks.facts import Facts
from authsvc.errors import StartupError

Result = Literal["pass", "warn", "fail", "unknown", "n/a"]


class Verdict(NamedTuple):
    """`unknown`: the store won't say, or we can't see it from here. `todo`: what to do about it."""

    result: Result
    why: str
    todo: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One row. `rule`: where it comes from."""

    name: str
    rule: str
    judge: Callable[[Facts], Verdict]


def passed(why: str) -> Verdict:
    return Verdict("pass", why)


def warned(why: str, todo: str) -> Verdict:
    return Verdict("warn", why, todo)


def failed(why: str, todo: str) -> Verdict:
    return Verdict("fail", why, todo)


def refused(by: StartupError) -> Verdict:
    """A failure in the words of an error that would stop a start."""
    return failed(by.what, by.todo or "")


def unknown(why: str, todo: str | None = None) -> Verdict:
    return Verdict("unknown", why, todo)


def not_applicable(why: str) -> Verdict:
    return Verdict("n/a", why)


def names(some: tuple[str, ...] | list[str]) -> str:
    """A few of them, and how many more."""
    shown = ", ".join(some[:4])
    return shown if len(some) <= 4 else f"{shown} and {len(some) - 4} more"
