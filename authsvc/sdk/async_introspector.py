"""Asking the service about tokens, for programs built on asyncio."""

import asyncio
import logging
import random
from collections.abc import Sequence
from math import inf
from types import TracebackType
from typing import Any, Self

import httpx

from authsvc.sdk import forks
from authsvc.sdk.answers import INACTIVE, Active, Inactive, read
from authsvc.sdk.cache import Cache
from authsvc.sdk.config import Config
from authsvc.sdk.errors import Misconfigured, Unavailable
from authsvc.sdk.feed import BrokenFeed, Feed
from authsvc.sdk.lookups import Lookups, Outcome
from authsvc.sdk.server_clock import ServerClock
from authsvc.sdk.tokens import is_access_token
from authsvc.sdk.wire import Said, Wire

_log = logging.getLogger("authsvc.sdk")
_RECONNECT_FIRST_S = 0.05
_RECONNECT_LONGEST_S = 2.0


class AsyncIntrospector:
    """Tells who a token speaks for. Make one per process with the settings of `Config`, and share it.

    It opens its connections when first used, or by `start` or `async with`, and belongs to that event loop.
    """

    def __init__(self, url: str, client_id: str, client_secret: str, **settings: Any) -> None:
        self._config = Config(url=url, client_id=client_id, client_secret=client_secret, **settings)
        self._reset()
        forks.watch(self)

    def _reset(self) -> None:
        config = self._config
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wire: Wire | None = None
        self._feed: asyncio.Task[None] | None = None
        self._lookups = Lookups(self._fetch)
        self._server_clock = ServerClock()
        self._cache = (
            Cache(
                client_id=config.client_id,
                size=config.cache_size,
                max_age_s=config.cache_max_age_s,
                silence_s=config.feed_silence_s,
                stale_s=config.serve_stale_for_s,
            )
            if config.cache
            else None
        )

    def after_fork(self) -> None:
        """In a forked child: the connections are the parent's, and nobody reads its feed here."""
        _abandoned.append((self._loop, self._wire, self._feed, self._lookups))
        self._reset()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def start(self) -> None:
        """Begin to listen, so that the cache is of use from the first requests on. Needs a running event loop."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None:
            if not self._loop.is_closed():
                raise RuntimeError("an AsyncIntrospector belongs to one event loop: make one for each")
            self._reset()  # the loop took its connections with it
        config = self._config
        self._loop = loop
        self._wire = Wire(config.url, (config.client_id, config.client_secret), config.timeout_s, config.tls)
        if self._cache is not None:
            self._feed = loop.create_task(self._listen(self._wire, self._cache))

    async def aclose(self) -> None:
        """Close all connections. Used again, it starts anew."""
        feed, lookups, wire = self._feed, self._lookups, self._wire
        self._reset()
        if feed is not None:
            feed.cancel()
            await asyncio.gather(feed, return_exceptions=True)
        await lookups.aclose()
        if wire is not None:
            await wire.aclose()

    def cached(self, token: str) -> Active | Inactive | None:
        """The answer if it is at hand and known to hold at this moment; None: `introspect` has to ask."""
        return None if self._cache is None else self._cache.get(token)

    async def introspect(self, token: str) -> Active | Inactive:
        """Tell whether an access token is active right now, and for whom.

        Raises Unavailable if that can't be known, which is neither a yes nor a no.
        """
        answer = self.cached(token)
        if answer is not None:
            return answer
        if not is_access_token(token):
            return INACTIVE
        self.start()
        try:
            async with asyncio.timeout(self._config.timeout_s):
                return await self._lookups.ask(token)
        except TimeoutError as error:
            failure = Unavailable(f"no answer within {self._config.timeout_s:g} s")
            failure.__cause__ = error
        except Misconfigured:
            raise  # we have been refused, which is not an outage to be bridged
        except Unavailable as error:
            failure = error
        stale = None if self._cache is None else self._cache.get_stale(token)
        if stale is None:
            raise failure
        return stale

    async def _fetch(self, tokens: Sequence[str]) -> list[Outcome]:
        if self._wire is None:
            raise Unavailable("closed")
        cache = self._cache
        mark = cache.mark() if cache else 0
        said = await self._wire.ask(tokens)
        if said.date is not None:
            self._server_clock.observe(said.date, said.heard_at)
        outcomes: list[Outcome] = []
        for token, body in zip(tokens, said.answers, strict=True):
            try:
                answer, recheck_at = read(body, token, self._config.audience)
            except Unavailable as error:
                outcomes.append(error)
                continue
            outcomes.append(answer)
            if cache is not None and said.date is not None:
                self._keep(cache, token, answer, recheck_at, mark, said)
        return outcomes

    def _keep(
        self, cache: Cache, token: str, answer: Active | Inactive, recheck_at: int | None, mark: int, said: Said
    ) -> None:
        until = exp = inf
        if isinstance(answer, Active):
            if recheck_at is None:  # it does not say for how long
                return
            took_s = said.heard_at - said.asked_at
            exp = self._server_clock.ours(answer.exp, took_s)
            until = min(exp, self._server_clock.ours(recheck_at, took_s))
        cache.keep(token, answer, mark, until, exp)

    async def _listen(self, wire: Wire, cache: Cache) -> None:
        """Follow the feed for ever, one stream after the other."""
        pause, refused = _RECONNECT_FIRST_S, False
        while True:
            heard = False
            try:
                async with wire.events(self._config.feed_silence_s) as (asked_at, stream):
                    feed = Feed(cache, asked_at, self._config.feed_silence_s)
                    async for chunk in stream:
                        feed.receive(chunk)
                        heard, refused = True, False
            except Misconfigured as error:
                if not refused:
                    _log.warning("the feed of changes is refused, so nothing is cached: %s", error)
                refused = True
            except (httpx.HTTPError, Unavailable, BrokenFeed) as error:
                _log.debug("the feed of changes ended: %s", type(error).__name__)
            except Exception:  # whatever it was, the next stream begins from nothing
                _log.exception("the feed of changes ended unexpectedly")
            finally:
                cache.lost()
            pause = _RECONNECT_FIRST_S if heard else min(pause * 2, _RECONNECT_LONGEST_S)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnecting, hides nothing


# What a forked child inherited. It is kept, because collecting it would close and unregister what the parent uses.
_abandoned: list[object] = []
