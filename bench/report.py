"""Turns the figures into the lines of the table."""

import json
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
    "go": "a hand-tuned Go server on the same records",
    "garbage": "authsvc, strings that are no tokens",
    "missing": "authsvc, tokens that don't exist",
}
NUMBERS = {"ceiling": "1", "authsvc": "2", "obvious": "3", "oidc_provider": "4", "django": "5", "go": "15"}
# Rows that are compared with row 2: the number and the label.
VARIANTS = {
    "own_ids": ("16", "authsvc, other ids in each request"),
    "alone": ("17", "authsvc, one connection"),
    "once": ("18", "authsvc, tokens that are asked for once"),
    "verify": ("21", "authsvc /verify"),
}
# The rows about the kinds of tokens, which are compared with the first one.
OF_SESSIONS = "of_sessions"
KINDS = {
    OF_SESSIONS: "tokens of sessions",
    "of_keys": "keys",
    "of_service_tokens": "service tokens",
    "of_exchanged": "exchanged tokens",
}
BATCHES = {"batch": "authsvc, batches of 500", "batch_once": "authsvc, batches of 500, tokens that are asked for once"}

# The key and the beginning of the names of the figures of a cached check, by the way of checking.
CACHED = {
    ("cached", ""): "Python, asyncio",
    ("cached", "sync_"): "Python, threads",
    ("cached_node", ""): "Node",
    ("cached_go", ""): "Go",
}
REFUSED = {
    "refused": "Python",
    "refused_node": "Node",
    "refused_go": "Go",
    "refused_keys": "Python, keys",
    "refused_exchanged": "Python, exchanged tokens",
}


def lines(results: Results) -> list[Line]:
    found = [
        *_rates(results),
        *_variants(results),
        *_kinds(results),
        *_logins(results),
        *_storm(results),
        *_crowd(results),
        *_revoked(results),
    ]
    found += [*_cached(results), *_refused(results), *_gateway(results), *_disturbed(results)]
    return sorted(found, key=lambda line: int(line.row))


def _rates(results: Results) -> list[Line]:
    found = []
    for key, label in LABELS.items():
        if not results.has(key):
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
        found.append(Line(NUMBERS.get(key, "11"), label, ratio, rate, _latency(results, key)))
    return found


def _variants(results: Results) -> list[Line]:
    found = []
    for key, label in BATCHES.items():
        if results.has(key):
            rate = spread(results.all(key, "rate")) + " tokens/s"
            found.append(Line("6", label, "", rate, _latency(results, key)))
    for key, (row, label) in VARIANTS.items():
        if results.has(key):
            ratio = ""
            if results.has("authsvc"):
                ratio = f"{median(results.ratios(key, 'authsvc', 'rate')):.2f} of row 2"
            rate = spread(results.all(key, "rate")) + "/s"
            found.append(Line(row, label, ratio, rate, _latency(results, key)))
    return found


def _kinds(results: Results) -> list[Line]:
    found = []
    for key, what in KINDS.items():
        if results.has(key, OF_SESSIONS):
            ratio = "" if key == OF_SESSIONS else f"{kind_ratio(results, key):.2f} of that"
            rate = spread(results.all(key, "rate")) + "/s"
            found.append(Line("22", f"authsvc, {what}", ratio, rate, _latency(results, key)))
    return found


def kind_ratio(results: Results, key: str) -> float:
    return median(results.ratios(key, OF_SESSIONS, "rate"))


def _latency(results: Results, key: str) -> str:
    return f"{results.median(key, 'p50_ms'):.1f} / {results.median(key, 'p99_ms'):.1f} ms"


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
    for row, key, choice in (("9", "many", "introspection"), ("19", "zipf", "introspection, Zipf-like choice,")):
        if results.has(key):
            ratio, figure = "", spread(results.all(key, "rate")) + "/s"
            if results.has("few"):
                ratio = f"{median(results.ratios(key, 'few', 'rate')):.2f} of the rate at 10,000"
                figure += f", at 10,000 {results.median('few', 'rate'):,.0f}/s"
            what = f"{choice} at {results.options['many']:,.0f} sessions"
            found.append(Line(row, what, ratio, figure, _latency(results, key)))
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
    for (key, prefix), what in CACHED.items():
        if results.has(key):
            times = [results.median(key, f"{prefix}{name}") for name in ("p50_us", "p99_us")]
            latency = f"{times[0]:.2f} / {times[1]:.2f} µs"
            rate = spread(results.all(key, f"{prefix}rate")) + "/s"
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
    found = []
    for key, language in REFUSED.items():
        if results.has(key):
            times = results.all(key, "everywhere_ms")
            latency = f"{median(times):.1f} / {percentile_99(times):.1f} ms"
            what = f"revocation acknowledged, refused by the last of 100, {language}"
            found.append(Line("13", what, "", f"{len(times)} revocations", latency))
    return found


def _gateway(results: Results) -> list[Line]:
    found = []
    for key, what in (("gateway_ceiling", "nginx asks a constant ASGI application"), ("gateway", "nginx asks /verify")):
        if results.has("gateway", "gateway_ceiling"):
            ratio = (
                ""
                if key != "gateway"
                else f"{median(results.ratios('gateway', 'gateway_ceiling', 'rate')):.2f} of that"
            )
            figure = spread(results.all(key, "rate")) + "/s"
            found.append(Line("14", what, ratio, figure, _latency(results, key)))
    return found


def _disturbed(results: Results) -> list[Line]:
    if not results.has("disturbed", "undisturbed"):
        return []
    ratio = f"{median(results.ratios('disturbed', 'undisturbed', 'rate')):.2f} of undisturbed"
    what = "introspection beside 50 revocations and refreshes a second"
    figure = f"{spread(results.all('disturbed', 'rate'))}/s, undisturbed {results.median('undisturbed', 'rate'):,.0f}/s"
    return [Line("20", what, ratio, figure, _latency(results, "disturbed"))]


def percentile_99(values: list[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[98]
