"""Users: epochs, sparing, names, subjects and roles."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core.user import Credentials, ResetCode, check_roles, check_sub
from authsvc.errors import InvalidRequest
from authsvc.store.encoding import load
from tests.core.examples import HANDLE, NOW, a_user


@given(st.integers(0, 10**13), st.floats(0, 10**10))
def test_a_cut_off_ends_all_and_raises_the_version(epoch: int, now: float) -> None:
    """A cut-off admits no older session. The epoch is at least the present."""
    before = a_user(epoch=epoch, spared="000000000000")
    after = before.cut_off(now)
    assert after.epoch > epoch
    assert after.epoch >= int(now * 1000)
    assert not after.admits("000000000000", epoch)
    assert after.admits(HANDLE, after.epoch)
    assert after.version == before.version + 1


def test_a_cut_off_can_spare_one() -> None:
    """Exactly the named session survives, until the next cut-off."""
    user = a_user().cut_off(NOW, sparing=HANDLE)
    assert user.admits(HANDLE, a_user().epoch)
    assert not user.admits("000000000000", a_user().epoch)
    assert not user.cut_off(NOW).admits(HANDLE, a_user().epoch)


def test_a_change_keeps_the_epoch() -> None:
    """A change of roles shows in the version and ends no session."""
    user = a_user().changed(roles=("ops",))
    assert (user.epoch, user.version, user.roles) == (a_user().epoch, 2, ("ops",))


class WithFactors(Credentials, frozen=True, kw_only=True, omit_defaults=True):
    """Credentials that hold one more thing."""

    factors: tuple[str, ...] = ()


TRANSITIONS: dict[str, tuple[Callable[[Credentials], Credentials], dict[str, Any]]] = {
    "with_password": (lambda c: c.with_password("new", NOW + 1.5), {"hash": "new", "changed_at": NOW + 1}),
    "without_password": (lambda c: c.without_password(NOW + 1.5), {"changed_at": NOW + 1}),
    "with_reset_code": (
        lambda c: c.with_reset_code("newer"),
        {"hash": "old", "changed_at": NOW, "reset_code": "newer"},
    ),
    "rehashed": (
        lambda c: c.rehashed("old", "new"),
        {"hash": "new", "changed_at": NOW, "reset_code": "code"},
    ),
    "rehashed too late": (
        lambda c: c.rehashed("other", "new"),
        {"hash": "old", "changed_at": NOW, "reset_code": "code"},
    ),
}


@pytest.mark.parametrize(("change", "expected"), TRANSITIONS.values(), ids=TRANSITIONS)
def test_a_change_of_credentials_keeps_what_else_they_hold(
    change: Callable[[Credentials], Credentials], expected: dict[str, Any]
) -> None:
    """A new password, a reset code or its removal leaves other ways to prove who one is alone."""
    before = WithFactors(hash="old", changed_at=NOW, reset_code="code", factors=("totp",))
    assert change(before) == WithFactors(**expected, factors=("totp",))


def test_a_user_answers_to_variants_of_the_own_name() -> None:
    """An entry of the login index counts only for the present name of its user, or for a name being taken."""
    user = a_user(username="Ada", renaming_to="Bea")
    assert user.answers_to("ada")
    assert user.answers_to("bea")
    assert not user.answers_to("Ada")
    assert not a_user(username=None).answers_to("")


@pytest.mark.parametrize(("status", "roles", "admin"), [
    ("active", ("admin",), True), ("active", ("Admin", "administrator"), False), ("suspended", ("admin",), False),
])  # fmt: skip
def test_an_admin(status: str, roles: tuple[str, ...], admin: bool) -> None:
    """An admin is an active user with exactly the role `admin`."""
    assert a_user(status=status, roles=roles).is_admin is admin


@pytest.mark.parametrize("sub", ["", "a{b", "a}b", "a b", "a*", "a\n", "a\r\nb", "ü", "a" * 256, "a\0"])
def test_subjects_that_are_refused(sub: str) -> None:
    """A subject that could choose a hash slot, break a header or act as a pattern is refused."""
    with pytest.raises(InvalidRequest):
        check_sub(sub)


@pytest.mark.parametrize("sub", ["google-oauth2|1234", "https://idp.example.org/u/7", "a" * 255, "x@y.z"])
def test_subjects_that_other_systems_use(sub: str) -> None:
    """The usual forms of ids from other systems are accepted unchanged."""
    assert check_sub(sub) == sub


@pytest.mark.parametrize("roles", [("a b",), ("",), ("a,b",), ("a\n",), ("x" * 65,), tuple(map(str, range(65)))])
def test_roles_that_are_refused(roles: tuple[str, ...]) -> None:
    """A role contains none of the separators of headers and lists."""
    with pytest.raises(InvalidRequest):
        check_roles(roles)


def test_roles_are_a_set_in_order() -> None:
    """Repeated roles are dropped, and the order stays."""
    assert check_roles(("b", "a", "b")) == ("b", "a")


def test_records_survive_storing() -> None:
    """A record is read back as it was written."""
    for record in (
        a_user(claims={"a": [1, None]}),
        Credentials(hash="x", changed_at=1),
        ResetCode(sub="u", digest="d", until=NOW),
    ):
        assert load(type(record), record.to_json()) == record
    assert ResetCode(sub="u", digest="d", until=NOW).expires_at() == NOW
