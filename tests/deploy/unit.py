"""Runs a program under the confinement of the systemd unit, without systemd.

This module applies the environment, the filter of system calls, the families of sockets and the ban of new privileges
and of writable code. It leaves users, folders and devices to systemd.
"""

import ctypes
import os
import re
import shlex
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "authsvc.service"
STORE = UNIT.with_name("store.conf")

_NO_NEW_PRIVILEGES, _MEMORY_DENY_WRITE_EXECUTE = 38, 65  # prctl(2)
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # seccomp_init(3): with EPERM
_EQUAL = 4


class _Argument(ctypes.Structure):
    _fields_ = [("number", ctypes.c_uint), ("how", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def lines(text: str, name: str) -> list[str]:
    """The values of a setting, in their order."""
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def environment(text: str, directory: Path) -> dict[str, str]:
    """The variables of `Environment=`, with the unit's folders below this one."""
    given = dict(line.split("=", 1) for line in lines(text, "Environment"))
    return {name: value.replace("%S", str(directory)).replace("%d", str(directory)) for name, value in given.items()}


def prepare(text: str, directory: Path) -> None:
    """Make the unit's folders below this one, and run what comes before its program."""
    for name in " ".join(lines(text, "StateDirectory")).split():
        (directory / name).mkdir(exist_ok=True)
    for command in lines(text, "ExecStartPre"):
        subprocess.run(shlex.split(command.replace("%S", str(directory))), check=True)


@cache
def _groups() -> dict[str, list[str]]:
    """The members of each group of system calls, as systemd lists them. A member can be a group."""
    told = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True).stdout
    groups: dict[str, list[str]] = {}
    for line in told.splitlines():
        word = line.strip()
        if line.startswith("@"):
            groups[word] = []
        elif line.startswith("    ") and not word.startswith("#"):
            groups[list(groups)[-1]].append(word)
        elif line.startswith("#"):  # system calls without a group
            break
    return groups


def system_calls(name: str) -> frozenset[str]:
    """The system calls of a group such as @system-service, or the call with this name."""
    if not name.startswith("@"):
        return frozenset({name})
    return frozenset().union(*(system_calls(one) for one in _groups()[name]))


def allowed(text: str) -> frozenset[str]:
    """The system calls that SystemCallFilter= allows."""
    kept: frozenset[str] = frozenset()
    for line in lines(text, "SystemCallFilter"):
        calls = frozenset().union(*(system_calls(name) for name in line.removeprefix("~").split()))
        kept = kept - calls if line.startswith("~") else kept | calls
    return kept | system_calls("@default")


def confine(text: str) -> None:
    """Confine this process and its future programs and children as the unit does."""
    libc = ctypes.CDLL(None, use_errno=True)
    seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    seccomp.seccomp_load.argtypes = [ctypes.c_void_p]
    seccomp.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Argument),
    ]  # fmt: skip
    rules = seccomp.seccomp_init(_REFUSE)

    def allow(name: str, *arguments: _Argument) -> None:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # negative: this architecture does not have the call
            given = (_Argument * len(arguments))(*arguments)
            if seccomp.seccomp_rule_add_array(rules, _ALLOW, number, len(arguments), given):
                raise OSError(f"no rule for {name}")

    for name in allowed(text) - {"socket"}:
        allow(name)
    for family in " ".join(lines(text, "RestrictAddressFamilies")).split():
        allow("socket", _Argument(0, _EQUAL, int(getattr(socket, family)), 0))
    if "MemoryDenyWriteExecute=yes" in text and libc.prctl(_MEMORY_DENY_WRITE_EXECUTE, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_MDWE")
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or seccomp.seccomp_load(rules):
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    left_out = sys.argv[1].removeprefix("--without=")
    confine(UNIT.read_text().replace(left_out, "") if left_out else UNIT.read_text())
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606  # this module exists to run the given program
