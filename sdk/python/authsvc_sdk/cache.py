"""The cache of answers in this process, keyed by digests of tokens.

The cache answers only while the feed of changes is confirmed. Every lookup compares that confirmation with the clock:
a stalled event loop, a stopped process or a half-open connection can delay an announcement, but never the clock.
"""

import asyncio
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import sha256

from authsvc_sdk import clock
from authsvc_sdk.answers import Active, Inactive
from authsvc_sdk.config import Config
from authsvc_sdk.tokens import handle_of

# How many changed keys the cache remembers, to recognise answers that are older than a change.
_MAX_CHANGED_KEYS = 10_000
# Dropping more than 1,000 answers one by one blocks the event loop. Dropping all answers takes a third of the time.
_MAX_DROPPED_ONE_BY_ONE = 1000
# Inactive answers have a small part of their own, so that made-up tokens do not push out real ones.
_INACTIVE_SHARE = 8
_INACTIVE_MAX_AGE_S = 30.0


def key_digest(key: str) -> str:
    """The name of a key in the feed: 16 bytes of its SHA-256. Only a reader who knows the key recognises it."""
    return urlsafe_b64encode(sha256(key.encode()).digest()[:16])[:22].decode()


def _keys_of(token: str, answer: Active | Inactive) -> tuple[str, ...]:
    """The keys (digests) on which the answer about the token depends, besides those of all answers."""
    keys = [f"session:{handle_of(token)}"]
    if isinstance(answer, Active):
        keys += [f"user:{{{answer.sub}}}", *(f"client:{one}" for one in (answer.client_id, *answer.clients))]
    return tuple(map(key_digest, keys))


class _Entry:
    """A cached answer. Times are by our clock.

    until: when the SDK has to ask again. exp: when the token expires. used: whether a lookup found it recently.
    """

    __slots__ = ("answer", "exp", "keys", "until", "used")

    def __init__(self, answer: Active | Inactive, keys: tuple[str, ...], until: float, exp: float) -> None:
        self.answer = answer
        self.keys = keys
        self.until = until
        self.exp = exp
        self.used = False


class Cache:
    """Answers that are known to hold. Any thread may call `get`; only the feed's thread may change the cache."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._keys_of_all = {key_digest("service"), key_digest(f"client:{config.client_id}")}
        self._active = _BoundedEntries(config.cache_size, self._unindex)
        self._inactive = _BoundedEntries(max(config.cache_size // _INACTIVE_SHARE, 1), self._unindex)
        # By key (digest): the answers that depend on it, as digests of their tokens, and the streams that wait.
        self._dependents: dict[str, set[bytes | asyncio.Event]] = {}
        self._streams: set[asyncio.Event] = set()
        # Changes are numbered. A request from before `_complete_since` may have missed a change.
        self._changes, self._complete_since = 0, 1
        self._changed_keys: dict[str, int] = {}
        self._fresh_until, self._connected = 0.0, False

    def get(self, token: str) -> Active | Inactive | None:
        """The answer if it is known to hold at this moment. None: the caller has to ask the service."""
        now = clock.now()
        if now >= self._fresh_until:
            return None
        entry = self._find(token)
        if entry is None or now >= entry.until:
            return None
        entry.used = True
        return entry.answer

    def get_stale(self, token: str) -> Active | Inactive | None:
        """The answer if it held less than `serve_stale_for_s` ago and no announcement has removed it since."""
        if not self._config.serve_stale_for_s or (entry := self._find(token)) is None:
            return None
        now = clock.now()
        held_until = min(now, entry.until, self._fresh_until - self._config.feed_silence_s)
        return entry.answer if now < min(held_until + self._config.serve_stale_for_s, entry.exp) else None

    async def held(self, token: str, user: Active) -> bool:
        """Return when the answer may hold no more: after a change, or without one at its end. False: none is cached."""
        entry = self._find(token)
        left_s = min(entry.until, self._fresh_until) - clock.now() if entry is not None else 0.0
        if left_s <= 0:
            return False
        keys, changed = _keys_of(token, user), asyncio.Event()
        self._index(keys, changed)
        self._streams.add(changed)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await changed.wait()
        finally:
            self._streams.discard(changed)
            self._unindex(keys, changed)
        return True

    def _find(self, token: str) -> _Entry | None:
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()  # a text with lone surrogates is no token
        return self._active.entries.get(digest) or self._inactive.entries.get(digest)

    # The feed calls the following methods.

    def forget_all(self) -> None:
        """Start empty. From now on the feed announces every change."""
        self._lose_track()
        self._connected = True
        self._active.entries.clear()
        self._inactive.entries.clear()
        self._dependents.clear()
        for changed in self._streams:
            changed.set()

    def forget(self, changed: Iterable[str]) -> None:
        """Drop all answers that depend on these keys (digests), also the answers that are still on their way."""
        self._changes += 1
        for key in changed:
            if key in self._keys_of_all or len(self._dependents.get(key, ())) > _MAX_DROPPED_ONE_BY_ONE:
                self.forget_all()
                return
            self._changed_keys[key] = self._changes
            for one in self._dependents.pop(key, ()):
                if isinstance(one, asyncio.Event):
                    one.set()
                else:
                    self._active.drop(one)
                    self._inactive.drop(one)
        if len(self._changed_keys) > _MAX_CHANGED_KEYS:
            self._lose_track()

    def confirm(self, moment: float) -> None:
        """The feed has announced every change up to this moment of our clock."""
        self._fresh_until = moment + self._config.feed_silence_s

    def disconnect(self) -> None:
        """The feed has ended. The cache neither answers nor keeps answers until the next feed begins."""
        self._connected = False
        self._fresh_until = min(self._fresh_until, clock.now())
        self._lose_track()

    def _lose_track(self) -> None:
        self._changes += 1
        self._complete_since = self._changes
        self._changed_keys.clear()

    # The code that asks the service calls the following methods.

    def mark(self) -> int:
        """The number of the latest change. Take it before sending a request and pass it to `keep` with the answer."""
        return self._changes

    def keep(self, token: str, answer: Active | Inactive, mark: int, until: float, exp: float) -> None:
        """Keep an answer, unless one of its keys may have changed since the request was sent."""
        digests = _keys_of(token, answer)
        if not self._connected or mark < self._complete_since:
            return
        if any(self._changed_keys.get(key, 0) > mark for key in digests):
            return
        inactive, digest = isinstance(answer, Inactive), sha256(token.encode()).digest()
        for entries in (self._active, self._inactive):
            entries.drop(digest)
        self._index(digests, digest)
        max_age_s = _INACTIVE_MAX_AGE_S if inactive else self._config.cache_max_age_s
        entry = _Entry(answer, digests, min(until, clock.now() + max_age_s), exp)
        (self._inactive if inactive else self._active).put(digest, entry)

    def _index(self, keys: tuple[str, ...], one: bytes | asyncio.Event) -> None:
        for key in keys:
            self._dependents.setdefault(key, set()).add(one)

    def _unindex(self, keys: tuple[str, ...], one: bytes | asyncio.Event) -> None:
        for key in keys:
            dependents = self._dependents.get(key, set())
            dependents.discard(one)
            if not dependents:
                self._dependents.pop(key, None)


class _BoundedEntries:
    """At most `size` entries, by digest of the token. When full, drops one by the second-chance algorithm.

    The simpler LRU would move an entry at each use, which costs more than the rest of the lookup.
    """

    def __init__(self, size: int, on_drop: Callable[[tuple[str, ...], bytes], None]) -> None:
        # An OrderedDict finds its first key in constant time. A dict slows down after many deletions at its front.
        self.entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._size = size
        self._on_drop = on_drop

    def put(self, digest: bytes, entry: _Entry) -> None:
        while len(self.entries) >= self._size:
            oldest = next(iter(self.entries))
            candidate = self.entries[oldest]
            if candidate.used:
                candidate.used = False
                self.entries.move_to_end(oldest)
            else:
                self.drop(oldest)
        self.entries[digest] = entry

    def drop(self, digest: bytes) -> None:
        if (entry := self.entries.pop(digest, None)) is not None:
            self._on_drop(entry.keys, digest)
