"""What is counted: every metric, its labels, and all values that a label can have."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from authsvc import errors
from authsvc.core import throttle
from authsvc.core.session import Reason

# Fit for objectives from half a millisecond to what a login may take in a storm. Seconds.
DURATIONS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
BATCHES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1000.0)
# The label of what is in none of the lists.
OTHER = "other"
STATUSES = ("200", "201", "204", "400", "401", "403", "404", "405", "409", "413", "415", "429", "431", "500", "503")
# What an error of the store is counted as; `driver/connection.py` says which is which.
STORE_ERRORS = (
    "timeout", "connection", "not_primary", "read_only", "full", "loading", "denied", "refused", "breaker_open",
    "not_durable",
)  # fmt: skip


class Call(NamedTuple):
    """A route as it is in the table of routes."""

    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. name: without the prefix, and without the `_total` that a counter gets. series: every one there is.

    sparse: a series is left out until it has counted something, as that of the others always is. buckets: upper bounds
    of a histogram.
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
        """How many cells a series takes: those of a histogram are its buckets, what is above them, and the sum."""
        return len(self.buckets) + 2 if self.kind == "histogram" else 1


def families(calls: Sequence[Call]) -> tuple[Family, ...]:
    """All that a worker counts; calls: the routes that there are."""
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
        Family("connections", "gauge", "Connections that are open."),
        Family("requests_in_progress", "gauge", "Requests that have begun and are not answered; streams not counted."),
        Family(
            "refusals", "counter", "Answers that were an error, by what happened.", ("reason",),
            _each(*sorted(_REASONS.values())),
        ),
        Family("unexpected_errors", "counter", "Answers 500, which are a fault of ours; the log has the traceback."),
        Family(
            "tokens_checked", "counter", "Tokens that somebody asked about, by what was found.", ("result",),
            _each("active", "malformed", *map(result_of, Reason)),
        ),
        Family(
            "sessions_issued", "counter", "Sessions begun by a login, or by a token issued for somebody.",
            ("by",), _each("login", "issue"),
        ),
        Family("sessions_refreshed", "counter", "Refresh tokens exchanged for a new pair; a retry is not counted."),
        Family(
            "sessions_ended", "counter", "Sessions ended one by one, by cause. Expiry needs no event, and has none.",
            ("cause",), _each("logout", "ended_by_its_owner", "too_many_sessions", "revoked", "reuse"),
        ),
        Family(
            "cut_offs", "counter", "Writes that ended all sessions of a user, a client or the service.",
            ("of", "cause"),
            (
                ("user", "cut_off"), ("user", "suspended"), ("user", "deleted"), ("user", "password"),
                ("client", "cut_off"), ("client", "deleted"), ("service", "cut_off"), (OTHER, OTHER),
            ),
        ),
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
            "throttled", "counter", "Attempts at a secret not heard, by the window that was full.", ("window",),
            _each(*windows),
        ),
        Family("audit_unwritten", "counter", "Events that are in the log only: the store did not take them."),
        Family("hash_queue_capacity", "gauge", "Password hashes that may be computed or wait; more are refused."),
        Family("hash_queue_waiting", "gauge", "Password hashes that wait for a thread."),
        Family("hashes_in_flight", "gauge", "Password hashes that are being computed."),
        Family("hash_duration_seconds", "histogram", "What a password hash took, without waiting.", buckets=DURATIONS),
        Family("hashes_refused", "counter", "Password hashes refused because the queue was full."),
        Family(
            "lookups_per_round_trip", "histogram", "Callers that shared the round trips of one lookup.", buckets=BATCHES
        ),
        Family(
            "store_round_trip_duration_seconds", "histogram", "Round trips to the store: shared lookups, and all else.",
            ("kind",), _each("lookup", "call"), DURATIONS,
        ),
        Family(
            "store_errors", "counter", "What went wrong with the store, by kind.", ("kind",), _each(*STORE_ERRORS)
        ),
        Family("store_breaker_opened", "counter", "Times that a server of the store was given up for a while."),
        Family("store_breakers_open", "gauge", "Circuit breakers that are open now."),
        Family("event_subscribers", "gauge", "Resource servers that listen to /events."),
        Family("event_subscribers_live", "gauge", "Those of them whose worker hears every change of the store now."),
        Family(
            "event_lag_seconds", "histogram", "From hearing a change to handing it to a subscriber's connection.",
            buckets=DURATIONS,
        ),
        Family("workers_ready", "gauge", "Workers that found the store fit when they looked last, every 5 s."),
    )  # fmt: skip


def reason_of(error: errors.AuthError) -> str:
    """The label of an error: its name, as `invalid_credentials`."""
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
