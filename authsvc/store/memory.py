"""Answers that this worker has given, and the records that each answer follows from.

An answer is a function of bytes in the store and of the time. So it may be given again while the bytes are the same.
Every question reads all of them again. Nothing has to be announced, ordered or cleared: an answer whose records have
changed is not given. docs/decisions/017 compares this with other caches.
"""

from array import array
from functools import lru_cache
from hashlib import sha256
from typing import Self

from msgspec import Struct

from authsvc.core.session import Active
from authsvc.driver.reader import Value
from authsvc.errors import StoreUnavailable
from authsvc.store import keys
from authsvc.store.moment import Moment

# What an answer takes besides its own bytes and those of session and user. Measured as resident memory: 582 to 608.
OVERHEAD = 610
# How many questions are noted without their answers, in 8 bytes each.
ASKED = 1 << 16
# How many answers get a second chance before one is dropped.
CHANCES = 64

Names = tuple[str, ...]
Values = tuple[Value, ...]


def question_of(presented: bytes) -> bytes:
    """The name of a question in the memory: a digest of everything that was presented, of 128 bits.

    Only who presents the same token and secret gets there. So no text of a token or secret is kept, and the time that
    finding takes says nothing about them.

    The first byte tells three kinds of questions apart. A whole request begins with a method in upper case, and
    `FastPath.recall` looks for nothing else. What a request presents begins with its path (`FastCall.presented`). A
    question of the general way begins with a letter in lower case (`Asker.questions`).
    """
    return sha256(presented).digest()[:16]


class Remembered(Struct, gc=False):
    """An answer about an active token, and all that it follows from.

    user: None: there is no user, as for a client's own token.
    shared, shared_values: the keys and bytes that many answers share: of the service, the clients on which the token
    depends, and the client that asks. until: epoch seconds; from then on the same bytes may mean something else. used:
    since the memory was last short of room.
    """

    shared: Names
    shared_values: Values
    session_key: str
    session: bytes
    user_key: str
    user: bytes | None
    until: int
    answer: bytes
    used: bool = False

    def __repr__(self) -> str:
        return "Remembered()"  # the answer is about a person

    @classmethod
    def of(cls, moment: Moment, active: Active, asker: str | None, until: int, answer: bytes) -> Self | None:
        """What to remember of a decision. asker: the client that asks. None if the records were not all read."""
        shared = _names(active.client_ids, asker)
        own = keys.session(active.handle), keys.user(active.session.sub)
        session, user = moment.values(own)
        if not isinstance(session, bytes) or isinstance(user, StoreUnavailable):
            return None
        return cls(shared, _interned(moment.values(shared)), own[0], session, own[1], user, until, answer)

    @property
    def wanted(self) -> Names:
        """All keys that the answer follows from."""
        return (*self.shared, self.session_key, self.user_key)

    def fits(self, moment: Moment, now: float) -> bool:
        """Whether this is the answer now. Compares every byte of the records."""
        values = moment.read
        return (
            now < self.until
            and values.get(self.session_key) == self.session
            and values.get(self.user_key) == self.user
            and moment.values(self.shared) == self.shared_values
        )

    @property
    def size(self) -> int:
        """About how many bytes of memory this takes."""
        return OVERHEAD + len(self.session) + len(self.user or b"") + len(self.answer)


class Memory:
    """The remembered answers, by the digest of their question, in at most `max_bytes`.

    An answer is remembered when its question comes for the second time, because many tokens are asked for once only. In
    a full memory it takes the place of one that was not used lately (the second-chance algorithm).
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._answers: dict[bytes, Remembered] = {}
        # The questions of `_answers`, and the place where the next one to drop is looked for.
        self._ring: list[bytes] = []
        self._hand = 0
        self._asked = array("Q", [0]) * ASKED

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, question: bytes) -> Remembered | None:
        """The last answer to this question, which may no longer be right: see `Remembered.fits`."""
        found = self._answers.get(question)
        if found is not None:
            found.used = True
        return found

    def is_asked_again(self, question: bytes) -> bool:
        """Whether the same question was asked lately. Notes that it was asked."""
        number = int.from_bytes(question[:8])
        place = number % ASKED
        if self._asked[place] == number:
            return self._max_bytes > 0
        self._asked[place] = number
        return False

    def put(self, question: bytes, answer: Remembered) -> None:
        """Remember the answer to a question, in the place of an earlier one."""
        if answer.size > self._max_bytes:
            return
        earlier = self._answers.get(question)
        if earlier is None:
            self._ring.append(question)
        else:
            self._bytes -= earlier.size
        self._answers[question] = answer
        self._bytes += answer.size
        while self._bytes > self._max_bytes:
            self._drop_one()

    def _drop_one(self) -> None:
        for _ in range(CHANCES):
            self._hand = (self._hand + 1) % len(self._ring)
            found = self._answers[self._ring[self._hand]]
            if not found.used:
                break
            found.used = False
        question, self._ring[self._hand] = self._ring[self._hand], self._ring[-1]
        self._ring.pop()
        self._bytes -= self._answers.pop(question).size


@lru_cache(maxsize=1024)
def _names(client_ids: tuple[str, ...], asker: str | None) -> Names:
    """The keys of the records that many answers share. Equal names and values are stored once."""
    askers = () if asker is None or asker in client_ids else (asker,)
    return (keys.SERVICE, *map(keys.client, (*client_ids, *askers)))


@lru_cache(maxsize=1024)
def _interned(values: Values) -> Values:
    return values
