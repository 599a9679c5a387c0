"""Telling objects that they woke up in a forked child, where their threads are gone and their sockets the parent's."""

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    def after_fork(self) -> None:
        """Begin anew in the child, without touching what is shared with the parent."""


_watched: "weakref.WeakSet[Forkable]" = weakref.WeakSet()


def watch(thing: Forkable) -> None:
    _watched.add(thing)


def _in_child() -> None:
    for thing in list(_watched):
        thing.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_in_child)
