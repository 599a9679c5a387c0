"""Checks that the hand-tuned Go server answers as authsvc does, for sessions in many states."""

import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import redis

from authsvc.core.token import digest
from authsvc.store import keys
from bench import wrk
from bench.context import AUDIENCE, Bench
from bench.servers import BenchError
from bench.wrk import Target

Members = dict[str, Any]


class Case(NamedTuple):
    """A session and its user with changed members. A member that is None is taken out."""

    active: bool
    session: Members
    user: Members


def check(bench: Bench, ours: Target, theirs: Target) -> None:
    """Raises BenchError unless both servers answer alike about each case, and as it has to be."""
    with bench.store.open() as client:
        for token, make in zip(bench.filled(len(CASES)), CASES, strict=True):
            case = _stored(client, token, make)
            body = f"token={token}"
            answers = wrk.answer(ours, body), wrk.answer(theirs, body)
            if answers[0] != answers[1] or answers[0]["active"] is not case.active:
                raise BenchError(f"{theirs.name} differs: {case} is {answers[1]}, and for authsvc {answers[0]}")


def _stored(client: "redis.Redis", token: str, make: Callable[[Members, str, int], Case]) -> Case:
    handle = token[4:16]
    session = _read(client, keys.session(handle))
    user = _read(client, keys.user(session["sub"]))
    case = make(session, token, int(time.time()))
    for key, record, changes in (
        (keys.session(handle), session, case.session),
        (keys.user(session["sub"]), user, case.user),
    ):
        changed = {name: value for name, value in (record | changes).items() if value is not None}
        client.set(key, json.dumps(changed), keepttl=True)
    return case


def _read(client: "redis.Redis", key: str) -> Members:
    found: Members = json.loads(client.get(key) or b"{}")
    return found


def _session(active: bool, **changes: Any) -> Callable[[Members, str, int], Case]:
    return lambda session, token, now: Case(active, changes, {})


def _user(active: bool, **changes: Any) -> Callable[[Members, str, int], Case]:
    return lambda session, token, now: Case(active, {}, changes)


def _epoch(at: int) -> Callable[[Members, str, int], Case]:
    def make(session: Members, token: str, now: int) -> Case:
        epochs = [epoch - (number == at) for number, epoch in enumerate(session["epochs"])]
        return Case(False, {"epochs": epochs}, {})

    return make


def _previous(for_s: int) -> Callable[[Members, str, int], Case]:
    def make(session: Members, token: str, now: int) -> Case:
        until = now + for_s
        held = {"access": digest(token), "refresh": "r" * 27, "until": until, "access_until": until}
        return Case(for_s > 0, {"tok": "t" * 27, "previous": held | {"access_scope": "narrow"}}, {})

    return make


def _recently(name: str) -> Callable[[Members, str, int], Case]:
    return lambda session, token, now: Case(True, {name: now - 5}, {})


def _short_lived(session: Members, token: str, now: int) -> Case:
    return Case(True, {"for": [600, 60, 2592000], "issued_at": now - 5, "used_at": now - 5}, {})


def _spared(session: Members, token: str, now: int) -> Case:
    return Case(True, {}, {"epoch": 1, "spared": token[4:16]})


CASES = (
    _session(True),
    _session(False, tok="t" * 27),
    _previous(600),
    _previous(-1),
    _session(False, used_at=1),
    _session(False, at=10**12),
    *(_session(False, **{"for": lifetimes}) for lifetimes in ([0, 1209600, 2592000], [86400, 0, 1], [0, 0, 0])),
    *map(_epoch, range(3)),
    *map(_recently, ("proved_at", "issued_at", "used_at")),
    _session(False, aud=["https://other.example"]),
    _session(False, aud=None),
    _session(True, aud=["https://other.example", AUDIENCE]),
    _session(True, access_scope="narrow"),
    _session(True, scope=None),
    _session(True, amr=None),
    _session(True, amr=["pwd", "otp", "mfa"]),
    _session(True, how=[7, "pwd", ""]),
    _session(True, by="issued"),
    _short_lived,
    _session(False, cid="gone"),
    _session(False, sub="gone"),
    _user(False, status="suspended"),
    _user(False, epoch=1),
    _spared,
    _user(True, roles=None),
    _user(True, roles=["editor", "admin"]),
    _user(True, username=None),
    _user(True, version=7, claims={"team": '<Köln> & "Bonn"', "share": 0.5, "of": {"a": [1, None, True]}}),
)
