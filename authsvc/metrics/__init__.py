"""The metrics of one process: plain numbers in memory, which another process serves to Prometheus."""

from collections.abc import Sequence
from functools import cache

from authsvc.core.event import Event
from authsvc.metrics.event_counts import counts_of
from authsvc.metrics.families import Call, Family, families, reason_of, result_of
from authsvc.metrics.values import Counter, Gauge, Histogram, Offsets, Values, new_values, offsets


class Metrics:
    """The metrics of one process. Counting adds to a cell, on the event loop only, and takes some tens of nanoseconds.

    prometheus-client's own counters cost an introspection a hundred times more: each step takes a lock and a look-up,
    and several workers need a memory-mapped file. So prometheus-client only serves the numbers, in `exposition`.

    A label has only the values that `families` lists. Any other value counts as `other`, so text from a request
    cannot become a label.
    calls: method and path template of each route.
    values: an array that another process reads. None: an array of this process.
    """

    def __init__(self, calls: Sequence[Call] = (), values: Values | None = None) -> None:
        all_families, self._offsets = _layout(tuple(calls))
        self._values = new_values(all_families) if values is None else values
        self._families = {family.name: family for family in all_families}
        self._counters: dict[str, Counter] = {}
        self.requests = self._counter("requests")
        self.request_duration = self._histogram("request_duration_seconds")
        self.turned_away = self._counter("turned_away")
        self.connections = self._gauge("connections")
        self.requests_in_progress = self._gauge("requests_in_progress")
        self.refusals = self._counter("refusals")
        self.unexpected_errors = self._counter("unexpected_errors")
        self.tokens_checked = self._counter("tokens_checked")
        self.sessions_issued = self._counter("sessions_issued")
        self.tokens_exchanged = self._counter("tokens_exchanged")
        self.sessions_refreshed = self._counter("sessions_refreshed")
        self.sessions_ended = self._counter("sessions_ended")
        self.cut_offs = self._counter("cut_offs")
        self.tokens_leaked = self._counter("tokens_leaked")
        self.refresh_repeats = self._counter("refresh_repeats")
        self.refresh_reuse = self._counter("refresh_reuse")
        self.passwords_checked = self._counter("passwords_checked")
        self.factors_refused = self._counter("factors_refused")
        self.throttled = self._counter("throttled")
        self.audit_unwritten = self._counter("audit_unwritten")
        self.hash_capacity = self._gauge("hash_queue_capacity")
        self.hash_waiting = self._gauge("hash_queue_waiting")
        self.hash_in_flight = self._gauge("hashes_in_flight")
        self.hash_duration = self._histogram("hash_duration_seconds")
        self.hash_refused = self._counter("hashes_refused")
        self.imported_hashes_queued = self._gauge("imported_hashes_queued_seconds")
        self.lookups_per_round_trip = self._histogram("lookups_per_round_trip")
        self.round_trip = self._histogram("store_round_trip_duration_seconds")
        self.store_errors = self._counter("store_errors")
        self.breaker_opened = self._counter("store_breaker_opened")
        self.breakers_open = self._gauge("store_breakers_open")
        self.event_subscribers = self._gauge("event_subscribers")
        self.event_subscribers_live = self._gauge("event_subscribers_live")
        self.event_lag = self._histogram("event_lag_seconds")
        self.ready = self._gauge("workers_ready")

    def count_event(self, event: Event, outcome: str, reason: str | None, token_use: str | None = None) -> None:
        """Raise the counters of an event of the audit trail. token_use: of the token that was issued."""
        for family, labels in counts_of(event, outcome, reason, token_use):
            self._counters[family].add(*labels)

    def _counter(self, name: str) -> Counter:
        self._counters[name] = counter = Counter(self._values, self._offsets[name])
        return counter

    def _gauge(self, name: str) -> Gauge:
        return Gauge(self._values, self._offsets[name])

    def _histogram(self, name: str) -> Histogram:
        return Histogram(self._values, self._offsets[name], self._families[name].buckets)


@cache
def _layout(calls: tuple[Call, ...]) -> tuple[tuple[Family, ...], dict[str, Offsets]]:
    """The families for these routes and where their cells are. Nobody changes either."""
    all_families = families(calls)
    return all_families, offsets(all_families)


__all__ = ["Call", "Family", "Metrics", "Values", "families", "new_values", "reason_of", "result_of"]
