"""Measures what checking a hash really takes on this machine, in a process of its own.

A formula would be wrong on some machine. Another process has a peak of memory of its own, and the system ends the
process if a check takes far too long. `python -m authsvc.hashing.cost FORM` measures one form.
"""

import hashlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from argon2.exceptions import VerificationError

from authsvc.core.hash_form import Form
from authsvc.core.imported_hash import (
    MAX_CHECK_S,
    MAX_MEMORY_KIB,
    Bcrypt,
    FirebaseScrypt,
    ImportedHash,
    Pbkdf2,
    Phpass,
    SaltedSha,
    Scrypt,
    Sha512Crypt,
)
from authsvc.core.imported_hash_text import parse, phc_argon2
from authsvc.core.password import MAX_BYTES
from authsvc.errors import InvalidRequest, StartupError
from authsvc.hashing.imported import Uncheckable, verify

# Other programs disturb a measurement, and only ever make it longer.
_ROUNDS: Final = 2
# Lengths of passwords. SHA-512-crypt and phpass digest the password again in each round, so that a long one takes four
# times as long. Of SHA-512-crypt, libxcrypt refuses passwords over 511 bytes at once, and musl those over 255.
_LENGTHS: Final = (255, 511, MAX_BYTES)
# Handing a check to a thread takes about this time. Some clocks count less as nothing.
_LEAST_S: Final = 0.001
_KILLED_AFTER_S: Final = int(4 * MAX_CHECK_S)
_PATIENCE_S: Final = 120


@dataclass(frozen=True, slots=True)
class Cost:
    """The time of all cores together, and the peak of memory, of one check."""

    seconds: float
    memory_kib: int


@cache
def cost_of(form: Form) -> Cost:
    """Measure a form. Takes a quarter of a second more than its checks. Blocks; the result is kept.

    Raises InvalidRequest if a check is over the bounds, or if the primitive refuses it.
    """
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and a form has only letters, digits and signs
            [sys.executable, "-P", "-m", __name__, str(form)], capture_output=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        raise StartupError("no process could be started to measure a password hash") from None
    if done.returncode:
        raise InvalidRequest(f"{form}: a check takes over {_KILLED_AFTER_S} s, or more memory than there is")
    measured = json.loads(done.stdout)
    if "refused" in measured:
        raise InvalidRequest(measured["refused"])
    cost = Cost(**measured)
    if cost.seconds > MAX_CHECK_S:
        raise InvalidRequest(f"{form}: a check takes {cost.seconds:.1f} s of a core, at most {MAX_CHECK_S} s is taken")
    if cost.memory_kib > MAX_MEMORY_KIB:
        took, most = cost.memory_kib // 1024, MAX_MEMORY_KIB // 1024
        raise InvalidRequest(f"{form}: a check takes {took} MiB of memory, at most {most} MiB is taken")
    return cost


def specimen(form: Form) -> ImportedHash:
    """A hash of this form that no password has. Raises InvalidRequest for a form that this version does not know."""
    try:
        return _specimen(form.algorithm, dict(form.parameters))
    except (KeyError, ValueError):
        raise InvalidRequest("an unknown form of hash") from None


def _specimen(algorithm: str, of: dict[str, int]) -> ImportedHash:
    salt = bytes(16)
    if algorithm == "bcrypt":
        return Bcrypt(f"$2b${of['cost']:02}${'.' * 53}", of["cost"])
    if algorithm.startswith("pbkdf2-"):
        return Pbkdf2(algorithm.removeprefix("pbkdf2-"), of["i"], salt, bytes(of["l"]))
    if algorithm == "scrypt":
        return Scrypt(of["n"], of["r"], of["p"], salt, bytes(of["l"]))
    if algorithm.startswith("argon2"):
        return parse(phc_argon2(algorithm.removeprefix("argon2"), 19, of["m"], of["t"], of["p"], salt, bytes(of["l"])))
    if algorithm == "sha512-crypt":
        return Sha512Crypt(f"$6$rounds={of['rounds']}${'.' * 16}${'.' * 86}", of["rounds"])
    if algorithm == "phpass":
        return Phpass(of["rounds"], bytes(8), bytes(16))
    if algorithm == "firebase-scrypt":
        return FirebaseScrypt(of["n"], of["r"], salt, bytes(64))
    if algorithm.startswith("salted-"):
        digest = algorithm.removeprefix("salted-")
        return SaltedSha(digest, salt, bytes(hashlib.new(digest).digest_size))
    raise KeyError(algorithm)


def _measure(form: Form) -> dict[str, object]:
    import resource  # not on Windows, where no server runs

    resource.setrlimit(resource.RLIMIT_CPU, (_KILLED_AFTER_S, _KILLED_AFTER_S))
    hash_ = specimen(form)
    before = _peak_kib()
    lengths = _LENGTHS if isinstance(hash_, Sha512Crypt | Phpass) else _LENGTHS[:1]
    seconds = max(_seconds_of(hash_, "x" * length) for length in lengths)
    return {"seconds": max(seconds, _LEAST_S), "memory_kib": _peak_kib() - before}


def _seconds_of(hash_: ImportedHash, password: str) -> float:
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.process_time()
        verify(hash_, password)
        ended = time.process_time()
        best = min(best, ended - began)
        # No other round if this one is fast enough, or if the process could be killed in the next one.
        if best < MAX_CHECK_S or ended + 2 * best > _KILLED_AFTER_S:
            break
    return best


def _peak_kib() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:  # not on Linux
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # bytes on macOS
    # On Linux the peak of `getrusage` begins with the peak of the process that started this one.
    return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0])


if __name__ == "__main__":
    try:
        print(json.dumps(_measure(Form.parse(sys.argv[1]))))  # noqa: T201 - the result
    except (InvalidRequest, Uncheckable) as error:
        print(json.dumps({"refused": str(error)}))  # noqa: T201 - the result
    except VerificationError:
        sys.exit("not enough memory")
