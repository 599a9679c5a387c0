"""The record of a session with exchanged tokens: what each takes, and what it follows from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core.client import Client
from authsvc.core.exchange import Issued, Wish, end, exchange
from authsvc.core.exchanged import LIVES_S, MOST
from authsvc.core.issuing import reissue_tokens
from authsvc.core.reason import Reason
from authsvc.core.session import Active, Inactive, Match, Session, decide
from authsvc.core.token import Kind, Token
from authsvc.errors import InvalidRequest, StoreUnavailable
from authsvc.store.encoding import load
from tests.core.examples import HANDLE, LIFETIMES, NOW, a_client, begun, forged, found

SCOPE = " ".join(f"scope{n}" for n in range(20))
LONGEST = "https://billing.example.org/a/longer/one"


def an_exchanger(name: str = "0123456789ab", **fields: object) -> Client:
    known = {"client_id": name, "permissions": ("exchange",), "exchange_audience": ("billing", "mail", LONGEST)}
    return a_client(**known | fields)


def a_wish(client: Client | None = None, audience: str = "billing", scope: str | None = None) -> Wish:
    return Wish(client or an_exchanger(), None, scope, audience)


def a_session() -> tuple[Session, Token]:
    session, pair = begun(scope=SCOPE)
    return session.but(aud=("orders", "files")), pair.access


def test_a_session_without_exchanged_tokens_pays_nothing() -> None:
    session, _ = a_session()
    assert b'"xs":' not in session.to_json()
    assert b'"ex":' not in session.to_json()


def test_each_takes_at_most_160_bytes() -> None:
    """A session that has exchanged tokens grows by at most 40 bytes, and by 160 for each of them, in every form."""
    session, subject = a_session()
    empty = len(session.to_json())
    latest = NOW + LIFETIMES.session - LIVES_S
    session = session.but(used_at=NOW, lifetimes=LIFETIMES._replace(access=LIFETIMES.session))
    sizes, first = [], None
    for number in range(MOST):
        before = len(session.to_json())
        source = first if number % 2 and first else subject
        wish = a_wish(an_exchanger(f"{number:012}"), LONGEST, f"scope{number} scope19" if first else None)
        session, made = exchange(session, source, wish, latest)
        first = first or made.access
        sizes.append(len(session.to_json()) - before)
    session = end(session, made.access)
    assert sizes[0] <= 40 + 160
    assert max(sizes[1:]) <= 160
    assert len(session.to_json()) - empty <= 40 + MOST * 160


def test_the_record_survives_storing() -> None:
    session, subject = a_session()
    session, first = exchange(session, subject, a_wish(), NOW)
    session, _ = exchange(session, first.access, a_wish(audience="mail", scope="scope3"), NOW)
    session = end(session, first.access)
    assert load(Session, session.to_json()) == session
    assert "exchange_seed" not in repr(session)


def test_the_subject_is_matched_with_the_record_that_is_replaced() -> None:
    """What was replaced since the subject was looked up gives no token: after a step-up it would have its strength."""
    session, subject = a_session()
    stepped, _ = reissue_tokens(session, HANDLE, now=NOW, lifetimes=LIFETIMES)
    for token in (subject, forged(Kind.ACCESS)):
        with pytest.raises(InvalidRequest):
            exchange(stepped, token, a_wish(), NOW)
    session, first = exchange(session, subject, a_wish(), NOW)
    with pytest.raises(InvalidRequest):
        exchange(end(session, first.access), first.access, a_wish(), NOW)


def test_new_proof_ends_them() -> None:
    """The new tokens of the session have a strength that a token from before must not have."""
    session, subject = a_session()
    session, made = exchange(session, subject, a_wish(), NOW)
    stepped, _ = reissue_tokens(session, HANDLE, now=NOW, lifetimes=LIFETIMES)
    assert stepped.match(made.access, NOW) is Reason.FORGED
    assert (stepped.exchange_seed, stepped.exchanged) == (None, ())


def test_the_token_follows_from_the_subject_and_the_seed() -> None:
    """Neither the subject alone nor the record alone gives the token."""
    session, subject = a_session()
    one, first = exchange(session, subject, a_wish(), NOW)
    other, second = exchange(session, subject, a_wish(), NOW)
    assert first.access != second.access, "each record has a seed of its own"
    assert first.access.text not in one.to_json().decode()
    assert exchange(one, subject, a_wish(), NOW + 1)[1] == first
    assert isinstance(one.match(first.access, NOW), Match)
    assert other.match(first.access, NOW) is Reason.FORGED


def test_nothing_comes_back() -> None:
    """The same request gets a token that no request got before, once that one has ended or expired."""
    session, subject = a_session()
    session = session.but(lifetimes=LIFETIMES._replace(access=LIFETIMES.session))
    seen = set()
    for round_ in range(3 * MOST):
        session, made = exchange(session, subject, a_wish(), NOW + round_)
        assert made.access.text not in seen
        seen.add(made.access.text)
        session = end(session, made.access)
    for round_ in range(3):
        session, made = exchange(session, subject, a_wish(), NOW + 1000 * (round_ + 1))
        assert made.access.text not in seen
        seen.add(made.access.text)
    assert len(session.exchanged) == 1, "the expired ones have gone"


def test_ending_it_twice_changes_nothing_more() -> None:
    session, subject = a_session()
    session, made = exchange(session, subject, a_wish(), NOW)
    ended = end(session, made.access)
    assert ended is not session
    assert end(ended, made.access) is ended
    assert end(ended, forged(Kind.ACCESS)) is ended
    assert ended.match(made.access, NOW) is Reason.REVOKED
    assert isinstance(ended.match(subject, NOW), Match)


def test_a_source_that_is_gone_has_ended() -> None:
    """Should the record lose the token from which another comes, that one is dead."""
    session, subject = a_session()
    session, first = exchange(session, subject, a_wish(), NOW)
    session, second = exchange(session, first.access, a_wish(audience="mail"), NOW)
    orphaned = session.but(exchanged=session.exchanged[1:])
    assert orphaned.match(second.access, NOW) is Reason.REVOKED


EXCHANGER = an_exchanger()


@pytest.mark.parametrize(
    ("clients", "reason"),
    [
        ({EXCHANGER.client_id: EXCHANGER}, None),
        ({EXCHANGER.client_id: None}, Reason.CLIENT_GONE),
        ({EXCHANGER.client_id: EXCHANGER.cut_off(NOW)}, Reason.CLIENT_CUT_OFF),
    ],
)
def test_it_ends_with_the_client_that_exchanged(clients: dict[str, Client | None], reason: Reason | None) -> None:
    session, subject = a_session()
    session, made = exchange(session, subject, a_wish(EXCHANGER), NOW)
    verdict = decide(found(session, exchangers=clients), made.access, NOW)
    assert isinstance(verdict, Active) if reason is None else verdict == Inactive(reason)
    assert isinstance(decide(found(session, exchangers=clients), subject, NOW), Active)


def test_a_client_that_was_not_read_ends_nothing() -> None:
    """A verdict that needs the record of a client which was not read is neither active nor inactive."""
    session, subject = a_session()
    session, made = exchange(session, subject, a_wish(EXCHANGER), NOW)
    with pytest.raises(StoreUnavailable):
        decide(found(session), made.access, NOW)
    assert isinstance(decide(found(session), subject, NOW), Active)


@given(st.lists(st.sampled_from(SCOPE.split()), unique=True), st.integers(0, LIFETIMES.session))
def test_rights_only_shrink(words: list[str], later: int) -> None:
    """The scope is within that of the subject, and the end never later than the session's or the subject's."""
    session, subject = a_session()
    session = session.but(lifetimes=LIFETIMES._replace(access=LIFETIMES.session), used_at=NOW + later)
    if later >= LIFETIMES.session:
        return
    session, made = exchange(session, subject, a_wish(scope=" ".join(words)), NOW + later)
    assert set(made.scope.split()) == set(words)
    assert made.exp == min(NOW + later + LIVES_S, session.end)
    between = NOW + later + min(100, (made.exp - NOW - later) // 2)
    session, second = exchange(session, made.access, a_wish(an_exchanger("b"), "mail"), between)
    assert (second.scope, second.exp) == (made.scope, made.exp)
    _matches(session, made, between)
    _matches(session, second, between)


def _matches(session: Session, issued: Issued, now: int) -> None:
    match = session.match(issued.access, now)
    assert isinstance(match, Match)
    assert (match.scope, match.exp, match.current) == (issued.scope, issued.exp, False)
    assert session.match(issued.access, issued.exp) is Reason.EXPIRED
