"""Nothing that a person types, pipes in, or sets ends in a traceback: every command, every parameter, every setting."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from click.testing import CliRunner, Result

from authsvc.cli import cli
from authsvc.cli.statuses import MISUSED, NOT_FOUND, OK, REFUSED, UNAVAILABLE
from authsvc.settings import PREFIX, Settings
from tests.cli.test_cli import CHEAPLY, Cli
from tests.selection import one_in
from tests.topologies import free_port

# An empty text, NUL, a lone surrogate (a byte that is not UTF-8), what steers a terminal, a long text, and braces,
# patterns and options of other programs.
NONSENSE = ["", "\0", "\udcff", "\x1b]0;x\x07\u202e", "x" * 100_000, "{*}", "--", "-1", "None", "\uff19"]
# They run until they are interrupted, or need no store and no values.
NOT_HERE = {"serve", "completion"}


class Command(NamedTuple):
    """A command by its words, such as ("user", "show")."""

    words: tuple[str, ...]
    command: click.Command


def commands(group: click.Group = cli, words: tuple[str, ...] = ()) -> Iterator[Command]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from commands(found, (*words, name))
        elif name not in NOT_HERE:
            yield Command((*words, name), found)


ALL = list(commands())


def lines_for(command: click.Command, value: str) -> Iterator[list[str]]:
    """Command lines: each option with this value beside the arguments that are required, and the arguments alone."""
    needed: list[str] = []
    options: list[list[str]] = []
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            needed.append(value)
        elif isinstance(parameter, click.Option) and not parameter.is_flag:
            (options if not parameter.required else []).append([parameter.opts[0], value])
            needed = [parameter.opts[0], value, *needed] if parameter.required else needed
    yes = ["--yes"] if any("--yes" in parameter.opts for parameter in command.params) else []
    for option in [[], *options]:
        yield [*yes, *option, *needed]


def assert_told(result: Result, what: object) -> None:
    """The program ended by itself, with a status that it documents and, if it failed, some lines on stderr."""
    assert result.exception is None or isinstance(result.exception, SystemExit), (what, result.exc_info)
    assert "Traceback" not in result.output, what
    assert result.exit_code in (OK, REFUSED, MISUSED, NOT_FOUND, UNAVAILABLE, 5), (what, result.output)
    if result.exit_code in (REFUSED, MISUSED, NOT_FOUND, UNAVAILABLE):
        # Without the lines of a list of choices.
        message = [line for line in result.stderr.splitlines() if not line.startswith("  ")]
        assert 1 <= len(message) <= 5, (what, result.stderr)
        assert len(result.stderr) < 4000, what
    assert all(line.isprintable() for line in result.stderr.split("\n")), what


@pytest.fixture
def quiet(started: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A store with a user, in a folder where commands may write."""
    monkeypatch.chdir(tmp_path)
    started.user("ada")
    return started


@pytest.mark.parametrize("words", one_in(8, (" ".join(one.words) for one in ALL)))
def test_every_parameter_of_every_command(quiet: Cli, words: str) -> None:
    """A command says in a few lines what is wrong, for any text in the place of an argument or a value."""
    (found,) = [one for one in ALL if " ".join(one.words) == words]
    for value in NONSENSE:
        for line in lines_for(found.command, value):
            assert_told(quiet(*found.words, *line), [part[:20] for part in line])


READ = [
    ("user", "create", "bea", "--password-stdin"),
    ("token", "explain"),
    ("token", "revoke"),
    ("user", "import", "-"),
]


@pytest.mark.parametrize("words", READ, ids=" ".join)
def test_whatever_is_piped_in(quiet: Cli, words: tuple[str, ...]) -> None:
    """Empty, binary, several lines, and long: none of it is a traceback."""
    texts = [b"", b"\n", b"\0", b"\xff\xfe", b"\xed\xb3\xbf", b"a\nb\n", b"tok_\n", b"{}"]
    for stdin in (*texts, b"[" * 100_000, b"x" * 300_000):
        assert_told(quiet(*words, stdin=stdin), stdin[:10])


CONTENTS = {
    "empty": b"",
    "blank": b" \n",
    "not UTF-8": b"\xff\xfe",
    "NUL": b"\0",
    "NUL inside": b"https://a.example\0b",
    "huge": b"x" * 1_000_000,
}


@pytest.mark.parametrize("setting", one_in(8, Settings.model_fields))
def test_every_setting_from_every_file(quiet: Cli, tmp_path: Path, setting: str) -> None:
    """A file that holds no value, a directory and a missing file are named in one line, with the variable."""
    name = f"{PREFIX}{setting.upper()}_FILE"
    path = tmp_path / "value"
    for what, content in CONTENTS.items():
        path.write_bytes(content)
        assert_named(name, path, what)
    path.unlink()
    assert_named(name, path, "missing")
    path.mkdir()
    assert_named(name, path, "a directory")
    assert_named(name, Path("/dev/zero"), "endless")


def assert_named(name: str, path: Path, what: str) -> None:
    # Without the other variables of the tests: the same setting may be among them.
    result = CliRunner().invoke(cli, ["user", "list"], env={**dict.fromkeys(CHEAPLY), name: str(path)})
    assert_told(result, what)
    assert result.exit_code == MISUSED, (what, result.output)
    assert len(result.stderr.splitlines()) == 1, what
    assert name in result.stderr
    assert str(path) in result.stderr


@pytest.mark.parametrize("setting", one_in(8, Settings.model_fields))
def test_every_setting_with_every_value(quiet: Cli, setting: str) -> None:
    """Nonsense in a variable is named in one line, or does no harm to a command that needs no such setting."""
    name = f"{PREFIX}{setting.upper()}"
    for value in [*NONSENSE, "99999999999999999999", "a b", "1e400", "redis://[", "https://x:y@[::1"]:
        if "\0" in value:
            continue  # no environment holds NUL
        result = quiet("user", "list", **{name: value})
        assert_told(result, value[:20])
        assert result.exit_code in (OK, MISUSED, UNAVAILABLE), (value[:20], result.output)


def test_an_origin_with_a_slash(quiet: Cli) -> None:
    """The remedy is in the message. What could hold a password is not repeated."""
    result = quiet("user", "list", AUTHSVC_ALLOWED_ORIGINS="https://a.example https://b.example/")
    assert result.exit_code == MISUSED
    assert "AUTHSVC_ALLOWED_ORIGINS: https://b.example/" in result.stderr
    assert "write https://b.example, without the slash" in result.stderr
    for value in ("https://ada:hunter2@b.example/", "https://b.example/path/hunter2", "hunter2"):
        result = quiet("user", "list", AUTHSVC_ALLOWED_ORIGINS=value)
        assert result.exit_code == MISUSED
        assert "hunter2" not in result.output


def test_bytes_of_another_encoding_are_shown_escaped(quiet: Cli) -> None:
    """As an argument of the real program, a byte that is not UTF-8 arrives as a surrogate."""
    assert os.fsdecode(b"\xff") == "\udcff"
    result = quiet("user", "show", "\udcff")
    assert result.exit_code == NOT_FOUND
    assert "\\udcff" in result.stderr


HOSTS = ["", "\udcff", "a b", "x" * 300, "999.1.1.1", "::g"]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("named", ["--host", "AUTHSVC_HOST", "AUTHSVC_CONSOLE_HOST", "AUTHSVC_METRICS_HOST"])
def test_a_host_that_is_none(tmp_path: Path, host: str, named: str) -> None:
    """`serve` says in one line that there is no such host. An empty host does not mean every address."""
    environment = {"AUTHSVC_DATA_DIR": str(tmp_path / "data"), "AUTHSVC_PORT": "0"}
    if named == "AUTHSVC_CONSOLE_HOST":
        environment["AUTHSVC_CONSOLE_PORT"] = str(free_port())
    if named == "AUTHSVC_METRICS_HOST":
        environment["AUTHSVC_METRICS_PORT"] = str(free_port())
    options = [named, host] if named == "--host" else []
    result = CliRunner().invoke(cli, ["serve", *options], env=environment | ({} if options else {named: host}))
    assert_told(result, host)
    assert len(result.stderr.splitlines()) == 1
    if result.exit_code == MISUSED:
        assert ": must be an address, or the name of a host" in result.stderr
    else:
        assert result.exit_code == UNAVAILABLE
        assert "no such host; choose an address of this machine with " in result.stderr
        assert named in result.stderr


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("REDIS_URL", "redis://127.0.0.1:1/abc", "the database must be a number"),
        ("REDIS_URL", "unix:///nowhere?ssl_ca_certs=/ca", "the ssl_ options need rediss://"),
        ("REDIS_URL", "redis://a..b:1/3", "no such host"),
        ("APP_TEXTS", "/nonexistent", "No such file or directory: /nonexistent"),
        ("APP_TEXTS", "/dev/zero", "/dev/zero is over 262144 bytes"),
        ("APP_LOGO", "/dev/zero", "/dev/zero is over 262144 bytes"),
    ],
)
def test_a_start_with_a_wrong_variable_is_one_line(
    quiet: Cli, tmp_path: Path, variable: str, value: str, reason: str
) -> None:
    """A wrong variable is misuse, also where it is looked at only when it is used. A wrong file stops the start."""
    environment = {"AUTHSVC_PORT": "0", "AUTHSVC_ACCOUNT_PAGES": "true", f"AUTHSVC_{variable}": value}
    for command in ("serve", *(("check", "status") if variable == "REDIS_URL" else ())):
        result = quiet(command, **environment)
        assert result.exit_code == (MISUSED if variable == "REDIS_URL" else UNAVAILABLE), result.output
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("authsvc: ")]
        assert line.startswith(f"authsvc: AUTHSVC_{variable}: ")
        assert reason in line


@pytest.mark.parametrize("command", ["serve", "check", "status", "user list", "user export --output x", "logout"])
def test_a_working_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """A command that needs the directory says that it is gone."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    result = CliRunner().invoke(cli, command.split(), env={"XDG_CONFIG_HOME": str(tmp_path), "AUTHSVC_PORT": "0"})
    if command == "logout":
        assert result.exit_code == OK
    else:
        assert_told(result, command)
        assert result.exit_code == REFUSED
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("path", ["", "\udcff", "\x1b[2J"])
@pytest.mark.parametrize("setting", ["DATA_DIR", "FIRST_ADMIN_OUT"])
def test_a_path_that_is_none(quiet: Cli, setting: str, path: str) -> None:
    """An empty path does not mean the current directory: it is wrong usage, like a path that is no text."""
    result = quiet("user", "list", **{f"AUTHSVC_{setting}": path})
    assert result.exit_code == MISUSED
    assert result.stderr == f"authsvc: AUTHSVC_{setting}: must be a path of printable characters\n"
