"""The memory of answers stays within its bytes, and counts them as they are."""

import tracemalloc

import pytest

from authsvc.core import token as tokens
from authsvc.core.session import Active
from authsvc.store import keys
from authsvc.store.memory import ASKED, CHANCES, Memory, Remembered, question_of
from authsvc.store.moment import Moment
from tests.core.examples import NOW, a_client, a_service, a_user, begun

# The record of a usual login (docs/decisions/010).
SESSION_BYTES = 378
ANSWER_BYTES = 300


def question(number: int) -> bytes:
    return question_of(str(number).encode())


def remembered(number: int, answer_bytes: int = ANSWER_BYTES) -> Remembered:
    """An answer about a usual login. Each record has bytes of its own, as after each read."""
    handle, sub = tokens.new_handle(), f"{number:012d}"
    session, user = begun()[0].but(sub=sub), a_user(sub=sub, username=f"user{number}", roles=("editor",))
    shared = {keys.SERVICE: a_service(), keys.client("app"): a_client(), keys.client("orders"): a_client()}
    read = {name: record.to_json() for name, record in shared.items()}
    raw = session.to_json().ljust(SESSION_BYTES)
    moment = Moment(read | {keys.session(handle): raw, keys.user(sub): user.to_json()})
    active = Active(handle, "read", NOW + 900, session, user, a_client(), True)
    answer = str(number).encode().ljust(answer_bytes)
    made = Remembered.of(moment, active, "orders", NOW + 900, answer)
    assert made is not None
    return made


@pytest.mark.slow
def test_an_answer_takes_what_is_counted() -> None:
    """A remembered answer about a usual login takes less than 1.5 KB, and less than the memory counts for it."""
    number = 5_000
    memory = Memory(10**9)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for each in range(number):
            memory.put(question(each), remembered(each))
        taken = (tracemalloc.get_traced_memory()[0] - before) / number
    finally:
        tracemalloc.stop()
    counted = remembered(0).size
    assert taken < counted < 1.25 * taken
    assert counted <= 1500


@pytest.mark.timeout(120)
def test_the_memory_stays_within_its_bytes() -> None:
    """Many different questions, of which each comes twice, take no more than the memory has."""
    size = remembered(0).size
    memory, one = Memory(1000 * size), remembered(0)
    for number in range(100_000):
        asked = question(number)
        memory.is_asked_again(asked)
        assert memory.is_asked_again(asked)
        memory.put(asked, one)
    assert len(memory) == len(memory._ring) == 1000
    assert set(memory._ring) == set(memory._answers)
    assert memory._bytes == 1000 * size
    assert len(memory._asked) == ASKED


@pytest.mark.slow
def test_answers_of_every_size_are_counted() -> None:
    """The count is right after answers took the place of smaller and larger ones, and were dropped for others."""
    memory = Memory(20 * remembered(0).size)
    for number in range(2000):
        memory.put(question(number * number % 37), remembered(number, number * 7919 % 9000))
        kept = memory._answers.values()
        assert memory._bytes == sum(one.size for one in kept) <= 20 * remembered(0).size
        assert sorted(memory._ring) == sorted(memory._answers)


def test_an_answer_larger_than_the_memory_is_not_kept() -> None:
    """It takes no other answer's place. A memory of no bytes keeps nothing."""
    memory, none = Memory(3 * remembered(0).size), Memory(0)
    for number, size in ((1, ANSWER_BYTES), (2, ANSWER_BYTES), (3, 100_000)):
        memory.put(question(number), remembered(number, size))
    assert [memory.find(question(number)) is not None for number in (1, 2, 3)] == [True, True, False]
    none.put(question(1), remembered(1))
    assert not any(none.is_asked_again(question(1)) for _ in range(3))
    assert len(none) == 0


def test_what_is_used_stays() -> None:
    """Of many answers that come and go, those that are given all the time stay."""
    memory = Memory(2 * CHANCES * remembered(0).size)
    used = [question(number) for number in range(CHANCES // 2)]
    for number, asked in enumerate(used):
        memory.put(asked, remembered(number))
    for number in range(1000, 3000):
        assert all(memory.find(asked) is not None for asked in used)
        memory.put(question(number), remembered(number))


def test_what_is_not_used_any_more_goes() -> None:
    """One use gives an answer one more chance, and no place for ever."""
    memory = Memory(CHANCES // 2 * remembered(0).size)
    memory.put(question(0), remembered(0))
    assert memory.find(question(0)) is not None
    for number in range(1, 3 * CHANCES):
        memory.put(question(number), remembered(number))
    assert memory.find(question(0)) is None


def test_a_remembered_answer_shows_nothing() -> None:
    """The answer is about a person, so it has no place in a log."""
    one = remembered(1)
    assert repr(one) == str(one) == "Remembered()"
