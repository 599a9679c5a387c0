"""Reading the records that decisions about tokens need, for many callers in the same round trip.

Questions that wait in the same turn of the event loop share one MGET. A question never joins a read that is already
sent, so its records are read after it was asked, and all at one moment. The user and the clients of a token never
change. A question that does not know them yet takes one more round trip to learn them.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from contextvars import Context
from functools import partial
from itertools import chain

from authsvc.core.client import Client
from authsvc.core.session import Found
from authsvc.driver.connection import Connection
from authsvc.driver.deadline import current_budget
from authsvc.driver.reader import Value, settle
from authsvc.errors import StoreUnavailable
from authsvc.store import keys
from authsvc.store.moment import Moment

log = logging.getLogger(__name__)

# Two reads are on their way while the next one gathers. A third would only make the reads smaller.
MAX_IN_FLIGHT = 2
# The keys of one read; those of one caller are never split. In reads of twice that size each key takes longer, because
# the read no longer fits into the caches of the processor.
MAX_KEYS = 2000

# Gets the records, or the error in their place.
Hear = Callable[[Moment | Exception], None]


class Question:
    """The question of one caller.

    handles: the sessions of which it is not known yet whose they are. wanted: the keys to read, as far as known.
    give_up_at: on the event loop's clock.
    """

    __slots__ = ("give_up_at", "handles", "hear", "wanted")

    def __init__(self, handles: Collection[str], wanted: Sequence[str], hear: Hear, give_up_at: float) -> None:
        self.handles = handles
        self.wanted = wanted
        self.hear: Hear | None = hear
        self.give_up_at = give_up_at

    def tell(self, found: "Moment | Exception") -> None:
        """Let the caller hear, unless it has heard before. After a fault in the caller it may be told again."""
        if self.hear is not None:
            self.hear(found)
            self.hear = None

    def cancel(self) -> None:
        """Drop the question: its caller hears nothing any more. The others in its read keep their answers."""
        self.hear = None


class _Read:
    """Questions that share one MGET. use: what to do with the records. over: whether its callers have been told.

    earlier: what was read to learn whose the sessions are.
    """

    __slots__ = ("earlier", "names", "over", "questions", "use")

    def __init__(
        self, questions: list[Question], wanted: Iterable[str], use: "Use", earlier: Moment | None = None
    ) -> None:
        self.questions = questions
        self.names = [*dict.fromkeys(wanted)]
        self.use = use
        self.earlier = earlier
        self.over = False


# Does with the records what the questions wait for.
Use = Callable[[list[Question], Moment], None]


class Lookup:
    """Finds sessions with all records that decide about them: `session:`, `user:`, `client:` and `service`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._metrics = connection.metrics
        self._within_s = connection.timeouts.request_s
        # Asking for the running loop is a system call before Python 3.12, and takes longer than reading a record.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reader = connection.reader()
        self._waiting: deque[Question] = deque()
        self._in_flight = 0
        self._scheduled = False
        # A read belongs to many requests, so it is logged without the id of any request.
        self._no_request = Context()

    async def client(self, client_id: str) -> Client | None:
        """The client with this id. Raises StoreUnavailable."""
        return (await self.sessions(client_id, ())).client(client_id)

    async def session(self, handle: str) -> Found | None:
        """Everything about one session, None if there is no record of it. Raises StoreUnavailable."""
        return (await self.sessions(None, (handle,))).found(handle)

    def sessions(self, client_id: str | None, handles: Collection[str], known: Iterable[str] = ()) -> Awaitable[Moment]:
        """Like `ask`, for a caller that waits in a task. Awaiting the records raises StoreUnavailable."""
        answer: asyncio.Future[Moment] = asyncio.get_running_loop().create_future()
        names = keys.SERVICE, *(() if client_id is None else (keys.client(client_id),)), *known
        question = self.ask(handles, names, partial(settle, answer))
        answer.add_done_callback(lambda _: question.cancel())  # if the caller is cancelled
        return answer if current_budget() is None else _within_budget(answer, self._connection)

    def ask(self, handles: Collection[str], wanted: Sequence[str], hear: Hear) -> Question:
        """Read `wanted`, and everything about these sessions. Bounded by the time of a request.

        The caller hears of it in a later turn of the event loop. A task and a future for each caller take longer than
        the reading of its records.
        """
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        question = Question(handles, wanted, hear, loop.time() + self._within_s)
        self._waiting.append(question)
        if not self._scheduled:
            self._schedule(loop)
        return question

    async def close(self) -> None:
        await self._reader.close()

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._waiting and not self._scheduled and self._in_flight < MAX_IN_FLIGHT:
            loop.call_soon(self._send, loop, context=self._no_request)
            self._scheduled = True

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read for all questions that wait. Every caller gets an answer, also after a fault."""
        self._scheduled = False
        questions: list[Question] = []
        try:
            room = MAX_KEYS
            while self._waiting and room > 0:
                questions.append(self._waiting[0])
                self._waiting.popleft()
                room -= len(questions[-1].handles) + len(questions[-1].wanted)
            self._begin([question for question in questions if question.hear is not None])
        except Exception as error:
            _refuse(questions, error)
        self._schedule(loop)

    def _begin(self, questions: list[Question]) -> None:
        """Send the reads: one for questions that first have to learn user and client, and one for all others."""
        learning = [question for question in questions if question.handles]
        if learning:
            handles = chain.from_iterable([question.handles for question in learning])
            self._read(_Read(learning, map(keys.session, handles), self._learn))
        reading = [question for question in questions if not question.handles]
        if reading:
            self._metrics.lookups_per_round_trip.observe(len(reading))
            self._read(_Read(reading, chain.from_iterable([question.wanted for question in reading]), _tell))

    def _read(self, read: _Read) -> None:
        self._in_flight += 1
        try:
            # The first caller has waited longest. Its deadline holds for all, because an outage hits all of them.
            self._reader.read(read.names, read.questions[0].give_up_at, partial(self._hear, read))
        except Exception as error:  # such as: the server is not asked now
            self._hear(read, error)

    def _hear(self, read: _Read, values: Sequence[Value] | Exception) -> None:
        if read.over:  # a fault, after which the reader tells all its callers
            return
        read.over = True
        self._in_flight -= 1
        try:
            if isinstance(values, Exception):
                raise values
            read.use(read.questions, Moment(dict(zip(read.names, values, strict=True)), read.earlier))
        except Exception as error:
            _refuse(read.questions, error)
        if self._loop is not None:
            self._schedule(self._loop)

    def _learn(self, questions: list[Question], moment: Moment) -> None:
        """Read all keys that these questions need. The sessions are read again: all records are of one moment."""
        wanted = [*chain.from_iterable([question.wanted for question in questions])]
        for handle in chain.from_iterable([question.handles for question in questions]):
            try:
                session = moment.session(handle)
            except StoreUnavailable:  # the next read finds it again, for the callers of this session only
                wanted.append(keys.session(handle))
                continue
            if session is not None:
                wanted += keys.session(handle), keys.user(session.sub), *map(keys.client, session.client_ids)
        self._metrics.lookups_per_round_trip.observe(len(questions))
        self._read(_Read(questions, wanted, _tell, moment))


def _tell(questions: list[Question], moment: Moment) -> None:
    """Give each caller the records. Raises StoreUnavailable if there is no record of the service."""
    moment.service()
    for question in questions:
        try:
            question.tell(moment)
        except Exception as error:  # the other callers get their answers all the same
            _refuse([question], error)
            log.exception("an answer of the store was not heard")


def _refuse(questions: list[Question], error: Exception) -> None:
    """Give the error to each caller who has heard nothing. An error never looks like an inactive token."""
    for question in questions:
        with suppress(Exception):
            question.tell(error)


async def _within_budget(answer: "asyncio.Future[Moment]", connection: Connection) -> Moment:
    async with connection.store_call():
        return await answer
