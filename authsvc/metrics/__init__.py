"""What the service counts about itself: plain numbers in memory that is shared with whoever serves them."""

from collections.abc import Sequence

from authsvc.core.event import Event
from authsvc.metrics.families import Call, Family, families, reason_of, result_of
from authsvc.metrics.values import Counter, Gauge, Histogram, Values, new_values, offsets


class Metrics:
    """The numbers of one process. Counting is adding to a cell: some tens of nanoseconds, on the event loop only.

    prometheus-client's own counters take a lock and a dictionary for each step, and a memory-mapped file with several
    workers; on an introspection that is a hundred times dearer. It only serves these numbers, from elsewhere.

    A label has only values that `families` lists; anything else counts as `other`, so no value that somebody sent can
    become a label. calls: method and path template of each route. cells: shared with the process that serves them.
    """

    def __init__(self, calls: Sequence[Call] = (), values: Values | None = None) -> None:
        all_families = families(calls)
        self._values = new_values(all_families) if values is None else values
        self._offsets = offsets(all_families)
        self._families = {family.name: family for family in all_families}
        self.requests = self._counter("requests")
        self.request_duration = self._histogram("request_duration_seconds")
        self.turned_away = self._counter("turned_away")
        self.connections = self._gauge("connections")
        self.requests_in_progress = self._gauge("requests_in_progress")
        self.refusals = self._counter("refusals")
        self.unexpected_errors = self._counter("unexpected_errors")
        self.tokens_checked = self._counter("tokens_checked")
        self.sessions_issued = self._counter("sessions_issued")
        self.sessions_refreshed = self._counter("sessions_refreshed")
        self.sessions_ended = self._counter("sessions_ended")
        self.cut_offs = self._counter("cut_offs")
        self.refresh_reuse = self._counter("refresh_reuse")
        self.passwords_checked = self._counter("passwords_checked")
        self.throttled = self._counter("throttled")
        self.audit_unwritten = self._counter("audit_unwritten")
        self.hash_capacity = self._gauge("hash_queue_capacity")
        self.hash_waiting = self._gauge("hash_queue_waiting")
        self.hash_in_flight = self._gauge("hashes_in_flight")
        self.hash_duration = self._histogram("hash_duration_seconds")
        self.hash_refused = self._counter("hashes_refused")
        self.lookups_per_round_trip = self._histogram("lookups_per_round_trip")
        self.round_trip = self._histogram("store_round_trip_duration_seconds")
        self.store_errors = self._counter("store_errors")
        self.breaker_opened = self._counter("store_breaker_opened")
        self.breakers_open = self._gauge("store_breakers_open")
        self.event_subscribers = self._gauge("event_subscribers")
        self.event_subscribers_live = self._gauge("event_subscribers_live")
        self.event_lag = self._histogram("event_lag_seconds")
        self.ready = self._gauge("workers_ready")

    def noted(self, event: Event, outcome: str, reason: str | None) -> None:
        """Count what an event of the audit trail tells of sessions and passwords."""
        if event is Event.SESSION_ENDED:
            self.sessions_ended.add((reason or "").replace(" ", "_"))
        elif event is Event.TOKEN_REUSED:
            self.refresh_reuse.add()
            self.sessions_ended.add("reuse")
        elif event is Event.TOKEN_REFRESHED:
            self.sessions_refreshed.add()
        elif event in _BEGUN:
            self.sessions_issued.add(_BEGUN[event])
        elif event in _CUT_OFFS and outcome == "success":
            self.cut_offs.add(event.ends or "", _CUT_OFFS[event])
        if event in _CHECKED:
            self.passwords_checked.add(*_CHECKED[event])

    def _counter(self, name: str) -> Counter:
        return Counter(self._values, self._offsets[name])

    def _gauge(self, name: str) -> Gauge:
        return Gauge(self._values, self._offsets[name])

    def _histogram(self, name: str) -> Histogram:
        return Histogram(self._values, self._offsets[name], self._families[name].buckets)


# Events that begin a session, and the label of each.
_BEGUN = {Event.LOGIN_SUCCEEDED: "login", Event.TOKEN_ISSUED: "issue"}

# Events that end sessions without naming them, and the cause. Whose sessions they end, the event itself says.
_CUT_OFFS = {
    Event.USER_CUT_OFF: "cut_off",
    Event.USER_SUSPENDED: "suspended",
    Event.USER_DELETED: "deleted",
    Event.PASSWORD_CHANGED: "password",
    Event.PASSWORD_RESET: "password",
    Event.PASSWORD_RESET_REQUIRED: "password",
    Event.CLIENT_CUT_OFF: "cut_off",
    Event.CLIENT_DELETED: "deleted",
    Event.SERVICE_CUT_OFF: "cut_off",
}

# Events that tell how an attempt with a password went.
_CHECKED = {
    Event.LOGIN_SUCCEEDED: ("login", "succeeded"),
    Event.LOGIN_FAILED: ("login", "failed"),
    Event.LOGIN_THROTTLED: ("login", "throttled"),
    Event.PASSWORD_CHANGED: ("password_change", "succeeded"),
    Event.PASSWORD_CHANGE_FAILED: ("password_change", "failed"),
    Event.PASSWORD_CHANGE_THROTTLED: ("password_change", "throttled"),
}

__all__ = ["Call", "Family", "Metrics", "Values", "families", "new_values", "reason_of", "result_of"]
