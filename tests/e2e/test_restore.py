"""docs/restore.md, followed with real processes: what a backup brings back, and that the runbook ends it again."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import PASSWORD, Server, run
from tests.processes import until

NEW_PASSWORD = "seven quiet herons wading"
RUNBOOK = (Path(__file__).parents[2] / "docs" / "restore.md").read_text()
NAMES = ("ada", "bob", "eve", "kim")
USERS = ("user", "list", "--store", "--json")


@dataclass
class Past:
    """Everything that was alive at the backup: tokens by their kind, and the secret of the client `orders`.

    at: the time of the backup, as the log writes it.
    """

    backup: Path
    at: str
    access: dict[str, str]
    refresh: dict[str, str]
    cookie: str
    orders: tuple[str, str]
    subs: dict[str, str]


def call(server: Server, method: str, path: str, **options: Any) -> httpx.Response:
    with server.http() as http:
        return http.request(method, path, **options)


def log_in(server: Server, name: str, password: str = PASSWORD, **more: Any) -> httpx.Response:
    body = {"username": name, "password": password, **more}
    return call(server, "POST", "/login", json=body, headers={"Sec-Fetch-Site": "same-origin"})


def active(server: Server, token: str) -> bool:
    answer = call(server, "POST", "/introspect", data={"token": token}, auth=server.admin)
    assert answer.status_code == 200, answer.text
    return bool(answer.json()["active"])


def cookie_works(server: Server, cookie: str) -> bool:
    answer = call(server, "GET", "/me", headers={"Cookie": f"__Host-session={cookie}"})
    assert answer.status_code in (200, 401), answer.text
    return answer.status_code == 200


def refresh(server: Server, token: str) -> httpx.Response:
    form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": token}
    return call(server, "POST", "/token", data=form)


def command(server: Server, *arguments: str) -> str:
    """A command of the runbook, which has to be in it."""
    shown = " ".join(["authsvc", *arguments[:2]])
    assert shown in RUNBOOK, f"docs/restore.md does not say {shown}"
    done = run(*arguments, cwd=server.directory, AUTHSVC_DATA_DIR=str(server.data_dir))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def past(server: Server) -> Past:
    """A service with some sessions, backed up; and then much is revoked, changed and taken away, and it is stopped."""
    subs = {}
    for name in NAMES:
        body = {"username": name, "password": PASSWORD, "roles": ["admin"] if name == "eve" else []}
        subs[name] = call(server, "POST", "/admin/users", json=body, auth=server.admin).json()["sub"]
    grants = {name: log_in(server, name).json() for name in NAMES}
    cookie = re.search(r"__Host-session=([^;]+)", log_in(server, "bob", cookie=True).headers["set-cookie"])
    body = {"name": "orders", "permissions": ["introspect"]}
    made = call(server, "POST", "/admin/clients", json=body, auth=server.admin).json()
    assert cookie
    found = Past(
        backup=server.directory / "backup",
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        access={name: grant["access_token"] for name, grant in grants.items()},
        refresh={name: grant["refresh_token"] for name, grant in grants.items()},
        cookie=cookie[1],
        orders=(made["client_id"], made["client_secret"]),
        subs=subs,
    )
    server.stop()
    shutil.copytree(server.data_dir, found.backup)
    server.start()
    take_away(server, found)
    server.stop()
    return found


def take_away(server: Server, past: Past) -> None:
    """Everything that is undone after the backup, and is undone at once."""
    admin = server.admin
    assert call(server, "POST", "/revoke", data={"token": past.access["ada"]}, auth=admin).status_code == 200
    headers = {"Cookie": f"__Host-session={past.cookie}", "Sec-Fetch-Site": "same-origin"}
    assert call(server, "POST", "/logout", headers=headers).status_code == 204
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    bearer = {"Authorization": f"Bearer {past.access['kim']}"}
    assert call(server, "POST", "/password", json=change, headers=bearer).status_code == 200
    suspend = {"status": "suspended", "roles": []}
    assert call(server, "PATCH", f"/admin/users/{past.subs['eve']}", json=suspend, auth=admin).status_code == 200
    rotation = {"overlap_s": 0}
    answer = call(server, "POST", f"/admin/clients/{past.orders[0]}/secret", json=rotation, auth=admin)
    assert answer.status_code == 200, answer.text
    assert not active(server, past.access["ada"])
    assert not cookie_works(server, past.cookie)
    assert not active(server, past.access["kim"])
    assert log_in(server, "kim").status_code == 401
    assert log_in(server, "eve").status_code == 401
    assert call(server, "POST", "/introspect", data={"token": "x"}, auth=past.orders).status_code == 401
    assert call(server, "POST", "/admin/users", json={"username": "new"}, auth=admin).status_code == 201
    command(server, "user", "suspend", "bob")
    until(lambda: suspended(server) == {past.subs["eve"], past.subs["bob"]})


def suspended(server: Server) -> set[str]:
    """Who was suspended, by the log of the service: over HTTP or on the command line."""
    events = [json.loads(line) for line in server.log.splitlines()]
    return {e["sub"] for e in events if e["logger"] == "authsvc.audit" and e["event"] == "user.suspended"}


def put_back(server: Server, past: Past) -> None:
    """Step 2: the backup takes the place of the data."""
    server.data_dir.rename(server.directory / "old-data")
    shutil.copytree(past.backup, server.data_dir)


@pytest.mark.slow
def test_without_the_cut_off_the_past_is_alive(server: Server, past: Past) -> None:
    """The control: every row of the runbook's table is true, or the test of the runbook would show nothing."""
    put_back(server, past)
    server.start()
    assert active(server, past.access["ada"]), "a revoked token is active again"
    assert cookie_works(server, past.cookie), "so is a cookie that was logged out"
    assert active(server, past.access["kim"])
    assert log_in(server, "kim").status_code == 200, "the old password works again"
    assert log_in(server, "kim", NEW_PASSWORD).status_code == 401
    eve = log_in(server, "eve")
    assert eve.status_code == 200, "a suspended user is back"
    headers = {"Authorization": f"Bearer {eve.json()['access_token']}"}
    assert call(server, "GET", "/me", headers=headers).json()["roles"] == ["admin"], "with the role"
    assert call(server, "POST", "/introspect", data={"token": "x"}, auth=past.orders).status_code == 200
    assert refresh(server, past.refresh["ada"]).status_code == 200


@pytest.mark.slow
def test_the_runbook_takes_it_away_again(server: Server, past: Past) -> None:
    """After it nothing from before is alive: access, refresh, cookie, nor the old password; new logins work."""
    events = [json.loads(line) for line in server.log.splitlines()]
    changed = {e["sub"] for e in events if e["logger"] == "authsvc.audit" and e["event"] == "password.changed"}
    assert changed == {past.subs["kim"]}, "the log tells whose passwords are stale"
    gone = suspended(server)
    assert gone == {past.subs["eve"], past.subs["bob"]}, "also whom a command suspended"
    created = [e["sub"] for e in events if e["message"] == "user.created" and e["at"] >= past.at[:23]]
    names = {one["sub"]: one["username"] for one in map(json.loads, command(server, *USERS).splitlines())}
    assert [names[sub] for sub in created] == ["new"], "the log tells who is new, and the list of step 1 the name"
    put_back(server, past)
    command(server, "service", "cut-off", "--yes")
    command(server, "user", "require-reset", *changed, "--yes")
    for sub in gone:
        command(server, "user", "suspend", sub)
    server.start()
    for name in NAMES:
        assert not active(server, past.access[name]), name
        answer = refresh(server, past.refresh[name])
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert not cookie_works(server, past.cookie)
    ada = log_in(server, "ada").json()
    assert active(server, ada["access_token"])
    assert refresh(server, ada["refresh_token"]).status_code == 200
    for name in ("bob", "eve"):
        assert log_in(server, name).status_code == 401
    for password in (PASSWORD, NEW_PASSWORD):
        assert log_in(server, "kim", password).status_code == 401
    code = json.loads(command(server, "user", "reset-code", "kim", "--json"))["reset_code"]
    reset = {"reset_code": code, "new_password": NEW_PASSWORD}
    assert call(server, "POST", "/password/reset", json=reset).status_code == 204
    assert active(server, log_in(server, "kim", NEW_PASSWORD).json()["access_token"])


@pytest.mark.slow
def test_the_cut_off_holds_for_every_worker(new_server: Callable[..., Server]) -> None:
    """Two workers on the restored store: neither takes a token from before."""
    server = new_server(AUTHSVC_WORKERS="2").start()
    call(server, "POST", "/admin/users", json={"username": "ada", "password": PASSWORD}, auth=server.admin)
    token = log_in(server, "ada").json()["access_token"]
    server.stop()
    command(server, "service", "cut-off", "--yes")
    server.start()
    for _ in range(20):  # a new connection each, so that both are asked
        assert not active(server, token)
