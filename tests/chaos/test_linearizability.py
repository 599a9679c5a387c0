"""The model that Porcupine checks histories against finds each kind of wrong answer, and nothing in right histories."""

from pathlib import Path

import pytest

from chaos import linearizability
from chaos.linearizability import EVERYBODY, Call, Operation, Result, missing, verdicts

# Go downloads and compiles Porcupine first.
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _porcupine() -> None:
    if (reason := missing()) is not None:
        pytest.skip(reason)


YES, NO = Result(True), Result(False)
SUSPENDED = Result(True, roles="r0", status="suspended")


def op(sent: int, answered: int, call: Call, result: Result | None, user: str = "ada") -> Operation:
    return Operation(user, 0, sent, answered, call, result)


def login(at: int = 0, session: str = "s") -> Operation:
    return op(at, at + 1, Call("login"), Result(True, session=session, token="t1"))


def read(sent: int, answered: int, roles: str | None = "r0", *, token: str = "t1", session: str = "s") -> Operation:
    """roles: as the answer shows. None: the answer is inactive."""
    result = NO if roles is None else Result(True, roles=roles)
    return op(sent, answered, Call("read", session, token), result)


def change(sent: int, answered: int, roles: str, result: Result | None) -> Operation:
    return op(sent, answered, Call("change", roles=roles), result)


def refresh(sent: int, result: Result | None, token: str = "t1") -> Operation:
    return op(sent, sent + 1, Call("refresh", "s", token), result)


R1 = Result(True, roles="r1", status="active")
REVOKED = op(10, 20, Call("revoke", "s"), YES)
ROTATED = refresh(10, Result(True, token="t2"))
ALL_ENDED = op(10, 20, Call("cut-off"), YES, user=EVERYBODY)
SUSPENSION = op(10, 20, Call("change", status="suspended"), SUSPENDED)
REINSTATED = op(30, 40, Call("change", status="active"), Result(True, roles="r0", status="active"))

RIGHT = {
    "a life": [login(), read(2, 3), REVOKED, read(21, 22, None)],
    "either way beside a revocation": [login(), read(11, 12, None), REVOKED, read(11, 13)],
    "either way beside a change of roles": [login(), change(10, 20, "r1", R1), read(11, 14), read(11, 13, "r1")],
    "a lost change that was made": [login(), change(10, 20, "r1", None), read(30, 31, "r1")],
    "a lost change that was not made": [login(), change(10, 20, "r1", None), read(30, 31)],
    "a lost change that is made late": [login(), change(10, 20, "r1", None), read(30, 31), read(40, 41, "r1")],
    "a refresh": [login(), ROTATED, read(20, 21, None), read(22, 23, token="t2")],
    "a lost refresh": [login(), refresh(10, None), read(20, 21), read(22, 23, None)],
    "a reuse": [login(), ROTATED, refresh(20, NO), read(30, 31, None, token="t2")],
    "suspended": [login(), SUSPENSION, read(21, 22, None), op(23, 24, Call("login"), NO), REINSTATED, login(50)],
    "the end of everything": [login(), ALL_ENDED, read(21, 22, None), login(30, "s2"), read(40, 41, session="s2")],
}
WRONG = {
    "active after a revocation": [login(), REVOKED, read(21, 22)],
    "active, inactive, active": [login(), REVOKED, read(11, 12, None), read(13, 14)],
    "active after a cut-off": [login(), op(10, 20, Call("cut-off"), YES), read(21, 22)],
    "active after the end of everything": [login(), ALL_ENDED, read(21, 22)],
    "active while suspended": [login(), SUSPENSION, read(21, 22)],
    "revived by reinstating": [login(), SUSPENSION, REINSTATED, read(41, 42)],
    "a login while suspended": [SUSPENSION, login(21)],
    "a refused login": [op(0, 1, Call("login"), NO)],
    "old roles": [login(), change(10, 20, "r1", R1), read(21, 22)],
    "roles that come and go": [login(), change(10, 20, "r1", None), read(21, 22, "r1"), read(23, 24)],
    "roles that nobody set": [login(), read(2, 3, "r9")],
    "roles of one moment, session of another": [login(), REVOKED, change(30, 40, "r1", R1), read(5, 50, "r1")],
    "an answer to a change without it": [change(10, 20, "r1", SUSPENDED)],
    "the token before a refresh": [login(), ROTATED, read(20, 21)],
    "a token that got lost": [login(), read(2, 3, None)],
    "a refresh after a revocation": [login(), REVOKED, refresh(30, Result(True, token="t2"))],
    "two refreshes of one token": [login(), ROTATED, refresh(20, Result(True, token="t3"))],
    "alive after a reuse": [login(), ROTATED, refresh(20, NO), read(30, 31, token="t2")],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_history_has_an_order(name: str, tmp_path: Path) -> None:
    """Overlapping calls may go either way. A change without an answer may happen at any time later, or never."""
    assert [one.verdict for one in verdicts(RIGHT[name], tmp_path)] == ["Ok"]


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_history_has_none(name: str, tmp_path: Path) -> None:
    """Answers from before an acknowledged change are found, and answers that belong to no state."""
    history = WRONG[name]
    assert [one.verdict for one in verdicts(history, tmp_path)] == ["Illegal"]
    assert (tmp_path / "ada.html").exists()


def test_users_are_checked_one_by_one(tmp_path: Path) -> None:
    """A wrong history of one user does not spoil the verdict on another."""
    other = [op(0, 1, Call("login"), Result(True, session="g", token="t1"), user="grace")]
    found = {one.user: one.verdict for one in verdicts([*WRONG["old roles"], *other], tmp_path)}
    assert found == {"ada": "Illegal", "grace": "Ok"}


def test_without_go_there_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Go, and without a program that was built before, the experiment is left out with a reason."""
    monkeypatch.setattr(linearizability, "CACHE", tmp_path)
    monkeypatch.setenv("PATH", "")
    assert missing.__wrapped__() == "needs Go"
