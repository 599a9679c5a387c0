"""The command line at a terminal: following the trail, progress, completion, colours."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from authsvc.cli import cli
from authsvc.cli.statuses import INTERRUPTED, OK, UNAVAILABLE
from authsvc.flows.bootstrap import first_start
from tests.cli.test_cli import CHEAPLY, Cli, program, ran
from tests.selection import slow
from tests.stores import running_store


class Follower:
    """`audit --follow`, and what it has printed."""

    def __init__(self, url: str, cwd: Path, *options: str) -> None:
        self.process = program("audit", "--follow", *options, cwd=cwd, url=url)
        self._read = {False: b"", True: b""}

    def line(self, *, err: bool = False) -> str:
        pipe = self.process.stderr if err else self.process.stdout
        assert pipe is not None
        while b"\n" not in self._read[err]:
            assert select.select([pipe], [], [], 20)[0], "nothing more comes"
            # Past the pipe's buffer, which could hold a line that select knows nothing of.
            piece = os.read(pipe.fileno(), 65536)
            assert piece, "it has ended"
            self._read[err] += piece
        line, _, self._read[err] = self._read[err].partition(b"\n")
        return line.decode()

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextmanager
def following(url: str, cwd: Path, *options: str) -> Iterator[Follower]:
    follower = Follower(url, cwd, *options)
    with follower.process:
        try:
            yield follower
        finally:
            follower.process.kill()


def test_the_trail_is_followed(started: Cli, tmp_path: Path) -> None:
    """The latest first, then each as it comes, in order and once, and only those asked for."""
    ada = started.user("ada")
    started.user("bea")
    with following(started.url, tmp_path, "--json", "--event", "user", "--limit", "1") as follower:
        assert json.loads(follower.line())["event"] == "user.created"
        started.ok("client", "create", "orders")  # is not about a user
        started.ok("user", "suspend", "ada")
        started.ok("user", "reinstate", "ada")
        seen = [json.loads(follower.line()) for _ in range(2)]
        assert [(one["event"], one["sub"]) for one in seen] == [
            ("user.suspended", ada["sub"]),
            ("user.reinstated", ada["sub"]),
        ]
        assert follower.end() == INTERRUPTED


def test_the_trail_can_be_asked_for_by_client(started: Cli) -> None:
    """As by subject."""
    orders = started.json("client", "create", "orders")
    started.ok("client", "create", "notes")
    (event,) = started.lines("audit", "--client", orders["client_id"])
    assert event["event"] == "client.created"


@pytest.mark.slow
def test_for_people_an_event_is_a_line(started: Cli, tmp_path: Path) -> None:
    """When, what, and what else is known, without anything that steers the terminal."""
    started.user("ada")
    with following(started.url, tmp_path, "--event", "user") as follower:
        line = follower.line()
        assert re.match(r"\d{4}-\d\d-\d\dT[0-9:+]+  user\.created +actor=operator sub=\w{12} user=ada ", line), line
        assert "\x1b" not in line
        assert follower.end() == INTERRUPTED


def test_at_a_terminal_a_followed_event_breaks_between_fields(started: Cli, tmp_path: Path) -> None:
    """Lines fit into the terminal, and the name of the user stands without the id."""
    sub = started.user("ada")["sub"]
    seen = at_a_terminal(
        *("audit", "--follow", "--event", "user"), started=started, cwd=tmp_path, COLUMNS="40", until="user=ada"
    )
    lines = seen.replace("\r", "").rstrip("\n").split("\n")
    assert re.fullmatch(r"\d\d:\d\d:\d\d  user\.created  actor=operator", lines[0]), lines
    assert lines[1] == "    user=ada", lines
    assert sub not in seen


@pytest.mark.slow
def test_following_outlives_a_store_that_starts_again(tmp_path: Path) -> None:
    """It says once that the store is gone, once that it is back, and misses nothing that the store kept."""
    options = ("--appendonly", "yes", "--appendfsync", "always")
    with running_store(*options, directory=tmp_path) as store:
        service = Cli(store.url)
        service.do(first_start)
        service.user("ada")
        with following(store.url, tmp_path, "--json", "--event", "user") as follower:
            assert json.loads(follower.line())["event"] == "user.created"
            store.process.kill()
            store.process.wait()
            assert "waiting for it" in follower.line(err=True)
            with running_store(*options, directory=tmp_path):
                service.user("bea")
                assert "answers again" in follower.line(err=True)
                assert json.loads(follower.line())["event"] == "user.created"
                assert follower.end() == INTERRUPTED
            assert follower.process.stderr is not None
            assert "Traceback" not in follower.process.stderr.read()


def test_following_keeps_no_service_from_starting(tmp_path: Path) -> None:
    """Where none runs there is nothing to follow; a store of our own would keep one out for as long."""
    status, out, err = ran("audit", "--follow", cwd=tmp_path)
    assert (status, out) == (UNAVAILABLE, "")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "authsvc-data").exists()


# Progress


def at_a_terminal(*arguments: str, started: Cli, cwd: Path, until: str | None = None, **environment: str) -> str:
    """All that a terminal shows of a command; until: up to the line with this text, which interrupts the command."""
    screen, terminal = pty.openpty()
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        process = program(*arguments, cwd=cwd, url=started.url, stdout=terminal, stderr=terminal, stdin=terminal)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    os.close(terminal)
    seen, expected = b"", OK
    with process:
        while True:
            try:
                piece = os.read(screen, 4096)
            except OSError:  # the last one has closed it
                break
            if not piece:
                break
            seen += piece
            if until is not None and until.encode() in seen and seen.endswith(b"\n"):
                process.send_signal(signal.SIGINT)
                until, expected = None, INTERRUPTED
    os.close(screen)
    assert process.returncode == expected, seen
    return seen.decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users.jsonl"
    path.write_text("".join(json.dumps({"username": f"user{at}"}) + "\n" for at in range(600)))
    return path


@pytest.mark.slow
def test_progress_is_for_terminals(started: Cli, file: Path, tmp_path: Path) -> None:
    """A bar that ends at 100 %, at a terminal; elsewhere two lines say how it ended."""
    seen = at_a_terminal("user", "import", str(file), started=started, cwd=tmp_path, TERM="xterm", COLUMNS="100")
    assert "importing" in seen
    assert "100%" in seen
    assert "600 rows" in seen
    assert "600 created" in seen.splitlines()[-2]
    piped = started("user", "import", str(file))
    assert piped.stdout == ""
    assert len(piped.stderr.splitlines()) == 1


@pytest.mark.slow
def test_no_color_is_honoured(started: Cli, file: Path, tmp_path: Path) -> None:
    """A terminal is sent colours, and none with NO_COLOR."""
    colour = re.compile("\x1b\\[[0-9;]*3[0-9]")
    command = ("user", "import", str(file))
    seen = at_a_terminal(*command, started=started, cwd=tmp_path, TERM="xterm-256color")
    assert colour.search(seen)
    seen = at_a_terminal(*command, started=started, cwd=tmp_path, TERM="xterm-256color", NO_COLOR="1")
    assert not colour.search(seen), seen


# Completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_is_given_a_script_that_it_reads(started: Cli, shell: str) -> None:
    """It names our command, and the shell, where there is one, finds no fault with it."""
    script = started.ok("completion", shell)
    assert "_AUTHSVC_COMPLETE" in script
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here to read it")
    subprocess.run([shell, "-n", "/dev/stdin"], input=script, text=True, check=True, timeout=10)


def test_a_missing_shell_is_told_in_lines(started: Cli) -> None:
    """The shells stand below each other, without an escaped tab."""
    told = started("completion").stderr
    assert "\n  bash,\n  zsh,\n  fish" in told
    assert "\\t" not in told


def completed(started: Cli, tmp_path: Path, typed: str, *, url: str | None = None) -> set[str]:
    """What bash offers for a line. url: of another store."""
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    (tmp_path / "authsvc").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m authsvc.cli "$@"\n')
    (tmp_path / "authsvc").chmod(0o755)
    (tmp_path / "completion").write_text(started.ok("completion", "bash"))
    words = typed.split(" ")
    script = f"""
    source ./completion
    COMP_WORDS=({" ".join(words)} {"''" if not words[-1] else ""})
    COMP_CWORD={len(words) - 1}
    _authsvc_completion authsvc
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = os.environ | CHEAPLY
    environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "AUTHSVC_REDIS_URL": url or started.url}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("authsvc us", {"user"}),
        slow("authsvc user im", {"import", "import-factors"}),
        slow("authsvc user import --fr", {"--from"}),
        slow("authsvc user import --from k", {"keycloak"}),
        slow("authsvc completion ", {"bash", "zsh", "fish"}),
        slow("authsvc audit --event user.c", {"user.changed", "user.created", "user.cut_off"}),
        slow("authsvc audit --event sess", {"session", "session.ended", "session.stepped_up"}),
    ],
)
def test_bash_completes(started: Cli, tmp_path: Path, typed: str, offered: set[str]) -> None:
    """Commands, options and their values, as bash asks for them."""
    assert completed(started, tmp_path, typed) == offered


NAMES = {
    "user show gr": {"grace", "greta@example.org"},
    "user require-reset grace greta": {"greta@example.org"},
    "session list --user gra": {"grace"},
    "session end --client ord": {"orders", "orders-2"},
    "client show orders-": {"orders-2"},
    "token issue --client orders --sub gra": {"grace"},
    "audit --client order": {"orders", "orders-2"},
}


@pytest.fixture
def named(started: Cli) -> Cli:
    for name in ("grace", "greta@example.org", "ada", "gr;reboot", "gr$(reboot)", "gr'x", "gr*"):
        started.user(name)
    for name in ("orders", "orders-2", "web shop"):
        started.ok("client", "create", name)
    return started


@pytest.mark.slow
def test_bash_completes_names(named: Cli, tmp_path: Path) -> None:
    """Names of users and clients from the store. A name in which a shell could see a command is not offered."""
    for typed, offered in NAMES.items():
        assert completed(named, tmp_path, f"authsvc {typed}") == offered, typed
    # The shell would take the name of this client for two words.
    (shop,) = [one["client_id"] for one in named.lines("client", "list") if one["name"] == "web shop"]
    assert completed(named, tmp_path, f"authsvc client show {shop[:3]}") == {shop}


@pytest.mark.parametrize(("shell", "form"), [("zsh", "plain\n{}\n{}"), ("fish", "plain,{}\t{}")])
def test_other_shells_are_offered_the_same(named: Cli, shell: str, form: str) -> None:
    """zsh and fish are told the names, with the ids as descriptions."""
    subs = {one["username"]: one["sub"] for one in named.lines("user", "list")}
    environment = {"_CLI_COMPLETE": f"{shell}_complete", "COMP_WORDS": "authsvc user show gr", "COMP_CWORD": "3"}
    environment |= {"COMP_CWORD": "gr"} if shell == "fish" else {}
    told = named(**environment).stdout.strip()
    assert told == "\n".join(form.format(name, subs[name]) for name in ("grace", "greta@example.org"))


@pytest.mark.slow
def test_completing_without_a_store_offers_nothing(started: Cli, tmp_path: Path) -> None:
    """A store that is gone, and none at all, are no error in the middle of a line. No store is started."""
    assert completed(started, tmp_path, "authsvc user show gr", url="unix:///nonexistent/valkey.sock") == set()
    assert completed(started, tmp_path, "authsvc user show gr", url="nonsense") == set()


def test_the_list_of_commands_is_not_cut_off(started: Cli) -> None:
    """On 80 columns each command has its whole sentence."""
    for group in ([], ["user"], ["client"], ["session"], ["token"], ["service"]):
        _, commands = started.ok(*group, "--help").split("Commands:")
        assert "..." not in commands


def test_help_is_there_for_every_command() -> None:
    """A sentence that ends, for each command and each of its options."""

    def walk(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
        yield name, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for child in command.list_commands(context):
                found = command.get_command(context, child)
                assert found is not None
                yield from walk(found, f"{name} {child}")

    for name, command in walk(cli, "authsvc"):
        assert command.help, name
        assert command.help.split("\n\n")[0].strip().endswith((".", ":")), name
        for parameter in command.params:
            if isinstance(parameter, click.Option) and "--help" not in parameter.opts:
                assert parameter.help, (name, parameter.opts)
                assert parameter.help.endswith("."), (name, parameter.opts)
