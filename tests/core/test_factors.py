"""The record of second factors: its transitions, recovery codes, and what several methods prove together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core.authentication import level
from authsvc.core.client import Client
from authsvc.core.factors import ENROL_S, MAX_TOTP, Account, Factors, Totp
from authsvc.core.recovery_codes import digest_of, new_codes
from authsvc.core.strength import combined, must_have_factor
from authsvc.core.user import Credentials, User
from authsvc.errors import CorruptRecord

NOW = 1_800_000_000.0
USER = User(sub="u", epoch=1, created_at=1)
CLIENT = Client(client_id="c", name="c", epoch=1, created_at=1)


def app(id_: str = "a", until: int | None = None) -> Totp:
    return Totp(id=id_, created_at=1, key="k", nonce="n", until=until)


def waiting(id_: str = "a") -> Totp:
    return app(id_, int(NOW) + ENROL_S)


def test_an_enrolment_is_no_factor() -> None:
    """It counts once a code has confirmed it, and the record lapses until then."""
    enrolling = Factors().with_enrolment(waiting(), NOW)
    assert (enrolling.active, enrolling.epoch, enrolling.expires_at()) == (False, 0, int(NOW) + ENROL_S)
    confirmed = enrolling.with_app("a", 5, NOW)
    assert (confirmed.active, confirmed.expires_at(), confirmed.apps[0].step) == (True, None, 5)
    assert confirmed.epoch == int(NOW * 1000)


def test_enrolments_are_bounded() -> None:
    """The oldest one goes, and those that have lapsed."""
    factors = Factors()
    for n in range(MAX_TOTP + 3):
        factors = factors.with_enrolment(waiting(str(n)), NOW)
    assert [one.id for one in factors.totp] == ["3", "4", "5", "6", "7"]
    assert len(factors.with_enrolment(app("x", int(NOW) + 2 * ENROL_S), NOW + ENROL_S).totp) == 1


def test_the_last_factor_takes_everything_along() -> None:
    """Codes and devices are gone. The epoch stays for as long as a login from before may wait."""
    factors = Factors().with_imported(app(), NOW).with_codes(("x", "y"), NOW)
    left = factors.without("a", NOW)
    assert left is not None
    assert (left.active, left.codes, left.devices) == (False, (), ())
    assert left.epoch > factors.epoch
    assert left.expires_at() == int(NOW) + ENROL_S
    assert factors.without("b", NOW) is None


def test_the_credentials_tell_older_versions() -> None:
    """Credentials of a user with a factor have a format that a version without factors refuses to read."""
    account = Account(USER, Credentials(hash="h"), None)
    guarded = account.with_factors(Factors().with_imported(app(), NOW))
    assert guarded.credentials is not None
    assert (guarded.credentials.needs_format(), guarded.has_factor) == (3, True)
    assert guarded.factors is not None
    left = guarded.factors.without("a", NOW)
    assert left is not None
    credentials = guarded.with_factors(left).credentials
    assert credentials is not None
    assert (credentials.needs_format(), credentials.hash) == (1, "h")
    with pytest.raises(CorruptRecord):
        _ = guarded._replace(factors=None).has_factor


def test_nothing_secret_is_shown() -> None:
    """Neither a nonce nor a digest of a code is in a representation."""
    shown = f"{Factors(totp=(app().but(nonce='secret1', sealed='secret2'),), codes=('secret3',))}"
    assert "secret" not in shown
    assert "secret" not in repr(app().but(nonce="secret1", sealed="secret2"))


def test_recovery_codes() -> None:
    """Ten codes of four groups, 80 bits each. They may be typed in capitals, with spaces, and with look-alikes."""
    codes = new_codes()
    assert len(set(codes)) == 10
    for code in codes:
        assert [len(group) for group in code.split("-")] == [4, 4, 4, 4]
        digest = digest_of(code, "u")
        assert digest == digest_of(code.upper().replace("-", " "), "u")
        assert digest == digest_of(code.replace("0", "o").replace("1", "l"), "u")
        assert digest != digest_of(code, "v")
    for wrong in ("", "x", codes[0][:-1], codes[0] + "0", "u" * 16, "é" * 16):
        assert digest_of(wrong, "u") is None


@given(st.text())
def test_any_text_may_be_typed_as_a_code(text: str) -> None:
    """A code is refused and never raises."""
    digest = digest_of(text, "u")
    assert digest is None or len(digest) == 27


@pytest.mark.parametrize(
    ("before", "proven", "amr", "acr"),
    [
        ((), ("pwd",), ("pwd",), "aal1"),
        (("pwd",), ("otp",), ("pwd", "otp", "mfa"), "aal2"),
        (("pwd",), ("pwd",), ("pwd",), "aal1"),
        ((), ("otp",), ("otp",), "aal1"),
        (("pwd",), ("hwk",), ("pwd", "hwk", "mfa"), "aal2"),
        ((), ("swk", "user"), ("swk", "user"), "aal2"),
        ((), ("swk",), ("swk",), "aal1"),
        (("hwk",), ("swk",), ("hwk", "swk"), "aal1"),
        (("pwd", "otp", "mfa"), ("otp",), ("pwd", "otp", "mfa"), "aal2"),
        ((), ("user",), ("user",), "aal1"),
    ],
)
def test_strength(before: tuple[str, ...], proven: tuple[str, ...], amr: tuple[str, ...], acr: str) -> None:
    """Two kinds of factors, or a key that verified its user, are `aal2`."""
    assert combined(before, proven) == amr
    assert level(amr) == acr


METHODS = st.lists(st.sampled_from(["pwd", "otp", "hwk", "swk", "user", "mfa", "fed"]), unique=True)


@given(METHODS, METHODS)
def test_a_step_up_takes_nothing(before: list[str], proven: list[str]) -> None:
    """The level never falls."""
    was, now = level(tuple(before)), level(combined(before, proven))
    assert was is None or (now is not None and now >= was)


def test_who_must_have_a_factor() -> None:
    """A role, a client or an operator demands it."""
    assert not must_have_factor(USER, CLIENT, ())
    assert not must_have_factor(USER, CLIENT, ("admin",))
    assert must_have_factor(USER.but(roles=("a", "admin")), CLIENT, ("admin",))
    assert must_have_factor(USER, CLIENT.but(acr="aal2"), ())
    assert must_have_factor(USER.but(factor_required=True), CLIENT, ())
    assert (USER.but(factor_required=True).needs_format(), CLIENT.but(acr="aal2").needs_format()) == (3, 3)
