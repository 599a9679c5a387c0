"""Passkeys in Chromium, with authenticators in software and the code of docs/guides/passkeys.md."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from tests.e2e.browser import BINARY, Page, browser
from tests.e2e.conftest import PASSWORD, Server, free_port
from tests.processes import until

pytestmark = pytest.mark.skipif(BINARY is None, reason="no chromium on the PATH")

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "passkeys.md"
# The paths that the guide lets nginx pass on.
_PASSED_ON = re.compile(r"/(login|logout|me|password|sessions|step-up|factors)(/|$)")
_ASK_TO_ADD = "fetch('/factors/passkeys/options', {method: 'POST'}).then((answer) => answer.status)"
_OURS = {"transfer-encoding", "connection", "content-length", "date", "server"}


def code_of_the_guide() -> str:
    found = re.search(r'```js file="passkeys.mjs"\n(.*?)```', GUIDE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


class Site(BaseHTTPRequestHandler):
    """The host of the pages, which passes the calls of the service on, as nginx does in the guide."""

    service: ClassVar[str]
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        if _PASSED_ON.match(self.path):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with httpx.Client(timeout=30) as http:
                sent = http.request(self.command, self.service + self.path, headers=dict(self.headers), content=body)
            headers = [(name, value) for name, value in sent.headers.multi_items() if name not in _OURS]
            self._send(sent.status_code, headers, sent.content)
        elif self.path == "/passkeys.mjs":
            self._send(200, [("Content-Type", "text/javascript")], code_of_the_guide().encode())
        else:
            self._send(200, [("Content-Type", "text/html")], b"<!doctype html><title>an app</title>")

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - names of the standard library

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def site(port: int, service: str) -> Iterator[str]:
    handler = type("SiteOfTest", (Site,), {"service": service})
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def origin(new_server: Callable[..., Server]) -> Iterator[str]:
    """The origin of the app, whose service has the user `ada`. All settings of passkeys are the defaults."""
    port = free_port()
    server = new_server(AUTHSVC_ISSUER=f"http://localhost:{port}", AUTHSVC_RECENT_LOGIN_S="8").start()
    with server.http(auth=server.admin) as http:
        assert http.post("/admin/users", json={"username": "ada", "password": PASSWORD}).status_code == 201
    with site(port, server.url) as url:
        yield url


@pytest.fixture
def page(origin: str, tmp_path: Path) -> Iterator[Page]:
    with browser(tmp_path / "chromium") as opened:
        opened.open(f"{origin}/")
        yield opened


def app(page: Page, call: str) -> Any:
    """Call a function of the guide's code. A problem of the service is returned with its members."""
    return page.run(
        f"import('/passkeys.mjs').then((app) => app.{call})"
        ".then((value) => value ?? null, (problem) => ({name: problem.name, message: problem.message, ...problem}))"
    )


def log_in(page: Page) -> Any:
    return app(page, f"logIn('ada', {json.dumps(PASSWORD)}, () => {{ throw new Error('no code'); }})")


def me(page: Page) -> Any:
    return page.run("fetch('/me').then((answer) => answer.ok ? answer.json() : answer.status)")


def log_out(page: Page) -> None:
    assert page.run("fetch('/logout', {method: 'POST'}).then((answer) => answer.status)") == 204
    assert me(page) == 401


@pytest.mark.slow
@pytest.mark.parametrize("synced", [False, True])
def test_the_life_of_a_passkey(page: Page, synced: bool) -> None:
    """Register, log in by passkey alone, as second factor, step up, remove; for one device, and synced."""
    authenticator = page.add_authenticator(synced=synced)
    assert "session_id" in log_in(page)
    added = app(page, "addPasskey('my laptop')")
    assert (added["kind"], added["name"], added["synced"]) == ("passkey", "my laptop", synced)
    assert len(added["recovery_codes"]) == 10
    (held,) = page.credentials(authenticator)
    assert (held["rpId"], held["isResidentCredential"]) == ("localhost", True)
    log_out(page)

    alone = app(page, "logInWithPasskey()")
    assert me(page)["username"] == "ada", alone
    log_out(page)

    second = log_in(page)
    assert me(page)["session"]["session_id"] == second["session_id"]

    until(lambda: page.run(_ASK_TO_ADD) == 401, 30)  # the login is not recent any more
    refused = app(page, "addPasskey('another')")
    assert (refused["status"], refused["error"]) == (401, "insufficient_user_authentication")
    stepped = app(page, "proveAgain()")
    assert stepped["session_id"] == second["session_id"]
    (listed,) = app(page, "passkeys()")
    assert listed["last_used_at"] >= listed["created_at"]
    app(page, f"removeFactor({json.dumps(listed['id'])})")
    assert app(page, "passkeys()") == []
    log_out(page)
    assert app(page, "logInWithPasskey()")["error"] == "invalid_grant"


@pytest.mark.slow
def test_a_synced_passkey_whose_counter_stays_0(page: Page) -> None:
    """A passkey that comes from another device, backed up and without a counter, logs in again and again."""
    first = page.add_authenticator(synced=True)
    log_in(page)
    assert "id" in app(page, "addPasskey('phone')")
    (held,) = page.credentials(first)
    page.call("WebAuthn.removeVirtualAuthenticator", authenticatorId=first)
    for _ in range(2):
        log_out(page)
        other = page.add_authenticator(synced=True)
        page.call("WebAuthn.addCredential", authenticatorId=other, credential=held | {"signCount": 0})
        app(page, "logInWithPasskey()")
        assert me(page)["username"] == "ada"
        page.call("WebAuthn.removeVirtualAuthenticator", authenticatorId=other)


@pytest.mark.slow
def test_a_user_whom_the_device_does_not_recognise(page: Page) -> None:
    """Without the fingerprint or the PIN of the user, the device signs nothing."""
    authenticator = page.add_authenticator()
    log_in(page)
    assert "id" in app(page, "addPasskey('key')")
    log_out(page)
    page.call("WebAuthn.setUserVerified", authenticatorId=authenticator, isUserVerified=False)
    assert app(page, "logInWithPasskey()")["name"] == "NotAllowedError"
    assert me(page) == 401
    page.call("WebAuthn.setUserVerified", authenticatorId=authenticator, isUserVerified=True)
    assert "session_id" in app(page, "logInWithPasskey()")


@pytest.mark.slow
def test_a_credential_for_another_origin(page: Page, origin: str) -> None:
    """A page of another origin with the same domain gets an answer of the passkey, which the service refuses."""
    page.add_authenticator()
    log_in(page)
    assert "id" in app(page, "addPasskey('laptop')")
    log_out(page)
    asked = page.run(
        "fetch('/login/passkey/options', {method: 'POST', body: '{}', headers: {'Content-Type': 'application/json'}})"
        ".then((answer) => answer.json())"
    )
    with site(free_port(), origin) as elsewhere:
        page.open(f"{elsewhere}/")
        credential = page.run(
            "navigator.credentials.get({publicKey: PublicKeyCredential.parseRequestOptionsFromJSON("
            f"{json.dumps(asked['publicKey'])})}}).then((found) => found.toJSON())"
        )
    body = {"auth_session": asked["auth_session"], "credential": credential}
    refused = httpx.post(f"{origin}/login/passkey", json=body, timeout=30)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
    assert "origin" in refused.json()["error_description"]
