"""Turns the figures into the lines of the table and the goals."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from bench.wrk import Figures


@dataclass(frozen=True)
class Results:
    """The figures by row and round, the memory by server, the machine, and the options of the run."""

    figures: dict[str, list[Figures]]
    memory: list[dict[str, Any]]
    machine: dict[str, str]
    options: dict[str, float]

    @classmethod
    def read(cls, file: Path) -> "Results":
        return cls(**json.loads(file.read_text()))

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self), indent=1))

    def has(self, *keys: str) -> bool:
        return all(key in self.figures for key in keys)

    def all(self, key: str, name: str) -> list[float]:
        return [figures[name] for figures in self.figures[key]]

    def median(self, key: str, name: str) -> float:
        return median(self.all(key, name))

    def ratios(self, key: str, other: str, name: str) -> list[float]:
        """The ratio of each round, so that both halves of a ratio come from the same minute."""
        return [ours / theirs for ours, theirs in zip(self.all(key, name), self.all(other, name), strict=True)]


@dataclass(frozen=True)
class Goal:
    """A goal: its bound, the measured value, and whether that meets the bound."""

    text: str
    asked: str
    found: str
    met: bool


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    row: str
    what: str
    ratio: str
    figure: str
    latency: str = ""


def spread(values: list[float], form: str = "{:,.0f}") -> str:
    low, high = form.format(min(values)), form.format(max(values))
    return f"{form.format(median(values))} ({low}-{high})"


LABELS = {
    "ceiling": "bare ASGI application, a constant",
    "authsvc": "authsvc /introspect",
    "obvious": "the obvious Starlette handler",
    "oidc_provider": "node oidc-provider",
    "django": "django-oauth-toolkit, gunicorn",
    "garbage": "authsvc, strings that are no tokens",
    "missing": "authsvc, tokens that don't exist",
}
NUMBERS = {"ceiling": "1", "authsvc": "2", "obvious": "3", "oidc_provider": "4", "django": "5"}


def lines(results: Results) -> list[Line]:
    found = [*_rates(results), *_logins(results), *_storm(results), *_crowd(results), *_revoked(results)]
    found += [*_cached(results), *_refused(results), *_gateway(results)]
    return sorted(found, key=lambda line: int(line.row))


def _rates(results: Results) -> list[Line]:
    found = []
    for key in ("ceiling", "authsvc", "obvious", "oidc_provider", "django", "batch", "garbage", "missing"):
        if not results.has(key):
            continue
        latency = f"{results.median(key, 'p50_ms'):.1f} / {results.median(key, 'p99_ms'):.1f} ms"
        if key == "batch":
            rate = spread(results.all(key, "rate")) + " tokens/s"
            found.append(Line("6", "authsvc, batches of 500", "", rate, latency))
            continue
        if key in ("authsvc", "garbage", "missing"):
            other, form = "ceiling", "{:.2f} of row 1"
        else:
            other, form = "authsvc", "row 2 is {:.1f} times this"
        ratio = ""
        if key != "ceiling" and results.has("authsvc", other, key):
            pair = (key, other) if other == "ceiling" else (other, key)
            ratio = form.format(median(results.ratios(*pair, "rate")))
        rate = spread(results.all(key, "rate")) + "/s"
        found.append(Line(NUMBERS.get(key, "11"), LABELS[key], ratio, rate, latency))
    return found


def _logins(results: Results) -> list[Line]:
    found = []
    for name, what in (("1", "one core, one thread"), ("2", "both cores, two threads")):
        ours, bare = f"logins_{name}", f"argon2_{name}"
        if results.has(ours, bare):
            ratio = f"{median(results.ratios(ours, bare, 'rate')):.2f} of bare argon2id"
            figure = f"{spread(results.all(ours, 'rate'), '{:.1f}')}/s, bare {results.median(bare, 'rate'):.1f}/s"
            found.append(Line("7", f"logins, {what}", ratio, figure))
    return found


def _storm(results: Results) -> list[Line]:
    found = []
    for name, what in (("full", "at full load"), ("half", "at half load")):
        calm, storm = f"calm_{name}", f"storm_{name}"
        if results.has(calm, storm):
            ratio = f"p99 {median(results.ratios(storm, calm, 'p99_ms')):.2f} times calm"
            figure = (
                f"{results.median(storm, 'rate'):,.0f}/s, calm {results.median(calm, 'rate'):,.0f}/s; "
                f"{results.median(storm, 'logins'):.0f} logins/s"
            )
            latency = f"{results.median(storm, 'p99_ms'):.1f} ms, calm {results.median(calm, 'p99_ms'):.1f} ms (p99)"
            found.append(Line("8", f"introspection in a login storm, {what}", ratio, figure, latency))
    return found


def _crowd(results: Results) -> list[Line]:
    found = []
    if results.has("few", "many"):
        ratio = f"{median(results.ratios('many', 'few', 'rate')):.2f} of the rate at 10,000"
        figure = f"{spread(results.all('many', 'rate'))}/s, at 10,000 {results.median('few', 'rate'):,.0f}/s"
        latency = f"{results.median('many', 'p50_ms'):.1f} / {results.median('many', 'p99_ms'):.1f} ms"
        found.append(Line("9", f"introspection at {results.options['many']:,.0f} sessions", ratio, figure, latency))
    for memory in results.memory:
        where = f"{memory['server']}, {memory['allocator']}"
        found.append(Line("9", f"memory, {where}", "", f"{memory['per_session']:.0f} bytes a session"))
    return found


REVOKED = {
    "one": "one session",
    "user": "one user with 1,000 sessions",
    "client": "one client with a tenth of all sessions",
    "everybody": "everybody",
}


def _revoked(results: Results) -> list[Line]:
    found = []
    for key, what in REVOKED.items():
        if results.has(key):
            ratio = "" if key == "one" else f"{revoke_ratio(results, key):.2f} times one session"
            found.append(Line("10", f"revoke {what}", ratio, spread(results.all(key, "ms"), "{:.2f}") + " ms"))
    return found


def revoke_ratio(results: Results, key: str) -> float:
    return results.median(key, "ms") / results.median("one", "ms")


def _cached(results: Results) -> list[Line]:
    found = []
    for prefix, what in (("", "asyncio"), ("sync_", "threads")):
        if results.has("cached"):
            times = [results.median("cached", f"{prefix}{name}") for name in ("p50_us", "p99_us")]
            latency = f"{times[0]:.2f} / {times[1]:.2f} µs"
            rate = spread(results.all("cached", f"{prefix}rate")) + "/s"
            found.append(Line("12", f"a check that the SDK's cache answers, {what}", "", rate, latency))
    if results.has("backends"):
        (counted,) = results.figures["backends"]
        what = f"{counted['processes']:.0f} processes of one backend, {counted['checks']:,.0f} checks"
        ratio = f"{counted['streams'] / counted['processes']:g} stream each"
        found.append(
            Line("12", what, ratio, f"{counted['requests']:.0f} requests, {counted['connections']:.0f} connections")
        )
    return found


def _refused(results: Results) -> list[Line]:
    if not results.has("refused"):
        return []
    times = results.all("refused", "everywhere_ms")
    latency = f"{median(times):.1f} / {percentile_99(times):.1f} ms"
    return [Line("13", "revocation acknowledged, refused by the last of 100", "", f"{len(times)} revocations", latency)]


def _gateway(results: Results) -> list[Line]:
    found = []
    for key, what in (("gateway_ceiling", "nginx asks a constant ASGI application"), ("gateway", "nginx asks /verify")):
        if results.has("gateway", "gateway_ceiling"):
            ratio = (
                ""
                if key != "gateway"
                else f"{median(results.ratios('gateway', 'gateway_ceiling', 'rate')):.2f} of that"
            )
            latency = f"{results.median(key, 'p50_ms'):.1f} / {results.median(key, 'p99_ms'):.1f} ms"
            found.append(Line("14", what, ratio, spread(results.all(key, "rate")) + "/s", latency))
    return found


def percentile_99(values: list[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[98]


def goals(results: Results) -> list[Goal]:
    found: list[Goal] = []

    def at_least(text: str, bound: float, key: str, other: str, name: str = "rate", form: str = "{:.2f}") -> None:
        if results.has(key, other):
            value = median(results.ratios(key, other, name))
            found.append(Goal(text, f"≥ {bound:g}", form.format(value), value >= bound))

    def at_most(text: str, bound: float, value: Callable[[], float], form: str, *keys: str) -> None:
        if results.has(*keys):
            found.append(Goal(text, f"≤ {form.format(bound)}", form.format(value()), value() <= bound))

    at_least("row 2 in relation to the bare ASGI application", 0.5, "authsvc", "ceiling")
    at_least("row 2 in relation to the obvious handler", 3.5, "authsvc", "obvious")
    at_least("row 2 in relation to node oidc-provider", 3, "authsvc", "oidc_provider")
    at_least("row 2 in relation to django-oauth-toolkit", 30, "authsvc", "django", form="{:.1f}")
    if results.has("authsvc", "oidc_provider"):
        theirs = results.median("oidc_provider", "p99_ms")
        at_most(
            "p99 of row 2, against node oidc-provider's",
            theirs,
            lambda: results.median("authsvc", "p99_ms"),
            "{:.1f} ms",
        )
    if results.has("batch"):
        rate = results.median("batch", "rate")
        found.append(Goal("batch, tokens per second on one core", "≥ 80,000", f"{rate:,.0f}", rate >= 80_000))
    at_least("logins in relation to bare argon2id", 0.9, "logins_1", "argon2_1")
    full = ("storm_full", "calm_full")
    at_most("p99 in a login storm", 2, lambda: median(results.ratios(*full, "p99_ms")), "{:.2f} times", *full)
    at_least("rate with many sessions in relation to 10,000", 0.95, "many", "few")
    for memory in results.memory:
        taken = memory["per_session"]
        text = f"bytes per session, {memory['allocator']}"
        found.append(Goal(text, "≤ 700", f"{taken:.0f}", taken <= 700))
    worst = "the slowest revocation in relation to one session"
    at_most(worst, 2, lambda: max(revoke_ratio(results, key) for key in REVOKED), "{:.2f} times", *REVOKED)
    at_least("garbage in relation to the bare ASGI application", 0.7, "garbage", "ceiling")
    if results.has("cached"):
        rates = [results.median("cached", name) for name in ("rate", "sync_rate")]
        found.append(
            Goal("cached checks per second on one core", "≥ 500,000", f"{min(rates):,.0f}", min(rates) >= 500_000)
        )
    at_most(
        "a cached check, p50",
        2,
        lambda: max(results.median("cached", name) for name in ("p50_us", "sync_p50_us")),
        "{:.2f} µs",
        "cached",
    )
    if results.has("backends"):
        (counted,) = results.figures["backends"]
        per = counted["streams"] / counted["processes"], counted["requests"]
        text = "what a process of a backend costs the service"
        found.append(Goal(text, "1 stream, 0 requests", f"{per[0]:g} stream, {per[1]:.0f} requests", per == (1, 0)))
    everywhere = "from the acknowledged revocation to the last of 100 refusals"
    at_most(f"{everywhere}, p50", 5, lambda: results.median("refused", "everywhere_ms"), "{:.1f} ms", "refused")
    at_most(
        f"{everywhere}, p99", 25, lambda: percentile_99(results.all("refused", "everywhere_ms")), "{:.1f} ms", "refused"
    )
    at_least("/verify through nginx in relation to a constant ASGI application", 0.7, "gateway", "gateway_ceiling")
    return found


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
