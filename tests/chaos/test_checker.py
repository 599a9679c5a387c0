"""The checker of `make chaos` finds each broken promise in hand-made journals, and nothing in correct ones."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.checker import check, leaks
from chaos.journal import Call, Result
from chaos.lab import Experiment, Lab, conduct

# A rig and a world without any call.
IDLE: Any = (
    SimpleNamespace(logs=lambda: []),
    SimpleNamespace(journal=SimpleNamespace(calls=[]), secrets=set()),
)
HANDLE = "abcdefghijkl"
A1, R1 = f"tok_{HANDLE}-a1", f"ref_{HANDLE}-r1"
A2, R2 = f"tok_{HANDLE}-a2", f"ref_{HANDLE}-r2"


def login(sent: float = 0, **about: Any) -> Call:
    result = Result(session=HANDLE, access=A1, refresh=R1, expires_in=900)
    return Call("login", sent, sent + 0.1, 200, sub="ada", session=HANDLE, result=result, **about)


def refresh(sent: float, token: str = R1, access: str = A2, refreshed: str = R2, status: int = 200) -> Call:
    given = Result(session=HANDLE, access=access, refresh=refreshed, expires_in=900)
    result = given if status == 200 else Result(retry_after=status == 503)
    return Call("refresh", sent, sent + 0.1, status, sub="ada", session=HANDLE, token=token, result=result)


def introspect(sent: float, token: str = A1, *, active: bool, sub: str = "ada", session: str = HANDLE) -> Call:
    result = Result(active=True, sub=sub, session=session) if active else Result(active=False)
    return Call("introspect", sent, sent + 0.1, 200, token=token, result=result)


def revoke(sent: float, status: int = 200) -> Call:
    return Call("revoke", sent, sent + 0.1, status, session=HANDLE, result=Result(retry_after=status == 503))


def codes(*calls: Call) -> list[str]:
    return [violation.code for violation in check(calls)]


def test_an_ordinary_life_breaks_no_promise() -> None:
    """A session that is used, refreshed, revoked and then inactive breaks no promise."""
    before = [login(), introspect(1, active=True), refresh(2), introspect(3, A2, active=True)]
    spent = [introspect(3, R1, active=False), refresh(4)]
    after = [revoke(5), introspect(6, A2, active=False), introspect(6, R2, active=False)]
    assert not codes(*before, *spent, *after)


def test_a_token_that_outlives_its_revocation_is_caught() -> None:
    """Inv1: the token is active, or exchanged, in a call sent after the 200 of the revocation."""
    assert codes(login(), revoke(1), introspect(2, active=True)) == ["Inv1"]
    assert "Inv1" in codes(login(), revoke(1), refresh(2))


def test_a_call_that_overlaps_the_revocation_may_go_either_way() -> None:
    """If some order of overlapping calls explains an answer, the answer breaks no promise."""
    assert not codes(login(), revoke(1), introspect(1.05, active=True))
    assert not codes(login(), revoke(1), introspect(0.95, active=False))


def test_a_revocation_that_failed_promises_nothing() -> None:
    """After a 503 the token may be active or not (RFC 7009 section 2.2.1)."""
    assert not codes(login(), revoke(1, status=503), introspect(2, active=True))
    assert not codes(login(), revoke(1, status=503), introspect(2, active=False))


@pytest.mark.parametrize("target", ["ada", None])
def test_a_session_that_outlives_a_cut_off_is_caught(target: str | None) -> None:
    """Inv1 holds for the cut-off of a user and of everybody. Sessions of other users and later logins go on."""
    cut_off = Call("cut-off", 1, 1.1, 200, sub=target)
    assert codes(login(), cut_off, introspect(2, active=True)) == ["Inv1"]
    assert not codes(login(1.05), cut_off, introspect(2, active=False))
    assert not codes(login(1.2), cut_off, introspect(2, active=True))
    assert codes(login(1.2), cut_off, introspect(2, active=False)) == ["Inv3"]
    assert not codes(login(), Call("cut-off", 1, 1.1, 200, sub="grace"), introspect(2, active=True))


def test_a_login_with_the_old_password_is_caught() -> None:
    """Inv1: an acknowledged password change ends all sessions opened with the old password, even late ones."""
    given = Result(session="mnopqrstuvwx", access="tok_mnopqrstuvwx-a", refresh="ref_mnopqrstuvwx-r")
    changed = Call("password", 1, 1.1, 200, sub="ada", session="mnopqrstuvwx", result=given)
    assert codes(login(1.05, note="old"), changed, introspect(2, active=True)) == ["Inv1"]
    assert not codes(login(1.05), changed, introspect(2, active=True))
    assert codes(login(), changed, introspect(2, active=True)) == ["Inv1"]


def test_a_session_goes_on_with_new_tokens_after_its_password_change() -> None:
    """The old tokens may be inactive. The new tokens must be active."""
    changed = Call("password", 1, 1.1, 200, sub="ada", session=HANDLE, result=refresh(1).result)
    assert not codes(login(), changed, introspect(2, active=False), introspect(2, A2, active=True))
    assert codes(login(), changed, introspect(2, A2, active=False)) == ["Inv3"]


def test_an_answer_about_somebody_else_is_caught() -> None:
    """Inv2: an answer with another subject, another session, or a token of another session."""
    assert codes(login(), introspect(1, active=True, sub="grace")) == ["Inv2"]
    assert codes(login(), introspect(1, active=True, session="mnopqrstuvwx")) == ["Inv2"]
    other = Result(session="mnopqrstuvwx", access="tok_mnopqrstuvwx-a", refresh="ref_mnopqrstuvwx-r")
    assert codes(login(), Call("refresh", 1, 1.1, 200, token=R1, result=other)) == ["Inv2"]


def test_a_token_that_got_lost_is_caught() -> None:
    """Inv3: a token is inactive or refused, and no call has ended it."""
    assert codes(login(), introspect(1, active=False)) == ["Inv3"]
    assert codes(login(), refresh(1, status=400)) == ["Inv3"]


def test_a_token_that_was_spent_or_has_expired_is_not_missed() -> None:
    """A token may be inactive after its expiry, or if a refresh may have replaced it."""
    assert not codes(login(), refresh(1, status=503), introspect(2, active=False), introspect(2, R1, active=False))
    assert not codes(login(), introspect(1000, active=False))


def test_a_retry_within_the_grace_has_to_succeed_and_later_need_not() -> None:
    """Inv3: a client that lost the answer presents the same refresh token again, within ten seconds and later."""
    assert codes(login(), refresh(1), refresh(9, status=400)) == ["Inv3"]
    assert not codes(login(), refresh(1), refresh(12, status=400), introspect(13, A2, active=False))


def test_a_refresh_token_presented_after_its_successor_ends_the_session() -> None:
    """The first refresh token after the use of the second is reuse. It may be refused and may end the session."""
    third = refresh(2, R2, f"tok_{HANDLE}-a3", f"ref_{HANDLE}-r3")
    after = introspect(4, f"tok_{HANDLE}-a3", active=False)
    assert not codes(login(), refresh(1), third, refresh(3, status=400), after)
    assert codes(login(), refresh(1), third, after) == ["Inv3"]


def test_two_live_refresh_tokens_are_caught() -> None:
    """Inv4: one token has two successors."""
    assert codes(login(), refresh(1), refresh(2, refreshed=f"ref_{HANDLE}-other")) == ["Inv4"]


def test_a_refresh_token_that_passes_as_an_access_token_is_caught() -> None:
    """Inv4: an introspection of a refresh token answers `active`. The answer `inactive` is right."""
    assert codes(login(), introspect(1, R1, active=True)) == ["Inv4"]
    assert not codes(login(), introspect(1, R1, active=False))


def test_an_error_of_the_server_is_caught() -> None:
    """Inv5: a 5xx other than 503, and a 503 without Retry-After."""
    assert codes(Call("other", 0, 1, 500)) == ["Inv5"]
    assert codes(Call("introspect", 0, 1, 502, token=A1)) == ["Inv5"]
    assert codes(Call("introspect", 0, 1, 503, token=A1)) == ["Inv5"]
    assert not codes(Call("introspect", 0, 1, 503, token=A1, result=Result(retry_after=True)))


def test_a_secret_in_a_log_is_caught(tmp_path: Path) -> None:
    """Inv6: the text of the secret anywhere in the file, with any bytes around it."""
    (tmp_path / "clean.log").write_text("ada logged in")
    (tmp_path / "dirty.log").write_bytes(b"\xff\x00 token=tok_secret&x")
    found = leaks(["tok_secret"], tmp_path.glob("*.log"))
    assert [violation.text for violation in found] == ["dirty.log holds 1 secrets"]


@pytest.mark.parametrize(("found", "runs", "passes"), [("p99", 2, True), ("Inv1", 1, False), ("", 1, True)])
async def test_only_times_get_a_second_go(found: str, runs: int, passes: bool, tmp_path: Path) -> None:
    """An experiment that exceeded a time runs again, and that run counts. A broken promise fails at once."""
    went: list[Lab] = []

    async def run(lab: Lab) -> None:
        went.append(lab)
        lab.rig, lab.world = IDLE
        lab.require(not found or len(went) > 1, found, "as it was told to be")

    outcome = await conduct(Experiment("made-up", 0, "", "", run), tmp_path, long=False, soak_s=0)
    assert len(went) == runs
    assert outcome.passed is passes
    assert outcome.missed == ((found,) if runs == 2 else ())
    assert [place.exists() for place in (lab.directory for lab in went)] == [not passes] * runs
