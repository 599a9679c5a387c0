"""The list of all metrics, with their labels and every value that a label can have."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from authsvc import errors
from authsvc.core import leak, throttle
from authsvc.core.reason import Reason

# Bounds of histograms. In seconds: from half a millisecond, for the fast path, to a login that waits in a full queue.
DURATIONS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
BATCHES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1000.0)
# The label for a value that is not listed.
OTHER = "other"
STATUSES = (
    "200", "201", "202", "204", "400", "401", "403", "404", "405", "409", "413", "415", "429", "431", "500", "503",
)  # fmt: skip
# The kinds of store errors. The driver assigns them.
STORE_ERRORS = (
    "timeout", "connection", "not_primary", "read_only", "full", "loading", "denied", "refused", "breaker_open",
    "not_durable",
)  # fmt: skip


class Call(NamedTuple):
    """The method and the path template of a route."""

    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Family:
    """One metric.

    name: without the prefix `authsvc_`, and without the `_total` of a counter.
    series: the values of the labels, one tuple for each series.
    buckets: the upper bounds of a histogram.
    sparse: a series is served only once it has counted something. A series with the label OTHER always is sparse.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    series: tuple[tuple[str, ...], ...] = ((),)
    buckets: tuple[float, ...] = ()
    sparse: bool = False

    def is_left_out(self, labels: tuple[str, ...]) -> bool:
        """Whether this series is served only once it has counted something."""
        return self.sparse or OTHER in labels

    @property
    def width(self) -> int:
        """How many cells a series takes. A histogram has its buckets, one for larger values, and the sum."""
        return len(self.buckets) + 2 if self.kind == "histogram" else 1


def families(calls: Sequence[Call]) -> tuple[Family, ...]:
    """All metrics of a worker, for these routes."""
    windows = [limit.name for limit in throttle.LIMITS]
    routes = [*calls, Call(OTHER, OTHER)]
    answers = tuple((*call, status) for call in routes for status in (*STATUSES, OTHER))
    return (
        Family("requests", "counter", "Requests answered.", ("method", "route", "status"), answers, sparse=True),
        Family(
            "request_duration_seconds", "histogram", "From a request's arrival to the beginning of its answer.",
            ("method", "route"), tuple(tuple(call) for call in routes), DURATIONS, sparse=True,
        ),
        Family(
            "turned_away", "counter", "Requests and connections above the limits, answered 503 or closed.", ("what",),
            _each("request", "connection"),
        ),
        Family("connections", "gauge", "Open connections."),
        Family("requests_in_progress", "gauge", "Requests without an answer yet. Streams do not count."),
        Family(
            "refusals", "counter", "Answers that were an error, by reason.", ("reason",),
            _each(*sorted(_REASONS.values())),
        ),
        Family("unexpected_errors", "counter", "Answers 500. Each is a bug, and the log has its traceback."),
        Family(
            "tokens_checked", "counter", "Tokens that were looked up, by result.", ("result",),
            _each("active", "malformed", *map(result_of, Reason)),
        ),
        Family(
            "sessions_issued", "counter",
            "Sessions started: by a login, by a client for a user (issue), by a client for itself (client), and keys.",
            ("by",), _each("login", "issue", "client", "key"),
        ),
        Family(
            "tokens_exchanged", "counter", "Tokens that clients got for others. The same token again does not count."
        ),
        Family("sessions_refreshed", "counter", "Refresh tokens exchanged for a new pair. Retries do not count."),
        Family(
            "sessions_ended", "counter", "Sessions ended one by one, by cause. Expired sessions do not count.",
            ("cause",), _each("logout", "ended_by_its_owner", "too_many_sessions", "revoked", "reuse", "leaked"),
        ),
        Family(
            "cut_offs", "counter", "Writes that ended all sessions of a user, a client or the service, or all keys.",
            ("of", "cause"),
            (
                ("user", "cut_off"), ("user", "suspended"), ("user", "deleted"), ("user", "password"),
                ("keys", "cut_off"),
                ("client", "cut_off"), ("client", "deleted"), ("service", "cut_off"), (OTHER, OTHER),
            ),
        ),
        Family(
            "tokens_leaked", "counter", "Genuine tokens that were reported as leaked, by kind.", ("kind",),
            _each(*leak.KINDS),
        ),
        Family("refresh_repeats", "counter", "Spent refresh tokens that got their pair again within the grace."),
        Family("refresh_reuse", "counter", "Sessions ended because a spent refresh token was presented."),
        Family(
            "passwords_checked", "counter", "Attempts with a password, by outcome.", ("what", "outcome"),
            (
                *(
                    (what, outcome)
                    for what in ("login", "password_change")
                    for outcome in ("succeeded", "failed", "throttled")
                ),
                (OTHER, OTHER),
            ),
        ),
        Family(
            "factors_refused", "counter", "Answers of a second factor that were refused, by outcome.", ("outcome",),
            _each("failed", "throttled"),
        ),
        Family(
            "throttled", "counter", "Attempts at a secret refused by a rate limit, by its window.", ("window",),
            _each(*windows),
        ),
        Family("audit_unwritten", "counter", "Audit events that the store did not take. They are in the log only."),
        Family("hash_queue_capacity", "gauge", "Password hashes that may run or wait. More are refused."),
        Family("hash_queue_waiting", "gauge", "Password hashes that wait for a thread."),
        Family("hashes_in_flight", "gauge", "Password hashes that run."),
        Family("hash_duration_seconds", "histogram", "Duration of password hashes without waiting.", buckets=DURATIONS),
        Family("hashes_refused", "counter", "Password hashes refused because the queue was full."),
        Family("imported_hashes_queued_seconds", "gauge", "Time that queued checks of imported hashes take."),
        Family(
            "lookups_per_round_trip", "histogram", "Lookups that shared one round trip.", buckets=BATCHES
        ),
        Family(
            "store_round_trip_duration_seconds", "histogram", "Round trips to the store: lookups, and all other calls.",
            ("kind",), _each("lookup", "call"), DURATIONS,
        ),
        Family(
            "store_errors", "counter", "Errors of the store, by kind.", ("kind",), _each(*STORE_ERRORS)
        ),
        Family("store_breaker_opened", "counter", "Times that a circuit breaker opened for a server of the store."),
        Family("store_breakers_open", "gauge", "Open circuit breakers."),
        Family("event_subscribers", "gauge", "Subscribers: resource servers that read /events."),
        Family("event_subscribers_live", "gauge", "Subscribers whose worker is connected to the store."),
        Family(
            "event_lag_seconds", "histogram", "From a change in the store to its event on a subscriber's connection.",
            buckets=DURATIONS,
        ),
        Family("workers_ready", "gauge", "Workers that found the store fit at their last check. They check every 5 s."),
    )  # fmt: skip


def reason_of(error: errors.AuthError) -> str:
    """The label of an error: the name of its class, such as `invalid_credentials`."""
    return _REASONS.get(type(error), OTHER)


def result_of(reason: Reason) -> str:
    return reason.name.lower()


def _each(*values: str) -> tuple[tuple[str, ...], ...]:
    return tuple((value,) for value in (*values, OTHER))


_REASONS = {
    error: re.sub(r"(?<!^)(?=[A-Z])", "_", error.__name__).lower()
    for error in vars(errors).values()
    if isinstance(error, type) and error not in (errors.AuthError, errors.StartupError)
}
