"""Rotating: what a session recognises, what a copy of the store derives, and who gets a pair again."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core import refresh_token as refresh_tokens
from authsvc.core import token as tokens
from authsvc.core.grace import MAX_NOTED, Grace
from authsvc.core.issuing import Pair, reissue_tokens
from authsvc.core.reason import Reason
from authsvc.core.rotation import Attempt, RefreshOutcome, Rotation, rotate
from authsvc.core.session import Match, Session
from authsvc.core.spent import MAX_SPENT
from authsvc.core.token import Kind, Token
from tests.core.examples import GRACE_S, HANDLE, LIFETIMES, NOW, begun, forged, refresh_of

HOME: dict[str, Any] = {"ip": "192.0.2.7", "user_agent": "the app"}


def attempt(now: float = NOW, grace_s: int = GRACE_S, **origin: Any) -> Attempt:
    return Attempt(now, LIFETIMES.access, grace_s, **HOME | origin)


def rotated(session: Session, token: Token, *, now: float = NOW, grace_s: int = GRACE_S) -> tuple[Rotation, Session]:
    """A rotation that succeeds, and its session."""
    rotation = rotate(session, None, token, attempt(now, grace_s))
    assert rotation.outcome is RefreshOutcome.ROTATED
    assert rotation.session is not None
    return rotation, rotation.session


def by_an_earlier_version(session: Session, token: Token) -> tuple[Session, Pair]:
    """Rotate as earlier versions do: derive the pair from the session's seed, and put the spent token into the list."""
    assert session.seed is not None
    pair = Pair(*(tokens.successor(session.seed, token, kind) for kind in (Kind.ACCESS, Kind.REFRESH)))
    _, new = rotated(session, token)
    spent = (session.spent + token.short_digest)[-MAX_SPENT * 8 :]
    return new.but(access=pair.access.digest, refresh=pair.refresh_digest, spent=spent), pair


def begun_by_an_earlier_version() -> tuple[Session, Token]:
    """A session whose refresh token has no MAC."""
    token = tokens.new(Kind.REFRESH, HANDLE)
    return begun()[0].but(refresh=token.digest), token


def outcomes(session: Session, presented: Iterable[Token], now: float) -> set[RefreshOutcome]:
    return {rotate(session, None, token, attempt(now)).outcome for token in presented}


@pytest.mark.parametrize("rotations", [1, 2, 33, 100, 1000])
def test_every_token_that_was_ever_issued_is_recognised(rotations: int) -> None:
    """However often a session was refreshed, each of its earlier tokens is reuse, and the record does not grow."""
    session, pair = begun()
    issued, sizes = [refresh_of(pair)], set()
    for _ in range(rotations):
        rotation, session = rotated(session, issued[-1])
        assert rotation.pair is not None
        issued.append(refresh_of(rotation.pair))
        sizes.add(len(session.to_json()))
    late = NOW + GRACE_S
    assert outcomes(session, issued[:-1], late) == {RefreshOutcome.REUSED}
    assert {session.match(token, late) for token in issued[:-1]} == {Reason.SPENT}
    assert isinstance(session.match(issued[-1], late), Match)
    assert len(sizes) == 1
    assert session.spent == ""


def test_a_password_change_forgets_no_token() -> None:
    """The tokens from before a password change are reuse after it, also those without a MAC."""
    session, first = begun_by_an_earlier_version()
    rotation, session = rotated(session, first)
    second = refresh_of(rotation.pair or begun()[1])
    session, pair = reissue_tokens(session, HANDLE, now=NOW + 1, lifetimes=LIFETIMES)
    assert outcomes(session, [first, second], NOW + 1) == {RefreshOutcome.REUSED}
    assert rotated(session, refresh_of(pair), now=NOW + 1)[0].outcome is RefreshOutcome.ROTATED


@given(st.integers(0, 3), st.data())
def test_a_forged_token_changes_nothing(rotations: int, data: st.DataObject) -> None:
    """A secret that the session never issued is neither reuse nor a refresh, whatever its bits."""
    session, pair = begun()
    token = refresh_of(pair)
    for _ in range(rotations):
        rotation, session = rotated(session, token)
        token = refresh_of(rotation.pair or pair)
    secret = data.draw(st.sampled_from([token.secret ^ 1 << bit for bit in range(160)]) | st.integers(0, 2**160))
    presented = tokens.assemble(Kind.REFRESH, HANDLE, secret)
    grace = Grace.begun(tokens.new_seed(), None, None)
    told = rotate(session, grace, presented, attempt())
    assert (told.outcome, told.session, told.grace, told.pair) == (RefreshOutcome.FORGED, session, grace, None)


def test_each_rotation_has_a_seed_of_its_own() -> None:
    """The same token rotates into another pair each time. So nobody derives a pair whose grace is over."""
    session, pair = begun()
    rotations = [rotated(session, refresh_of(pair))[0] for _ in range(3)]
    assert len({refresh_of(rotation.pair or pair) for rotation in rotations}) == 3
    assert len({rotation.grace.seed for rotation in rotations if rotation.grace}) == 3


def test_a_record_and_a_spent_token_derive_nothing() -> None:
    """No secret of the record, used as the seed of a rotation or of a session, derives a current token."""
    session, pair = begun()
    spent = refresh_of(pair)
    _, session = rotated(session, spent)
    held = [text for text in vars_of(session) if text]
    assert session.seed in held
    for seed in held:
        derived = [tokens.successor(seed, spent, kind) for kind in (Kind.ACCESS, Kind.REFRESH)]
        derived += [refresh_tokens.successor(seed, other, spent) for other in held]
        assert not any(isinstance(session.match(token, NOW), Match) for token in derived)


def vars_of(session: Session) -> list[str]:
    """Every text in the record."""
    parts = [session, *([session.previous] if session.previous else [])]
    return [value for part in parts for name in part.__struct_fields__ if isinstance(value := getattr(part, name), str)]


def test_without_a_grace_no_seed_is_kept() -> None:
    """With a grace of 0 a rotation leaves nothing from which its pair can be derived, and removes what there was."""
    session, pair = begun()
    stale = Grace.begun(tokens.new_seed(), None, None)
    assert rotate(session, stale, refresh_of(pair), attempt(grace_s=0)).grace is None
    assert rotate(session, stale, refresh_of(pair), attempt(NOW + 0.9, grace_s=1)).grace is not None


def test_the_seed_lives_no_longer_than_the_grace() -> None:
    """The grace ends at a whole second, and its record with it, also if a repeat is noted in it."""
    session, pair = begun()
    rotation = rotate(session, None, refresh_of(pair), attempt(NOW + 0.75))
    assert rotation.session is not None
    assert rotation.grace_s == GRACE_S - 0.75
    again = rotate(rotation.session, rotation.grace, refresh_of(pair), attempt(NOW + 8))
    assert (again.outcome, again.grace_s) == (RefreshOutcome.REPEATED, GRACE_S - 8)


def test_within_the_grace_but_without_its_record_there_is_no_pair() -> None:
    """If the store has dropped the seed of the rotation, the spent token is reuse, and gets no other pair."""
    session, pair = begun()
    _, session = rotated(session, refresh_of(pair))
    other = Grace.begun(tokens.new_seed(), HOME["ip"], HOME["user_agent"])
    for grace in (None, other):
        assert rotate(session, grace, refresh_of(pair), attempt()).outcome is RefreshOutcome.REUSED


ELSEWHERE: list[dict[str, Any]] = [
    {"ip": "192.0.3.7"},
    {"user_agent": "another"},
    {"ip": None},
    {"user_agent": None},
    {"ip": "2001:db8::7"},
]


@pytest.mark.parametrize("origin", ELSEWHERE, ids=str)
def test_once_the_answer_arrived_a_repeat_from_elsewhere_is_reuse(origin: dict[str, Any]) -> None:
    """Before the first use of the new pair a repeat gets it from anywhere. After that use it ends the session."""
    session, pair = begun()
    rotation, session = rotated(session, refresh_of(pair))
    before = rotate(session, rotation.grace, refresh_of(pair), attempt(**origin))
    assert (before.outcome, before.pair) == (RefreshOutcome.REPEATED, rotation.pair)
    used = session.with_answer(session.access)
    after = rotate(used, before.grace, refresh_of(pair), attempt(**origin))
    assert (after.outcome, after.session, after.pair) == (RefreshOutcome.REUSED_ELSEWHERE, None, None)
    home = rotate(used, before.grace, refresh_of(pair), attempt(ip="192.0.2.200"))
    assert (home.outcome, home.pair) == (RefreshOutcome.REPEATED, rotation.pair)


def test_the_origin_is_that_of_the_refresh_that_succeeded() -> None:
    """A repeat from elsewhere does not become the new origin: the owner still gets the pair, and the thief does not."""
    session, pair = begun()
    rotation, session = rotated(session, refresh_of(pair))
    thief: dict[str, Any] = {"ip": "203.0.113.1", "user_agent": "curl"}
    stolen = rotate(session, rotation.grace, refresh_of(pair), attempt(**thief))
    used = session.with_answer(session.access)
    owner = rotate(used, stolen.grace, refresh_of(pair), attempt())
    assert owner.outcome is RefreshOutcome.REPEATED
    assert rotate(used, owner.grace, refresh_of(pair), attempt(**thief)).session is None


def test_only_a_use_of_the_current_tokens_shows_that_the_answer_arrived() -> None:
    """The previous access token still works, and its use is no sign. Nor is a use that another refresh overtook."""
    session, first = begun()
    rotation, session = rotated(session, refresh_of(first))
    assert rotation.pair is not None
    old, new = (session.match(token, NOW) for token in (first.access, rotation.pair.access))
    assert isinstance(old, Match)
    assert isinstance(new, Match)
    assert (old.current, new.current) == (False, True)
    assert session.previous
    assert session.previous.awaits_answer(NOW)
    assert not session.previous.awaits_answer(NOW + GRACE_S)
    assert session.with_answer(first.access.digest) is session
    used = session.with_answer(rotation.pair.access.digest)
    assert used.previous
    assert not used.previous.awaits_answer(NOW)
    assert used.with_answer(used.access) is used
    _, next_session = rotated(used, refresh_of(rotation.pair))
    assert next_session.previous
    assert next_session.previous.awaits_answer(NOW)


def test_only_the_first_repeats_are_noted() -> None:
    """The audit trail gets a bounded number of the repeats of one refresh. All of them get the pair."""
    session, pair = begun()
    rotation, session = rotated(session, refresh_of(pair))
    grace, noted = rotation.grace, []
    for _ in range(3 * MAX_NOTED):
        again = rotate(session, grace, refresh_of(pair), attempt())
        assert again.pair == rotation.pair
        assert again.session is session
        noted.append(again.noted)
        grace = again.grace
    assert noted == [True] * MAX_NOTED + [False] * 2 * MAX_NOTED


def test_a_token_from_before_the_upgrade_works_and_is_remembered() -> None:
    """A refresh token without a MAC is rotated once. Then it is in the list, whatever number of rotations follows."""
    session, old = begun_by_an_earlier_version()
    rotation, session = rotated(session, old)
    for _ in range(100):
        rotation, session = rotated(session, refresh_of(rotation.pair or begun()[1]))
    assert session.spent == old.short_digest
    assert outcomes(session, [old], NOW + GRACE_S) == {RefreshOutcome.REUSED}


def test_the_list_of_tokens_without_a_mac_is_bounded() -> None:
    """Each of the last 32 tokens that an earlier version issued is reuse, and the record grows no further."""
    session, token = begun_by_an_earlier_version()
    issued = []
    for _ in range(3 * MAX_SPENT):
        issued.append(token)
        session, pair = by_an_earlier_version(session, token)
        token = refresh_of(pair)
    assert len(session.spent) == MAX_SPENT * 8
    assert outcomes(session, issued[-MAX_SPENT:], NOW + GRACE_S) == {RefreshOutcome.REUSED}


def test_a_lost_answer_of_an_earlier_version_is_given_again() -> None:
    """Within the grace this version derives the pair that a worker of an earlier version answered with.

    A grace that this version stored for an earlier rotation does not confuse it.
    """
    session, pair = begun()
    rotation, session = rotated(session, refresh_of(pair))
    presented = refresh_of(rotation.pair or pair)
    session, answered = by_an_earlier_version(session, presented)
    for grace in (None, rotation.grace):
        again = rotate(session, grace, presented, attempt())
        assert (again.outcome, again.pair, again.grace) == (RefreshOutcome.REPEATED, answered, grace)


def test_no_representation_shows_a_seed() -> None:
    """No repr of a grace, a rotation or a session shows what tokens are derived with."""
    session, pair = begun()
    rotation, session = rotated(session, refresh_of(pair))
    assert rotation.grace is not None
    for shown in (repr(rotation), repr(rotation.grace), f"{rotation.grace}", repr([session])):
        assert rotation.grace.seed not in shown
        assert rotation.grace.origin not in shown


def test_a_forged_token_is_refused_by_a_session_without_refresh() -> None:
    """A session in cookie mode has no seed, and recognises nothing."""
    session, _ = begun(refreshable=False)
    assert rotate(session, None, forged(Kind.REFRESH), attempt()).outcome is RefreshOutcome.FORGED
