"""An older and a newer version share one store: rolling upgrades, rollbacks, and formats that only one understands."""

import re
import time
from base64 import b32decode
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from authsvc.core import totp as codes
from authsvc.core.record import FORMAT
from authsvc.store import keys
from chaos.variation import Patch, Variation
from tests.e2e.conftest import PASSWORD, Server, run
from tests.e2e.versions import (
    BEFORE_CLIENT_IP,
    BEFORE_VOUCH,
    NEWER,
    NEXT,
    NEXT_FORMAT,
    Crowd,
    Rotation,
    record,
    replace,
)
from tests.processes import until
from tests.stores import StoreProcess, running_store

Starts = Callable[..., Server]


@pytest.fixture
def shared() -> Iterator[StoreProcess]:
    with running_store() as store:
        yield store


@pytest.fixture
def valkey(shared: StoreProcess) -> Iterator["redis.Redis"]:
    with redis.Redis(unix_socket_path=str(shared.socket)) as client:
        yield client


def packaged(patches: Sequence[Patch], directory: Path) -> dict[str, str]:
    """The environment in which a command runs a copy of the package with these patches."""
    directory.mkdir()
    package = Variation(patches=patches).package(directory)
    assert package is not None
    return {"PYTHONPATH": str(package)}


@pytest.fixture
def following(tmp_path: Path) -> dict[str, str]:
    return packaged(NEXT, tmp_path / "next")


@pytest.fixture
def with_newer_format(tmp_path: Path) -> dict[str, str]:
    return packaged(NEXT_FORMAT, tmp_path / "newer")


@pytest.fixture
def start(new_server: Starts, shared: StoreProcess) -> Callable[..., Server]:
    """Starts a service on the shared store, of this version or in the environment of another."""

    def started(environment: dict[str, str] | None = None) -> Server:
        return new_server(AUTHSVC_REDIS_URL=shared.url, **environment or {}).start()

    return started


@pytest.mark.slow
def test_a_rolling_upgrade_and_a_rollback_under_load(
    start: Callable[..., Server], following: dict[str, str], valkey: "redis.Redis"
) -> None:
    """While services are replaced one by one, by the next version and back, nothing fails and no field is lost."""
    services = [start(), start()]
    rotation = Rotation()
    for service in services:
        rotation.add(service)
    crowd = Crowd(rotation, valkey, services[0].admin)
    try:
        for service in services:
            crowd.join(service)
        crowd.live_on()
        for version in (following, None):
            for at in range(2):
                services[at] = replace(rotation, services[at], partial(start, version))
                if version and at == 0:
                    newcomer = crowd.join(services[at])
                crowd.live_on()
    finally:
        crowd.stop()
    crowd.check()
    assert record(valkey, keys.user(newcomer.sub))["nickname"] == "countess"
    assert record(valkey, keys.credentials(newcomer.sub))["factor"] == "seed"
    events = [entry["event"] for entry in trail(services[0], crowd.admin)]
    assert "device.seen" in events
    assert "login.succeeded" in events


def trail(server: Server, auth: tuple[str, str]) -> list[dict[str, Any]]:
    """The whole audit trail, by the API."""
    entries: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    with server.http(auth=auth) as http:
        while True:
            page = ok(http.get("/admin/audit", params={"limit": "100"} | cursor))
            entries += page["items"]
            if page["next"] is None:
                return entries
            cursor = {"cursor": page["next"]}


def ok(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


class Made:
    """Records that the newer version made: a user who is logged in, and two clients. Each record has a field more."""

    def __init__(self, server: Server, valkey: "redis.Redis") -> None:
        lifetimes = {"access_ttl_s": 3600, "idle_ttl_s": 1200, "session_ttl_s": 7200}
        public = {"name": "an app", "permissions": [], "public": True, **lifetimes}
        with server.http(auth=server.admin) as http:
            self.app = ok(http.post("/admin/clients", json=public))["client_id"]
            body = {"name": "an API", "permissions": ["introspect"]}
            self.api = ok(http.post("/admin/clients", json=body))["client_id"]
            self.sub = ok(http.post("/admin/users", json={"username": "ada", "password": PASSWORD}))["sub"]
            login = {"username": "ada", "password": PASSWORD, "client_id": self.app}
        with server.http() as http:
            self.grant = ok(http.post("/login", json=login))
        self.session = keys.session(self.grant["session_id"])
        self._valkey = valkey
        self._fields = {
            self.session: ("bound_to", "key"),
            keys.user(self.sub): ("nickname", "countess"),
            keys.credentials(self.sub): ("factor", "seed"),
            keys.client(self.app): ("contact", "ops"),
            keys.client(self.api): ("contact", "ops"),
        }
        self._raws = self._read()
        self.check()

    def check(self) -> None:
        """Every record that there still is has its field."""
        for key, (name, value) in self._fields.items():
            if self._valkey.exists(key):
                assert record(self._valkey, key)[name] == value, f"{key} lost a field of the newer version"

    def check_changed(self) -> None:
        """The same, after a change of one record at least."""
        raws, self._raws = self._raws, self._read()
        assert raws != self._raws
        self.check()

    def make_older(self, seconds: int) -> None:
        """Let the session have begun earlier, so that a use of it is noted."""
        at = record(self._valkey, self.session)["at"]
        raw = self._raws[self.session] or b""
        self._valkey.set(self.session, raw.replace(b"%d" % at, b"%d" % (at - seconds * 1000)), keepttl=True)
        self._raws = self._read()

    def _read(self) -> dict[str, bytes | None]:
        return {key: self._valkey.get(key) for key in self._fields}  # type: ignore[misc]  # redis-py may be asyncio's


@pytest.mark.slow
def test_the_older_version_keeps_what_it_does_not_know(
    start: Callable[..., Server], following: dict[str, str], valkey: "redis.Redis", shared: StoreProcess, tmp_path: Path
) -> None:
    """After every kind of change by the older version, each record still has the fields of the newer one."""
    new = start(following)
    old, made = start(), Made(new, valkey)
    with old.http() as http:
        made.make_older(600)
        assert ok(http.post("/introspect", data={"token": made.grant["access_token"]}, auth=new.admin))["active"]
        until(lambda: "used_at" in record(valkey, made.session))
        made.check_changed()
        form = {"grant_type": "refresh_token", "client_id": made.app, "refresh_token": made.grant["refresh_token"]}
        bearer = {"Authorization": f"Bearer {ok(http.post('/token', data=form))['access_token']}"}
        made.check_changed()
        change = {"current_password": PASSWORD, "new_password": f"{PASSWORD} again"}
        ok(http.post("/password", json=change, headers=bearer))
        made.check_changed()
    user, api = f"/admin/users/{made.sub}", f"/admin/clients/{made.api}"
    with old.http(auth=new.admin) as http:
        changes: list[dict[str, Any]] = [
            {"roles": ["editor"]},
            {"username": "grace"},
            {"status": "suspended"},
            {"status": "active"},
        ]
        for fields in changes:
            ok(http.patch(user, json=fields))
            made.check_changed()
        ok(http.patch(api, json={"name": "the API"}))
        made.check_changed()
        ok(http.post(f"{api}/secret", json={"overlap_s": 60}))
        made.check_changed()
        fresh, last = record(valkey, keys.client(made.api))["secrets"]
        assert (last["made_by"], "made_by" in fresh) == ("next", False)
        ok(http.post("/revoke", data={"client_id": made.app}))
        made.check_changed()
    for service in (old, new):
        assert "device.seen" in [entry["event"] for entry in trail(service, new.admin)]
    listed = run("audit", "--limit", "500", "--json", cwd=tmp_path, AUTHSVC_REDIS_URL=shared.url)
    assert '"event": "device.seen"' in listed.stdout, listed.stderr


@pytest.mark.slow
def test_a_format_that_only_the_newer_version_understands(
    start: Callable[..., Server],
    new_server: Starts,
    with_newer_format: dict[str, str],
    valkey: "redis.Redis",
    shared: StoreProcess,
    tmp_path: Path,
) -> None:
    """Only after an operator raised the store's format are records written that the older version answers with 503."""
    old = start()
    new, admin = start(with_newer_format), old.admin

    def login(server: Server) -> dict[str, Any]:
        with server.http() as http:
            grant: dict[str, Any] = ok(http.post("/login", json={"username": "ada", "password": PASSWORD}))
            return grant

    def asked(server: Server, grant: dict[str, Any]) -> httpx.Response:
        with server.http() as http:
            return http.post("/introspect", data={"token": grant["access_token"]}, auth=admin)

    with old.http() as http:
        sub = ok(http.post("/admin/users", json={"username": "ada", "password": PASSWORD}, auth=admin))["sub"]
    earlier = login(new)
    assert not {"v", "bound_to"} & record(valkey, keys.session(earlier["session_id"])).keys()
    assert asked(old, earlier).json()["active"]

    environment = {"AUTHSVC_REDIS_URL": shared.url}
    shown = run("service", "format", "--json", cwd=tmp_path, **environment, **with_newer_format)
    assert shown.stdout == f'{{"store_format": {FORMAT}, "understood": {NEWER}}}\n', shown.stderr
    raised = run("service", "raise-format", "--yes", cwd=tmp_path, **environment, **with_newer_format)
    assert raised.returncode == 0, raised.stderr

    later = login(new)
    stored = record(valkey, keys.session(later["session_id"]))
    assert (stored["v"], stored["bound_to"]) == (NEWER, "key")
    assert asked(new, later).json()["active"]
    assert asked(new, earlier).json()["active"]
    # The older version is not ready. Until it is stopped it answers about the records that it understands.
    with old.http() as http:
        unready = http.get("/readyz")
        assert (unready.status_code, "newer_format" in unready.text) == (503, True)
        assert asked(old, earlier).json()["active"]
        bearer = {"Authorization": f"Bearer {later['access_token']}"}
        form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": later["refresh_token"]}
        refused = [
            asked(old, later),
            http.get("/me", headers=bearer),
            http.get("/verify", headers=bearer),
            http.post("/token", data=form),
            http.post("/logout", headers=bearer),
            http.post("/revoke", data={"token": later["access_token"]}, auth=admin),
            http.get(f"/admin/users/{sub}/sessions", auth=admin),
        ]
    assert [answer.status_code for answer in refused] == [503] * len(refused), [answer.text for answer in refused]
    assert record(valkey, keys.session(later["session_id"])) == stored
    assert len(re.findall(f"refused a record of format {NEWER}", old.log)) == 1
    assert asked(new, later).json()["active"]

    # The older version still ends a session that it cannot read: it understands the record with the user's cut-off.
    with old.http() as http:
        ok(http.patch(f"/admin/users/{sub}", json={"status": "suspended"}, auth=admin))
    assert asked(new, later).json() == {"active": False}

    late = new_server(**environment)
    with pytest.raises(AssertionError, match="it ended"):
        late.start()
    assert f"the store has format {NEWER}, and this version understands formats up to {FORMAT}" in late.log


@pytest.mark.slow
def test_a_client_with_a_permission_that_only_the_newer_version_knows(
    start: Callable[..., Server], shared: StoreProcess, tmp_path: Path
) -> None:
    """The permission `client_ip` waits for the format of the store. The older version answers 503 about the client."""
    old = start(packaged(BEFORE_CLIENT_IP, tmp_path / "before"))
    new = start()
    with new.http(auth=old.admin) as http:
        ok(http.post("/admin/users", json={"username": "ada", "password": PASSWORD}))
    web = given_later("client_ip", new, old.admin, shared, tmp_path)
    login = {"username": "ada", "password": PASSWORD, "ip": "203.0.113.77"}
    with new.http(auth=web) as http:
        token = ok(http.post("/login", json=login))["access_token"]
    assert about(token, (new, old), old.admin)["active"]


@pytest.mark.slow
def test_a_session_that_a_client_vouches_for(
    start: Callable[..., Server], shared: StoreProcess, tmp_path: Path
) -> None:
    """An older version answers 503 while the client may vouch, and afterwards an answer without its word.

    The session keeps what was vouched for when the older version writes it.
    """
    old = start(packaged(BEFORE_VOUCH, tmp_path / "before"))
    new, admin = start(), old.admin
    idp = given_later("vouch", new, admin, shared, tmp_path)
    issued = {"sub": "elsewhere|1", "amr": ["pwd", "mfa"], "auth_time": 7, "refresh": True}
    with new.http(auth=idp) as http:
        grant = ok(http.post("/tokens", json=issued))
    assert about(grant["access_token"], (new, old), admin)["auth_time"] == 7
    client = f"/admin/clients/{idp[0]}"
    with new.http(auth=admin) as http:
        ok(http.patch(client, json={"permissions": ["issue"]}))
    with old.http(auth=idp) as http:
        form = {"grant_type": "refresh_token", "refresh_token": grant["refresh_token"]}
        renewed = ok(http.post("/token", data=form))["access_token"]
    with old.http(auth=admin) as http:
        told = ok(http.post("/introspect", data={"token": renewed}))
        assert told["active"]
        assert not {"auth_time", "amr", "acr", "vouched_by"} & told.keys()
    with new.http(auth=admin) as http:
        ok(http.patch(client, json={"permissions": ["issue", "vouch"]}))
        assert ok(http.post("/introspect", data={"token": renewed}))["amr"] == ["pwd", "mfa"]


@pytest.mark.slow
def test_a_user_with_a_factor(start: Callable[..., Server], shared: StoreProcess, tmp_path: Path) -> None:
    """Enrolling waits for the format of the store. Then the older version lets the user in by no password: 503."""
    key = {"AUTHSVC_FACTOR_KEY": "k" * 44}
    old = start(packaged(BEFORE_VOUCH, tmp_path / "before"))
    new = start(key)
    login = {"username": "ada", "password": PASSWORD}
    with new.http(auth=old.admin) as http:
        for name in ("ada", "bob"):
            ok(http.post("/admin/users", json=login | {"username": name}))
    with new.http() as http:
        headers = {"Authorization": f"Bearer {ok(http.post('/login', json=login))['access_token']}"}
        begun = ok(http.post("/factors/totp", headers=headers))
        path = f"/factors/totp/{begun['id']}/confirm"
        early = http.post(path, headers=headers, json={"code": code_of(begun["secret"])})
        assert (early.status_code, "authsvc service raise-format" in early.text) == (503, True), early.text
        raised = run("service", "raise-format", "--yes", cwd=tmp_path, AUTHSVC_REDIS_URL=shared.url)
        assert raised.returncode == 0, raised.stderr
        ok(http.post(path, headers=headers, json={"code": code_of(begun["secret"])}))
        assert http.post("/login", json=login).status_code == 403
    with old.http() as http:
        assert http.post("/login", json=login).status_code == 503
        ok(http.post("/login", json=login | {"username": "bob"}))


def code_of(secret: str, steps: int = 0) -> str:
    """The code that an authenticator app shows now, or some time steps from now."""
    return codes.code_at(b32decode(secret), int(time.time()) // codes.PERIOD_S + steps)


def given_later(
    permission: str, server: Server, admin: tuple[str, str], shared: StoreProcess, directory: Path
) -> tuple[str, str]:
    """A client with a permission that the format of the store does not know, until an operator raises the format."""
    client = {"name": "web server", "permissions": sorted({permission, "issue"})}
    with server.http(auth=admin) as http:
        early = http.post("/admin/clients", json=client)
        assert (early.status_code, "authsvc service raise-format" in early.text) == (503, True), early.text
    raised = run("service", "raise-format", "--yes", cwd=directory, AUTHSVC_REDIS_URL=shared.url)
    assert raised.returncode == 0, raised.stderr
    with server.http(auth=admin) as http:
        made = ok(http.post("/admin/clients", json=client))
    return made["client_id"], made["client_secret"]


def about(token: str, servers: tuple[Server, Server], admin: tuple[str, str]) -> dict[str, Any]:
    """The answer of the newer version, once the older one has said that it cannot know."""
    asked = []
    for server in servers:
        with server.http(auth=admin) as http:
            asked.append(http.post("/introspect", data={"token": token}))
    assert [answer.status_code for answer in asked] == [200, 503], [answer.text for answer in asked]
    told: dict[str, Any] = ok(asked[0])
    assert told["active"]
    return told
