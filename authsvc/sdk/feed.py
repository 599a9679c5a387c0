"""The feed of changes: what the service says on `GET /events`, and what it proves.

Heartbeats say that all changes before them have been told. One that arrives late proves nothing about now, so it counts
from when it was *sent*, in a way that needs no synchronised clocks: each event carries the sender's `at`, milliseconds
of a clock that only runs forward. The first event of a stream was sent after we had asked for the stream, so

    moment of sending  >=  moment of asking + (at - first at)

in our own clock, however slow the network is. It errs on the safe side by as long as the question was on its way and
its answer was prepared; not by what it took to connect, which on a busy machine would be most of the bound.
"""

import json
from collections.abc import Iterator

from authsvc.sdk import clock
from authsvc.sdk.cache import Cache

_MAX_EVENT = 1 << 20
_LATE_FOR_S = 5.0


class BrokenFeed(Exception):
    """The stream says something we don't understand, or too late to be of use. A new one is needed."""


class Events:
    """Cuts a stream of server-sent events into (name, data)."""

    def __init__(self) -> None:
        self._rest = b""

    def cut(self, chunk: bytes) -> Iterator[tuple[str, str]]:
        *events, self._rest = (self._rest + chunk).replace(b"\r\n", b"\n").split(b"\n\n")
        if len(self._rest) > _MAX_EVENT:
            raise BrokenFeed("an event without an end")
        for event in events:
            fields = dict(line.split(": ", 1) for line in event.decode().split("\n") if ": " in line[1:])
            if "event" in fields:
                yield fields["event"], fields.get("data", "")


class Feed:
    """One stream, from when it was asked for (by our clock) to its end; moves the cache along."""

    def __init__(self, cache: Cache, asked_at: float, silence_s: float) -> None:
        self._cache = cache
        self._asked_at = asked_at
        self._silence_s = silence_s
        self._events = Events()
        self._begun = False
        self._offset: float | None = None  # our clock minus the sender's; never above the truth
        self._late_since: float | None = None

    def receive(self, chunk: bytes) -> None:
        """Do what the next piece of the stream says; raises BrokenFeed."""
        try:
            for name, data in self._events.cut(chunk):
                self._one(name, json.loads(data))
        except (ValueError, TypeError, AttributeError) as error:
            raise BrokenFeed("not an event of ours") from error

    def _one(self, name: str, data: object) -> None:
        if name == "everything":
            self._begun = True
            self._calibrate(data)
            self._cache.forget_all()
        elif not self._begun:
            raise BrokenFeed("it does not begin with `everything`")
        elif name == "forget":
            if not isinstance(data, list):
                raise BrokenFeed("`forget` without a list")
            self._cache.forget(data)
        elif name == "heartbeat":
            self._heartbeat(data)

    def _calibrate(self, data: object) -> None:
        at = _at(data)
        if self._offset is None and at is not None:
            self._offset = self._asked_at - at

    def _heartbeat(self, data: object) -> None:
        self._calibrate(data)
        at, now = _at(data), clock.now()
        if at is None or self._offset is None:
            return  # it does not say when it was sent, so it proves nothing
        # Nothing is received before it is sent: where the sender's clock runs faster than ours, this pulls it back.
        self._offset = min(self._offset, now - at)
        sent = at + self._offset
        self._cache.proven(sent)
        # A sender's clock that runs slower, or a queue on the way: both get better only by asking anew.
        if now - sent <= self._silence_s / 4:
            self._late_since = None
        elif self._late_since is None:
            self._late_since = now
        elif now - self._late_since >= _LATE_FOR_S:
            raise BrokenFeed("heartbeats arrive late")


def _at(data: object) -> float | None:
    """When an event was sent, in seconds of the sender's clock."""
    at = data.get("at") if isinstance(data, dict) else None
    return at / 1000 if isinstance(at, int | float) else None
