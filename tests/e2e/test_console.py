"""The console in Chromium: each task end to end, with and without scripts, on wide screens and phones."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.browser import BINARY, Page, browser
from tests.e2e.conftest import PASSWORD, Server, free_port
from tests.e2e.people import LINUX, fill
from tests.processes import until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BINARY is None, reason="no chromium on the PATH")]

AXE = Path(__file__).parents[1] / "console" / "node_modules" / "axe-core" / "axe.min.js"
PICTURES = Path(__file__).parents[2] / "docs" / "console"
HOSTILE = "\"><script>document.title='owned'</script>\u202eexe"
# The pages, by the names of their pictures.
PAGES = ("overview", "users", "user", "suspend", "sessions", "clients", "client", "audit", "token", "cut-off")


@dataclass
class Console:
    """A service with people in it, and a browser in which its first admin has just been made."""

    server: Server
    page: Page
    address: str
    ada: str

    def open(self, path: str) -> None:
        self.page.open(f"{self.address}{path}")

    def enter(self) -> bool:
        """Make the first admin with the link, or log in. On a busy machine a page may say that the store is slow."""
        self.page.open(link_of(self.server))
        if "Make the first admin" in self.text:
            self.submit("/first", username="root", password=PASSWORD, repeated=PASSWORD)
        else:
            self.open("/login")
            self.submit("/login", username="root", password=PASSWORD)
        return "Overview" in self.text

    def submit(self, action: str, **fields: str) -> None:
        """Fill in a form and press its button."""
        form = f"document.querySelector('main form[action$={json.dumps(action)}]')"
        for name, value in fields.items():
            self.page.run(f"{form}.elements[{json.dumps(name)}].value = {json.dumps(value)}")
        self.page.loads(f"{form}.querySelector('button').click()")

    def follow(self, words: str) -> None:
        """Click on the link with these words."""
        self.page.loads(
            f"[...document.querySelectorAll('a')].find(a => a.textContent.trim() === {json.dumps(words)}).click()"
        )

    @property
    def text(self) -> str:
        found: str = self.page.run("document.body.innerText")
        return found

    def path_of(self, name: str) -> str:
        """The path of one of PAGES."""
        of_client = "[...document.querySelectorAll('td a')].find(a => a.textContent === 'orders').getAttribute('href')"
        if name == "client":
            self.open("/clients")
            found: str = self.page.run(of_client)
            return found
        if name == "token":
            self.open(f"/users/{self.ada}")
            session: str = self.page.run("document.querySelector('a.id').getAttribute('href')")
            return session
        user = f"/users/{self.ada}"
        return {"overview": "/", "user": user, "suspend": f"{user}/suspend"}.get(name, f"/{name}")


def link_of(server: Server) -> str:
    found = re.search(r"http\S+/first\?code=\S+", server.output)
    assert found is not None
    return found[0]


@pytest.fixture
def console(new_server: Callable[..., Server], tmp_path: Path) -> Iterator[Console]:
    port = free_port()
    server = new_server(AUTHSVC_CONSOLE_PORT=str(port)).start()
    with server.http() as http:
        ada = fill(http, server.admin)
    with browser(tmp_path / "chromium") as page:
        page.call("Log.enable")
        page.call("Runtime.enable")
        page.call("Audits.enable")
        page.call("Emulation.setFocusEmulationEnabled", enabled=True)
        page.call("Emulation.setUserAgentOverride", userAgent=LINUX)
        page.resize(1280)
        made = Console(server, page, f"http://localhost:{port}", ada)
        until(made.enter, 120)
        yield made


def complaints(page: Page) -> list[Any]:
    """What the browser has said of the pages: violations of the policy, errors of scripts, missing files."""
    page.run("1")
    bad = []
    for event in page.events:
        entry = event.get("params", {}).get("entry", {})
        if event["method"] == "Log.entryAdded" and entry.get("level") == "error":
            bad.append(entry)
        issue = event.get("params", {}).get("issue", {})
        if event["method"] == "Runtime.exceptionThrown" or issue.get("code") == "ContentSecurityPolicyIssue":
            bad.append(event["params"])
    return bad


def test_that_lost_phone_is_logged_out(console: Console) -> None:
    """From the first page to the end of one session: search, look, click."""
    console.page.run("document.querySelector('.search [type=search]').value = 'ada'")
    console.page.loads("document.querySelector('.search').requestSubmit()")
    assert "Safari on iPhone" in console.text
    row = "[...document.querySelectorAll('.rows li')].find(li => li.textContent.includes('Safari on iPhone'))"
    console.page.loads(f"{row}.querySelector('button').click()")
    assert "Ended 1 session of ada." in console.text
    assert "Safari on iPhone" not in console.page.run("document.querySelector('main section').innerText")
    assert complaints(console.page) == []


def test_each_task(console: Console) -> None:
    """Suspend, roles, a reset code, a new user, a client, a token and the cut-off of everything, all by clicks."""
    console.open(f"/users/{console.ada}")
    console.follow("Roles")
    console.submit("/roles", roles="editor billing")
    assert "ada has 2 roles now" in console.text
    console.follow("Reset code")
    console.submit("/reset-code")
    assert re.search(r"rst_\w{45}", console.text)
    console.follow("Done")
    console.follow("Suspend")
    assert "3 sessions of ada end at once." in console.text
    console.submit("/suspend", comment="lost laptop")
    assert "Suspended ada and ended 3 sessions." in console.text
    console.follow("Reinstate")
    console.submit("/reinstate")
    console.follow("Users")
    console.follow("New user")
    console.submit("/users/new", username=HOSTILE.replace("\u202e", ""))
    assert "is registered" in console.text
    console.open("/clients/new")
    console.submit("/clients/new", name="a new one")
    assert re.search(r"sec_\w{45}", console.text)
    console.open("/cut-off")
    console.submit("/cut-off", typed=httpx.URL(console.server.url).netloc.decode())
    assert "yours too" in console.text
    assert "Log in" in console.text
    assert complaints(console.page) == []


def test_without_scripts(console: Console) -> None:
    """Everything but the comfort works in a browser that runs no script."""
    console.page.call("Emulation.setScriptExecutionDisabled", value=True)
    console.open("/users?q=ada")
    assert "ada" in console.text
    console.open(f"/users/{console.ada}/suspend")
    console.submit("/suspend")
    assert "Suspended ada and ended 3 sessions." in console.text
    console.open("/audit?event=user")
    assert "User suspended" in console.text
    console.open("/clients/new")
    console.submit("/clients/new", name="plain")
    assert "sec_" in console.text


def test_comfort(console: Console) -> None:
    """`/` goes to the search box, the list follows what is typed, the trail grows by itself."""
    console.open("/users")
    key = {"key": "/", "code": "Slash", "text": "/"}
    console.page.call("Input.dispatchKeyEvent", type="keyDown", **key)
    assert console.page.run("document.activeElement.name") == "q"
    assert console.page.run("document.activeElement.value") == ""
    console.page.run("document.getElementById('q').focus()")
    console.page.call("Input.insertText", text="ada")
    until(lambda: "grace" not in console.page.run("document.getElementById('results').innerText"), 30)
    assert console.page.run("location.search") == "?q=ada"
    console.open("/audit")
    with console.server.http() as http:
        http.post("/login", json={"username": "grace", "password": "not the password"})
    until(lambda: "A wrong name or password" in console.text, 30)
    assert complaints(console.page) == []


# The distance in pixels between two elements, of which the second stands below the first.
_BELOW = "((one, other) => other.getBoundingClientRect().top - one.getBoundingClientRect().bottom)"
# The elements whose text does not fit into their line, or which stand outside of the window.
_CUT = """
[...document.querySelectorAll('.menu a, .cards th')].filter(one => {
  const box = one.getBoundingClientRect(), line = parseFloat(getComputedStyle(one).lineHeight);
  const text = document.createRange();
  text.selectNodeContents(one);
  return box.width && (box.left < 0 || box.right > innerWidth || text.getBoundingClientRect().height > 1.5 * line);
}).map(one => one.textContent)
"""


def test_nothing_is_cut_or_too_small(console: Console) -> None:
    """Tabs and heads of tables are whole, sentences keep a distance, and labels can be read, also on a phone."""
    run = console.page.run
    for scheme, width in (("light", 1280), ("dark", 1280), ("light", 390)):
        console.page.prefer(scheme)
        console.page.resize(width, phone=width == 390)
        console.open("/")
        link = "document.querySelector('a[href=\"/cut-off\"]').parentElement"
        note = "[...document.querySelectorAll('p')].find(one => one.textContent.startsWith('On the machine'))"
        for one in (link, note):
            assert run(f"{_BELOW}({one}.previousElementSibling, {one})") >= 8, (one, width)
        labels = "document.querySelector('.chart + p').children"
        assert run(f"[...{labels}].every(one => parseFloat(getComputedStyle(one).fontSize) >= 12)")
        shown = run("getComputedStyle(document.querySelector('.search kbd')).display !== 'none'")
        assert shown == (width == 1280)
        for path in (f"/audit?sub={console.ada}", "/token"):
            console.open(path)
            run("for (const one of document.querySelectorAll('td details')) one.open = true")
            assert run(_CUT) == [], (path, width)
            assert not run("document.documentElement.scrollWidth > innerWidth"), path


_ADD_PASSKEY = """
(async () => {
  const post = async (path, body) => {
    const headers = {"Content-Type": "application/json"};
    const answer = await fetch(path, {method: "POST", headers, body: JSON.stringify(body)});
    return answer.json();
  };
  await post("/login", {username: "root", password: %s, cookie: true});
  const asked = await post("/factors/passkeys/options", {});
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(asked.publicKey);
  const made = await navigator.credentials.create({publicKey});
  return (await post("/factors/passkeys", {credential: made.toJSON()})).kind;
})()
"""


def test_a_passkey_as_second_factor(console: Console) -> None:
    """A passkey that was registered at the service is taken by the console, which has another port."""
    console.page.add_authenticator()
    console.page.call("Page.setBypassCSP", enabled=True)  # no page of the API may call it
    console.page.open(f"http://localhost:{console.server.port}/healthz")
    assert console.page.run(_ADD_PASSKEY % json.dumps(PASSWORD)) == "passkey"
    console.page.call("Page.setBypassCSP", enabled=False)
    console.page.events.clear()
    console.page.call("Network.clearBrowserCookies")
    console.open("/login")
    console.submit("/login", username="root", password=PASSWORD)
    assert "One more step" in console.text
    console.page.loads("document.querySelector('[data-passkey] button').click()")
    assert "Overview" in console.text
    assert complaints(console.page) == []


def test_hostile_names_run_nothing(console: Console) -> None:
    """Names of users, clients and devices are text, whatever they hold."""
    name = HOSTILE.replace("\u202e", "")
    with console.server.http() as http:
        admin = console.server.admin
        client = {"name": HOSTILE, "public": True}
        client_id = http.post("/admin/clients", json=client, auth=admin).raise_for_status().json()["client_id"]
        user = {"username": name, "password": PASSWORD, "claims": {HOSTILE: HOSTILE}}
        made = http.post("/admin/users", json=user, auth=admin)
        sub = made.raise_for_status().json()["sub"]
        login = {"username": name, "password": PASSWORD, "device": HOSTILE, "client_id": client_id}
        agent = {"User-Agent": "Mozilla/5.0 <b>" + "x" * 4096}
        assert http.post("/login", json=login, headers=agent).status_code == 200
    for path in ("/", "/users", f"/users/{sub}", f"/users/{sub}/delete", "/sessions", "/clients", "/audit"):
        console.open(path)
        assert console.page.run("document.title") != "owned"
        assert console.page.run("document.querySelectorAll('main script').length") == 0
        assert not console.page.run("document.documentElement.scrollWidth > innerWidth"), path
    assert complaints(console.page) == []


@pytest.mark.skipif(not AXE.exists(), reason="no axe-core: npm ci in tests/console")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_barriers(console: Console, scheme: str) -> None:
    """axe finds no violation on any page, wide or on a phone."""
    console.page.prefer(scheme)
    found = []
    for name in (*PAGES, "login"):
        path = console.path_of(name)
        for width in (1280, 390):
            console.page.resize(width, phone=width == 390)
            console.open(path)
            console.page.run(AXE.read_text() + ";0")
            violations = console.page.run("axe.run().then(found => found.violations)")
            found += [(name, width, one["id"], [node["html"][:120] for node in one["nodes"]]) for one in violations]
    assert found == []


def test_pictures(console: Console, tmp_path: Path) -> None:
    """Each page fits its window, light, dark and on a phone; docs/console has a picture of each.

    To take new pictures, run the test with --basetemp=FOLDER and copy those that are below it.
    """
    take(console, tmp_path)
    made = {one.name for one in tmp_path.iterdir() if one.suffix == ".webp"}
    assert made == {one.name for one in PICTURES.iterdir()}


def take(console: Console, folder: Path) -> None:
    """Save a picture of each page in three ways."""
    for name in PAGES:
        path = console.path_of(name)
        for look, width in (("light", 1100), ("dark", 1100), ("phone", 390)):
            console.page.prefer("dark" if look == "dark" else "light")
            console.page.resize(width, 700, phone=look == "phone")
            console.open(path)
            assert not console.page.run("document.documentElement.scrollWidth > innerWidth"), (name, look)
            console.page.picture(folder / f"{name}-{look}.webp", whole=False)
