"""What a check of a hash takes is measured, and bounded by what was measured."""

import sys
import time

import pytest

from authsvc.core.hash_form import Form, with_form
from authsvc.core.imported_hash import MAX_CHECK_S, MAX_MEMORY_KIB
from authsvc.core.imported_hash_text import accept, parse
from authsvc.core.password import MAX_BYTES
from authsvc.errors import InvalidRequest
from authsvc.hashing import cost
from authsvc.hashing.cost import cost_of, specimen
from authsvc.hashing.imported import Uncheckable, verify
from tests.hashes import SAMPLES
from tests.processes import in_time
from tests.selection import one_in, slow

# The costliest parameters that are taken, of each kind and in each direction. RFC 7914 forbids a larger n with r = 1.
# That of argon2 depends on how fast the memory of a machine is at the moment.
EXTREMES = (
    "bcrypt cost=14",
    "pbkdf2-sha1 i=2500000,l=20",
    "pbkdf2-sha256 i=1250000,l=64",
    "pbkdf2-sha512 i=1000000,l=64",
    "scrypt n=131072,r=8,p=1,l=64",
    "scrypt n=16384,r=8,p=16,l=64",
    "scrypt n=32768,r=1,p=32,l=64",
    "scrypt n=2,r=64,p=32,l=384",
    "scrypt n=16384,r=64,p=2,l=64",
    "firebase-scrypt n=131072,r=8",
    "argon2id m=131072,t=8,p=1,l=32",
    "argon2id m=16384,t=64,p=16,l=32",
    "argon2d m=128,t=64,p=16,l=32",
    "sha512-crypt rounds=500000",
    "phpass rounds=32768",
)


@pytest.mark.slow
@pytest.mark.parametrize("form", EXTREMES)
def test_no_parameters_that_are_taken_take_more_than_the_bounds(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds of the parameters alone keep the memory below its bound, and the time near that of bcrypt."""
    specimen(Form.parse(form)).check_parameters()
    monkeypatch.setattr(cost, "MAX_CHECK_S", float("inf"))  # a slow machine may refuse them for their time
    yardstick = cost_of(Form.parse("bcrypt cost=14")).seconds
    measured = cost_of(Form.parse(form))
    in_time(measured.seconds, 5 * yardstick, form)  # measured: up to 1.5 times, while the memory is not busy
    if sys.platform == "linux":
        assert measured.memory_kib <= MAX_MEMORY_KIB


@pytest.mark.parametrize(
    "form",
    one_in(
        4,
        [
            "scrypt n=65536,r=1,p=1,l=64",
            "scrypt n=131072,r=1,p=1,l=64",
            "scrypt n=2,r=8,p=131072,l=64",
            "scrypt n=2,r=1048576,p=1,l=64",
            "scrypt n=262144,r=8,p=1,l=64",
            "firebase-scrypt n=262144,r=8",
            "firebase-scrypt n=65536,r=1",
            "argon2id m=128,t=8192,p=16,l=32",
            "argon2id m=8,t=131072,p=1,l=32",
            "pbkdf2-sha512 i=1000001,l=64",
            "bcrypt cost=15",
        ],
    ),
)
def test_parameters_over_the_bounds_are_refused_before_they_are_tried(form: str) -> None:
    """At the import, and at a check of a hash that is stored already: no primitive is asked."""
    with pytest.raises(InvalidRequest):
        specimen(Form.parse(form)).check_parameters()
    with pytest.raises(Uncheckable):
        verify(specimen(Form.parse(form)), "a guess")
    with pytest.raises(InvalidRequest):
        cost_of(Form.parse(form))


@pytest.mark.parametrize(
    "form",
    ["sha512-crypt rounds=20000", "phpass rounds=2048", slow("pbkdf2-sha512 i=20000,l=64"), slow("bcrypt cost=8")],
)
@pytest.mark.parametrize("length", [1, 255, 511, MAX_BYTES])
def test_no_password_takes_longer_than_what_was_measured(form: str, length: int) -> None:
    """A guesser chooses the length of the password. Some algorithms digest the whole password in each round."""
    hash_, ratios = specimen(Form.parse(form)), []
    for _ in range(10):  # the speed of a shared machine changes from one moment to the next
        began = time.process_time()
        verify(hash_, "x" * length)
        ratios.append((time.process_time() - began) / cost_of(Form.parse(form)).seconds)
        if ratios[-1] < 2:
            return
        cost_of.cache_clear()
    pytest.fail(f"{ratios} times what was measured")


@pytest.mark.parametrize("name", SAMPLES)
def test_a_specimen_has_the_form(name: str) -> None:
    """What is measured is what will be checked: a specimen of a form has that form, also from its text."""
    form = accept(SAMPLES[name]).form
    assert specimen(Form.parse(str(form))).form == form == parse(accept(SAMPLES[name]).text).form


def test_more_than_the_measured_bound_is_refused_with_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the form, what it takes here, and the bound."""
    form = Form.parse("scrypt n=16384,r=8,p=1,l=63")
    monkeypatch.setattr(cost, "MAX_MEMORY_KIB", 8 * 1024)
    with pytest.raises(InvalidRequest, match=r"n=16384.* takes 1\d MiB of memory, at most 8 MiB"):
        cost_of(form)
    monkeypatch.setattr(cost, "MAX_CHECK_S", 0.0)
    with pytest.raises(InvalidRequest, match=r"n=16384.* takes .* s of a core, at most 0.0 s"):
        cost_of(form)


def test_a_check_that_does_not_end_is_ended() -> None:
    """The system ends the measuring process. Nothing else would end a check that takes hours."""
    assert cost._KILLED_AFTER_S < 4 * MAX_CHECK_S + 1


@pytest.mark.parametrize("took", [0.1, 1.6, 1.9, 2.5, 5.0])
def test_no_other_round_begins_that_could_be_killed(took: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second round can take twice as long as the first one, on a busy machine."""
    at, next_takes = 0.4, took

    def check(hash_: object, password: str) -> None:
        nonlocal at, next_takes
        at, next_takes = at + next_takes, 1.9 * took

    monkeypatch.setattr(cost, "verify", check)
    monkeypatch.setattr(time, "process_time", lambda: at)
    assert cost._seconds_of(specimen(Form.parse("bcrypt cost=14")), "x") == pytest.approx(took)
    assert at < cost._KILLED_AFTER_S


def test_forms_that_another_one_covers_are_left_out() -> None:
    """The list keeps the costliest forms of an algorithm, whatever the order in which they come."""
    texts = ["bcrypt cost=10", "bcrypt cost=12", "scrypt n=16,r=8,p=1,l=64", "scrypt n=8,r=8,p=5,l=64"]
    for order in (texts, texts[::-1]):
        forms: tuple[str, ...] = ()
        for text in order:
            forms = with_form(forms, Form.parse(text))
        assert sorted(forms) == sorted(texts[1:])


@pytest.mark.parametrize("text", ["", "bcrypt cost", "bcrypt cost=1 --evil", "$2b$", "bcrypt cost=" + "9" * 13])
def test_a_text_that_is_no_form_is_refused(text: str) -> None:
    """The record of the service may hold anything."""
    with pytest.raises(InvalidRequest):
        Form.parse(text)
