"""Compares the figures with the goals, and prints both as tables."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

from bench.report import CACHED, KINDS, OF_SESSIONS, REFUSED, REVOKED, Results, lines, percentile_99, revoke_ratio


@dataclass(frozen=True)
class Goal:
    """A goal: its bound, the measured value, and whether that meets the bound."""

    text: str
    asked: str
    found: str
    met: bool


def goals(results: Results) -> list[Goal]:
    found: list[Goal] = []

    def at_least(text: str, bound: float, key: str, other: str, name: str = "rate", form: str = "{:.2f}") -> None:
        if results.has(key, other):
            value = median(results.ratios(key, other, name))
            found.append(Goal(text, f"≥ {bound:g}", form.format(value), value >= bound))

    def at_most(text: str, bound: float, value: Callable[[], float], form: str, *keys: str) -> None:
        if results.has(*keys):
            found.append(Goal(text, f"≤ {form.format(bound)}", form.format(value()), value() <= bound))

    at_least("row 2 in relation to the bare ASGI application", 1.5, "authsvc", "ceiling")
    at_least("row 2 in relation to the hand-tuned Go server", 1.25, "authsvc", "go")
    at_least("row 2 in relation to the obvious handler", 3.5, "authsvc", "obvious")
    at_least("row 2 in relation to node oidc-provider", 13, "authsvc", "oidc_provider")
    at_least("row 2 in relation to django-oauth-toolkit", 30, "authsvc", "django", form="{:.1f}")
    if results.has("authsvc", "oidc_provider"):
        theirs = results.median("oidc_provider", "p99_ms")
        at_most(
            "p99 of row 2, against node oidc-provider's",
            theirs,
            lambda: results.median("authsvc", "p99_ms"),
            "{:.1f} ms",
        )
    for key, what, bound in (("batch", "", 250_000), ("batch_once", " asked for once", 88_000)):
        if results.has(key):
            rate = results.median(key, "rate")
            text = f"batch, tokens{what} per second on one core"
            found.append(Goal(text, f"≥ {bound:,}", f"{rate:,.0f}", rate >= bound))
    at_least("logins in relation to bare argon2id", 0.9, "logins_1", "argon2_1")
    full = ("storm_full", "calm_full")
    at_most("p99 in a login storm", 2, lambda: median(results.ratios(*full, "p99_ms")), "{:.2f} times", *full)
    # Both ask for tokens that are not remembered.
    at_least("rate with many sessions in relation to tokens that are asked for once", 0.95, "many", "once")
    for memory in results.memory:
        taken = memory["per_session"]
        text = f"bytes per session, {memory['allocator']}"
        found.append(Goal(text, "≤ 700", f"{taken:.0f}", taken <= 700))
    worst = "the slowest revocation in relation to one session"
    at_most(worst, 2, lambda: max(revoke_ratio(results, key) for key in REVOKED), "{:.2f} times", *REVOKED)
    at_least("garbage in relation to the bare ASGI application", 0.7, "garbage", "ceiling")
    for (key, prefix), what in CACHED.items():
        if results.has(key):
            rate, bound = results.median(key, f"{prefix}rate"), 1_000_000 if key == "cached_go" else 500_000
            text = f"cached checks per second on one core, {what}"
            found.append(Goal(text, f"≥ {bound:,}", f"{rate:,.0f}", rate >= bound))
    at_most(
        "a cached check, p50",
        2,
        lambda: max(results.median(key, f"{prefix}p50_us") for key, prefix in CACHED),
        "{:.2f} µs",
        *{key for key, _ in CACHED},
    )
    if results.has("backends"):
        (counted,) = results.figures["backends"]
        per = counted["streams"] / counted["processes"], counted["requests"]
        text = "what a process of a backend costs the service"
        found.append(Goal(text, "1 stream, 0 requests", f"{per[0]:g} stream, {per[1]:.0f} requests", per == (1, 0)))
    for key, language in REFUSED.items():
        everywhere = f"from the acknowledged revocation to the last of 100 refusals, {language}"
        at_most(f"{everywhere}, p50", 5, partial(results.median, key, "everywhere_ms"), "{:.1f} ms", key)
        at_most(f"{everywhere}, p99", 25, partial(_slowest, results, key), "{:.1f} ms", key)
    for key, what in KINDS.items():
        if key != OF_SESSIONS:
            at_least(f"rate with {what} in relation to tokens of sessions", 0.97, key, OF_SESSIONS)
    at_least("rate beside revocations and refreshes in relation to undisturbed", 0.9, "disturbed", "undisturbed")
    at_least("/verify through nginx in relation to a constant ASGI application", 0.7, "gateway", "gateway_ceiling")
    return found


def _slowest(results: Results, key: str) -> float:
    return percentile_99(results.all(key, "everywhere_ms"))


def table(results: Results) -> str:
    """For the terminal."""
    rows = [(line.row, line.what, line.ratio, line.figure, line.latency) for line in lines(results)]
    text = _aligned([("row", "what", "ratio", "median (least-most)", "p50 / p99"), *rows])
    judged = [(goal.text, goal.asked, goal.found, "met" if goal.met else "NOT MET") for goal in goals(results)]
    return text + ("\n\n" + _aligned([("goal", "asked", "found", ""), *judged]) if judged else "")


def _aligned(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
