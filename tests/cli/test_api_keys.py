"""`authsvc key …`."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from authsvc.cli.statuses import INACTIVE, MISUSED, NOT_FOUND, OK, REFUSED
from authsvc.core.token import Kind, parse
from tests.cli.test_cli import Cli

DAY = 86400
FOREIGN = "sk_live_51H8xQ2eZvKYlo2C0123456789"


def is_active(cli: Cli, text: str) -> bool:
    return cli.code("token", "explain", stdin=text) == OK


def test_a_key_for_a_script(started: Cli) -> None:
    """A user without a password and a key in two commands; the key alone is on stdout, and revoking ends it."""
    started.ok("user", "create", "backup", "--no-password")
    made = started("key", "create", "backup", "--name", "nightly", "--scope", "orders:read", "--expires-in", "30d")
    key = made.stdout.removesuffix("\n")
    token = parse(key, Kind.KEY)
    assert token is not None
    assert key not in made.stderr
    assert is_active(started, key)
    (one,) = started.lines("key", "list", "backup")
    assert (one["key_id"], one["name"], one["scope"]) == (token.handle, "nightly", "orders:read")
    assert one["expires_at"] == one["created_at"] + 30 * DAY
    rotated = started.json("key", "rotate", token.handle, "--overlap", "0s")
    assert [is_active(started, text) for text in (key, rotated["key"])] == [False, True]
    assert started.code("key", "revoke", token.handle) == 0
    assert not is_active(started, rotated["key"])
    assert started.code("key", "revoke", token.handle) == NOT_FOUND
    assert started.code("key", "rotate", token.handle) == NOT_FOUND
    assert started.lines("key", "list", "backup") == []


def test_the_text_of_a_key_explains_and_revokes(started: Cli) -> None:
    """`token explain` and `token revoke` take a key as they take a token."""
    started.user("ada")
    key = started.json("key", "create", "ada", "--name", "x", "--network", "203.0.113.0/24")["key"]
    told = started.json("token", "explain", stdin=key)
    assert (told["active"], told["session"]["token_use"]) == (True, "key")
    assert told["session"]["networks"] == ["203.0.113.0/24"]
    assert [one["event"] for one in told["trail"]] == ["key.created"]
    started.ok("token", "revoke", stdin=key)
    assert started.why(key) == (INACTIVE, "ended: revoked, by operator")


def test_why_a_key_is_inactive(started: Cli) -> None:
    """A cut-off of the sessions that spared one session says nothing about a key; that of the keys does."""
    ada = started.user("ada")
    keys = [started.json("key", "create", "ada", "--name", "x")["key"] for _ in range(2)]
    started.ok("key", "revoke", "--user", "ada")
    assert [started.why(key)[0] for key in keys] == [INACTIVE] * 2
    assert started.why(keys[0])[1] in (
        "ended: every key of the user was ended, by operator",
        "cut off by the epoch of the user's keys, by operator (every key of the user was ended)",
    )
    assert ada["sub"]


def test_the_list_warns_of_keys_that_expire_soon(started: Cli) -> None:
    started.user("ada")
    for life in ("13d", "15d"):
        started.ok("key", "create", "ada", "--name", life, "--expires-in", life)
    listed = started("key", "list", "ada")
    assert "1 of them expire within 14 days" in listed.stderr
    assert [one["name"] for one in started.lines("key", "list", "ada")] == ["13d", "15d"]


def test_the_end_of_all_sessions_says_that_keys_ended(started: Cli) -> None:
    for name in ("ada", "bob"):
        started.user(name)
    key = started.json("key", "create", "ada", "--name", "x")["key"]
    told = {name: started("user", "logout", name).stderr for name in ("ada", "bob")}
    assert "ended 0 sessions and every key of ada" in told["ada"]
    assert "ended 0 sessions of bob" in told["bob"]
    assert not is_active(started, key)


def test_check_names_users_whose_keys_expire_soon(started: Cli) -> None:
    """Keys that are revoked or that end later are no news."""
    for name, life in (("ada", "13d"), ("bob", "15d"), ("eve", "13d")):
        started.user(name)
        started.ok("key", "create", name, "--name", "x", "--expires-in", life)
    started.ok("key", "revoke", "--user", "eve")
    checks = json.loads(started("check", "--json").stdout)["checks"]
    (row,) = [one for one in checks if one["check"] == "keys"]
    assert (row["result"], row["why"]) == ("warn", "a key ends within 14 days: ada")


@pytest.mark.parametrize(
    "options",
    [
        *(["--expires-in", "366d"], ["--expires-in", "59s"], ["--network", "203.0.113.1/24"], ["--scope", 'a"b']),
        *(["--client", "nobody"], ["--name", ""]),
    ],
)
def test_what_is_refused(started: Cli, options: list[str]) -> None:
    started.user("ada")
    assert started.code("key", "create", "ada", "--name", "x", *options) in (REFUSED, MISUSED, NOT_FOUND)
    assert started.lines("key", "list", "ada") == []


def rows(path: Path, *documents: dict[str, Any] | str) -> Path:
    lines = [one if isinstance(one, str) else json.dumps(one) for one in documents]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_foreign_keys(started: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of another system work after the import of their digests, and can be rotated and revoked."""
    sub = started.user("ada")["sub"]
    now = started.do(_now)
    row = {"sha256": sha256(FOREIGN.encode()).hexdigest(), "sub": sub, "name": "billing", "exp": now + 30 * DAY}
    wrong: list[dict[str, Any] | str] = [
        *(
            row | {"sub": "nobody"},
            row | {"exp": now},
            row | {"exp": now + 366 * DAY},
            row | {"sha256": "00"},
            "x",
            "[]",
        ),
        *({name: row[name] for name in row if name != left_out} for left_out in row),
    ]
    file = rows(tmp_path / "keys.jsonl", row | {"scope": "orders:read"}, row, *wrong)
    assert started.code("key", "import", str(file)) == MISUSED
    monkeypatch.setenv("AUTHSVC_FOREIGN_KEY_PREFIXES", "sk_live_ pat_")
    dry = started("key", "import", str(file), "--dry-run", "--json")
    assert dry.exit_code == REFUSED
    assert started.lines("key", "list", "ada") == []
    told = started("key", "import", str(file), "--json")
    assert json.loads(told.stdout) == {"imported": 1, "there": 1, "refused": len(wrong)}
    assert "line 3: " in told.stderr
    assert is_active(started, FOREIGN)
    assert not is_active(started, FOREIGN[:-1] + "x")
    (one,) = started.lines("key", "list", "ada")
    assert (one["name"], one["scope"], one["expires_at"]) == ("billing", "orders:read", now + 30 * DAY)
    assert started.json("token", "explain", stdin=FOREIGN)["active"]
    rotated = started.json("key", "rotate", one["key_id"])["key"]
    assert rotated.startswith("key_")
    assert [is_active(started, text) for text in (FOREIGN, rotated)] == [True, True]
    monkeypatch.delenv("AUTHSVC_FOREIGN_KEY_PREFIXES")
    assert [is_active(started, text) for text in (FOREIGN, rotated)] == [False, True]
    monkeypatch.setenv("AUTHSVC_FOREIGN_KEY_PREFIXES", "sk_live_")
    started.ok("token", "revoke", stdin=FOREIGN)
    assert [is_active(started, text) for text in (FOREIGN, rotated)] == [False, False]


async def _now(deps: Any) -> int:
    return int(deps.clock())


def test_a_service_user_has_no_password(started: Cli) -> None:
    """No code is printed, and an admin may make one later."""
    made = started.json("user", "create", "backup", "--no-password")
    assert "reset_code" not in made
    assert started.code("user", "create", "other", "--no-password", "--reset-code") == MISUSED
    assert started.json("user", "reset-code", "backup")["reset_code"]


def test_what_an_explanation_says_about_a_key(started: Cli) -> None:
    """Its name and its audience, no idle end, and no use before there was one."""
    started.ok("user", "create", "backup", "--no-password")
    created = started.json("key", "create", "backup", "--name", "nightly", "--audience", "orders")
    told = started.json("token", "explain", stdin=created["key"])["session"]
    assert (told["name"], told["audience"]) == ("nightly", ["orders"])
    assert not {"seen", "idle_s"} & told.keys()
    assert "1970" not in started.ok("token", "explain", stdin=created["key"])


@pytest.mark.parametrize("command", ["rotate", "revoke"])
def test_the_text_of_a_key_is_no_argument(started: Cli, command: str) -> None:
    """The message names what takes the text and what the id is, repeats nothing of the secret, and the key goes on."""
    started.user("ada")
    text = started.json("key", "create", "ada", "--name", "x")["key"]
    refused = started("key", command, text)
    assert refused.exit_code == MISUSED
    assert "`authsvc token revoke` reads a key from stdin" in refused.stderr
    assert "12 characters after `key_`" in refused.stderr
    assert text[16:] not in refused.output
    assert is_active(started, text)
    assert "an id has 12 letters and digits" in started("key", command, "short").stderr
