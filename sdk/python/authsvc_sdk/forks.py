"""Telling objects that they are in a forked child, where their threads are gone and their sockets are the parent's."""

import os
import weakref
from typing import Any

# Objects that forked children inherited. Collecting them would close connections that the parent still uses.
abandoned: list[object] = []
_watched: "weakref.WeakSet[Any]" = weakref.WeakSet()


def watch(forkable: Any) -> None:
    """Call `after_fork` of this object in every forked child. It starts anew, and leaves connections to the parent."""
    _watched.add(forkable)


def _in_child() -> None:
    for forkable in list(_watched):
        forkable.after_fork()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_in_child)
