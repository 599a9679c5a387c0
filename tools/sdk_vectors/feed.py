"""Vectors of `GET /events`: what the cache does with its events."""

from collections.abc import Callable
from typing import Any

from authsvc_sdk.cache import key_digest

from tools.sdk_vectors.garbage import GARBAGE, byte_by_byte, harmless
from tools.sdk_vectors.script import Script, event, play
from tools.sdk_vectors.shapes import HANDLE, OTHER, THIRD, TOKEN


def a_heartbeat_is_needed(s: Script) -> None:
    s.open()
    s.everything()
    s.keep()
    s.check()
    s.wait(0.1)
    s.heartbeat()
    s.check()
    s.check(OTHER)


def silence(s: Script) -> None:
    s.begin()
    s.wait(1.999)
    s.check()
    s.wait(0.001)
    s.check()
    s.heartbeat(9)
    s.check()


def a_gap(s: Script) -> None:
    s.begin()
    for second in (1, 2):
        s.wait(1)
        s.heartbeat(7 + second)
    s.wait(3)
    s.check()
    s.heartbeat(9.5)  # it was sent long ago, and was on its way
    s.check()
    s.heartbeat(12)
    s.check()


def late_heartbeats(s: Script) -> None:
    s.begin()
    s.wait(5)  # from here on the network delays everything by five seconds
    for second in range(1, 7):
        s.heartbeat(7 + second)
        s.check()
        s.wait(1)


def slightly_late_heartbeats(s: Script) -> None:
    s.begin()
    for second in range(1, 10):
        s.wait(1)
        s.heartbeat(7 + second - 0.4)
        s.check()
    s.wait(1.6)
    s.check()


def a_slow_beginning(s: Script) -> None:
    s.open()
    s.wait(3)
    s.everything()
    s.keep()
    s.heartbeat()
    for second in range(1, 6):
        s.check()
        s.wait(1)
        s.heartbeat(7 + second)
    s.check()


def clocks(rate: float) -> Callable[[Script], None]:
    def write(s: Script) -> None:
        s.begin()
        for second in range(1, 21):
            s.wait(1)
            if s.steps[-1].get("broken"):
                break
            s.heartbeat(round(7 + second * rate, 6))
        s.wait(0.9)
        s.check()
        s.wait(1.1)
        s.check()

    return write


def heartbeats_out_of_order(s: Script) -> None:
    s.begin()
    s.wait(1)
    s.heartbeat(8)
    s.heartbeat(7.5)
    s.wait(1.5)
    s.check()


def a_process_that_was_stopped(s: Script) -> None:
    s.begin()
    s.wait(30)
    s.check()
    queued = "".join(event("heartbeat", {"at": at * 1000}) for at in range(8, 20))
    changed = event("forget", [key_digest(f"session:{HANDLE}")])
    s.receive(queued + changed + "".join(event("heartbeat", {"at": at * 1000}) for at in range(20, 37)))
    s.check()
    s.heartbeat(37)
    s.check()
    s.keep(active=False)
    s.check()


def no_times(s: Script) -> None:
    s.open()
    s.receive(event("everything", {}))
    s.keep()
    s.receive(event("heartbeat", {}))
    s.check()


def everything_again(s: Script) -> None:
    s.begin()
    s.wait(1)
    s.everything(8)
    s.check()
    s.heartbeat(8)
    s.check()
    s.keep()
    s.check()


def a_change_of(key: str) -> Callable[[Script], None]:
    def write(s: Script) -> None:
        s.begin()
        s.forget("user:{somebody else}", "client:another", "session:000000000009")
        s.check()
        s.forget(key)
        s.check()
        s.keep()
        s.check()

    return write


def a_change_of_one_user(s: Script) -> None:
    s.begin()
    s.keep(OTHER, sub="grace")
    s.forget("user:{ada}")
    s.check()
    s.check(OTHER)


def a_change_on_the_way(s: Script) -> None:
    s.open()
    s.everything()
    s.heartbeat()
    s.ask()
    s.ask(OTHER)
    s.forget("user:{ada}")
    s.answer()
    s.answer(sub="grace")
    s.check()
    s.check(OTHER)
    s.keep()
    s.check()


def an_inactive_answer_on_the_way(s: Script) -> None:
    s.open()
    s.everything()
    s.heartbeat()
    s.ask()
    s.forget(f"session:{HANDLE}")
    s.answer(active=False)
    s.check()


def everything_on_the_way(s: Script) -> None:
    s.open()
    s.everything()
    s.heartbeat()
    s.ask()
    s.everything()
    s.heartbeat()
    s.answer()
    s.check()


def the_stream_ends(s: Script) -> None:
    s.begin()
    s.ask(OTHER)
    s.end()
    s.check()
    s.keep(THIRD)
    s.check(THIRD)
    s.wait(0.1)
    s.open()
    s.everything()
    s.heartbeat()
    s.answer()  # asked during the stream before
    for token in (TOKEN, OTHER, THIRD):
        s.check(token)
    s.keep()
    s.check()


def another_worker(s: Script) -> None:
    s.begin()
    s.wait(1)
    s.end()
    s.wait(0.5)
    s.open()
    s.wait(0.01)
    s.everything(90_000)  # each worker has a clock of its own
    s.keep()
    s.heartbeat(90_000)
    s.check()
    s.wait(1)
    s.heartbeat(90_001)
    s.wait(1.9)
    s.check()
    s.wait(0.1)
    s.check()


def deadlines(s: Script) -> None:
    s.begin()
    s.keep(OTHER, until=s.now + 10)
    s.keep(THIRD, active=False)
    for seconds in (9.9, 0.1, 19.9, 0.1, 269.9, 0.1):
        s.wait(seconds)
        s.heartbeat(round(7 + s.now - 1000, 6))
        for token in (TOKEN, OTHER, THIRD):
            s.check(token)


def a_new_answer(s: Script) -> None:
    s.begin()
    s.keep(active=False)
    s.check()


def stale(s: Script) -> None:
    s.begin()
    s.keep(OTHER, exp=s.now + 30, until=s.now + 30)
    s.keep(THIRD, active=False)
    for seconds in (1.9, 0.1, 27.9, 0.1, 29.9, 0.2):
        s.wait(seconds)
        for token in (TOKEN, OTHER, THIRD):
            s.check(token)


def stale_and_forgotten(s: Script) -> None:
    s.begin()
    s.forget("user:{ada}")
    s.end()
    s.check()


def stale_after_the_end(s: Script) -> None:
    s.begin()
    s.wait(1)
    s.end()
    s.check()
    s.wait(0.5)
    s.open()
    s.check()
    s.everything()
    s.check()


def transcripts() -> dict[str, Any]:
    """Streams with their times, and what the cache does."""
    plain: list[Callable[[Script], None]] = [
        a_heartbeat_is_needed,
        silence,
        a_gap,
        late_heartbeats,
        slightly_late_heartbeats,
        a_slow_beginning,
        heartbeats_out_of_order,
        a_process_that_was_stopped,
        no_times,
        everything_again,
        a_change_of_one_user,
        a_change_on_the_way,
        an_inactive_answer_on_the_way,
        everything_on_the_way,
        the_stream_ends,
        another_worker,
        deadlines,
        a_new_answer,
        harmless,
        byte_by_byte,
    ]
    named = {write.__name__.replace("_", " "): write for write in plain}
    for key in (f"session:{HANDLE}", "user:{ada}", "client:app", "client:backend", "service"):
        named[f"a change of {key}"] = a_change_of(key)
    named |= {"the sender's clock is slow": clocks(0.95), "the sender's clock is fast": clocks(1.05)} | GARBAGE
    cases = [play(name, write) for name, write in named.items()]
    cases += [
        play(f"{write.__name__.replace('_', ' ')}", write, serve_stale_for_s=60.0)
        for write in (stale, stale_and_forgotten, stale_after_the_end)
    ]
    cases.append(play("a longer silence is allowed", silence, feed_silence_s=5.0))
    return {"cases": cases}
