"""Histories of calls, and the check by Porcupine that some order of the calls explains all answers.

`chaos/porcupine` holds the model and the program, which `go build` makes once.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path

import msgspec

from chaos.processes import ExperimentError
from chaos.variation import CACHE

SOURCE = Path(__file__).resolve().parent / "porcupine"
# Porcupine gives up the check of one user after 30 s.
WITHIN_S = 300
BUILT_WITHIN_S = 120
EVERYBODY = "*"


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call about one user. `kind`: one of `read login refresh revoke cut-off change`.

    token: the name of the presented access token. A refresh names the access token of the same pair.
    roles, status: the new values of a change; None for a value that stays.
    """

    kind: str
    session: str | None = None
    token: str | None = None
    roles: str | None = None
    status: str | None = None


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer. ok: an active token, or a success. session, token: new ones. roles, status: as the answer shows."""

    ok: bool
    session: str | None = None
    token: str | None = None
    roles: str | None = None
    status: str | None = None


class Operation(msgspec.Struct, frozen=True, rename={"sent": "call", "answered": "return"}):
    """A call with its times and its result. Times: nanoseconds of one monotonic clock.

    user: the subject, or EVERYBODY. result: None if nobody knows whether the call took effect, or will.
    """

    user: str
    client: int
    sent: int
    answered: int
    input: Call
    result: Result | None


class Verdict(msgspec.Struct, frozen=True):
    """The verdict on the history of one user: `Ok`, `Illegal`, or `Unknown` if the check took too long."""

    user: str
    operations: int
    verdict: str


def verdicts(history: Sequence[Operation], directory: Path) -> list[Verdict]:
    """Check the history of each user. The directory gets the histories, and a page for each wrong history.

    Raises ExperimentError.
    """
    encoded = msgspec.json.encode(history)
    (directory / "histories.json").write_bytes(encoded)
    ran = subprocess.run(
        [str(_program()), str(directory)],
        input=encoded,
        capture_output=True,
        check=False,
        timeout=WITHIN_S,
    )
    if ran.returncode != 0:
        raise ExperimentError(f"Porcupine failed: {ran.stderr.decode(errors='replace')[-500:]}")
    return msgspec.json.decode(ran.stdout, type=list[Verdict])


@cache
def missing() -> str | None:
    """Why Porcupine is not to be had here, None if it is."""
    if _target().exists():
        return None
    if shutil.which("go") is None:
        return "needs Go"
    try:
        _program()
    except ExperimentError as error:
        return str(error)
    return None


def _target() -> Path:
    """The place of the program. Another source has another place."""
    sources = b"".join(file.read_bytes() for file in sorted(SOURCE.iterdir()))
    return CACHE / f"porcupine-{sha256(sources).hexdigest()[:8]}"


def _program() -> Path:
    target = _target()
    if target.exists():
        return target
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        made = Path(directory) / "program"
        command = ["go", "build", "-buildvcs=false", "-o", str(made), "."]
        try:
            built = subprocess.run(
                command, cwd=SOURCE, capture_output=True, text=True, check=False, timeout=BUILT_WITHIN_S
            )
        except subprocess.TimeoutExpired:
            raise ExperimentError("Porcupine can't be built: its module does not arrive") from None
        if built.returncode != 0:
            raise ExperimentError(f"Porcupine can't be built: {built.stderr[-500:]}")
        made.replace(target)  # at once, because another process may look for it
    return target
