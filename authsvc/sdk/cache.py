"""Answers kept in this process, by digest of the token, for as long as they are known to hold.

An answer is used only while the feed of changes is proven to be heard, which is compared with the clock at every single
lookup: a stalled event loop, a stopped process or a half-open connection can delay a change, but not the clock.
"""

from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Iterable
from hashlib import sha256

from authsvc.sdk import clock
from authsvc.sdk.answers import Active, Inactive
from authsvc.sdk.tokens import handle_of

# How many changes are remembered for the sake of answers that are on their way.
_REMEMBERED = 10_000
# Dropping more answers than these one by one holds up the event loop: beginning anew takes a third of the time.
_MANY = 1000
# Made-up tokens must not push out real ones, so they have a small place of their own, and not for long.
_INACTIVE_SHARE = 8
_INACTIVE_MAX_AGE_S = 30.0


def key_digest(key: str) -> str:
    """How the feed names a key: 16 bytes of its SHA-256, so that only who knows the key learns anything."""
    return urlsafe_b64encode(sha256(key.encode()).digest()[:16])[:22].decode()


class _Entry:
    """until, exp: by our clock; the first is when it has to be asked again, the second when it is over anyway."""

    __slots__ = ("answer", "exp", "keys", "until", "used")

    def __init__(self, answer: Active | Inactive, keys: tuple[str, ...], until: float, exp: float) -> None:
        self.answer = answer
        self.keys = keys
        self.until = until
        self.exp = exp
        self.used = False


class Cache:
    """Written by one thread only, the feed's; `get` may be called from any."""

    def __init__(self, *, client_id: str, size: int, max_age_s: float, silence_s: float, stale_s: float = 0.0) -> None:
        self._all_depend_on = {key_digest("service"), key_digest(f"client:{client_id}")}
        self._max_age_s = max_age_s
        self._silence_s = silence_s
        self._stale_s = stale_s
        self._active = _Shelf(size, self._unindex)
        self._inactive = _Shelf(max(size // _INACTIVE_SHARE, 1), self._unindex)
        self._by_key: dict[str, set[bytes]] = {}
        self._fresh_until = 0.0
        # Changes are counted. What was asked before `_complete_since` may have missed one.
        self._count = 0
        self._complete_since = 1
        self._changed: OrderedDict[str, int] = OrderedDict()
        self._listening = False

    def get(self, token: str) -> Active | Inactive | None:
        """The answer if it is known to hold at this moment; None: ask."""
        now = clock.now()
        if now >= self._fresh_until:
            return None
        entry = self._find(token)
        if entry is None or now >= entry.until:
            return None
        entry.used = True
        return entry.answer

    def get_stale(self, token: str) -> Active | Inactive | None:
        """The answer if it held not longer ago than was allowed for outages, and nothing was heard against it."""
        entry = self._find(token) if self._stale_s else None
        if entry is None:
            return None
        now = clock.now()
        held = min(now, entry.until, self._fresh_until - self._silence_s)
        return entry.answer if now < min(held + self._stale_s, entry.exp) else None

    def _find(self, token: str) -> _Entry | None:
        try:
            digest = sha256(token.encode()).digest()
        except UnicodeEncodeError:  # lone surrogates: not a token
            return None
        return self._active.entries.get(digest) or self._inactive.entries.get(digest)

    # What follows is told by the feed.

    def forget_all(self) -> None:
        """Begin anew: from here on every change will be heard."""
        self._lose_track()
        self._listening = True
        self._active.entries.clear()
        self._inactive.entries.clear()
        self._by_key.clear()

    def forget(self, changed: Iterable[str]) -> None:
        """Drop what depends on these keys, given as digests, and what is being asked about them."""
        self._count += 1
        for key in changed:
            if key in self._all_depend_on:
                self.forget_all()
                return
            self._changed[key] = self._count
            self._changed.move_to_end(key)
            dependent = self._by_key.pop(key, ())
            if len(dependent) > _MANY:
                self.forget_all()
                return
            for digest in dependent:
                self._active.drop(digest)
                self._inactive.drop(digest)
        while len(self._changed) > _REMEMBERED:
            _, count = self._changed.popitem(last=False)
            self._complete_since = max(self._complete_since, count)

    def proven(self, as_of: float) -> None:
        """Every change up to this moment of our clock has been heard."""
        self._fresh_until = as_of + self._silence_s

    def lost(self) -> None:
        """The feed is gone: nothing is used and nothing is kept until it is back."""
        self._listening = False
        self._fresh_until = min(self._fresh_until, clock.now())
        self._lose_track()

    def _lose_track(self) -> None:
        self._count += 1
        self._complete_since = self._count
        self._changed.clear()

    # What follows is told by whoever asks the service.

    def mark(self) -> int:
        """To be taken before a question is sent, and given to `keep` with the answer."""
        return self._count

    def keep(self, token: str, answer: Active | Inactive, mark: int, until: float, exp: float) -> None:
        """Keep an answer, unless something that it depends on may have changed since it was asked for."""
        keys = [f"session:{handle_of(token)}"]
        if isinstance(answer, Active):
            keys += [f"user:{{{answer.sub}}}", f"client:{answer.client_id}"]
        digests = tuple(map(key_digest, keys))
        if not self._listening or mark < self._complete_since:
            return
        if any(self._changed.get(key, 0) > mark for key in digests):
            return
        now, inactive = clock.now(), isinstance(answer, Inactive)
        entry = _Entry(answer, digests, min(until, now + (_INACTIVE_MAX_AGE_S if inactive else self._max_age_s)), exp)
        digest = sha256(token.encode()).digest()
        for shelf in (self._active, self._inactive):
            shelf.drop(digest)
        for key in digests:
            self._by_key.setdefault(key, set()).add(digest)
        (self._inactive if inactive else self._active).put(digest, entry)

    def _unindex(self, digest: bytes, entry: _Entry) -> None:
        for key in entry.keys:
            of_key = self._by_key.get(key)
            if of_key is not None:
                of_key.discard(digest)
                if not of_key:
                    del self._by_key[key]


class _Shelf:
    """A bounded number of entries. Full, it drops one that was not used lately (second chance).

    Moving an entry to the end at each use would cost the lookup more than all the rest.
    """

    def __init__(self, size: int, dropped: Callable[[bytes, _Entry], None]) -> None:
        # Ordered by insertion like a dict, but its first is found at once however many went before.
        self.entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._size = size
        self._dropped = dropped

    def put(self, digest: bytes, entry: _Entry) -> None:
        while len(self.entries) >= self._size:
            oldest = next(iter(self.entries))
            candidate = self.entries[oldest]
            if not candidate.used:
                self.drop(oldest)
                continue
            candidate.used = False
            self.entries.move_to_end(oldest)
        self.entries[digest] = entry

    def drop(self, digest: bytes) -> None:
        entry = self.entries.pop(digest, None)
        if entry is not None:
            self._dropped(digest, entry)
