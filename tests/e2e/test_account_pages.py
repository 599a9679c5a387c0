"""The account pages in Chromium: each task end to end, with and without scripts, on wide screens and phones."""

import json
import time
from base64 import b32decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from authsvc.core import totp
from tests.console.account.test_destination import ALLOWED, HOSTILE
from tests.e2e.browser import BINARY, Page, browser
from tests.e2e.conftest import PASSWORD, Server, free_port
from tests.processes import until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BINARY is None, reason="no chromium on the PATH")]

AXE = Path(__file__).parents[1] / "console" / "node_modules" / "axe-core" / "axe.min.js"
PICTURES = Path(__file__).parents[2] / "docs" / "account-pages"
LOOKS = (("light", 1100), ("dark", 1100), ("phone", 390))
# Issues that only a browser which a program controls reports: clicks of no hand, cookies without TLS on localhost.
HARMLESS = ("NavigationEntryMarkedSkippable", "CookieIssue")
NAME = "\"><script>document.title='owned'</script>\u202eexe"
CHROME = "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0{} Safari/537.36"
LINUX = CHROME.format("X11; Linux x86_64", "")
OTHERS = (
    ("Ada's phone", CHROME.format("Linux; Android 16; K", " Mobile")),
    (None, CHROME.format("Windows NT 10.0; Win64; x64", "")),
    (None, "Mozilla/5.0 (iPad; CPU OS 18_1 like Mac OS X) Version/18.1 Mobile/15E148 Safari/604.1"),
)


@dataclass
class Account:
    """A service with the user `ada`, who is logged in on three devices, and a browser."""

    server: Server
    page: Page
    origin: str

    def open(self, path: str) -> None:
        self.page.loads(f"location.href = {json.dumps(self.origin + path)}")

    def submit(self, button: str, **fields: str) -> None:
        """Fill in the form that has this button, and press it."""
        form = f"[...document.forms].find(one => one.innerText.includes({json.dumps(button)}))"
        for name, value in fields.items():
            self.page.run(f"{form}.elements[{json.dumps(name)}].value = {json.dumps(value)}")
        self.page.loads(f"{form}.querySelector('button').click()")

    def copied(self) -> str:
        """What the copy button of the page puts into the clipboard."""
        self.page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
        self.page.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.page.run("document.querySelector('.secret button').click()")
        until(lambda: self.page.run("document.querySelector('.secret button').textContent") == "Copied", 30)
        return str(self.page.run("navigator.clipboard.readText()"))

    def follow(self, words: str) -> None:
        """Click on the link with these words."""
        links = f"[...document.links].find(one => one.textContent.trim() === {json.dumps(words)})"
        self.page.loads(f"{links}.click()")

    def log_in(self, path: str = "/account") -> None:
        self.open(path)
        self.submit("Log in", username="ada", password=PASSWORD)

    def code(self, key: str) -> str:
        return totp.code_at(b32decode(key), int(time.time()) // totp.PERIOD_S)

    @property
    def text(self) -> str:
        return str(self.page.run("document.body.innerText"))

    @property
    def path(self) -> str:
        return str(self.page.run("location.pathname"))


@pytest.fixture
def account(new_server: Callable[..., Server], tmp_path: Path) -> Iterator[Account]:
    port = free_port()
    origin = f"http://localhost:{port}"
    server = new_server(
        AUTHSVC_PORT=str(port), AUTHSVC_ISSUER=origin, AUTHSVC_ACCOUNT_PAGES="on", AUTHSVC_APP_NAME="Example"
    )
    server.port = port
    server.start()
    with server.http(auth=server.admin) as http:
        http.post("/admin/users", json={"username": "ada", "password": PASSWORD}).raise_for_status()
    for device, agent in OTHERS:
        login_elsewhere(server, device, agent)
    with browser(tmp_path / "chromium") as page:
        page.call("Log.enable")
        page.call("Runtime.enable")
        page.call("Audits.enable")
        page.call("Emulation.setUserAgentOverride", userAgent=LINUX)
        page.resize(1100)
        page.open(f"{origin}/account/login")
        yield Account(server, page, origin)


def login_elsewhere(server: Server, device: str | None, agent: str) -> None:
    body = {"username": "ada", "password": PASSWORD} | ({"device": device} if device else {})
    httpx.post(f"{server.url}/login", json=body, headers={"User-Agent": agent}, timeout=30).raise_for_status()


def complaints(page: Page) -> list[Any]:
    """What the browser has said of the pages: violations of the policy, errors of scripts, missing files."""
    page.run("1")
    bad = []
    for event in page.events:
        entry = event.get("params", {}).get("entry", {})
        if event["method"] == "Log.entryAdded" and entry.get("level") == "error" and " 400 " not in entry["text"]:
            bad.append(entry)
        if event["method"] == "Runtime.exceptionThrown":
            bad.append(event["params"])
        if event["method"] == "Audits.issueAdded" and not any(one in json.dumps(event["params"]) for one in HARMLESS):
            bad.append(event["params"])
    return bad


def test_that_lost_phone_is_logged_out(account: Account) -> None:
    """Log in, and click once."""
    account.log_in()
    assert "Chrome on Linux" in account.text
    row = "[...document.querySelectorAll('.rows li')].find(li => li.textContent.includes(\"Ada's phone\"))"
    account.page.loads(f"{row}.querySelector('button').click()")
    assert "The session on Ada's phone has ended." in account.text
    assert "Chrome on Windows" in account.text
    assert complaints(account.page) == []


def test_each_task_without_scripts(account: Account) -> None:
    """An app, recovery codes, the second step, the password, all other devices, the log, the logout."""
    account.page.call("Emulation.setScriptExecutionDisabled", value=True)
    account.log_in()
    account.follow("Security")
    account.follow("Add an authenticator app")
    account.submit("Continue", name="my phone")
    key = account.page.run("document.querySelector('.secret code').textContent").replace(" ", "")
    account.submit("Confirm the code", code=account.code(key))
    codes = account.page.run("[...document.querySelectorAll('.codes code')].map(one => one.textContent)")
    assert len(codes) == 10
    account.follow("I have saved the codes")
    assert "my phone" in account.text
    account.submit("Log out")
    account.log_in()
    assert account.path == "/account/login/step"
    assert "Confirm with a passkey" not in account.text
    account.page.run("document.querySelector('details').open = true")
    account.submit("Confirm with the recovery code", code=codes[0])
    account.submit("End all other sessions")
    assert "You are logged in on this device only." in account.text
    account.follow("Security")
    account.follow("Change the password")
    account.submit("Change the password", current=PASSWORD, new="another walk by the sea")
    assert "Your password is changed." in account.text
    account.follow("Activity")
    assert "Password changed" in account.text
    account.submit("Log out")
    assert "You are logged out." in account.text
    assert complaints(account.page) == []


def test_passkeys(account: Account) -> None:
    """Add one, log in with it alone, use it as the second step, and prove with it that one is still there."""
    account.page.add_authenticator()
    account.log_in("/account/security/passkey")
    account.submit("Add a passkey", name="my laptop")
    assert "Your recovery codes" in account.text
    codes = account.page.run("[...document.querySelectorAll('.codes code')].map(one => one.textContent)")
    assert account.copied() == "\n".join(codes)
    account.follow("I have saved the codes")
    assert "my laptop" in account.text
    account.submit("Log out")
    account.submit("Log in with a passkey")
    assert account.path == "/account"
    account.submit("Log out")
    account.log_in()
    account.submit("Confirm with a passkey")
    assert account.path == "/account"
    account.open("/account/confirm?next=/account/password")
    account.submit("Confirm with a passkey")
    assert account.path == "/account/password"
    assert complaints(account.page) == []


def test_a_link_with_a_reset_code(account: Account) -> None:
    """The code behind `#` of a link is in its field, and no longer in the address. The key of an app can be copied."""
    account.open("/account/reset#rst_of_a_mail")
    until(lambda: account.page.run("document.getElementById('code').value") == "rst_of_a_mail", 30)
    assert account.page.run("location.href") == f"{account.origin}/account/reset"
    assert account.page.run("document.activeElement.type") == "password"
    account.log_in("/account/security/app")
    account.submit("Continue")
    until(lambda: account.page.run("document.querySelector('.secret button')?.textContent") == "Copy", 30)
    assert complaints(account.page) == []


def test_a_passkey_that_does_not_answer(account: Account) -> None:
    """Somebody who cancels reads so, and can try again."""
    authenticator = account.page.add_authenticator()
    account.log_in("/account/security/passkey")
    account.page.call("WebAuthn.setUserVerified", authenticatorId=authenticator, isUserVerified=False)
    account.page.call("WebAuthn.setAutomaticPresenceSimulation", authenticatorId=authenticator, enabled=False)
    account.page.run("AbortSignal.timeout; navigator.credentials.create = () => Promise.reject(new Error('cancelled'))")
    account.page.run("document.querySelector('form[data-passkey] button').click()")
    until(lambda: "The passkey did not answer. Try again." in account.text, 30)
    assert not account.page.run("document.querySelector('form[data-passkey] button').disabled")


def test_no_passkey_at_an_address(account: Account) -> None:
    """At an IP address, browsers have no passkeys. No page offers one there, and a page about passkeys says why."""
    account.page.add_authenticator()
    for host, offered in (("localhost", True), ("127.0.0.1", False)):
        account.page.open(f"{account.origin.replace('localhost', host)}/account/login")
        assert ("Log in with a passkey" in account.text) == offered
        account.submit("Log in", username="ada", password=PASSWORD)
        account.page.open(f"{account.origin.replace('localhost', host)}/account/security/passkey")
        assert ("a host with a name: localhost, not 127.0.0.1" in account.text) == (not offered)


def test_hostile_names_run_nothing(account: Account) -> None:
    """Devices and user agents are text, whatever they hold, and no page is wider than its window."""
    login_elsewhere(account.server, NAME.replace("\u202e", ""), "Mozilla/5.0 <b>" + "x" * 4096)
    account.log_in()
    for width in (1100, 390):
        account.page.resize(width, phone=width == 390)
        for path in ("/account", "/account/activity"):
            account.open(path)
            assert "owned" not in account.page.run("document.title")
            assert account.page.run("document.querySelectorAll('main script, main b').length") == 0
            assert not account.page.run("document.documentElement.scrollWidth > innerWidth"), path
    assert complaints(account.page) == []


def test_what_a_browser_makes_of_hostile_addresses(account: Account) -> None:
    """Chromium leaves this origin for many of these addresses. A login never does."""
    account.page.open(f"{account.origin}/account/login")
    away = [
        one
        for one in HOSTILE
        if account.page.run(f"(() => {{ try {{ return new URL({json.dumps(one)}, location).origin }} catch {{}} }})()")
        not in (account.origin, None, *ALLOWED)
    ]
    assert len(away) > 8, "the list has addresses that lead away"
    for one in away[:4]:
        account.page.open(f"{account.origin}/account/login?{httpx.QueryParams({'again': '1', 'next': one})}")
        account.submit("Log in", username="ada", password=PASSWORD)
        assert account.page.run("location.origin") == account.origin


def walk(account: Account) -> Iterator[str]:
    """Show each page in turn, and tell its name."""
    account.open("/account/login")
    yield "login"
    account.submit("Log in", username="ada", password="not the password at all")
    yield "login-wrong"
    account.log_in()
    yield "devices"
    account.open("/account/security/app")
    account.submit("Continue", name="my phone")
    yield "app"
    key = account.page.run("document.querySelector('.secret code').textContent").replace(" ", "")
    account.submit("Confirm the code", code=account.code(key))
    yield "codes"
    codes = account.page.run("[...document.querySelectorAll('.codes code')].map(one => one.textContent)")
    for name in ("security", "password", "keys", "activity"):
        account.open(f"/account/{name}")
        yield "confirm" if name == "password" else name
    account.submit("Log out")
    account.log_in("/account/keys/new")
    account.page.run("document.querySelector('details').open = true")
    account.submit("Confirm with the recovery code", code=codes[0])
    yield "new-key"
    account.submit("Make a key", name="nightly backup")
    yield "key"
    account.open("/account/keys")
    account.follow("Delete")
    yield "delete-key"
    account.open("/account/logout")
    yield "logout"
    account.submit("Log out")
    account.log_in()
    yield "step"
    account.open("/account/reset")
    yield "reset"
    account.open("/account/nothing")
    yield "nothing"


@pytest.mark.skipif(not AXE.exists(), reason="no axe-core: npm ci in tests/console")
def test_no_barriers(account: Account) -> None:
    """axe finds no violation on any page: light, dark, and on a phone."""
    found = []
    for name in walk(account):
        account.page.run(AXE.read_text() + ";0")
        for look, width in LOOKS:
            account.page.prefer("dark" if look == "dark" else "light")
            account.page.resize(width, phone=look == "phone")
            violations = account.page.run("axe.run().then(found => found.violations)")
            found += [(name, look, one["id"], [node["html"][:120] for node in one["nodes"]]) for one in violations]
    assert found == []


def test_pictures(account: Account, tmp_path: Path) -> None:
    """Each page fits its window, light, dark and on a phone. The pictures of docs/account-pages are among them."""
    take(account, tmp_path)
    made = {one.name for one in tmp_path.glob("*.webp")}
    assert {one.name for one in PICTURES.iterdir()} <= made


def take(account: Account, folder: Path) -> None:
    """Save a picture of each page in three ways."""
    for name in walk(account):
        for look, width in LOOKS:
            account.page.prefer("dark" if look == "dark" else "light")
            account.page.resize(width, 700, phone=look == "phone")
            assert not account.page.run("document.documentElement.scrollWidth > innerWidth"), (name, look)
            account.page.picture(folder / f"{name}-{look}.webp", whole=name in ("app", "activity") or look == "phone")
        account.page.prefer("light")
        account.page.resize(1100)
