"""The command line does what it says, on whatever store there is, and its exit status can be relied on."""

import asyncio
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
import httpx
import pytest
import redis
from click.testing import CliRunner, Result
from pydantic import BaseModel

from authsvc.api.schemas.answers import AuditView, ClientView, UserSessionView, UserStateView
from authsvc.api.schemas.api_keys import KeyView
from authsvc.cli import cli, state
from authsvc.cli.layout import Columns
from authsvc.cli.output import cell, in_units, show_list
from authsvc.cli.statuses import INACTIVE, INTERRUPTED, MISUSED, NOT_FOUND, OK, REFUSED, STATUSES, UNAVAILABLE
from authsvc.composition import open_deps
from authsvc.core import token as tokens
from authsvc.core.client import Permission
from authsvc.core.record import FORMAT
from authsvc.core.token import Kind
from authsvc.errors import InvalidCredentials, StoreUnavailable
from authsvc.flows.bootstrap import first_start
from authsvc.flows.deps import Caller, Deps
from authsvc.flows.grants import Grant
from authsvc.flows.login import login
from authsvc.flows.password import reset_password
from authsvc.flows.refresh import refresh
from authsvc.ops.embedded import Embedded
from authsvc.settings import Settings
from authsvc.store.users import Users
from authsvc.waiting import until
from tests.conftest import CHEAP, PASSWORD, PATIENT, Clock
from tests.selection import slow

T = TypeVar("T")

# The folder of the login at a service, for tests that work on a store.
NO_LOGIN = "/nowhere"
CHEAPLY = {f"AUTHSVC_{name.upper()}": str(value) for name, value in CHEAP.items()}


@dataclass
class Cli:
    """The program in this process, on one store; and the parts of the service on the same."""

    url: str
    clock: Clock = field(default_factory=Clock)

    def __call__(self, *arguments: str, stdin: str | bytes = "", **environment: str) -> Result:
        env = CHEAPLY | {"AUTHSVC_REDIS_URL": self.url, "XDG_CONFIG_HOME": NO_LOGIN} | environment
        return CliRunner().invoke(cli, arguments, input=stdin, env=env)

    def ok(self, *arguments: str, stdin: str = "") -> str:
        result = self(*arguments, stdin=stdin)
        assert result.exit_code == OK, result.output
        return result.stdout

    def json(self, *arguments: str, stdin: str = "") -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.ok(*arguments, "--json", stdin=stdin))
        return document

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.ok(*arguments, "--json").splitlines()]

    def code(self, *arguments: str, stdin: str = "") -> int:
        return self(*arguments, stdin=stdin).exit_code

    def do(self, work: Callable[[Deps], Awaitable[T]]) -> T:
        async def opening() -> T:
            async with open_deps(Settings(**CHEAP), self.url, self.clock, timeouts=PATIENT) as deps:
                return await work(deps)

        return asyncio.run(opening())

    def user(self, name: str = "ada", *options: str) -> dict[str, Any]:
        return self.json("user", "create", name, "--password-stdin", *options, stdin=f"{PASSWORD}\n")

    def login(
        self,
        name: str = "ada",
        password: str = PASSWORD,
        client_id: str = "app",
        caller: Caller | None = None,
        **fields: Any,
    ) -> Grant:
        async def work(deps: Deps) -> Grant:
            client = await deps.store.clients.get(client_id)
            service = await deps.store.service.get()
            return await login(deps, caller or Caller(), client, service, username=name, password=password, **fields)

        return self.do(work)

    def why(self, presented: str) -> tuple[int, str]:
        """The status and the reason that `token explain` gives."""
        result = self("token", "explain", "--json", stdin=presented)
        return result.exit_code, json.loads(result.stdout)["reason"]


@pytest.fixture
def empty(valkey: "redis.Redis", valkey_url: str) -> Cli:
    return Cli(valkey_url)


@pytest.fixture
def started(empty: Cli) -> Cli:
    empty.do(first_start)
    return empty


def program(
    *arguments: str, cwd: Path, port: int = 0, url: str | None = None, **options: Any
) -> "subprocess.Popen[str]":
    """The real program. url: the store, if it is configured."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AUTHSVC_")}
    env |= {} if url is None else {"AUTHSVC_REDIS_URL": url}
    env |= CHEAPLY | {"AUTHSVC_PORT": str(port), "XDG_CONFIG_HOME": str(cwd)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen(
        [sys.executable, "-m", "authsvc.cli", *arguments], cwd=cwd, env=env, text=True, start_new_session=True, **pipes
    )


def ran(*arguments: str, cwd: Path, stdin: str = "") -> tuple[int, str, str]:
    with program(*arguments, cwd=cwd) as process:
        out, err = process.communicate(stdin, timeout=30)
    return process.returncode, out, err


# Users


def test_a_created_user_can_log_in_and_is_listed(started: Cli) -> None:
    """A user created with a password on stdin logs in with it, and shows by name and by sub."""
    made = started.user("ada", "--role", "editor", "--role", "reader", "--claims", '{"team": ["blue"]}')
    assert made["roles"] == ["editor", "reader"]
    assert made["claims"] == {"team": ["blue"]}
    grant = started.login("ada")
    shown = started.json("user", "show", "ada")
    assert shown == started.json("user", "show", made["sub"])
    assert shown.pop("last_login_at") == int(started.clock())
    assert shown == made | {"locked_until": None, "sessions": 1, "second_factors": 0}
    assert started.lines("user", "list") == [made]
    (session,) = started.lines("user", "sessions", "ada")
    assert session["session_id"] == grant.session_id


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (604800, "7 days"),
        (86400, "1 day"),
        (900, "15 minutes"),
        (90, "1 minute 30 seconds"),
        (90061, "1 day 1 hour 1 minute 1 second"),
        (0, "0 seconds"),
    ],
)
def test_a_length_of_time_in_words(seconds: int, words: str) -> None:
    """A length of time is exact, in the units that people use."""
    assert in_units(seconds) == words


def test_the_life_of_a_code_is_in_words(started: Cli) -> None:
    """The message about a reset code says for how long it works, and whose call takes it."""
    told = started("user", "create", "ada", "--reset-code", "--expires-in", "604800").stderr
    assert "within 7 days: on the page /account/reset (if AUTHSVC_ACCOUNT_PAGES is on)" in told
    assert "POST /password/reset of this service" in told


def test_a_reset_code_sets_a_password_once(started: Cli) -> None:
    """The code printed by `create --reset-code`, and later by `reset-code`, sets the password."""
    made = started.json("user", "create", "ada", "--reset-code")
    started.do(lambda deps: reset_password(deps, Caller(), made["reset_code"], PASSWORD))
    assert started.login().session_id
    again = started.json("user", "reset-code", "ada")
    assert again["expires_in"] == 600
    started.do(lambda deps: reset_password(deps, Caller(), again["reset_code"], PASSWORD + " again"))
    with pytest.raises(InvalidCredentials):
        started.login(password=PASSWORD)


def test_a_required_reset(started: Cli) -> None:
    """Named users, or --all, can't log in until they have used a code; neither is nobody, and nobody is asked twice."""
    for name in ("ada", "bob", "eve"):
        started.user(name)
    session = started.login("ada")
    started.ok("user", "require-reset", "ada", "bob", "--yes")
    assert started.why(session.access_token)[0] == INACTIVE
    for name in ("ada", "bob"):
        with pytest.raises(InvalidCredentials):
            started.login(name)
    assert started.login("eve").access_token
    assert "3 users to set" in started("user", "require-reset", "--all", "--yes").stderr
    with pytest.raises(InvalidCredentials):
        started.login("eve")
    assert started.code("user", "require-reset", "--yes") == MISUSED
    assert started.code("user", "require-reset", "ada", "--all", "--yes") == MISUSED
    assert started.code("user", "require-reset", "ada") == MISUSED, "not without being asked"
    assert started.code("user", "require-reset", "ada", "nobody", "--yes") == NOT_FOUND


def test_suspending_ends_sessions_and_reinstating_revives_none(started: Cli) -> None:
    """A suspended user is out at once; a reinstated one can log in, into a new session only."""
    started.user()
    before = started.login()
    assert started.json("user", "suspend", "ada")["status"] == "suspended"
    with pytest.raises(InvalidCredentials):
        started.login()
    assert started.json("user", "reinstate", "ada")["status"] == "active"
    assert started.why(before.access_token)[0] == INACTIVE
    assert started.why(started.login().access_token)[0] == OK


def test_roles_are_set_as_a_whole(started: Cli) -> None:
    """`roles` replaces, --none clears; neither, or both, is misuse and changes nothing."""
    started.user("ada", "--role", "editor")
    assert started.json("user", "roles", "ada", "reader", "author")["roles"] == ["reader", "author"]
    assert started.code("user", "roles", "ada") == MISUSED
    assert started.code("user", "roles", "ada", "editor", "--none") == MISUSED
    assert started.json("user", "show", "ada")["roles"] == ["reader", "author"]
    assert started.json("user", "roles", "ada", "--none")["roles"] == []


def test_a_renamed_user_logs_in_under_the_new_name(started: Cli) -> None:
    """Renaming moves the login; a taken name is refused."""
    started.user()
    started.user("bob")
    assert started.code("user", "rename", "ada", "bob") == REFUSED
    assert started.json("user", "rename", "ada", "lovelace")["username"] == "lovelace"
    assert started.login("lovelace").session_id
    assert started.code("user", "show", "ada") == NOT_FOUND


def test_logout_ends_every_session_of_the_user(started: Cli) -> None:
    """After `user logout` no earlier token is active, and the trail names the operator."""
    sub = started.user()["sub"]
    grants = [started.login(), started.login()]
    started.ok("user", "logout", "ada")
    assert [started.why(grant.access_token)[0] for grant in grants] == [INACTIVE, INACTIVE]
    assert started.lines("user", "sessions", sub) == []
    (event,) = started.lines("audit", "--event", "user.cut_off")
    assert (event["actor"], event["sub"]) == ("operator", sub)


def test_deleting_has_to_be_confirmed(started: Cli) -> None:
    """Where nobody can be asked, deleting and the cut-off need --yes, and without it nothing happens."""
    started.user()
    token = started.login().access_token
    client_id = started.json("client", "create", "orders")["client_id"]
    for command in (("user", "delete", "ada"), ("client", "delete", client_id), ("service", "cut-off")):
        assert started.code(*command, stdin="y\n") == MISUSED
    assert started.why(token)[0] == OK
    started.ok("service", "cut-off", "--yes")
    assert started.why(token)[0] == INACTIVE
    started.ok("user", "delete", "ada", "--yes")
    started.ok("client", "delete", client_id, "--yes")
    assert started.code("user", "show", "ada") == started.code("client", "show", client_id) == NOT_FOUND


def test_the_format_of_the_store(started: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """`service format` shows the format; only `raise-format` raises it, after a question, once, with an event."""
    newer = FORMAT + 1
    assert started.json("service", "format") == {"store_format": FORMAT, "understood": FORMAT}
    for module in ("authsvc.cli.service", "authsvc.flows.store_format"):
        monkeypatch.setattr(f"{module}.FORMAT", newer)
    assert started.code("service", "raise-format", stdin="y\n") == MISUSED
    assert started.json("service", "format") == {"store_format": FORMAT, "understood": newer}
    for _ in range(2):
        started.ok("service", "raise-format", "--yes")
        assert started.json("service", "format") == {"store_format": newer, "understood": newer}
    (event,) = started.lines("audit", "--event", "service.format_raised")
    assert event["details"] == {"format": newer}


def test_an_ambiguous_user_is_not_guessed(started: Cli) -> None:
    """A text that is the sub of one user and the name of another is refused. The sub names the second user."""
    issuer = started.json("client", "create", "issuer", "--permission", "issue")["client_id"]
    started.ok("token", "issue", "--client", issuer, "--sub", "ada")
    named = started.user("ada")
    result = started("user", "delete", "ada", "--yes")
    assert result.exit_code == REFUSED
    assert named["sub"] in result.stderr
    started.ok("user", "delete", named["sub"], "--yes")
    assert started.json("user", "show", "ada")["username"] is None


# Clients


def test_a_client_is_made_changed_and_given_a_new_secret(started: Cli) -> None:
    """Every option reaches the record; the secrets printed open it; clearing options clear."""
    options = ["--permission", "introspect", "--permission", "revoke", "--audience", "orders", "--scope", "read write"]
    options += ["--issue-role", "editor", "--issue-role", "reader"]
    lifetimes = ["--access-ttl-s", "60", "--idle-ttl-s", "600", "--session-ttl-s", "6000", "--no-refresh"]
    made = started.json("client", "create", "orders backend", *options, *lifetimes)
    client_id, secret = made["client_id"], made.pop("client_secret")
    assert made["permissions"] == ["introspect", "revoke"]
    assert (made["audience"], made["scope"], made["refresh"]) == (["orders"], "read write", False)
    assert made["issue_roles"] == ["editor", "reader"]
    assert (made["access_ttl_s"], made["idle_ttl_s"], made["session_ttl_s"]) == (60, 600, 6000)
    assert started.json("client", "show", client_id) == made
    assert made in started.lines("client", "list")

    rotated = started.json("client", "rotate-secret", client_id, "--overlap-s", "0")["client_secret"]
    client = started.do(lambda deps: deps.store.clients.get(client_id))
    assert [client.opens_with(text, started.clock()) for text in (secret, rotated)] == [False, True]

    changed = started.json("client", "update", client_id, "--name", "orders", "--refresh", "--access-ttl-s", "default")
    assert changed == made | {"name": "orders", "refresh": True, "access_ttl_s": None}
    cleared = started.json("client", "update", client_id, "--no-permissions", "--no-audience", "--any-scope")
    assert (cleared["permissions"], cleared["audience"], cleared["scope"]) == ([], [], None)
    assert started.json("client", "update", client_id, "--no-issue-roles")["issue_roles"] == []
    assert started.code("client", "update", client_id) == MISUSED
    assert started.code("client", "update", client_id, "--scope", "read", "--any-scope") == MISUSED
    assert started.code("client", "update", client_id, "--idle-ttl-s", "0") == REFUSED


@pytest.mark.parametrize("permission", get_args(Permission))
def test_each_permission_can_be_given(started: Cli, permission: str) -> None:
    """A client can be made with each permission, and get it later."""
    made = started.json("client", "create", "web", "--permission", permission)
    other = started.json("client", "create", "other")["client_id"]
    changed = started.json("client", "update", other, "--permission", permission)
    assert made["permissions"] == changed["permissions"] == [permission]


@pytest.mark.parametrize(("permission", "before"), [("client_ip", 1), ("vouch", 2)])
def test_a_permission_of_a_newer_format(started: Cli, permission: str, before: int) -> None:
    """A store whose format does not know a permission refuses it, and names the command that raises the format."""
    started.do(lambda deps: deps.store.service.change(lambda held: held.but(store_format=before)))
    refused = started("client", "create", "web", "--permission", permission)
    assert (refused.exit_code, "authsvc service raise-format" in refused.stderr) == (UNAVAILABLE, True)
    started.ok("service", "raise-format", "--yes")
    assert started.json("client", "create", "web", "--permission", permission)["permissions"] == [permission]


def test_a_public_client_has_no_secret_and_no_permissions(started: Cli) -> None:
    """A public client gets no secret; permissions for it are refused, and so is rotating what it has not."""
    made = started.json("client", "create", "phone app", "--public")
    assert "client_secret" not in made
    assert started.code("client", "create", "phone app", "--public", "--permission", "admin") == REFUSED
    assert started.code("client", "rotate-secret", made["client_id"]) == REFUSED
    assert started.code("client", "create", "x", "--permission", "fly") == MISUSED


def test_the_last_admin_stays(started: Cli) -> None:
    """The command line refuses to lock everybody out, too."""
    (admin,) = [c["client_id"] for c in started.lines("client", "list") if "admin" in c["permissions"]]
    assert started.code("client", "delete", admin, "--yes") == REFUSED
    assert started.code("client", "update", admin, "--no-permissions") == REFUSED


# Tokens, and why they are inactive


def test_an_issued_token_is_alone_on_stdout(started: Cli) -> None:
    """`TOKEN=$(authsvc token issue …)` works: stdout is the token, active until it expires."""
    issuer = started.json("client", "create", "issuer", "--permission", "issue")["client_id"]
    asked = ["token", "issue", "--client", issuer, "--sub", "google|1", "--scope", "read", "--expires-in", "90"]
    printed = started.ok(*asked)
    token = tokens.parse(printed.removesuffix("\n"), Kind.ACCESS)
    assert token is not None
    assert started.why(printed) == (OK, "active")
    answer = started.json(*asked)
    assert (answer["scope"], answer["expires_in"], answer["token_type"]) == ("read", 90, "Bearer")
    assert started.code("token", "issue", "--client", "app", "--sub", "google|1") == REFUSED
    assert started.code("token", "issue", "--client", "nobody", "--sub", "google|1") == NOT_FOUND


def test_explain_says_who_revoked(started: Cli) -> None:
    """The explanation of a revoked session says who revoked it, for a token and for a session id."""
    started.user()
    first, second = started.login(), started.login()
    assert started.why(first.access_token) == (OK, "active")
    assert first.refresh_token is not None
    started.ok("token", "revoke", stdin=first.refresh_token)
    started.ok("token", "revoke", second.session_id)
    for grant in (first, second):
        assert started.why(grant.access_token) == (INACTIVE, "ended: revoked, by operator")
    result = started("token", "explain", first.session_id)
    assert result.exit_code == INACTIVE
    assert "session.ended" in result.stdout


def test_explain_tells_expired_and_idle_apart(started: Cli) -> None:
    """An access token past its time, a session unused for too long, and one past its end have their own reasons."""
    started.user()
    client_id = started.json("client", "create", "phone", "--public", "--idle-ttl-s", "600")["client_id"]
    started.clock.forward(-700)
    idle = started.login(client_id=client_id)
    assert started.why(idle.access_token) == (INACTIVE, "expired idle")
    started.clock.forward(-300)
    expired = started.login()
    assert started.why(expired.access_token) == (INACTIVE, "expired")
    assert expired.refresh_token is not None
    assert started.why(expired.refresh_token) == (OK, "active")


@pytest.mark.parametrize("level", ["user", "client", "service"])
def test_explain_names_the_epoch_that_cut_it_off(started: Cli, level: str) -> None:
    """A session whose record is still there, but below a raised epoch, is explained by which one and by whom."""
    sub = started.user()["sub"]
    grant = started.login()
    session = started.do(lambda deps: deps.store.sessions.get(grant.session_id))
    started.ok(
        *{"user": ("user", "logout", sub), "client": ("client", "logout", "app")}.get(
            level, ("service", "cut-off", "-y")
        )
    )
    if level == "user":  # whose records are tidied away at once: as it stands until then
        started.do(lambda deps: deps.store.sessions.create(grant.session_id, session))
    status, reason = started.why(grant.access_token)
    assert status == INACTIVE
    assert reason.startswith(f"cut off by the {level}'s epoch, by operator")


def test_explain_tells_spent_forged_and_unknown_apart(started: Cli) -> None:
    """A refresh token used up, a secret never issued for a live session, and a session nobody has heard of."""
    started.user()
    grant = started.login()
    spent = grant.refresh_token
    assert spent is not None

    async def rotate(deps: Deps) -> Grant:
        return await refresh(deps, Caller(), await deps.store.clients.get("app"), spent)

    started.do(rotate)
    assert started.why(spent) == (INACTIVE, "spent")
    assert started.why(tokens.new(Kind.ACCESS, grant.session_id).text) == (INACTIVE, "secret never issued")
    assert started.why(tokens.new(Kind.ACCESS).text) == (INACTIVE, "unknown")
    assert started.code("token", "explain", stdin=spent[:-1] + "!") == REFUSED
    assert started.code("token", "explain", stdin=tokens.new(Kind.SECRET).text) == REFUSED


def test_revoking_says_when_there_was_nothing_to_end(started: Cli) -> None:
    """An unknown session is not found, a secret never issued ends nothing, and both say so."""
    started.user()
    grant = started.login()
    assert started.code("token", "revoke", tokens.new_handle()) == NOT_FOUND
    assert started.code("token", "revoke", stdin=tokens.new(Kind.ACCESS).text) == NOT_FOUND
    assert started.code("token", "revoke", stdin=tokens.new(Kind.ACCESS, grant.session_id).text) == REFUSED
    assert started.code("token", "revoke", stdin="tok_mistyped") == REFUSED
    assert started.why(grant.access_token) == (OK, "active")


# Secrets


@pytest.mark.parametrize("command", ["explain", "revoke"])
def test_a_token_as_an_argument_is_refused(started: Cli, command: str) -> None:
    """A token on the command line is refused before anything is done, with the reason and without repeating it."""
    started.user()
    token = started.login().access_token
    for argument in (token, token[:-3], token[4:]):
        result = started("token", command, argument)
        assert result.exit_code == MISUSED
        assert "history" in result.stderr
        assert "process list" in result.stderr
        assert argument not in result.output
    assert started.why(token) == (OK, "active")


def test_nothing_that_takes_a_secret_takes_it_as_an_argument() -> None:
    """No option of any command has a value that is a password, a token or a secret."""
    options = [
        parameter
        for group in ("user", "client", "key", "session", "token", "service")
        for command in _commands(group)
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.is_flag
    ]
    assert len(options) > 10
    assert not [o.name for o in options if o.name and re.search("password|token|secret|code", o.name)]


def _commands(group: str) -> list[click.Command]:
    found = cli.commands[group]
    assert isinstance(found, click.Group)
    names = found.list_commands(click.Context(found))
    return [found.commands[name] for name in names]


def test_secrets_are_printed_once_and_kept_nowhere(started: Cli, valkey: "redis.Redis") -> None:
    """No secret that a command printed is in any other output or in the store."""
    secrets = [started.json("client", "create", "orders", "--permission", "issue")["client_secret"]]
    secrets.append(
        started.json("client", "rotate-secret", started.lines("client", "list")[-1]["client_id"])["client_secret"]
    )
    secrets.append(started.json("user", "create", "ada", "--reset-code")["reset_code"])
    shown = (
        started.ok("client", "list", "--json") + started.ok("user", "list", "--json") + started.ok("audit", "--json")
    )
    kept = b"".join(valkey.dump(key) or b"" for key in valkey.scan_iter())
    for secret in secrets:
        assert secret[16:] not in shown
        assert secret[16:].encode() not in kept


@pytest.mark.parametrize(
    ("options", "stdin"),
    [
        (["--password-stdin"], b""),
        (["--password-stdin"], b"\xff\xfe long enough, but no text\n"),
        (["--password-stdin"], b"a walk by the river\nand another line\n"),
        (["--password-stdin", "--reset-code"], b"a walk by the river\n"),
        ([], b"a walk by the river\na walk by the river\n"),
        (["--reset-code", "--claims", "[1]"], b""),
        (["--reset-code", "--claims", '{"a": "\\ud800"}'], b""),
    ],
)
def test_unusable_input_creates_nobody(started: Cli, options: list[str], stdin: bytes) -> None:
    """No password, two of them, or claims that are no object: misuse, and no user."""
    assert started("user", "create", "ada", *options, stdin=stdin).exit_code == MISUSED
    assert started.code("user", "show", "ada") == NOT_FOUND


def test_a_weak_password_is_refused_in_one_line(started: Cli) -> None:
    """A refusal is one line on stderr and nothing on stdout, and the status is 1."""
    result = started("user", "create", "ada", "--password-stdin", stdin="short\n")
    assert (result.exit_code, result.stdout) == (REFUSED, "")
    assert re.fullmatch(r"authsvc: .+\n", result.stderr)
    assert "short\n" not in result.stderr.replace("too short", "")


# Output


def test_a_table_that_is_piped_is_plain_and_whole(started: Cli) -> None:
    """Piped tables have no colours and cut nothing off; times are local, in ISO 8601."""
    roles = [f"department:{number:03}:with-a-rather-long-name" for number in range(40)]
    started.user("ada", *(part for role in roles for part in ("--role", role)))
    out = (
        CliRunner()
        .invoke(
            cli, ["user", "list"], env=CHEAPLY | {"AUTHSVC_REDIS_URL": started.url, "FORCE_COLOR": "1", "COLUMNS": "40"}
        )
        .stdout
    )
    header, row = out.splitlines()
    assert header.split() == ["sub", "username", "status", "roles", "created_at"]
    assert ", ".join(roles) in row
    assert re.search(r" \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$", row)
    assert "\x1b" not in out
    assert started.ok("user", "show", "ada").splitlines()[1] == "username        ada"


@pytest.mark.parametrize("width", [40, 100])
def test_a_narrow_terminal_folds_and_cuts_nothing_off(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a terminal missing values are left out. Too narrow for a table, each row is words that nothing breaks."""
    row = {"sub": "4fQ0kzPq1LxA", "username": "ada.lovelace", "status": "active", "at": 1795449828}
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    show_list([row], Columns((*row, "reason")), as_json=False, exact_times=True)
    shown = capsys.readouterr().out
    assert "reason" not in shown
    values = ["4fQ0kzPq1LxA", "ada.lovelace", "active", cell("at", row["at"])]
    words = shown.split()
    pairs = [f"{name}={text}" for name, text in zip(row, values, strict=True)]
    assert words == ([*row, *values] if width == 100 else pairs)


def test_what_others_chose_cannot_steer_the_terminal(started: Cli) -> None:
    """Control characters are shown escaped, and brackets are no markup."""
    started.user()
    started.login(device="[bold]x[/bold]\x1b]0;pwned\x07\x9b2J\u202e")
    out = started.ok("user", "sessions", "ada")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out)
    assert r"[bold]x[/bold]\x1b]0;pwned\x07\x9b2J\u202e" in out
    assert started.ok("user", "sessions", "ada", "--json").isascii()


def test_no_output_steers_the_terminal(started: Cli) -> None:
    """Whatever the store holds, each reading command prints characters that a terminal only shows."""
    hostile = "\x1b]0;pwned\x07\x9b2J\x85\u202eevil\u2066\u200b\ufeff"
    sub = started.user()["sub"]
    started.do(lambda deps: deps.store.users.change(sub, lambda user: user.but(claims={hostile: [hostile]})))
    session = started.login(device=hostile).session_id
    for arguments in (
        ["user", "show", "ada"],
        ["user", "list"],
        ["user", "sessions", "ada"],
        ["user", "export"],
        ["audit"],
        ["token", "explain", session],
        ["client", "list"],
        ["check"],
        ["user", "show", hostile],
        ["client", "show", hostile],
    ):
        for options in ([], ["--json"]):
            result = started(*arguments, *options)
            for line in (result.stdout + result.stderr).split("\n"):
                assert line.isprintable(), (arguments, line)


def test_a_session_is_not_seen_before_it_began(started: Cli) -> None:
    """The last use is rounded down to a minute, but not to a time before the login."""
    started.user("ada")
    started.login("ada")
    (listed,) = started.lines("session", "list")
    assert listed["last_seen"] >= listed["created_at"]


def test_the_trail_is_filtered(started: Cli) -> None:
    """--event takes an event or a kind, --user or --sub a user, --since a duration, --limit the newest ones."""
    ada, bob = started.user("ada"), started.user("bob")
    started.ok("user", "suspend", "bob")
    assert [e["event"] for e in started.lines("audit", "--event", "user")] == [
        "user.suspended",
        "user.created",
        "user.created",
    ]
    assert [e["sub"] for e in started.lines("audit", "--event", "user.created")] == [bob["sub"], ada["sub"]]
    assert [e["event"] for e in started.lines("audit", "--sub", ada["sub"])] == ["user.created"]
    assert [e["sub"] for e in started.lines("audit", "--user", "ada")] == [ada["sub"]]
    assert [e["event"] for e in started.lines("audit", "--limit", "1")] == ["user.suspended"]
    assert started.code("audit", "--event", "use") == MISUSED
    started.clock.forward(-50)
    started.login("ada")  # by a worker whose clock is late
    assert "login.succeeded" in {e["event"] for e in started.lines("audit", "--since", "2m")}
    recent = {e["event"] for e in started.lines("audit", "--since", "30s")}
    assert "login.succeeded" not in recent
    assert "user.suspended" in recent
    assert started.code("audit", "--since", "yesterday") == MISUSED
    assert {e["actor"] for e in started.lines("audit", "--event", "user")} == {"operator"}


# Errors


def test_every_status_is_in_the_help() -> None:
    """`authsvc --help` documents each status that the program ends with."""
    epilog = CliRunner().invoke(cli, ["--help"]).output.partition("Exit status:")[2]
    for status in {OK, INACTIVE, INTERRUPTED, *STATUSES.values()}:
        assert re.search(rf"^ +{status}  ", epilog, re.MULTILINE), status


def test_a_store_that_is_not_there_is_one_line(started: Cli) -> None:
    """Without an answer from AUTHSVC_REDIS_URL the status is 4 and stderr says which variable."""
    result = started("user", "list", AUTHSVC_REDIS_URL="unix:///nonexistent/valkey.sock")
    assert result.exit_code == UNAVAILABLE
    assert re.fullmatch(r"authsvc: .*AUTHSVC_REDIS_URL.*\n", result.stderr)


def test_a_store_never_started_is_not_started_by_a_command(empty: Cli, valkey: "redis.Redis") -> None:
    """On an empty store every command says that it was never used, and leaves it empty."""
    result = empty("user", "create", "ada", "--reset-code")
    assert result.exit_code == UNAVAILABLE
    assert "authsvc serve" in result.stderr
    assert valkey.dbsize() == 0


def test_a_store_that_goes_away_halfway_is_no_success(started: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the store stops answering during a change, the operator is told to look."""

    async def gone(*_: object) -> None:
        raise StoreUnavailable("ConnectionError")

    monkeypatch.setattr(Users, "register", gone)
    result = started("user", "create", "ada", "--reset-code")
    assert result.exit_code == UNAVAILABLE
    assert "look before you try again" in result.stderr


def test_an_event_that_could_not_be_kept_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Only an audit event that is missing in the trail is on stderr."""
    import logging

    handler = state._Unwritten()
    handler.emit(logging.makeLogRecord({"levelno": logging.INFO, "fields": {"event": "user.created"}}))
    assert capsys.readouterr().err == ""
    handler.emit(logging.makeLogRecord({"levelno": logging.ERROR}))
    assert "user.created" in capsys.readouterr().err


@pytest.mark.parametrize("variable", ["AUTHSVC_PROT", "AUTHSVC_PORT", "AUTHSVC_REDIS_URL"])
def test_a_wrong_variable_is_misuse(started: Cli, variable: str) -> None:
    """A mistyped or unusable variable is named, its value is not, and the status is 2."""
    result = started("user", "list", **{variable: "http://:hunter2@[x"})
    assert result.exit_code == MISUSED
    assert variable in result.stderr
    assert "hunter2" not in result.output


@pytest.mark.parametrize("view", [UserStateView, UserSessionView, KeyView, ClientView, AuditView])
def test_each_time_is_shown_as_one(view: type[BaseModel]) -> None:
    """A field of an answer that is a time is not shown as a number, on the store and over HTTP."""
    times = [name for name in view.model_fields if name.endswith(("_at", "_until")) or name == "at"]
    assert times
    for name in times:
        assert re.match("2033-05-1[78]T", cell(name, 2_000_000_000)), name


# Without AUTHSVC_REDIS_URL


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory as a service leaves it: started once, nobody there now."""
    directory = tmp_path_factory.mktemp("cli") / "authsvc-data"
    with Embedded(directory) as embedded:
        Cli(embedded.url).do(first_start)
    return directory


def on(directory: Path, *arguments: str) -> Result:
    # An empty value would be a URL; None takes the variable away.
    env: dict[str, str | None] = {**CHEAPLY, "AUTHSVC_REDIS_URL": None, "AUTHSVC_DATA_DIR": str(directory)}
    return CliRunner().invoke(cli, arguments, env=env)


@pytest.mark.parametrize("exists", [False, True])
def test_a_data_directory_without_a_store_stays_as_it_is(tmp_path: Path, exists: bool) -> None:
    """A mistyped AUTHSVC_DATA_DIR is an error that says what to do, never a new, empty store."""
    directory = tmp_path / "data"
    if exists:
        directory.mkdir()
    result = on(directory, "user", "list")
    assert result.exit_code == UNAVAILABLE
    for hint in ("authsvc serve", "AUTHSVC_DATA_DIR", "AUTHSVC_REDIS_URL"):
        assert hint in result.stderr
    assert directory.exists() == exists
    assert not exists or not any(directory.iterdir())


def test_somebody_elses_data_directory_is_left_alone(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root does not run a store on the service's files: it would leave some that the service can't read."""
    monkeypatch.setattr(os, "geteuid", lambda: data_dir.stat().st_uid + 1)
    result = on(data_dir, "user", "list")
    assert result.exit_code == UNAVAILABLE
    assert "run this as that user" in result.stderr


@pytest.fixture
def stuck(data_dir: Path) -> Iterator[Callable[[], None]]:
    """The directory owned by somebody whose Valkey does not answer; what it gives ends that."""
    with (data_dir / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write("4711\nunix:///nonexistent/valkey.sock\n")
        lock.flush()
        yield lambda: fcntl.flock(lock, fcntl.LOCK_UN)


def test_a_service_that_does_not_answer_is_not_waited_for_forever(
    data_dir: Path, stuck: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner that stays silent is a clear error, and its directory is not touched."""
    monkeypatch.setattr(state, "WAIT_S", 0.2)
    result = on(data_dir, "user", "list")
    assert result.exit_code == UNAVAILABLE
    assert "starting or stopping; try again" in result.stderr


def test_a_service_that_stops_meanwhile_is_taken_over_from(data_dir: Path, stuck: Callable[[], None]) -> None:
    """When the owner goes between the look at its lock and the first question, the command runs on the files."""
    timer = threading.Timer(0.3, stuck)
    timer.start()
    result = on(data_dir, "client", "list", "--json")
    timer.join()
    assert result.exit_code == OK
    assert "first admin" in result.stdout


@pytest.mark.slow
def test_the_program_beside_a_service_and_after_it(tmp_path: Path) -> None:
    """End to end: what a command does shows at once in the running service, and is there when it is gone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (tmp_path / "log").open("w") as log:
        server = program("serve", cwd=tmp_path, port=port, stderr=log)
        with server:
            assert server.stdout is not None
            assert "embedded" in server.stdout.readline()
            status, out, err = ran("user", "create", "ada", "--password-stdin", "--json", cwd=tmp_path, stdin=PASSWORD)
            assert status == OK, err
            assert json.loads(out)["username"] == "ada"
            token = _login(f"http://127.0.0.1:{port}")
            told = f"ended session {token[4:16]} of ada ({json.loads(out)['sub']})\n"
            assert ran("token", "revoke", cwd=tmp_path, stdin=token) == (OK, "", told)
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=20)
    status, out, err = ran("token", "explain", token[4:16], "--json", cwd=tmp_path)
    assert status == INACTIVE, err
    assert json.loads(out)["reason"] == "ended: revoked, by operator"
    with (tmp_path / "authsvc-data" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # and it has stopped the store again


def _login(base: str) -> str:
    for _ in until(10.0, pause_s=0.02):
        with suppress(httpx.TransportError):  # the service does not listen yet
            answer = httpx.post(f"{base}/login", json={"username": "ada", "password": PASSWORD})
            return str(answer.raise_for_status().json()["access_token"])
    raise AssertionError("the service does not listen")


def test_at_a_terminal_the_password_is_asked_for_without_echo(tmp_path: Path, data_dir: Path) -> None:
    """The password is asked for twice and never shown."""
    with _asking(tmp_path, data_dir) as (process, screen):
        seen = _read_until(screen, "Password:")
        os.write(screen, f"{PASSWORD}\n".encode())
        seen += _read_until(screen, "Once more:")
        os.write(screen, f"{PASSWORD}\n".encode())
        out, _ = process.communicate(timeout=20)
    assert process.returncode == OK
    assert "grace" in out
    assert PASSWORD not in seen + out


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, INTERRUPTED), slow(signal.SIGTERM, 143)])
def test_an_interrupted_command_ends_quietly(tmp_path: Path, data_dir: Path, number: int, status: int) -> None:
    """Ctrl-C, and SIGTERM, end a command in order (a store of its own is stopped) and without a traceback."""
    with _asking(tmp_path, data_dir) as (process, screen):
        _read_until(screen, "Password:")
        process.send_signal(number)
        out, _ = process.communicate(timeout=20)
        assert (process.returncode, out) == (status, "")
        os.write(screen, b"end\n")  # so that there is something to read up to
        assert "Traceback" not in _read_until(screen, "end")


@contextmanager
def _asking(directory: Path, data_dir: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """`user create` at a terminal of its own, and the other end of that."""
    (directory / "authsvc-data").symlink_to(data_dir)
    screen, terminal = pty.openpty()
    try:
        with program("user", "create", "grace", cwd=directory, stdin=terminal, stderr=terminal) as process:
            yield process, screen
    finally:
        os.close(screen)
        os.close(terminal)


def _read_until(screen: int, text: str) -> str:
    seen = ""
    while text not in seen:
        assert select.select([screen], [], [], 20)[0], f"{text!r} is not on the screen: {seen!r}"
        seen += os.read(screen, 1024).decode()
    return seen


def test_help_waits_for_nothing_it_does_not_need() -> None:
    """`authsvc --help` imports neither redis nor pydantic nor starlette: it takes a twentieth of a second."""
    code = "import sys; from authsvc.cli import cli; cli(['--help'], standalone_mode=False); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"redis", "pydantic", "starlette", "rich"} & set(loaded.splitlines()[-1].split())


@pytest.mark.slow
def test_a_command_runs_without_the_web_framework(started: Cli) -> None:
    """A command that works on the store imports neither starlette nor uvicorn."""
    code = "import sys; from authsvc.cli import cli; cli(['user', 'list'], standalone_mode=False); print(*sys.modules)"
    environment = os.environ | CHEAPLY | {"AUTHSVC_REDIS_URL": started.url}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    loaded = set(ran.stdout.splitlines()[-1].split())
    assert "authsvc.store" in loaded
    assert not {"starlette", "uvicorn"} & loaded
