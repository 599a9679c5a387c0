"""The record of a key: what decides about it, and its rotation."""

from typing import Any

import pytest

from authsvc.core import api_key
from authsvc.core.api_key import Contents
from authsvc.core.reason import Reason
from authsvc.core.record import Service
from authsvc.core.session import Active, Epochs, Inactive, Session, decide
from authsvc.core.token import Kind, Token, parse
from authsvc.core.user import User
from tests.core.examples import HANDLE, NOW, a_client, a_user, begun, forged, found

DAY = 86400
OWNER = a_user().with_keys()


def a_key(owner: User = OWNER, **contents: Any) -> tuple[Session, Token]:
    known: dict[str, Any] = {"name": "backup", "scope": "read", "aud": (), "life_s": 90 * DAY}
    token = api_key.new_token("", HANDLE)
    epochs = Epochs(owner.key_epoch or 0, NOW * 1000, NOW * 1000)
    return api_key.begun(token.digest, Contents(**known | contents), owner.sub, "app", epochs, NOW), token


LATER = NOW + 60
SPARING = OWNER.cut_off(LATER, sparing="another")
# Each row changes one thing about an active key, and names the reason.
REASONS: list[tuple[str, Reason | None, dict[str, Any], float]] = [
    ("nothing", None, {}, 0),
    ("unused for long", None, {}, 90 * DAY - 1),
    ("ended", Reason.EXPIRED, {}, 90 * DAY),
    ("suspended", Reason.USER_SUSPENDED, {"user": OWNER.but(status="suspended")}, 0),
    ("no user", Reason.USER_GONE, {"user": None}, 0),
    ("a user without keys", Reason.KEYS_CUT_OFF, {"user": a_user()}, 0),
    ("every session ended", Reason.KEYS_CUT_OFF, {"user": OWNER.cut_off(LATER)}, 0),
    ("every other session ended", None, {"user": SPARING}, 0),
    ("every other session and the keys ended", Reason.KEYS_CUT_OFF,
     {"user": OWNER.cut_off(LATER, sparing="another", end_keys=True)}, 0),
    ("the keys ended", Reason.KEYS_CUT_OFF, {"user": OWNER.keys_cut_off(LATER)}, 0),
    ("the key itself was spared", Reason.KEYS_CUT_OFF, {"user": OWNER.keys_cut_off(LATER).but(spared=HANDLE)}, 0),
    ("no client", Reason.CLIENT_GONE, {"client": None}, 0),
    ("client cut off", Reason.CLIENT_CUT_OFF, {"client": a_client().cut_off(NOW)}, 0),
    ("service cut off", Reason.SERVICE_CUT_OFF, {"service": Service(epoch=NOW * 1000).cut_off(NOW)}, 0),
]  # fmt: skip


@pytest.mark.parametrize(("what", "reason", "change", "later"), REASONS, ids=[row[0] for row in REASONS])
def test_decide(what: str, reason: Reason | None, change: dict[str, Any], later: float) -> None:
    """A key is active only if nothing speaks against it. The epoch of the user's sessions does not."""
    session, token = a_key()
    verdict = decide(found(session, **{"user": OWNER, **change}), token, NOW + later)
    assert (verdict.reason if isinstance(verdict, Inactive) else None) is reason


def test_the_users_epochs_are_apart() -> None:
    """The end of the keys ends no session, and a user without keys gets no epoch of them."""
    session, pair = begun()
    assert isinstance(decide(found(session, user=OWNER.keys_cut_off(LATER)), pair.access, NOW), Active)
    for user in (a_user().cut_off(LATER), a_user().keys_cut_off(LATER)):
        assert user.key_epoch is None
        assert user.needs_format() == 1
    assert OWNER.needs_format() == 3
    assert OWNER.with_keys() is OWNER
    raised = OWNER.keys_cut_off(NOW - 60)
    assert raised.key_epoch == (OWNER.key_epoch or 0) + 1, "an epoch rises although a clock went back"


@pytest.mark.parametrize("kind", Kind)
def test_what_opens_a_key(kind: Kind) -> None:
    """Nothing but its own text, and no token with its handle."""
    session, token = a_key()
    assert decide(found(session, user=OWNER), forged(kind), NOW) == Inactive(Reason.FORGED)
    worded = parse(api_key.new_token("acme", HANDLE).text)
    assert worded is not None
    assert decide(found(session, user=OWNER), worded, NOW) == Inactive(Reason.FORGED)
    assert isinstance(decide(found(session, user=OWNER), token, NOW), Active)


@pytest.mark.parametrize(
    ("ip", "active"), [(None, False), ("", False), ("203.0.113.7", True), ("203.0.114.7", False), ("x", False)]
)
def test_networks(ip: str | None, active: bool) -> None:
    """A key with networks is for their addresses only, and for nobody whose address is not known."""
    session, token = a_key(networks=("2001:db8::/32", "203.0.113.0/24"))
    verdict = decide(found(session, user=OWNER), token, NOW, ip)
    assert isinstance(verdict, Active) if active else verdict == Inactive(Reason.OUTSIDE)


def test_uses_are_written_down_each_hour() -> None:
    """The first use at once. A use moves no deadline, and is told with the address from where the key was used."""
    session, _ = a_key()
    assert api_key.last_used_at(session) is None
    assert session.due_for_touch(NOW + 1)
    used = session.touched(NOW + 1, "203.0.113.7")
    assert (api_key.last_used_at(used), used.ip) == (NOW + 1, "203.0.113.7")
    assert not used.due_for_touch(NOW + 3600)
    assert used.due_for_touch(NOW + 3601)
    assert (used.end, used.exp, used.idle_deadline) == (session.end, session.exp, session.end)
    assert used.touched(NOW + 3601).ip is None
    assert used.recheck_at(NOW + 2, used.exp) == NOW + 3601
    assert begun()[0].but(ip="192.0.2.1").touched(NOW + 1, "203.0.113.7").ip == "192.0.2.1"


def test_rotation() -> None:
    """The end stays, and the last digest works until the end of the overlap, but not longer than the key."""
    session, token = a_key()
    fresh = api_key.new_token("acme", HANDLE)
    rotated = api_key.rotated(session, fresh.digest, NOW + 5, DAY)
    record = found(rotated, user=OWNER)
    last, current = (decide(record, one, NOW + 5) for one in (token, fresh))
    assert isinstance(last, Active)
    assert isinstance(current, Active)
    assert (last.exp, current.exp) == (NOW + 5 + DAY, session.end)
    assert (last.current, current.current) == (False, True)
    assert decide(record, token, NOW + 5 + DAY) == Inactive(Reason.SPENT)
    assert api_key.rotated(session, fresh.digest, NOW, 0).previous is None
    assert api_key.rotated(session, fresh.digest, NOW, 999 * DAY).previous.access_until == session.end  # type: ignore[union-attr]  # it has one
    assert not rotated.previous.awaits_answer(NOW + 6)  # type: ignore[union-attr]  # it has one


def test_what_expires_soon() -> None:
    session, _ = a_key()
    assert not api_key.is_expiring(session, session.end - 14 * DAY)
    assert api_key.is_expiring(session, session.end - 14 * DAY + 1)
