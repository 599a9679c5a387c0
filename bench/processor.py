"""The processor time of a server. On a busy machine it tells more than a rate."""

import os
from collections.abc import Iterator
from pathlib import Path

LISTENING = "0A"
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def session_at(port: int) -> int | None:
    """The session of the process that listens at this port. None if it is not ours to see."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    for stat in _stats():
        try:
            if any(os.readlink(file) in sockets for file in stat.parent.joinpath("fd").iterdir()):
                return int(_fields(stat)[3])
        except OSError:  # the process has ended, or belongs to somebody else
            continue
    return None


def used_s(session: int) -> float:
    """The time that the processes of a session have used. The bench starts each server in a session of its own."""
    ticks = 0
    for stat in _stats():
        try:
            fields = _fields(stat)
        except OSError:
            continue
        if int(fields[3]) == session:
            ticks += int(fields[11]) + int(fields[12])
    return ticks * _TICK_S


def _inodes(port: int) -> Iterator[str]:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and fields[3] == LISTENING:
            yield fields[9]


def _stats() -> Iterator[Path]:
    return Path("/proc").glob("[0-9]*/stat")


def _fields(stat: Path) -> list[str]:
    """The fields after the name of the program: state, parent, group, session and so on. The name may hold spaces."""
    return stat.read_text().rpartition(")")[2].split()
