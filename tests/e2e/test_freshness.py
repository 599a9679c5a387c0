"""Right after an acknowledged change, no worker gives an answer from before the change.

AUTHSVC_FRESHNESS_ROUNDS: how often each kind of change is made, for a long run.
"""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from chaos.stale import RECORDS, not_compared
from chaos.variation import Variation
from tests.e2e.conftest import PASSWORD
from tests.e2e.fleet import (
    BATCH,
    INTROSPECT,
    QUESTIONS,
    VERIFY,
    Fleet,
    Question,
    Subject,
    Wanted,
    ask_all,
    running_fleet,
)
from tests.selection import slow
from tests.stores import running_store

log = logging.getLogger(__name__)

ROUNDS = int(os.environ.get("AUTHSVC_FRESHNESS_ROUNDS", "2"))
# A worker that remembers answers does so by then.
ASKED_BEFORE = 3

BEFORE: dict[Question, Wanted] = {
    INTROSPECT: {"active": True, "roles": ["before"], "claims": {"at": "before"}},
    BATCH: {"active": True, "roles": ["before"], "claims": {"at": "before"}},
    VERIFY: {"x-auth-roles": "before"},
}
INACTIVE = {"active": False}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_store() as store, running_fleet(tmp_path_factory.mktemp("fleet"), store.url) as fleet:
        yield fleet


class Change(NamedTuple):
    """A change, and what `/introspect` and `/verify` have to show after it. None: the change is not visible there."""

    make: Callable[[Subject], None]
    introspected: Wanted = INACTIVE
    verified: Wanted | None = 401

    def wanted(self, question: Question) -> Wanted | None:
        return self.verified if question is VERIFY else self.introspected


def _change_password(subject: Subject, session: dict[str, str]) -> None:
    document = {"current_password": PASSWORD, "new_password": f"{PASSWORD} again"}
    headers = {"Authorization": f"Bearer {session['access_token']}"}
    subject.fleet.call("POST", "/password", json=document, headers=headers, status=200)


def _rotate_secret(subject: Subject) -> None:
    path = f"/admin/clients/{subject.asker[0]}/secret"
    subject.fleet.call("POST", path, json={"overlap_s": 0}, status=200)


def _delete(subject: Subject, path: str, **request: dict[str, str]) -> None:
    subject.fleet.call("DELETE", path, status=204, **request)


CHANGES = {
    "revoke access token": Change(lambda it: it.revoke(token=it.session["access_token"])),
    "revoke refresh token": Change(lambda it: it.revoke(token=it.session["refresh_token"])),
    "revoke session": Change(lambda it: it.revoke(session_id=it.session["session_id"])),
    "revoke user": Change(lambda it: it.revoke(sub=it.sub)),
    "revoke client": Change(lambda it: it.revoke(client_id=it.client_id)),
    "revoke all": Change(lambda it: it.revoke(all="true")),
    "logout": Change(lambda it: it.fleet.call("POST", "/logout", headers=it.bearer, status=204)),
    "end own session": Change(lambda it: _delete(it, f"/sessions/{it.session['session_id']}", headers=it.bearer)),
    "end all own sessions": Change(lambda it: _delete(it, "/sessions?all=true", headers=it.bearer)),
    "password changed here": Change(lambda it: _change_password(it, it.session)),
    "password changed elsewhere": Change(lambda it: _change_password(it, it.login())),
    "suspension": Change(lambda it: it.change_user(status="suspended")),
    "user deleted": Change(lambda it: _delete(it, f"/admin/users/{it.sub}")),
    "client deleted": Change(lambda it: _delete(it, f"/admin/clients/{it.client_id}")),
    "asker deleted": Change(lambda it: _delete(it, f"/admin/clients/{it.asker[0]}"), 401, None),
    "secret rotated": Change(_rotate_secret, 401, None),
    "permissions taken away": Change(lambda it: it.change_asker(permissions=["revoke"]), 403, None),
    "audience changed": Change(lambda it: it.change_asker(audience=["elsewhere"]), INACTIVE, None),
    "roles changed": Change(
        lambda it: it.change_user(roles=["after"]), {"active": True, "roles": ["after"]}, {"x-auth-roles": "after"}
    ),
    "claims changed": Change(
        lambda it: it.change_user(claims={"at": "after"}), {"active": True, "claims": {"at": "after"}}, None
    ),
}


# A change that shows in this record alone.
SHOWN_BY = {
    "session": "revoke session",
    "user": "roles changed",
    "client": "revoke client",
    "asking client": "permissions taken away",
    "service": "revoke all",
}


def stale_answers(fleet: Fleet, change: Change, number: int) -> int:
    """Make a change once all connections have asked. Returns how many answers after it are from before it.

    number: of the round. Each question is the first after the change in some rounds.
    """
    subject, stale = fleet.subject(), 0
    first = number % len(QUESTIONS)
    with fleet.connections() as wires:
        for question in QUESTIONS * ASKED_BEFORE:
            answers = ask_all(wires, question, subject)
            assert all(question.is_answered(answer, BEFORE[question]) for answer in answers), answers
        change.make(subject)
        for question in QUESTIONS[first:] + QUESTIONS[:first]:
            wanted = change.wanted(question)
            if wanted is not None:
                answers = ask_all(wires, question, subject)
                stale += sum(not question.is_answered(answer, wanted) for answer in answers)
    return stale


@pytest.mark.timeout(300 + ROUNDS)
@pytest.mark.parametrize("kind", [kind if kind in SHOWN_BY.values() else slow(kind) for kind in CHANGES])
def test_no_answer_is_from_before_a_change(fleet: Fleet, kind: str) -> None:
    """Twelve connections to three workers have just asked for a token. After a change all see the change."""
    change = CHANGES[kind]
    counted = Counter(stale_answers(fleet, change, number) for number in range(ROUNDS))
    log.info("%s: %d rounds", kind, ROUNDS)
    assert set(counted) == {0}, f"rounds by their number of stale answers: {dict(counted)}"


@pytest.mark.timeout(300 + 3 * ROUNDS)
def test_a_refresh_shows_at_once_and_its_grace_ends_in_time(fleet: Fleet) -> None:
    """After a refresh all answers show that the previous access token ends with the grace. Then it is inactive."""
    for _ in range(ROUNDS):
        subject = fleet.subject()
        form = {"grant_type": "refresh_token", "client_id": subject.client_id}
        form["refresh_token"] = subject.session["refresh_token"]
        with fleet.connections() as wires:
            for question in QUESTIONS * ASKED_BEFORE:
                answers = ask_all(wires, question, subject)
                assert all(question.is_answered(answer, BEFORE[question]) for answer in answers), answers
            fleet.call("POST", "/token", data=form, auth=None, status=200)
            refreshed = time.time()
            for question in (INTROSPECT, BATCH) * ASKED_BEFORE:
                shown = [question.shown(answer) for answer in ask_all(wires, question, subject) if answer]
                late = [one for one in shown if one["active"] and one["exp"] > refreshed + 1]
                assert not late, late
            while time.time() <= refreshed + 1:
                ask_all(wires, VERIFY, subject)
            for question, wanted in ((VERIFY, 401), (INTROSPECT, INACTIVE), (BATCH, INACTIVE)):
                answers = ask_all(wires, question, subject)
                assert all(question.is_answered(answer, wanted) for answer in answers), answers


@pytest.mark.slow
@pytest.mark.parametrize("record", RECORDS)
def test_each_of_the_five_records_matters(record: str, tmp_path: Path) -> None:
    """A worker that does not compare one of the records gives a stale answer to `/introspect` on every connection."""
    package = Variation(not_compared(record)).package(tmp_path)
    with running_store() as store, running_fleet(tmp_path, store.url, 1, PYTHONPATH=str(package)) as fleet:
        assert stale_answers(fleet, CHANGES[SHOWN_BY[record]], 0) >= 4
