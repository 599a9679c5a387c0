"""The command line at a service over HTTP, with the login of an admin."""

import asyncio
import json
import os
import pty
import re
import stat
from base64 import b32decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from authsvc.cli import cli
from authsvc.cli.statuses import MISUSED, NOT_FOUND, OK, REFUSED, UNAVAILABLE
from authsvc.core import totp as codes
from authsvc.flows import sessions
from authsvc.settings import Settings
from tests.cli.test_cli import CHEAPLY, program
from tests.cli.test_status import answering
from tests.conftest import PASSWORD, Clock, Service, bearer
from tests.edge.served import Served


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.but(support_role="support", auditor_role="auditor")


class Distant:
    """The program on a machine that has no store, and the address of the service."""

    def __init__(self, url: str, home: Path) -> None:
        self.url = url
        self.home = home
        self.file = home / "authsvc" / "login.json"

    async def __call__(self, *arguments: str, stdin: str = "") -> Result:
        env = {"XDG_CONFIG_HOME": str(self.home), "AUTHSVC_DATA_DIR": str(self.home / "none")}
        return await asyncio.to_thread(CliRunner().invoke, cli, arguments, input=stdin, env=CHEAPLY | env)

    async def ok(self, *arguments: str, stdin: str = "") -> str:
        result = await self(*arguments, stdin=stdin)
        assert result.exit_code == OK, result.output
        return result.stdout

    async def lines(self, *arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (await self.ok(*arguments, "--json")).splitlines()]

    async def login(self, username: str = "root") -> None:
        await self.ok("login", "--url", self.url, "--user", username, "--password-stdin", stdin=f"{PASSWORD}\n")

    async def typing(self, *arguments: str, answers: tuple[str, ...]) -> str:
        """What a terminal shows, at which the answers are typed, one for each question."""
        return await asyncio.to_thread(self._typing, arguments, answers)

    def _typing(self, arguments: tuple[str, ...], answers: tuple[str, ...]) -> str:
        screen, terminal = pty.openpty()
        process = program(*arguments, cwd=self.home, stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        seen, left = b"", list(answers)
        with process:
            while True:
                try:
                    piece = os.read(screen, 4096)
                except OSError:  # the program has closed it
                    break
                seen += piece
                if left and seen.endswith(b": "):  # the space comes when the terminal listens
                    os.write(screen, left.pop(0).encode() + b"\n")
                    seen += b"\n"
        os.close(screen)
        assert process.returncode == OK, seen
        return seen.decode()


@pytest.fixture
async def distant(service: Service, tmp_path: Path) -> AsyncIterator[Distant]:
    await service.user("root", roles=("admin",))
    async with Served(service).listening() as (host, port):
        yield Distant(f"http://{host}:{port}", tmp_path)


async def test_commands_work_over_http(service: Service, distant: Distant) -> None:
    """After a login, commands about users, sessions and the trail act at the service, with the comment."""
    ada = await service.user("ada")
    session = (await service.login("ada"))["session_id"]
    await distant.login()
    assert {one["username"] for one in await distant.lines("user", "list")} == {"root", "ada"}
    assert [one["username"] for one in await distant.lines("user", "list", "--begins", "A")] == ["ada"]
    assert (await distant.lines("user", "show", "ada"))[0]["sub"] == ada.sub
    listed = await distant.lines("session", "list", "--client", "app")
    assert {(one["user"], one["client"]) for one in listed} == {("ada", "built-in"), ("root", "built-in")}
    assert [one["session_id"] for one in await distant.lines("user", "sessions", "ada")] == [session]
    await distant.ok("session", "end", session, "--comment", "lost phone")
    assert await distant.lines("session", "list", "--user", "ada") == []
    assert "ended 0 sessions" in (await distant("user", "suspend", "ada", "--comment", "ticket 7")).stderr
    assert (await service.deps.store.users.get(ada.sub)).status == "suspended"
    assert [one["username"] for one in await distant.lines("user", "list", "--status", "suspended")] == ["ada"]
    for command in (("reinstate", "ada"), ("unlock", "ada"), ("roles", "ada", "x"), ("claims", "ada", '{"a":1}'),
                    ("rename", "ada", "bea"), ("logout", "bea"), ("reset-code", "bea")):  # fmt: skip
        await distant.ok("user", *command)
    changed = await service.deps.store.users.get(ada.sub)
    assert (changed.username, changed.roles, changed.claims) == ("bea", ("x",), {"a": 1})
    events = await distant.lines("audit", "--sub", "bea", "--event", "user")
    assert [one["event"] for one in events[:2]] == ["user.cut_off", "user.changed"]
    assert {one["actor_name"] for one in events if "actor_name" in one} == {"user:root"}
    (suspended,) = await distant.lines("audit", "--event", "user.suspended")
    assert suspended["comment"] == "ticket 7"
    assert "epoch" in suspended["details"]
    assert "epoch" not in await distant.ok("audit", "--event", "user.suspended")  # it is for programs
    await distant.ok("user", "delete", "bea", "--yes")
    made = await distant.ok("user", "create", "cy", "--reset-code", "--json")
    assert re.fullmatch("rst_.{45}", json.loads(made)["reset_code"])


async def test_the_login_is_in_a_file_of_its_own(service: Service, distant: Distant) -> None:
    """The file is for its owner only, no output shows the token, and a logout ends the session and removes the file."""
    await distant.login()
    assert stat.S_IMODE(distant.file.stat().st_mode) == 0o600
    kept = json.loads(distant.file.read_text())
    assert await service.active(kept["access_token"])
    told = await distant("logout")
    assert told.exit_code == OK
    assert kept["access_token"][16:43] not in told.output
    assert not distant.file.exists()
    assert not await service.active(kept["access_token"])
    assert (await distant("user", "list")).exit_code == UNAVAILABLE, "there is no store here"


async def test_a_file_that_others_can_read_is_refused(distant: Distant) -> None:
    """A login that others may have read is not used, and a new login replaces it."""
    await distant.login()
    distant.file.chmod(0o640)
    refused = await distant("user", "list")
    assert (refused.exit_code, refused.stdout) == (UNAVAILABLE, "")
    assert "others can read" in refused.stderr
    await distant.login()
    assert (await distant("user", "list")).exit_code == OK


async def test_an_expired_token_is_renewed(service: Service, distant: Distant, clock: Clock) -> None:
    """A login lasts longer than its access token, and a changed refresh token is kept."""
    await distant.login()
    before = json.loads(distant.file.read_text())
    clock.forward(3600)
    await distant.ok("user", "list")
    after = json.loads(distant.file.read_text())
    assert after["access_token"] != before["access_token"]
    assert stat.S_IMODE(distant.file.stat().st_mode) == 0o600
    clock.forward(40 * 86400)
    gone = await distant("user", "list")
    assert (gone.exit_code, gone.stdout) == (REFUSED, "")
    assert "authsvc login" in gone.stderr


@pytest.mark.slow
async def test_a_second_factor_is_asked_for(service: Service, distant: Distant, clock: Clock) -> None:
    """At a login with a second factor, and at a change long after a login, the terminal asks for the code."""
    token = (await service.login("root"))["access_token"]
    enrolled = (await service.http.post("/factors/totp", headers=bearer(token))).json()
    seed = b32decode(enrolled["secret"])

    def code() -> str:
        return codes.code_at(seed, int(clock()) // codes.PERIOD_S)

    path = f"/factors/totp/{enrolled['id']}/confirm"
    confirmed = await service.http.post(path, json={"code": code()}, headers=bearer(token))
    clock.forward(60)
    arguments = ("login", "--url", distant.url, "--user", "root")
    shown = await distant.typing(*arguments, answers=(PASSWORD, code()))
    assert "logged in" in shown
    assert code() not in shown
    await service.user("ada")
    clock.forward(700)
    piped = await distant("user", "suspend", "ada")
    assert piped.exit_code == REFUSED
    assert "log in at a terminal" in piped.stderr
    recovery = confirmed.json()["recovery_codes"][0]
    shown = await distant.typing("user", "suspend", "ada", answers=("", recovery))
    assert "suspended ada" in shown
    assert (await distant("user", "reinstate", "ada")).exit_code == OK, "the proof is recent now"


async def test_a_password_is_asked_for_again_where_it_is_needed(service: Service, distant: Distant) -> None:
    """A wrong password logs nobody in and leaves no file."""
    wrong = await distant("login", "--url", distant.url, "--user", "root", "--password-stdin", stdin="not the one\n")
    assert wrong.exit_code == REFUSED
    assert not distant.file.exists()
    assert (await distant("user", "list", "--url", distant.url)).exit_code == REFUSED


async def test_levels_hold_over_http(service: Service, distant: Distant) -> None:
    """A login of support does what support may, and a refusal is one line that says which role it takes."""
    await service.user("desk", roles=("support",))
    await service.user("ada")
    await distant.login("desk")
    assert (await distant("user", "suspend", "ada")).exit_code == OK
    refused = await distant("user", "roles", "ada", "admin")
    assert (refused.exit_code, refused.stdout) == (REFUSED, "")
    assert refused.stderr == "authsvc: this takes the role admin\n"
    assert (await distant("user", "suspend", "root")).exit_code == REFUSED
    assert (await distant("user", "show", "nobody")).exit_code == NOT_FOUND


@pytest.mark.parametrize(
    "url",
    [
        *("http://auth.example.org", "ftp://127.0.0.1", "auth.example.org", "https://a@b", "https://b?x=1"),
        *("https://[::1", "https://auth..example.org", f"https://{'a' * 70}.org", "http://localhost:18100?"),
        *("http://localhost/?", "https://b#", "https://b:x", "https://b:99999", "https://b/\xe9", "https://b/a b"),
        *("https://b/\n", "https://\udcff", "https://", ""),
    ],
)
async def test_a_token_goes_over_tls_or_stays_here(distant: Distant, url: str) -> None:
    """A service on another machine is reached with TLS only."""
    refused = await distant("login", "--url", url, "--user", "root", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert refused.exit_code == REFUSED
    assert refused.stderr.startswith("authsvc: --url: ")
    assert (await distant("user", "list", "--url", url)).stderr == refused.stderr


async def test_a_redirect_is_not_followed(distant: Distant) -> None:
    """A redirect could take the password elsewhere, so it is an error."""
    asked: list[bytes] = []

    async def redirecting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 302 x\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(redirecting, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        refused = await distant("login", "--url", url, "--user", "root", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert refused.exit_code == REFUSED
    assert len(asked) == 1
    assert not distant.file.exists()


@pytest.mark.parametrize("where", ["no directory", "login.json is a directory"])
async def test_a_login_that_cannot_be_kept_is_ended(service: Service, distant: Distant, where: str) -> None:
    """One line says why, and no session is left that nobody has."""
    if where == "no directory":
        distant = Distant(distant.url, Path("/dev/null"))
    else:
        distant.file.mkdir(parents=True)
    arguments = ("login", "--url", distant.url, "--user", "root", "--password-stdin")
    refused = await distant(*arguments, stdin=f"{PASSWORD}\n")
    assert refused.exit_code == REFUSED
    (line,) = refused.stderr.splitlines()
    assert line.startswith(f"authsvc: can't keep the login in {distant.file}: ")
    root = await service.deps.store.users.find_by_name("root")
    assert root is not None
    assert await sessions.list_active(service.deps, root.user.sub) == []
    if where != "no directory":
        assert list(distant.file.parent.iterdir()) == [distant.file]
        told = await distant("logout")
        assert (told.exit_code, told.stderr) == (REFUSED, f"authsvc: can't remove {distant.file}: Is a directory\n")


async def test_a_login_without_a_home(distant: Distant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home directory needs XDG_CONFIG_HOME for a login. Commands on the store do without."""

    def nobody(_: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.chdir(tmp_path)
    env = CHEAPLY | {"XDG_CONFIG_HOME": None, "HOME": None}
    arguments = ["login", "--url", distant.url, "--user", "root", "--password-stdin"]
    refused = await asyncio.to_thread(CliRunner().invoke, cli, arguments, input=f"{PASSWORD}\n", env=env)
    assert refused.exit_code == REFUSED
    assert "no home" in refused.stderr
    assert "XDG_CONFIG_HOME" in refused.stderr
    assert os.listdir(tmp_path) == []
    on_store = await asyncio.to_thread(CliRunner().invoke, cli, ["user", "list"], env=env)
    assert "there is no store in " in on_store.stderr


def reply(content: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(content), content)


OTHERS = [
    b"<html>hi</html>",
    *(b"{}", b"[]", b"null", b"", b"\xff", b"[" * 100_000),
    b'{"access_token": "a\\nb"}',
    b'{"access_token": 1}',
    b'{"items": 1, "next": null}',
    b'{"items": [1], "next": null}',
    b'{"items": [{}], "next": null}',
]


@pytest.mark.parametrize("content", OTHERS)
async def test_another_program_answers(tmp_path: Path, content: bytes) -> None:
    """An answer with success that is none of a service is one line, at a login and at any later command."""
    with answering(reply(content)) as port:
        distant = Distant(f"http://127.0.0.1:{port}", tmp_path)
        arguments = ("login", "--url", distant.url, "--user", "root", "--password-stdin")
        told = [await distant(*arguments, stdin=f"{PASSWORD}\n")]
        assert not distant.file.exists()
        distant.file.parent.mkdir(exist_ok=True)
        login = {"url": distant.url, "username": "root", "access_token": "tok", "refresh_token": None}
        distant.file.write_text(json.dumps(login))
        distant.file.chmod(0o600)
        commands = (("user", "suspend", "ada"), ("session", "list", "--user", "ada"), ("audit",))
        told += [await distant(*command) for command in commands]
    for result in told:
        assert (result.exit_code, result.stdout) == (UNAVAILABLE, "")
        assert result.stderr == f"authsvc: {distant.url}: something else answers there\n"


@pytest.mark.parametrize(
    ("status", "expected"), [("502 x", UNAVAILABLE), ("504 x", UNAVAILABLE), ("404 x", REFUSED), ("418 x", REFUSED)]
)
async def test_a_proxy_answers_instead(tmp_path: Path, status: str, expected: int) -> None:
    """A gateway without its service is a service that is not available. Its 404 names no user."""
    with answering(reply(b"<html>", status)) as port:
        url = f"http://127.0.0.1:{port}"
        told = await Distant(url, tmp_path)("login", "--url", url, "--user", "root", "--password-stdin", stdin="x\n")
    assert (told.exit_code, told.stderr) == (expected, f"authsvc: the service answers {status[:3]}\n")


async def test_a_name_that_is_no_text(distant: Distant) -> None:
    """A byte that is not UTF-8 is in no user's name, over HTTP as on the store."""
    await distant.login()
    nobody = await distant("user", "show", "\udcff")
    assert nobody.exit_code == NOT_FOUND
    assert "\\udcff" in nobody.stderr
    for command in (("user", "list", "--begins", "\udcff"), ("user", "create", "\udcff", "--reset-code"),
                    ("user", "rename", "root", "\udcff"), ("user", "logout", "root", "--comment", "\udcff"),
                    ("login", "--url", distant.url, "--user", "\udcff", "--password-stdin")):  # fmt: skip
        result = await distant(*command, stdin=f"{PASSWORD}\n")
        assert result.exit_code in (REFUSED, MISUSED), command
        assert "Traceback" not in result.output


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - a program asks the loopback address then
async def test_a_login_at_the_service_of_the_settings(tmp_path: Path, host: str) -> None:
    """Without --url, a service that listens on all addresses is asked at the loopback address."""
    env = CHEAPLY | {"XDG_CONFIG_HOME": str(tmp_path), "AUTHSVC_HOST": host, "AUTHSVC_PORT": "9"}
    arguments = ["login", "--user", "ha", "--password-stdin"]
    result = await asyncio.to_thread(CliRunner().invoke, cli, arguments, input="x\n", env=env)
    assert result.exit_code == UNAVAILABLE
    assert result.stderr.startswith(f"authsvc: http://{'[::1]' if ':' in host else '127.0.0.1'}:9 does not answer: ")
    env |= {"AUTHSVC_HOST": "192.0.2.1"}
    result = await asyncio.to_thread(CliRunner().invoke, cli, arguments, input="x\n", env=env)
    assert result.exit_code == REFUSED
    assert "the settings lead to http://192.0.2.1:9" in result.stderr
    assert "give --url" in result.stderr


async def test_a_service_that_is_not_there(distant: Distant) -> None:
    """An address where nothing answers is one line, and a status of its own."""
    await distant.login()
    distant.file.write_text(distant.file.read_text().replace(distant.url, "http://127.0.0.1:9"))
    gone = await distant("user", "list")
    assert (gone.exit_code, gone.stdout) == (UNAVAILABLE, "")
    assert gone.stderr.count("\n") == 1


async def test_the_store_or_a_service(distant: Distant) -> None:
    """--store works on the store although there is a login; both are wrong usage; another service needs a login."""
    await distant.login()
    assert (await distant("user", "list", "--store")).exit_code == UNAVAILABLE
    assert (await distant("user", "list", "--store", "--url", distant.url)).exit_code == MISUSED
    assert (await distant("user", "list", "--url", "https://other.example.org")).exit_code == REFUSED
    assert (await distant("user", "list", "--url", f"{distant.url}/")).exit_code == OK
