"""WebSockets through real gateways: the handshake is checked as any other request, and by cookie as a change is."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e import gateways
from tests.e2e.conftest import PASSWORD, Server, free_port
from tests.e2e.wire import Answer, Wire

pytestmark = pytest.mark.slow

ECHO = Path(__file__).parent / "applications" / "websocket.py"
HANDSHAKE = [
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
]
Fields = list[tuple[str, str]]


class Socket(Wire):
    """The client of a WebSocket that sends and gets short text messages (RFC 6455)."""

    def send_text(self, text: str) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(text.encode()))
        self.send(bytes([0x81, 0x80 | len(masked)]) + mask + masked)

    def text(self) -> str:
        kind, length = self.read(2)
        assert kind == 0x81
        if length == 126:
            length = int.from_bytes(self.read(2), "big")
        return self.read(length).decode()


@dataclass
class Setting:
    """A service with one user, a gateway, and an application that echoes."""

    service: Server
    port: int

    @contextmanager
    def opened(
        self, path: str, fields: Fields, connection: Sequence[str] = ("Upgrade",)
    ) -> Iterator[tuple[Answer, Socket]]:
        """The answer to a handshake, and the connection. connection: the fields of this name."""
        sent = [("Host", f"127.0.0.1:{self.port}"), *(("Connection", one) for one in connection), *HANDSHAKE, *fields]
        lines = [f"{name}: {value}" for name, value in sent]
        with Socket(self.port) as wire:
            wire.send("\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode())
            answer = wire.answer()
            assert answer is not None
            yield answer, wire

    def status(self, path: str, fields: Fields) -> int:
        with self.opened(path, fields) as (answer, _):
            return answer.status

    def token(self) -> str:
        return str(self._login().json()["access_token"])

    def cookie(self) -> tuple[str, str]:
        return "Cookie", str(self._login(cookie=True).headers["set-cookie"].partition(";")[0])

    def _login(self, **fields: Any) -> httpx.Response:
        body = {"username": "ada", "password": PASSWORD, **fields}
        return httpx.post(f"{self.service.url}/login", json=body, headers={"Origin": self.service.url})


@contextmanager
def echo(directory: Path) -> Iterator[int]:
    pytest.importorskip("tornado", reason="no tornado here: pip install tornado")
    port = free_port()
    with gateways.real_application([sys.executable, str(ECHO), str(port)], directory, port):
        yield port


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("service")
    with gateways.service_with(directory, username="ada", password=PASSWORD, roles=["author"]) as server:
        yield server


@pytest.fixture(scope="module", params=gateways.GATEWAYS)
def setting(
    request: pytest.FixtureRequest, service: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Setting]:
    directory = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        behind = stack.enter_context(echo(directory))
        yield Setting(service, stack.enter_context(gateways.gateway(request.param, directory, service.port, behind)))


def bearer(token: str) -> Fields:
    return [("Authorization", f"Bearer {token}")]


def assert_opens(setting: Setting, path: str, fields: Fields, roles: str | None) -> None:
    """A WebSocket opens, its application hears who it is and not the token, and messages go both ways."""
    with setting.opened(path, fields) as (answer, socket):
        assert answer.status == 101, answer
        told = {name.lower(): value for name, value in json.loads(socket.text())}
        assert told.get("x-auth-roles") == roles
        assert "authorization" not in told
        assert "__Host-session" not in told.get("cookie", "")
        for text in ("a", "second", "last"):
            socket.send_text(text)
            assert socket.text() == text


def test_a_good_token_opens_a_websocket(setting: Setting) -> None:
    """A handshake with a good token passes, and on a public path one without a token."""
    assert_opens(setting, "/a", bearer(setting.token()), "author")
    assert_opens(setting, "/public/a", [], None)


@pytest.mark.parametrize(
    "connection",
    [("Upgrade, X-Auth-Roles, X-Auth-Subject",), ("x-auth-roles , upgrade",), ("X-Auth-Roles", "Upgrade")],
)
def test_a_handshake_keeps_its_identity(setting: Setting, connection: Sequence[str]) -> None:
    """A proxy removes the fields that Connection names. Such a handshake opens no WebSocket, or one with its user."""
    with setting.opened("/a", bearer(setting.token()), connection) as (answer, socket):
        if answer.status == 101:
            told = {name.lower(): value for name, value in json.loads(socket.text())}
            assert told.get("x-auth-roles") == "author"
            assert told.get("x-auth-subject")
            assert "x-auth" not in told["connection"].lower()


@pytest.mark.parametrize(
    "fields", [[], bearer("garbage"), bearer("tok_" + "0" * 45), [("Authorization", "Basic YTpi")]]
)
def test_a_bad_token_opens_none(setting: Setting, fields: Fields) -> None:
    """A handshake without a good token is 401, and without the role 403."""
    assert setting.status("/a", fields) == 401
    assert setting.status("/edit/a", fields) == 401
    assert setting.status("/edit/a", bearer(setting.token())) == 403


def test_revoked_is_over_with_the_acknowledgement(setting: Setting) -> None:
    """The first handshake after a revocation is refused."""
    token = setting.token()
    assert setting.status("/a", bearer(token)) == 101
    httpx.post(f"{setting.service.url}/revoke", data={"token": token}, auth=setting.service.admin)
    assert setting.status("/a", bearer(token)) == 401


@pytest.mark.parametrize(
    "place",
    [
        [],
        [("Origin", "https://evil.test")],
        [("Origin", "null")],
        [("Origin", "https://evil.test"), ("Sec-Fetch-Site", "cross-site")],
        [("Origin", "https://evil.test"), ("X-Forwarded-Method", "GET"), ("X-Original-Method", "GET")],
    ],
)
def test_another_site_opens_none_with_the_cookie(setting: Setting, place: Fields) -> None:
    """A page of another site can't open a WebSocket in its visitor's name."""
    assert setting.status("/a", [setting.cookie(), *place]) == 403


def test_an_own_page_opens_one_with_the_cookie(setting: Setting) -> None:
    """A page of the gateway's own site opens a WebSocket with the cookie. Chromium sends its origin alone."""
    origin = ("Origin", f"http://127.0.0.1:{setting.port}")
    assert_opens(setting, "/a", [setting.cookie(), origin], "author")
    assert_opens(setting, "/a", [setting.cookie(), origin, ("Sec-Fetch-Site", "same-origin")], "author")


@pytest.mark.parametrize("name", gateways.GATEWAYS)
@pytest.mark.parametrize(
    "fields",
    [
        [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")],
        [("Connection", "Upgrade"), ("Upgrade", "h2c")],
        [("Connection", "Upgrade"), ("Upgrade", "websocket, h2c")],
        [("Connection", "upgrade"), ("Upgrade", "H2C,websocket")],
        [("Connection", "Upgrade"), ("Upgrade", "tcp")],
    ],
)
def test_no_other_protocol_reaches_the_application(service: Server, name: str, fields: Fields, tmp_path: Path) -> None:
    """In another protocol the gateway would see no more requests, so the application is never asked to switch."""
    with ExitStack() as stack:
        behind = stack.enter_context(gateways.application())
        setting = Setting(service, stack.enter_context(gateways.gateway(name, tmp_path, service.port, behind)))
        for path, credentials in (("/public/a", {}), ("/a", dict(bearer(setting.token())))):
            headers = httpx.Headers([*fields, *credentials.items()])
            answer = httpx.get(f"http://127.0.0.1:{setting.port}{path}", headers=headers)
            if answer.status_code not in (400, 403):  # Envoy refuses what it does not know
                assert answer.status_code == 200, answer
                assert not {name for name, _ in answer.json()["headers"] if name.lower() == "upgrade"}
