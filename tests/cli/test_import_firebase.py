"""Importing users of Firebase: their hashes need the parameters of the project, and AES."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from authsvc.cli.statuses import REFUSED
from authsvc.errors import InvalidCredentials
from authsvc.hashing.cost import cost_of
from tests.cli.test_cli import Cli
from tests.cli.test_import import hash_of
from tests.flows.contents import texts
from tests.hashes import FIREBASE, PASSWORD, firebase

# The test vector of the project firebase/scrypt.
SIGNER = "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=="
VECTOR = {
    "passwordHash": "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==",
    "salt": "42xEC+ixf3L2lw==",
}
VECTOR_PARAMETERS = FIREBASE | {"base64_signer_key": SIGNER, "mem_cost": 14}
INSTALL = "pip install '/path/to/authsvc[firebase]'"
ADA = {"localId": "ada-1", "email": "ada@example.org"}


@pytest.fixture
def parameters(tmp_path: Path) -> Path:
    return written(tmp_path, FIREBASE)


def written(directory: Path, value: Any) -> Path:
    path = directory / "parameters.json"
    path.write_text(json.dumps(value))
    return path


def imported(started: Cli, parameters: Path | None, *users: dict[str, Any]) -> dict[str, Any]:
    """The counts of the import of these users."""
    options = [] if parameters is None else ["--firebase-parameters", str(parameters)]
    done = started("user", "import", "--from", "firebase", *options, "-", "--json", stdin=json.dumps({"users": users}))
    counts: dict[str, Any] = json.loads(done.stdout)
    return counts


def test_the_vector_of_firebase(started: Cli, valkey: "redis.Redis", tmp_path: Path) -> None:
    """The published hash lets in its password and no other. Neither the signer key nor the hash is stored."""
    assert imported(started, written(tmp_path, VECTOR_PARAMETERS), ADA | VECTOR)["created"] == 1
    for secret in (SIGNER, VECTOR["passwordHash"]):
        assert not any(secret[:40].encode() in text for text in texts(valkey))
    with pytest.raises(InvalidCredentials):
        started.login("ada@example.org", "user1password!")
    started.login("ada@example.org", "user1password")
    assert hash_of(started, "ada-1").startswith("$argon2id$")


def test_fields_become_what_they_mean(started: Cli, parameters: Path) -> None:
    """Custom claims become claims. A user without an address has no name, and keeps the id."""
    more = {"customAttributes": '{"team": "blue"}', "createdAt": "1614963289000", "disabled": True}
    counts = imported(started, parameters, ADA | firebase(PASSWORD) | more, {"localId": "by-phone", "phoneNumber": "1"})
    assert (counts["created"], counts["refused"]) == (2, 0)
    ada = started.json("user", "show", "ada-1")
    assert (ada["username"], ada["claims"], ada["created_at"], ada["status"]) == (
        "ada@example.org",
        {"team": "blue"},
        1614963289,
        "suspended",
    )
    assert started.json("user", "show", "by-phone")["username"] is None


def test_a_hash_needs_the_parameters(started: Cli) -> None:
    """Users without a password are imported without them."""
    counts = imported(started, None, ADA | firebase(PASSWORD), {"localId": "bea-1", "email": "bea"})
    assert (counts["created"], counts["refused"]) == (1, 1)
    assert "--firebase-parameters FILE" in next(iter(counts["reasons"]))


@pytest.mark.parametrize(
    ("hash_", "reason"),
    [
        ({"passwordHash": "AAAA", "salt": "AAAA"}, "not as long as the signer key"),
        ({"passwordHash": VECTOR["passwordHash"]}, "not in the form"),
        ({"passwordHash": VECTOR["passwordHash"], "salt": 7}, "not in the form"),
        ({"passwordHash": "ä", "salt": "AAAA"}, "not in the form"),
        ({"createdAt": "yesterday"}, "not in milliseconds"),
        ({"createdAt": "9" * 400}, "not in milliseconds"),
    ],
)
def test_a_damaged_row_is_refused(started: Cli, parameters: Path, hash_: dict[str, Any], reason: str) -> None:
    """The reason does not repeat the value."""
    counts = imported(started, parameters, ADA | hash_)
    (told,) = counts["reasons"]
    assert reason in told
    assert VECTOR["passwordHash"] not in told


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        FIREBASE | {"base64_signer_key": SIGNER + "!"},
        FIREBASE | {"rounds": SIGNER},
        {name: value for name, value in FIREBASE.items() if name != "mem_cost"},
    ],
)
def test_damaged_parameters_refuse_the_import(started: Cli, tmp_path: Path, value: Any) -> None:
    """In one line that names the four fields, without the signer key: it is a secret."""
    options = ("--from", "firebase", "--firebase-parameters", str(written(tmp_path, value)))
    done = started("user", "import", *options, "-", stdin='{"users": []}')
    assert done.exit_code == REFUSED
    assert "base64_signer_key, base64_salt_separator, rounds, mem_cost" in done.stderr
    assert SIGNER not in done.output + done.stderr
    (tmp_path / "parameters.json").unlink()
    assert started("user", "import", *options, "-", stdin='{"users": []}').exit_code == REFUSED


@pytest.mark.parametrize(("name", "value"), [("rounds", 65), ("mem_cost", 18), ("mem_cost", 99), ("mem_cost", 10**9)])
def test_parameters_over_the_bounds_are_refused(started: Cli, tmp_path: Path, name: str, value: int) -> None:
    """They have the bounds of scrypt. No primitive is asked."""
    counts = imported(started, written(tmp_path, FIREBASE | {name: value}), ADA | firebase(PASSWORD))
    assert counts["refused"] == 1


def test_the_parameters_are_for_firebase_only(started: Cli, parameters: Path) -> None:
    """The option means nothing for another system."""
    row = '{"username": "ada"}'
    assert started.code("user", "import", "--firebase-parameters", str(parameters), "-", stdin=row) == REFUSED


def hide_aes(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Hide `cryptography` from this process, and from the processes that measure."""
    hidden = directory / "hidden" / "cryptography"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", str(hidden.parent))
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    cost_of.cache_clear()


def test_an_import_without_cryptography_says_what_to_install(
    started: Cli, parameters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users with a password are refused, because this machine could not check it. The others are imported."""
    hide_aes(monkeypatch, tmp_path)
    counts = imported(started, parameters, ADA | firebase(PASSWORD), {"localId": "bea-1", "email": "bea"})
    assert (counts["created"], counts["refused"]) == (1, 1)
    assert INSTALL in next(iter(counts["reasons"]))


@pytest.mark.slow
def test_a_service_without_cryptography_says_what_to_install(
    started: Cli,
    parameters: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The user was imported on another machine. The login is refused; log, audit trail and `check` give the reason."""
    assert imported(started, parameters, ADA | firebase(PASSWORD))["created"] == 1
    assert INSTALL not in started("check").output
    hide_aes(monkeypatch, tmp_path)
    with pytest.raises(InvalidCredentials):
        started.login("ada@example.org", PASSWORD)
    assert INSTALL in caplog.text
    (event,) = started.lines("audit", "--event", "login.failed")
    assert INSTALL in event["details"]["unusable_hash"]
    assert INSTALL in " ".join(started("check").output.split())
