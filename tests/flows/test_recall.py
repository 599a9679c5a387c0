"""A remembered answer is the answer that would be given without a memory, at any time and whatever has changed."""

import asyncio
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authsvc.api.schemas.requests import Requirements
from authsvc.core import token as tokens
from authsvc.core.client import Client, Lifetimes, Secret
from authsvc.core.exchange import Wish, end, exchange
from authsvc.core.grace import Previous
from authsvc.core.record import Record
from authsvc.core.session import Session
from authsvc.core.token import Kind, Token
from authsvc.core.user import User
from authsvc.edge.fast_requests import FastRequest, IntrospectRequest, VerifyRequest
from authsvc.errors import AuthError
from authsvc.flows.deps import Deps
from authsvc.flows.introspect import Asker
from authsvc.flows.recall import recalled
from authsvc.metrics import Metrics
from authsvc.settings import Settings
from authsvc.store import keys
from authsvc.store.memory import Memory
from authsvc.store.moment import Moment
from tests.conftest import Service
from tests.core.examples import HANDLE, NOW, a_client, a_service, a_user, begun
from tests.selection import examples

SECRET = "a secret of the asker"
# The current and the previous access token of the session, and one that was never issued.
CURRENT, PREVIOUS, FORGED = [tokens.new(Kind.ACCESS, HANDLE) for _ in range(3)]


class Told(NamedTuple):
    """What a caller is told, and what was written down about the use. again: whether the answer was remembered."""

    answer: object
    noted: list[str]
    again: bool


class Worker:
    """The flows of one worker, which notes what would be written down. The test gives it records and the time."""

    def __init__(self, max_bytes: int) -> None:
        self.noted: list[str] = []
        sessions = SimpleNamespace(
            touch=lambda handle, now, ip: self.noted.append(f"used {handle}"),
            note_answer=lambda handle, access: self.noted.append(f"answered {handle}"),
        )
        parts = {"memory": Memory(max_bytes), "metrics": Metrics(), "settings": Settings()}
        self.deps = cast(Deps, SimpleNamespace(store=SimpleNamespace(sessions=sessions), **parts))

    def ask(self, request: FastRequest, moment: Moment, now: float) -> Told:
        """What the fast path does once the records have been read."""
        self.noted = []
        question = repr(type(request)).encode()
        found = recalled(self.deps, self.deps.memory.find(question), moment, now)
        try:
            answer: object = found or request.answer(self.deps, moment, question, now)
        except AuthError as error:
            answer = repr(error)
        return Told(answer, self.noted, found is not None)


class Records(NamedTuple):
    """All that decides about one token. asker: the client that introspects, which may be the session's own client."""

    session: Session
    user: User
    client: Client
    asker: Client

    @property
    def moment(self) -> Moment:
        stored: dict[str, Record] = {
            keys.SERVICE: a_service(),
            keys.session(HANDLE): self.session,
            keys.user(self.user.sub): self.user,
            keys.client(self.client.client_id): self.client,
            keys.client(self.asker.client_id): self.asker,
        }
        return Moment({name: record.to_json() for name, record in stored.items()})

    @property
    def bounds(self) -> list[int]:
        """The times at which the same records begin to mean something else."""
        session, previous = self.session, self.session.previous
        ends = [secret.until for secret in self.asker.secrets if secret.until is not None]
        graces = [] if previous is None else [previous.until, previous.access_until]
        touch = session.seen + session.touch_interval_s
        return [session.exp, session.end, session.idle_deadline, touch, *graces, *ends]


ACCESS, VERIFY = "/introspect", "/verify"


def asked(kind: str, records: Records, token: Token) -> FastRequest:
    if kind == VERIFY:
        return VerifyRequest(Requirements(role="editor"), token, False)
    return IntrospectRequest(Asker(records.asker.client_id, tokens.digest(SECRET)), token)


def a_session(lifetimes: Lifetimes, **fields: Any) -> Session:
    return begun(lifetimes=lifetimes)[0].but(access=CURRENT.digest, **fields)


def an_asker(client_id: str = "orders", until: int | None = None, **fields: Any) -> Client:
    secrets = (Secret(digest=tokens.digest(SECRET), until=until), Secret(digest=tokens.digest("another")))
    return a_client(client_id=client_id, permissions=("introspect",), secrets=secrets, **fields)


EDITOR = a_user(roles=("editor",))


@st.composite
def all_records(draw: st.DrawFn) -> Records:
    """Records whose bounds are all within some minutes, so that times often fall on both sides of each."""
    session_s = draw(st.integers(10, 400))
    lifetimes = Lifetimes(draw(st.integers(1, session_s)), draw(st.integers(1, session_s)), session_s)
    issued = draw(st.none() | st.integers(NOW, NOW + 100))
    previous = None
    if issued is not None and draw(st.booleans()):
        until = issued + draw(st.integers(0, 60))
        previous = Previous(
            access=PREVIOUS.digest, refresh="x", until=until, access_until=min(until, NOW + session_s),
            answered=draw(st.booleans()),
        )  # fmt: skip
    used = draw(st.none() | st.integers(NOW, NOW + 100))
    session = a_session(lifetimes, issued_at=issued, used_at=used, previous=previous, aud=draw(_AUDIENCES))
    user = a_user(roles=draw(st.sampled_from([("editor",), ()])), claims=draw(st.sampled_from([{}, {"a": 1}])))
    ends = draw(st.none() | st.integers(NOW, NOW + 400))
    asker = an_asker(draw(st.sampled_from(["app", "orders"])), ends, audience=draw(_AUDIENCES))
    return Records(session, user, asker if asker.client_id == "app" else a_client(), asker)


_AUDIENCES = st.sampled_from([(), ("orders",)])


def _changes(records: Records) -> list[Records]:
    """The records after one change of each kind, and unchanged."""
    session, user, client, asker = records
    ended = asker.but(secrets=asker.secrets[1:])
    silent = asker.but(permissions=())
    own = asker is client or client.client_id == asker.client_id
    cut_off = client.cut_off(NOW + 1)
    return [
        records,
        records._replace(session=session.touched(session.seen + 7)),
        records._replace(session=session.but(access="another")),
        records._replace(session=session.but(scope="other")),
        records._replace(user=user.changed(roles=("owner", "editor"))),
        records._replace(user=user.changed(status="suspended")),
        records._replace(user=user.cut_off(NOW + 1)),
        records._replace(client=cut_off, asker=cut_off if own else asker),
        records._replace(client=ended if own else client, asker=ended),
        records._replace(client=silent if own else client, asker=silent),
    ]


@st.composite
def histories(draw: st.DrawFn) -> tuple[Records, float, Records, float, Token, str]:
    """Records and a time, later records and a later time, a token, and what is asked."""
    records = draw(all_records())
    near = draw(st.sampled_from(records.bounds)) + draw(st.sampled_from([-1.0, -0.001, 0.0, 0.001, 1.0]))
    first, second = sorted([draw(st.integers(NOW, int(near))) if near > NOW else NOW, near])
    later = draw(st.just(records) | st.sampled_from(_changes(records)))
    return records, first, later, second, draw(_TOKENS), draw(st.sampled_from([ACCESS, VERIFY]))


_TOKENS = st.sampled_from([CURRENT, CURRENT, PREVIOUS, FORGED])


@pytest.mark.slow
@settings(max_examples=examples(1000))
@given(histories())
def test_a_remembered_answer_equals_a_new_one(history: tuple[Records, float, Records, float, Token, str]) -> None:
    """For any records, times and callers: an answer from the memory has the same bytes, and leaves no use unnoted."""
    records, first, later, second, token, kind = history
    worker, fresh = Worker(1_000_000), Worker(0)
    for _ in range(2):
        worker.ask(asked(kind, records, token), records.moment, first)
    given, expected = (one.ask(asked(kind, later, token), later.moment, second) for one in (worker, fresh))
    assert given[:2] == expected[:2]


@pytest.mark.parametrize("kind", [ACCESS, VERIFY])
@pytest.mark.parametrize("client_id", ["orders", "app"])
@pytest.mark.parametrize("number", range(10))
def test_each_change_of_a_record_counts(number: int, client_id: str, kind: str) -> None:
    """An answer is given again as long as all records are the same, and not after any change of one of them."""
    asker = an_asker(client_id)
    records = Records(a_session(LONG), EDITOR, asker if client_id == "app" else a_client(), asker)
    later = _changes(records)[number]
    worker, fresh = Worker(1_000_000), Worker(0)
    for _ in range(2):
        worker.ask(asked(kind, records, CURRENT), records.moment, NOW)
    given, expected = (one.ask(asked(kind, later, CURRENT), later.moment, NOW + 1) for one in (worker, fresh))
    assert given[:2] == expected[:2]
    of_asker_alone = kind == VERIFY and later.client == records.client and later.asker != records.asker
    assert given.again is (later == records or of_asker_alone)


LONG = Lifetimes(access=900, idle=86400, session=30 * 86400)
# By name: records, the time when an answer is remembered, and the time from which it is not given any more.
BOUNDS = {
    "exp": (a_session(LONG, used_at=NOW + 800), NOW + 850, NOW + 900),
    "end": (a_session(Lifetimes(900, 900, 900), used_at=NOW + 880), NOW + 890, NOW + 900),
    "idle deadline": (a_session(Lifetimes(900, 1, 900)), NOW, NOW + 1),
    "noting of use": (a_session(Lifetimes(900, 120, 900)), NOW, NOW + 60),
}
REFRESHED = {"issued_at": NOW + 5, "used_at": NOW + 5}


@pytest.mark.parametrize("kind", [ACCESS, VERIFY])
@pytest.mark.parametrize("bound", BOUNDS)
def test_each_bound_of_a_session(bound: str, kind: str) -> None:
    """An answer is given again up to the bound and not from it on."""
    session, first, until = BOUNDS[bound]
    records = Records(session, EDITOR, a_client(), an_asker())
    worker, moment = Worker(1_000_000), records.moment
    assert not any(worker.ask(asked(kind, records, CURRENT), moment, first).again for _ in range(2))
    assert worker.ask(asked(kind, records, CURRENT), moment, until - 0.001).again
    assert not worker.ask(asked(kind, records, CURRENT), moment, until).again


@pytest.mark.parametrize("kind", [ACCESS, VERIFY])
def test_a_use_that_has_to_be_noted_is_noted_each_time(kind: str) -> None:
    """Noting a use may fail. So the use is noted again until the record shows it."""
    records = Records(a_session(LONG), EDITOR, a_client(), an_asker())
    worker, moment = Worker(1_000_000), records._replace(session=a_session(LONG).but(used_at=NOW - 4320)).moment
    for _ in range(4):
        told = worker.ask(asked(kind, records, CURRENT), moment, NOW)
        assert told[1:] == ([f"used {HANDLE}"], False)


def test_the_end_of_a_secret_is_a_bound() -> None:
    """Only for the client that asks: `/verify` has none."""
    records = Records(a_session(LONG), EDITOR, a_client(), an_asker(until=NOW + 30))
    worker, moment = Worker(1_000_000), records.moment
    for kind in (ACCESS, VERIFY):
        for _ in range(2):
            worker.ask(asked(kind, records, CURRENT), moment, NOW)
        assert worker.ask(asked(kind, records, CURRENT), moment, NOW + 29.9).again
    assert worker.ask(asked(ACCESS, records, CURRENT), moment, NOW + 30) == (None, [], False)
    assert worker.ask(asked(VERIFY, records, CURRENT), moment, NOW + 30).again


@pytest.mark.parametrize("kind", [ACCESS, VERIFY])
@pytest.mark.parametrize("answered", [False, True])
def test_the_grace_of_a_refresh(kind: str, answered: bool) -> None:
    """Until a use of the new tokens is noted, nothing is remembered. The previous token ends with the grace."""
    previous = Previous(
        access=PREVIOUS.digest, refresh="x", until=NOW + 15, access_until=NOW + 15, answered=answered
    )  # fmt: skip
    records = Records(a_session(LONG, previous=previous, **REFRESHED), EDITOR, a_client(), an_asker())
    worker, moment = Worker(1_000_000), records.moment
    for _ in range(3):
        told = worker.ask(asked(kind, records, CURRENT), moment, NOW + 6)
        assert told.noted == ([] if answered else [f"answered {HANDLE}"])
    assert told.again is answered
    worker, moment = Worker(1_000_000), records.moment
    for _ in range(3):
        told = worker.ask(asked(kind, records, PREVIOUS), moment, NOW + 6)
    assert told.again is answered
    assert not worker.ask(asked(kind, records, PREVIOUS), moment, NOW + 15).again


async def test_all_records_of_an_answer_are_of_one_moment(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that ends before its user is read is inactive: the answer never shows roles from after its end."""
    user = await service.user(roles=("before",))
    grant = await service.login()
    store, held, is_held = service.deps.store, list[Callable[[], None]](), asyncio.Event()
    read = store.lookup._reader.read

    def hold_users(wanted: Any, *arguments: Any) -> None:
        if keys.user(user.sub) not in wanted:
            read(wanted, *arguments)
            return
        held.append(partial(read, wanted, *arguments))
        is_held.set()

    monkeypatch.setattr(store.lookup._reader, "read", hold_users)
    answer = asyncio.create_task(service.introspect(grant["access_token"]))
    await asyncio.wait_for(is_held.wait(), 5)
    await store.sessions.delete(grant["session_id"])
    await store.users.change(user.sub, lambda it: it.changed(roles=("after",)))
    held[0]()
    assert await answer == {"active": False}


EXCHANGER = a_client(client_id="exchanger", permissions=("exchange",), exchange_audience=("orders",))
WITH_EXCHANGED, ISSUED = exchange(a_session(LONG), CURRENT, Wish(EXCHANGER, None, audience="orders"), NOW)
# By name: the session and the exchanger later, and whether the answer is given again.
LATER: dict[str, tuple[Session, Client, bool]] = {
    "nothing": (WITH_EXCHANGED, EXCHANGER, True),
    "its client is cut off": (WITH_EXCHANGED, EXCHANGER.cut_off(NOW + 1), False),
    "its client has changed": (WITH_EXCHANGED, EXCHANGER.but(name="another"), False),
    "it was revoked": (end(WITH_EXCHANGED, ISSUED.access), EXCHANGER, False),
    "another was issued": (
        exchange(WITH_EXCHANGED, CURRENT, Wish(EXCHANGER, None, scope=""), NOW)[0], EXCHANGER, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", [ACCESS, VERIFY])
@pytest.mark.parametrize("what", LATER)
def test_an_exchanged_token_depends_on_its_client_too(what: str, kind: str) -> None:
    """The answer is given again as long as the record of the client that exchanged is the same, too."""
    session, exchanger, again = LATER[what]
    asker = an_asker(audience=("orders",))

    def moment(session: Session, exchanger: Client) -> Moment:
        read = Records(session, EDITOR, a_client(), asker).moment.read
        return Moment({**read, keys.client("exchanger"): exchanger.to_json()})

    worker, fresh = Worker(1_000_000), Worker(0)
    records = Records(WITH_EXCHANGED, EDITOR, a_client(), asker)
    for _ in range(2):
        worker.ask(asked(kind, records, ISSUED.access), moment(WITH_EXCHANGED, EXCHANGER), NOW)
    later = moment(session, exchanger)
    given, expected = (one.ask(asked(kind, records, ISSUED.access), later, NOW + 1) for one in (worker, fresh))
    assert given[:2] == expected[:2]
    assert given.again is again
    # Up to its own end, and not from there on. The use has to be noted only later.
    if again:
        assert worker.ask(asked(kind, records, ISSUED.access), later, ISSUED.exp - 0.001).again
        assert not worker.ask(asked(kind, records, ISSUED.access), later, ISSUED.exp).again
