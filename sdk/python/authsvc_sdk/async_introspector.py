"""The introspector for programs that use asyncio."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import Self, Unpack

from authsvc_sdk import exchange, forks
from authsvc_sdk.answers import INACTIVE, Active, Inactive, read
from authsvc_sdk.cache import Cache
from authsvc_sdk.config import Config, Settings, refuse_unknown
from authsvc_sdk.errors import Misconfigured, Unavailable
from authsvc_sdk.exchange import Exchanged
from authsvc_sdk.lookups import LookupResult, Lookups
from authsvc_sdk.outages import Outages
from authsvc_sdk.server_clock import ServerClock
from authsvc_sdk.streams import ended_by, refusal, user_of
from authsvc_sdk.subscription import follow
from authsvc_sdk.tokens import is_token
from authsvc_sdk.wire import IntrospectionResponse, Wire


class AsyncIntrospector:
    """Tells whom a token speaks for. Make one per process, with the settings of `Config`, and share it.

    The first use opens the connections, as do `start` and `async with`. An introspector belongs to the event loop in
    which it was opened.
    """

    def __init__(self, url: str, client_id: str, client_secret: str, **settings: Unpack[Settings]) -> None:
        refuse_unknown(settings)
        self._config = Config(url=url, client_id=client_id, client_secret=client_secret, **settings)
        self._reset()
        self._outages = Outages(self._config.url, client_id)
        forks.watch(self)

    def _reset(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wire: Wire | None = None
        self._subscription: asyncio.Task[None] | None = None
        self._lookups = Lookups(self._fetch, self._config.timeout_s)
        self._server_clock = ServerClock()
        self._cache = Cache(self._config) if self._config.cache else None

    def after_fork(self) -> None:
        """In a forked child: leave the connections to the parent and start anew. The parent's feed task is gone."""
        forks.abandoned.append((self._loop, self._wire, self._subscription, self._lookups))
        self._reset()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def start(self) -> None:
        """Open the feed of changes, so that the cache works from the first requests on.

        Raises RuntimeError outside of an event loop, and in another event loop than before.
        """
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None:
            if not self._loop.is_closed():
                raise RuntimeError("an AsyncIntrospector belongs to one event loop: make one for each")
            self._reset()  # the connections ended with their loop
        config = self._config
        self._loop = loop
        self._wire = Wire(config.url, (config.client_id, config.client_secret), config.timeout_s, config.tls)
        if self._cache is not None:
            self._subscription = loop.create_task(follow(self._wire, self._cache, config.feed_silence_s, self._outages))

    async def aclose(self) -> None:
        """Close all connections. The next use opens new ones."""
        subscription, lookups, wire = self._subscription, self._lookups, self._wire
        self._reset()
        if subscription is not None:
            subscription.cancel()
            await asyncio.gather(subscription, return_exceptions=True)
        await lookups.aclose()
        if wire is not None:
            await wire.aclose()

    def cached(self, token: str) -> Active | Inactive | None:
        """The answer if it is known at this moment without asking the service. None: call `introspect`."""
        answer = None if self._cache is None else self._cache.get(token)
        return INACTIVE if answer is None and not is_token(token, self._config.foreign_key_prefixes) else answer

    async def introspect(self, token: str) -> Active | Inactive:
        """Tell whether an access token or a key is active right now, and for whom.

        Raises Unavailable if the service can't tell, which is neither a yes nor a no.
        """
        if (answer := self.cached(token)) is not None:
            return answer
        self.start()
        try:
            async with asyncio.timeout(self._config.timeout_s):
                return await self._lookups.ask(token)
        except (TimeoutError, Unavailable) as error:
            late = Unavailable(f"no answer within {self._config.timeout_s:g} s")
            failure = error if isinstance(error, Unavailable) else late
        self._outages.log(failure)
        # If the service refused us, that is no outage, and a stale answer would be wrong.
        if self._cache is None or isinstance(failure, Misconfigured) or (stale := self._cache.get_stale(token)) is None:
            raise failure
        return stale

    async def exchange(self, token: str | None, *, audience: str = "", scope: str = "") -> Exchanged:
        """Exchange a token of a request for one with which to call another resource server for the same user.

        token: as `token_in` returns it, None for a request without one. audience: that resource server. scope: what the
        new token allows. Empty: the same as the old one.
        The same call gets the same token again, until a minute before its end. Raises Refused if there is no token, if
        it has ended or if it lacks the scope, Misconfigured if our client may not do this, and Unavailable.
        """
        self.start()
        if self._wire is None:
            raise Unavailable("closed")
        try:
            return exchange.read(await self._wire.exchange(exchange.form(token, audience, scope)), scope, audience)
        except Unavailable as error:
            self._outages.log(error, "requests that exchange a token get a 503")
            raise

    @asynccontextmanager
    async def while_active(self, token: str) -> AsyncIterator[Active]:
        """Run the body for as long as the token is active: `async with introspector.while_active(token) as user: ...`.

        When the token ends, the body is cancelled and Refused is raised (401). It is raised (503) when the service
        can't tell any more. The promise of the cache holds here too. Without the cache the service is asked every
        `feed_silence_s`. Each question counts as use of the session.
        """
        user = await user_of(self.introspect, token)
        async with ended_by(refusal(self.introspect, self._held, token, self._config.feed_silence_s)):
            yield user

    async def _held(self, token: str, user: Active) -> bool:
        return self._cache is not None and await self._cache.held(token, user)

    async def _fetch(self, tokens: Sequence[str]) -> list[LookupResult]:
        if self._wire is None:
            raise Unavailable("closed")
        mark = self._cache.mark() if self._cache is not None else 0
        response = await self._wire.introspect(tokens)
        self._outages.over()
        if response.date is not None:
            self._server_clock.observe(response.date, response.received_at)
        return [self._taken(token, body, mark, response) for token, body in zip(tokens, response.answers, strict=True)]

    def _taken(self, token: str, body: object, mark: int, response: IntrospectionResponse) -> LookupResult:
        """Read one answer, and keep it if it may be cached."""
        try:
            answer, recheck_at = read(body, token, self._config.audience)
        except Unavailable as error:
            return error
        if self._cache is None or response.date is None:  # without the service's clock, its deadlines say nothing
            return answer
        until = exp = inf
        if isinstance(answer, Active):
            if recheck_at is None:
                return answer
            took_s = response.received_at - response.sent_at
            exp = self._server_clock.ours(answer.exp, took_s)
            until = min(exp, self._server_clock.ours(recheck_at, took_s))
        self._cache.keep(token, answer, mark, until, exp)
        return answer
