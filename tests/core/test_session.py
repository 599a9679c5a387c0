"""Sessions: beginning, rotating, deciding, touching, reissuing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core import token as tokens
from authsvc.core.client import Lifetimes
from authsvc.core.grace import Grace
from authsvc.core.issuing import Opening, Pair, begin, reissue_tokens
from authsvc.core.reason import Reason
from authsvc.core.record import Service
from authsvc.core.rotation import Attempt, RefreshOutcome, Rotation, rotate
from authsvc.core.session import ISSUED, LOGIN, Active, Inactive, Match, Session, decide, inactive_reason
from authsvc.core.token import Kind, Token
from authsvc.store.encoding import load
from tests.core.examples import (
    GRACE_S,
    HANDLE,
    LIFETIMES,
    NOW,
    a_client,
    a_user,
    begun,
    forged,
    found,
    refresh_of,
)


def rotated(
    session: Session,
    token: Token,
    *,
    now: float,
    grace: Grace | None = None,
    grace_s: int = GRACE_S,
    scope: str | None = None,
) -> Rotation:
    return rotate(session, grace, token, Attempt(now, LIFETIMES.access, grace_s, scope))


def after(rotation: Rotation) -> tuple[Session, Pair]:
    """The record and the pair of a rotation that has both."""
    assert rotation.session is not None
    assert rotation.pair is not None
    return rotation.session, rotation.pair


def opens(session: Session, token: Token | None, now: float) -> bool:
    return token is not None and isinstance(session.match(token, now), Match)


def scope_of(session: Session, token: Token) -> str:
    match = session.match(token, NOW)
    assert isinstance(match, Match)
    return match.scope


def test_a_session_begins_with_digests_only() -> None:
    """Both tokens open the record of a new session, which contains neither."""
    session, pair = begun()
    stored = session.to_json().decode()
    assert opens(session, pair.access, NOW)
    assert opens(session, pair.refresh, NOW)
    for token in (pair.access, refresh_of(pair)):
        assert token.text not in stored
        assert token.text[16:43] not in stored


def test_a_browsers_session_takes_few_bytes() -> None:
    """The record of a usual login fits 384 bytes with Redis' 6 bytes of its own. The next size of jemalloc is 448."""
    chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
    opening = Opening(
        user=a_user(sub="0123456789ab"),
        client=a_client(client_id="0123456789ab", audience=("https://orders.example",)),
        service=Service(epoch=NOW * 1000),
        lifetimes=Lifetimes(86400, 14 * 86400, 30 * 86400),
        refreshable=True,
        scope="orders:read",
        amr=("pwd",),
        ip="203.0.113.255",
        user_agent=chrome,
    )
    session, _ = begin(HANDLE, opening, now=NOW)
    assert session.user_agent == "Chrome 142 on Linux"
    assert len(session.to_json()) <= 378


@pytest.mark.parametrize(
    ("origin", "amr", "logged_in"),
    [
        (LOGIN, ("pwd",), True),
        (ISSUED, (), False),
        (ISSUED, ("pwd",), False),
        (LOGIN, (), False),
        ("new", ("x",), False),
    ],
)
def test_only_a_login_has_a_time_of_authentication(origin: str, amr: tuple[str, ...], logged_in: bool) -> None:
    """A session counts as logged in only if its record says so twice: an earlier version stored no origin, only amr."""
    session = load(Session, begun()[0].but(origin=origin, amr=amr).to_json())
    assert session.logged_in is logged_in
    assert session.auth_time == (NOW if logged_in else None)


def test_a_login_pays_nothing_for_its_origin() -> None:
    """The record of a login omits the origin."""
    assert b'"by"' not in begun()[0].to_json()
    assert b'"by":"issued"' in begun()[0].but(origin=ISSUED).to_json()


def test_a_session_without_refresh_has_no_seed() -> None:
    """In cookie mode a session has no refresh token and no seed, and accepts no refresh token."""
    session, pair = begun(refreshable=False)
    assert (session.refresh, session.seed, pair.refresh) == (None, None, None)
    assert session.match(forged(Kind.REFRESH), NOW) is Reason.FORGED
    assert rotated(session, forged(Kind.REFRESH), now=NOW).outcome is RefreshOutcome.FORGED


def test_rotation() -> None:
    """The current refresh token gives a new pair and becomes the previous one. The rest of the session stays."""
    session, pair = begun()
    rotation = rotated(session, refresh_of(pair), now=NOW + 1000.7)
    new, successors = after(rotation)
    assert rotation.outcome is RefreshOutcome.ROTATED
    assert (new.access, new.refresh) == (successors.access.digest, refresh_of(successors).digest)
    assert (new.iat, new.exp, new.seen) == (NOW + 1000, NOW + 1900, NOW + 1000)
    for name in (
        "sub",
        "client_id",
        "scope",
        "aud",
        "auth_time",
        "amr",
        "created_ms",
        "end",
        "idle_s",
        "epochs",
        "seed",
    ):
        assert getattr(new, name) == getattr(session, name)
    assert opens(new, successors.access, NOW + 1001)
    assert not opens(new, pair.refresh, NOW + 1001)


def test_rotation_never_outlives_the_session() -> None:
    """A refreshed access token ends with the session at the latest. Rotating does not move the end."""
    session, pair = begun()
    new, _ = after(rotated(session, refresh_of(pair), now=session.end - 5))
    assert new.exp == new.end == session.end


def test_a_retry_inside_the_grace_gets_the_same_pair() -> None:
    """The previous refresh token gives the identical pair until its grace is over, and writes nothing."""
    session, pair = begun()
    rotation = rotated(session, refresh_of(pair), now=NOW)
    new, successors = after(rotation)
    for later in (0, 1, GRACE_S - 0.001):
        again = rotated(new, refresh_of(pair), now=NOW + later, grace=rotation.grace)
        assert again.outcome is RefreshOutcome.REPEATED
        assert again.pair == successors
        assert again.session is new


@pytest.mark.parametrize("grace_s", [0, 1, GRACE_S])
def test_reuse_after_the_grace_ends_the_session(grace_s: int) -> None:
    """When the grace is over, the spent token ends the session. Without a grace it does so at once."""
    session, pair = begun()
    new, _ = after(rotated(session, refresh_of(pair), now=NOW, grace_s=grace_s))
    reuse = rotated(new, refresh_of(pair), now=NOW + grace_s, grace_s=grace_s)
    assert (reuse.outcome, reuse.session, reuse.pair) == (RefreshOutcome.REUSED, None, None)


def test_an_older_generation_ends_the_session_even_inside_the_grace() -> None:
    """Only the previous token has a grace. Any older token is reuse at any time."""
    session, first = begun()
    session, second = after(rotated(session, refresh_of(first), now=NOW))
    rotation = rotated(session, refresh_of(second), now=NOW)
    session, grace = after(rotation)[0], rotation.grace
    assert rotated(session, refresh_of(first), now=NOW, grace=grace).outcome is RefreshOutcome.REUSED
    assert rotated(session, refresh_of(second), now=NOW, grace=grace).outcome is RefreshOutcome.REPEATED


def test_a_forged_token_changes_nothing() -> None:
    """A secret that was never issued leaves the record as it is: a handle alone ends no session."""
    session, pair = begun()
    session, _ = after(rotated(session, refresh_of(pair), now=NOW))
    rotation = rotated(session, forged(Kind.REFRESH), now=NOW)
    assert rotation.outcome is RefreshOutcome.FORGED
    assert rotation.session is session
    assert rotation.pair is None


def test_a_narrowed_scope_holds_for_one_access_token() -> None:
    """A refresh may narrow the new access token. The refresh token keeps the whole scope for the next one."""
    session, pair = begun(scope="read write")
    session, narrow = after(rotated(session, refresh_of(pair), now=NOW, scope="read"))
    assert scope_of(session, narrow.access) == session.granted == "read"
    assert scope_of(session, refresh_of(narrow)) == "read write"
    session, wide = after(rotated(session, refresh_of(narrow), now=NOW))
    assert scope_of(session, wide.access) == "read write"
    assert scope_of(session, narrow.access) == "read"
    session, empty = after(rotated(session, refresh_of(wide), now=NOW, scope=""))
    assert scope_of(session, empty.access) == ""


def test_the_previous_access_token_lives_through_the_grace_only() -> None:
    """The previous access token works during the grace. Older access tokens do not."""
    session, first = begun()
    session, second = after(rotated(session, refresh_of(first), now=NOW))
    assert opens(session, first.access, NOW + GRACE_S - 0.001)
    assert session.match(first.access, NOW + GRACE_S) is Reason.SPENT
    session, _ = after(rotated(session, refresh_of(second), now=NOW))
    assert opens(session, second.access, NOW)
    assert session.match(first.access, NOW) is Reason.FORGED


def test_a_refresh_revives_no_expired_access_token() -> None:
    """An access token that expired before the refresh stays expired during the grace."""
    session, pair = begun()
    expired = NOW + LIFETIMES.access
    assert session.match(pair.access, expired) is Reason.EXPIRED
    session, _ = after(rotated(session, refresh_of(pair), now=expired))
    assert not opens(session, pair.access, expired)


def test_the_grace_prolongs_no_access_token() -> None:
    """An access token that expires within the grace expires on time."""
    session, pair = begun()
    session, _ = after(rotated(session, refresh_of(pair), now=NOW + LIFETIMES.access - 3))
    assert opens(session, pair.access, NOW + LIFETIMES.access - 0.1)
    assert not opens(session, pair.access, NOW + LIFETIMES.access)


def test_reissuing_after_a_password_change() -> None:
    """The old tokens stop at once, without a grace. The old refresh token counts as spent."""
    session, first = begun()
    session, second = after(rotated(session, refresh_of(first), now=NOW, scope="read"))
    at = NOW + 1  # inside the grace of that rotation
    fresh, pair = reissue_tokens(session, HANDLE, now=at, lifetimes=LIFETIMES)
    assert opens(fresh, pair.access, at)
    assert opens(fresh, pair.refresh, at)
    for old in (first.access, second.access, refresh_of(first), refresh_of(second)):
        assert not opens(fresh, old, at)
    for earlier in (first, second):
        assert rotated(fresh, refresh_of(earlier), now=at).outcome is RefreshOutcome.REUSED
    assert (fresh.auth_time, fresh.iat, fresh.exp, fresh.end) == (at, at, at + LIFETIMES.access, session.end)
    assert scope_of(fresh, pair.access) == session.scope
    assert fresh.seed == session.seed, "it recognises the tokens from before the change"


def test_reissuing_for_a_cookie_session_gives_no_refresh_token() -> None:
    """A session without a refresh token gets none. Its access token ends with it."""
    session, old = begun(refreshable=False, lifetimes=Lifetimes(3600, 600, 3600))
    fresh, pair = reissue_tokens(session, HANDLE, now=NOW + 60, lifetimes=Lifetimes(3600, 600, 3600))
    assert pair.refresh is None
    assert fresh.refresh is None
    assert fresh.exp == fresh.end == NOW + 3600
    assert not opens(fresh, old.access, NOW + 60)


@pytest.mark.parametrize(
    ("idle_s", "interval_s"), [(86400, 4320), (3600, 180), (1200, 60), (600, 60), (100, 50), (60, 30), (2, 1)]
)
def test_a_use_is_noted_at_most_once_per_interval(idle_s: int, interval_s: int) -> None:
    """Uses are written down once per twentieth of the idle time and at least a minute apart, if that is in time."""
    session, _ = begun(lifetimes=Lifetimes(idle_s, idle_s, idle_s))
    assert not session.due_for_touch(NOW + interval_s - 0.01)
    assert session.due_for_touch(NOW + interval_s)
    assert session.touched(NOW + interval_s).idle_deadline == NOW + interval_s + idle_s


@given(st.integers(1, 100_000), st.integers(0, 100_000), st.integers(1, 100_000))
def test_a_cached_answer_is_asked_for_again_in_time(idle_s: int, age_s: int, access_s: int) -> None:
    """recheck_at is in the future, but never after the token's expiry, the idle deadline or the next write of a use."""
    session, _ = begun(lifetimes=Lifetimes(access_s, idle_s, 10**6))
    now = NOW + age_s + 0.5
    if session.ended(now) or now >= session.exp:
        return
    recheck_at = session.recheck_at(now, session.exp)
    assert now < recheck_at <= min(session.exp, session.idle_deadline)
    if session.due_for_touch(now):
        assert recheck_at <= now + session.touch_interval_s
    else:
        assert session.due_for_touch(recheck_at) or recheck_at == session.exp, "the next lookup is one that is noted"


@pytest.mark.parametrize("idle_s", [2, 3, 61, 120, 1800, 14 * 86400])
def test_a_session_used_through_a_cache_does_not_go_idle(idle_s: int) -> None:
    """A cache that asks again at recheck_at keeps a session in use alive."""
    session, _ = begun(lifetimes=Lifetimes(10 * idle_s, idle_s, 10 * idle_s))
    now: float = NOW + 1
    while now < session.exp - 1:
        assert session.ended(now) is None
        recheck_at = session.recheck_at(now, session.exp)
        if session.due_for_touch(now):
            session = session.touched(now)
        now = recheck_at


@given(st.floats(-1e6, 1e6, allow_nan=False))
def test_touching_moves_only_the_idle_deadline_and_only_forward(by: float) -> None:
    """A late or reordered touch never takes idle time away, and no touch moves the absolute end."""
    session, _ = begun()
    touched = session.touched(NOW + by)
    assert touched.seen == max(NOW, int(NOW + by))
    assert touched.but(used_at=session.used_at) == session


def test_the_deadlines_are_exclusive() -> None:
    """A session has ended at its deadline. The absolute deadline is reported before the idle one."""
    session, _ = begun()
    assert session.ended(NOW + LIFETIMES.idle - 0.001) is None
    assert session.ended(NOW + LIFETIMES.idle) is Reason.IDLE
    used = session.touched(session.end - 1)
    assert used.ended(session.end - 0.001) is None
    assert used.ended(session.end) is Reason.ENDED
    assert session.ended(session.end) is Reason.ENDED
    assert session.expires_at() == session.end == NOW + LIFETIMES.session


CUT_OFF = a_user().cut_off(NOW)

# Each row changes one thing about an active session, and names the reason.
REASONS: list[tuple[str, Reason | None, dict[str, Any], float]] = [
    ("nothing", None, {}, 0),
    ("access token expired", Reason.EXPIRED, {}, LIFETIMES.access),
    ("idle", Reason.IDLE, {"by": "refresh"}, LIFETIMES.idle),
    ("ended", Reason.ENDED, {"by": "refresh"}, LIFETIMES.session),
    ("forged access token", Reason.FORGED, {"by": "forged access"}, 0),
    ("forged refresh token", Reason.FORGED, {"by": "forged refresh"}, 0),
    ("a reset code", Reason.FORGED, {"by": "reset code"}, 0),
    ("spent refresh token", Reason.SPENT, {"by": "spent refresh"}, 0),
    ("previous access token", None, {"by": "spent access"}, 0),
    ("previous access token after the grace", Reason.SPENT, {"by": "spent access"}, GRACE_S),
    ("no user", Reason.USER_GONE, {"user": None}, 0),
    ("suspended", Reason.USER_SUSPENDED, {"user": a_user(status="suspended")}, 0),
    ("user cut off", Reason.USER_CUT_OFF, {"user": CUT_OFF}, 0),
    ("user cut off sparing another", Reason.USER_CUT_OFF, {"user": CUT_OFF.but(spared="000000000000")}, 0),
    ("user cut off sparing this one", None, {"user": CUT_OFF.but(spared=HANDLE)}, 0),
    ("user's epoch fell (a backup restored)", Reason.USER_CUT_OFF, {"user": a_user(epoch=1)}, 0),
    ("no client", Reason.CLIENT_GONE, {"client": None}, 0),
    ("client cut off", Reason.CLIENT_CUT_OFF, {"client": a_client().cut_off(NOW)}, 0),
    ("service cut off", Reason.SERVICE_CUT_OFF, {"service": Service(epoch=NOW * 1000).cut_off(NOW)}, 0),
]


def test_the_table_names_every_reason() -> None:
    """All reasons but `unknown` (there is no record) come out of `decide`, and each is in the table.

    Some are reasons of an exchanged token or of a key alone: see test_exchange.py and test_api_key.py.
    """
    elsewhere = {Reason.REVOKED, Reason.KEYS_CUT_OFF, Reason.OUTSIDE}
    assert {reason for _, reason, _, _ in REASONS} == {None, *Reason} - {Reason.UNKNOWN} - elsewhere


@pytest.mark.parametrize(("what", "reason", "change", "later"), REASONS, ids=[row[0] for row in REASONS])
def test_decide(what: str, reason: Reason | None, change: dict[str, Any], later: float) -> None:
    """A token is active only if nothing speaks against it."""
    change = dict(change)
    session, pair = begun()
    by = change.pop("by", "access")
    if by.startswith("spent"):
        session, _ = after(rotated(session, refresh_of(pair), now=NOW))
    token = {
        "forged access": forged(Kind.ACCESS),
        "forged refresh": forged(Kind.REFRESH),
        "reset code": forged(Kind.RESET),
    }.get(by, refresh_of(pair) if "refresh" in by else pair.access)
    verdict = decide(found(session, **change), token, NOW + later)
    if reason is None:
        assert isinstance(verdict, Active)
    else:
        assert verdict == Inactive(reason)


def test_inactive_reason_speaks_for_the_whole_session() -> None:
    """The reason of a session is the reason of its tokens, except for reasons of a single token."""
    session, _ = begun()
    assert inactive_reason(found(session), NOW) is None
    assert inactive_reason(found(session, user=CUT_OFF), NOW) is Reason.USER_CUT_OFF
    assert inactive_reason(found(session), NOW + LIFETIMES.idle) is Reason.IDLE


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30)), max_size=60))
def test_at_most_one_refresh_token_is_current(steps: list[tuple[int, int]]) -> None:
    """In any order of old and new tokens, at most one refresh token opens the session, and reuse is final."""
    session, pair = begun()
    issued, now, grace = [refresh_of(pair)], NOW, None
    for back, seconds in steps:
        now += seconds
        rotation = rotated(session, issued[max(len(issued) - 1 - back, 0)], now=now, grace=grace)
        if rotation.session is None:
            assert rotation.outcome is RefreshOutcome.REUSED
            return
        session, grace = rotation.session, rotation.grace
        if rotation.pair is not None and rotation.outcome is RefreshOutcome.ROTATED:
            issued.append(refresh_of(rotation.pair))
        elif rotation.pair is not None:
            assert rotation.pair.refresh == issued[-1]
        assert [opens(session, token, now) for token in issued] == [False] * (len(issued) - 1) + [True]


def test_unknown_kinds_open_nothing() -> None:
    """A reset code or a client secret never opens a session, whatever its digest."""
    session, _ = begun()
    for kind in (Kind.RESET, Kind.SECRET):
        planted = tokens.new(kind, HANDLE)
        assert session.but(access=planted.digest, refresh=planted.digest).match(planted, NOW) is Reason.FORGED


def test_the_record_survives_storing() -> None:
    """A session is read back as it was written, in every state."""
    session, pair = begun()
    narrowed, second = after(rotated(session, refresh_of(pair), now=NOW, scope=""))
    cookie, _ = begun(refreshable=False)
    again, _ = after(rotated(narrowed, refresh_of(second), now=NOW))
    for record in (session, narrowed, again, cookie):
        assert load(Session, record.to_json()) == record


def test_no_representation_shows_what_tokens_are_derived_with() -> None:
    """No repr shows the seed or a digest."""
    session, _ = begun()
    assert session.seed
    for shown in (repr(session), str(session), repr(found(session)), repr([session])):
        assert session.seed not in shown
        assert session.access not in shown
