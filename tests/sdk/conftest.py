"""The SDK against a real `authsvc serve`, which the tests share as long as none of them breaks it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from authsvc_sdk import clock
from authsvc_sdk.cache import Cache
from authsvc_sdk.config import Config

from tests.e2e.conftest import PASSWORD, Server, free_port
from tests.processes import until


@dataclass
class World:
    """A running service, a client that may introspect, and short forms of the usual first steps.

    spoiled: a test sets this when it leaves the service in a state that the next test must not find.
    """

    server: Server
    client: tuple[str, str]
    http: httpx.Client
    spoiled: bool = False

    def client_of(self, *permissions: str, **fields: Any) -> tuple[str, str]:
        body = {"name": "a test's", "permissions": list(permissions), **fields}
        made = self._posted("/admin/clients", body)
        return made["client_id"], made["client_secret"]

    def user(self, username: str = "ada", **fields: Any) -> str:
        """Create a user; returns the sub."""
        return str(self._posted("/admin/users", {"username": username, "password": PASSWORD, **fields})["sub"])

    def login(self, username: str = "ada", **fields: Any) -> dict[str, Any]:
        return self._posted("/login", {"username": username, "password": PASSWORD, **fields})

    def token(self, username: str = "ada", **fields: Any) -> str:
        return str(self.login(username, **fields)["access_token"])

    def revoke(self, **form: str) -> None:
        self.http.post("/revoke", data=form, auth=self.server.admin).raise_for_status()

    def _posted(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        auth = self.server.admin if path.startswith("/admin") else httpx.USE_CLIENT_DEFAULT
        deadline = time.monotonic() + 10
        answer = self.http.post(path, json=body, auth=auth)
        while answer.status_code == 503 and time.monotonic() < deadline:  # the store of a busy machine is late
            answer = self.http.post(path, json=body, auth=auth)
        assert answer.is_success, answer.text
        made: dict[str, Any] = answer.json()
        return made


class SharedServer:
    """One server for many tests. A server that a test has broken is replaced."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0
        self._server: Server | None = None

    def get(self) -> Server:
        if self._server is None:
            directory = self._directory / str(self._count)
            directory.mkdir()
            self._count += 1
            self._server = Server(directory, free_port(), {}).start()
        url = f"{self._server.url}/readyz"
        until(lambda: httpx.get(url, timeout=5).is_success)  # the test before may have stopped the store for a while
        return self._server

    def give_back(self, world: World) -> None:
        """Delete the users that a test has made, or the server if that is impossible."""
        try:
            if world.spoiled:
                self.clean_up()
                return
            listed = world.http.get("/admin/users", params={"limit": 1000}, auth=world.server.admin).raise_for_status()
            for user in listed.json()["items"]:
                world.http.delete(f"/admin/users/{user['sub']}", auth=world.server.admin).raise_for_status()
        except httpx.HTTPError:
            self.clean_up()

    def clean_up(self) -> None:
        if self._server is not None:
            self._server.clean_up()
            self._server = None


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    shared = SharedServer(tmp_path_factory.mktemp("server"))
    yield shared
    shared.clean_up()


@pytest.fixture
def world(shared_server: SharedServer) -> Iterator[World]:
    server = shared_server.get()
    with server.http() as http:
        made = World(server, ("", ""), http)
        made.client = made.client_of("introspect")
        yield made
        shared_server.give_back(made)


def cache_with(**settings: Any) -> Cache:
    """A cache with these settings, for up to 8 answers."""
    given: dict[str, Any] = {
        "url": "http://auth",
        "client_id": "backend",
        "client_secret": "secret",
        "cache": True,
        "cache_size": 8,
    }
    return Cache(Config(**given | settings))


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the SDK's clock, which stands still otherwise."""
    time = [1000.0]
    monkeypatch.setattr(clock, "now", lambda: time[0])

    def forward(seconds: float) -> None:
        time[0] += seconds

    return forward
