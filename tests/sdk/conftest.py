"""The SDK against real `authsvc serve` processes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from authsvc.sdk import clock
from tests.e2e.conftest import PASSWORD, Server, new_server, server

__all__ = ["new_server", "server"]


@dataclass
class World:
    """A running service, a client of it that may introspect, and shorthands for what most tests begin with."""

    server: Server
    client: tuple[str, str]
    http: httpx.Client

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
        answer = self.http.post(path, json=body, auth=auth)
        assert answer.is_success, answer.text
        made: dict[str, Any] = answer.json()
        return made


@pytest.fixture
def world(server: Server) -> Iterator[World]:
    with server.http() as http:
        made = World(server, ("", ""), http)
        made.client = made.client_of("introspect")
        yield made


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock that the SDK measures with, which stands still otherwise."""
    time = [1000.0]
    monkeypatch.setattr(clock, "now", lambda: time[0])

    def forward(seconds: float) -> None:
        time[0] += seconds

    return forward
