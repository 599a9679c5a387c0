"""One connection on which the commands of many callers are on their way at once.

redis-py connects: it authenticates, speaks TLS and checks the role. Then it hands the transport over, and hiredis reads
the replies in the order of the commands. A caller gives a callback. A task and a timer for each call, which redis-py
needs, take longer than the reading of five records.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from authsvc.driver.breaker import SLOW_S, Breaker
from authsvc.driver.diagnosis import locate
from authsvc.driver.errors import DRIVER_ERRORS, REDIRECTIONS
from authsvc.driver.failures import unavailable
from authsvc.driver.redis_py import MORE, place, replies_of, transport_of
from authsvc.errors import StoreUnavailable
from authsvc.metrics import Metrics

# Gets the replies to the commands, or the error in their place. It raises nothing. After a fault it is called again.
HearReplies = Callable[[Sequence[Any] | StoreUnavailable], None]


class _Call:
    """Commands of one caller. give_up_at: on the event loop's clock. repeated: whether they were sent twice."""

    __slots__ = ("began", "count", "give_up_at", "hear", "packed", "repeated", "replies")

    def __init__(self, packed: bytes, count: int, give_up_at: float, hear: HearReplies) -> None:
        self.packed = packed
        self.count = count
        self.give_up_at = give_up_at
        self.hear = hear
        self.replies: list[Any] = []
        self.repeated = False
        self.began = time.perf_counter()


class Pipe(asyncio.Protocol):
    """A connection to one server. It connects when it is needed, and repeats once what a broken connection took.

    connection: redis-py's, not yet connected. connected: called each time when the server has been reached.

    reach_s: how long connecting may take, with all that redis-py asks the server then.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        breaker: Breaker,
        metrics: Metrics,
        connected: Callable[[], None],
        reach_s: float,
    ) -> None:
        self._connection = connection
        self._breaker = breaker
        self._metrics = metrics
        self._connected = connected
        self._reach_s = reach_s
        self._transport: asyncio.Transport | None = None
        self._replies: hiredis.Reader | None = None
        # The calls without all their replies, in the order of sending.
        self._calls: deque[_Call] = deque()
        self._connecting: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None

    def send(self, packed: bytes, count: int, give_up_at: float, hear: HearReplies) -> None:
        """Send `count` commands, which `packed` holds. Raises StoreUnavailable while the breaker is open.

        A redirection of a cluster stands in its reply's place. Any other refusal is an error.
        """
        if self._closed:
            raise StoreUnavailable("the connection was closed")
        self._breaker.admit(time.monotonic())
        call = _Call(packed, count, give_up_at, hear)
        try:
            self._calls.append(call)
            loop = self._loop = self._loop or asyncio.get_running_loop()
            if self._timer is None:
                self._timer = loop.call_at(give_up_at, self._expire, loop)
            if self._transport is None:
                self._connect(loop)
            elif not self._transport.is_closing():  # or `connection_lost` comes soon, and sends it
                self._transport.write(packed)
        except Exception:
            self._calls.remove(call)
            self.drop()  # nobody would take its replies
            raise

    def drop(self) -> None:
        """Close the connection. The next one leads to the server that is the primary then."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Close the connection for good. Every caller that still waits gets an error."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            with suppress(asyncio.CancelledError):
                await self._connecting
        self._fail(list(self._calls), RedisConnectionError("closed"))
        if self._timer is not None:
            self._timer.cancel()
        await self._connection.disconnect(nowait=True)
        self._transport = None

    # Connecting

    def _connect(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._connecting is None:  # not in the context of a request: the connection serves all
            self._connecting = loop.create_task(self._reach(), context=Context())

    async def _reach(self) -> None:
        try:
            async with asyncio.timeout(self._reach_s):  # redis-py waits without end for a server that says nothing
                await self._connection.disconnect(nowait=True)
                await self._connection.connect()
            self._replies = replies_of(self._connection)
            self._transport = transport_of(self._connection)
            self._transport.set_protocol(self)
            self._connected()
            self._transport.write(b"".join([call.packed for call in self._calls]))
        except Exception as error:
            self._fail(list(self._calls), error)
            if not isinstance(error, DRIVER_ERRORS):  # a fault of ours
                raise
        finally:
            self._connecting = None

    # Called by the event loop

    def data_received(self, data: bytes) -> None:
        try:
            transport, replies = self._transport, self._replies
            if transport is None or replies is None or transport.is_closing():
                return  # replies to calls that were given up
            replies.feed(data)
            while (reply := replies.gets()) is not MORE:
                if not self._take(reply):
                    self.drop()  # the server may be a replica now, or refuse us from now on
                    break
        except Exception as error:
            self._fail(list(self._calls), error)
            self.drop()
            if not isinstance(error, DRIVER_ERRORS):  # a fault of ours
                raise

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail([call for call in self._calls if call.repeated], RedisConnectionError("the connection was lost"))
        for call in self._calls:
            call.repeated = True
            call.replies.clear()
        if self._calls:
            self._connect(asyncio.get_running_loop())

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up the calls whose time is over. Their replies may still come, so the connection ends."""
        self._timer = None
        now = loop.time()
        late = [call for call in self._calls if call.give_up_at <= now]
        if late:
            self._fail(late, TimeoutError())
            self.drop()
        if self._calls:
            self._timer = loop.call_at(min(call.give_up_at for call in self._calls), self._expire, loop)

    def _take(self, reply: Any) -> bool:
        """Give a reply to its caller. False if it was a refusal."""
        if type(reply) is hiredis.PushNotification:
            return True
        call = self._calls[0]
        if isinstance(reply, Exception):
            if not isinstance(reply, REDIRECTIONS):
                self._fail([call], reply)
                return False
            locate(reply, place(self._connection))
        call.replies.append(reply)
        if len(call.replies) == call.count:
            self._breaker.worked()
            self._metrics.round_trip.observe(time.perf_counter() - call.began, "lookup")
            call.hear(call.replies)
            self._calls.popleft()  # last: after a fault the caller hears an error
        return True

    def _fail(self, calls: Sequence[_Call], error: Exception) -> None:
        """Tell callers the error. The connection has to end if their commands were sent."""
        if not calls:
            return
        locate(error, place(self._connection))
        told = unavailable(error, self._metrics) if isinstance(error, DRIVER_ERRORS) else StoreUnavailable("a fault")
        for call in calls:
            self._calls.remove(call)
            if time.perf_counter() - call.began >= SLOW_S:
                self._breaker.failed()
            call.hear(told)
