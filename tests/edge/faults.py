"""Faults in the midst of a request: an exception at one call that the package makes.

`sys.setprofile` tells of each call. An exception that it raises takes the place of the call. No function is replaced,
so that the faults reach every line: a method that was bound before, a closure, a coroutine, a function of C.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import authsvc

PACKAGE = str(Path(authsvc.__file__).parent)

# What only a lack of memory, or the end of the process, could make fail. `call_soon` is what a future calls.
NEVER_FAIL = {
    *("list.append", "list.pop", "deque.append", "deque.popleft", "deque.pop", "set.add", "set.discard", "bytes.join"),
    "BaseEventLoop.call_soon",
}
# After these calls an answer is told or sent: nothing is left that could answer.
LAST = {"_tell", "_SelectorSocketTransport.write"}
# The ends of `with` blocks. Python always runs them, and what they call only gives back what was taken.
ENDS = {
    *("_AsyncGeneratorContextManager.__aexit__", "_GeneratorContextManager.__exit__"),
    *("Turn.__aexit__", "Turn._give_back", "Turns.give_back"),
}

SPARED = NEVER_FAIL | LAST | ENDS

# What makes the call, at which instruction, and what is called.
Site = tuple[CodeType, int, object]


class InjectedError(Exception):
    """A fault that nothing in the package expects."""


def _site(frame: FrameType, event: str, called: Any) -> Site | None:
    if frame.f_code.co_qualname in SPARED:
        return None
    if event == "c_call":
        what = getattr(called, "__qualname__", "")
        return None if what in NEVER_FAIL or not _is_ours(frame.f_code) else (frame.f_code, frame.f_lasti, what)
    caller = frame.f_back
    if event == "call" and caller is not None and _is_ours(caller.f_code):
        return caller.f_code, caller.f_lasti, frame.f_code
    return None


def _is_ours(code: CodeType) -> bool:
    return code.co_filename.startswith(PACKAGE)


@contextmanager
def recorded(found: dict[Site, None]) -> Iterator[None]:
    """Add the calls of a run to `found`, in order."""

    def note(frame: FrameType, event: str, called: Any) -> None:
        site = _site(frame, event, called)
        if site is not None:
            found.setdefault(site)

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


@contextmanager
def fault_at(site: Site) -> Iterator[None]:
    """Raise InjectedError at the first call from this site."""

    def fail(frame: FrameType, event: str, called: Any) -> None:
        if _site(frame, event, called) == site:
            raise InjectedError("a fault of a test")  # Python drops the profiler that raises

    sys.setprofile(fail)
    try:
        yield
    finally:
        sys.setprofile(None)


def name(site: Site) -> str:
    """The place as a person finds it."""
    code, _, called = site
    what = called.co_qualname if isinstance(called, CodeType) else called
    return f"{Path(code.co_filename).name} {code.co_qualname}: {what}"
