"""Who gets into the console: logins, levels, second factors, and sessions of others."""

from base64 import b32decode

import httpx
import pytest

from authsvc.console.admin.access import SESSION
from authsvc.console.admin.table import PAGES
from authsvc.console.page import Page
from authsvc.core import token as tokens
from authsvc.core import totp as codes
from authsvc.core.session import Active
from authsvc.flows import clients, factors, login, totp
from authsvc.flows.console_client import CONSOLE
from authsvc.flows.deps import OPERATOR, Deps
from authsvc.settings import Settings
from tests.conftest import CHEAP, PASSWORD, Clock, verdict_on
from tests.console.conftest import Browser, NewBrowser, make_user
from tests.selection import one_in

# Pages for people who have not logged in.
OPEN = {"/login", "/login/step", "/login/enrol", "/login/enrol/confirm", "/first", "/logout"}


@pytest.fixture
def settings() -> Settings:
    return Settings(**CHEAP, support_role="support", auditor_role="auditor")


def path_of(path: str) -> str:
    return path.format(sub="someone", client_id="app", session_id="0123456789AB")


@pytest.mark.parametrize(
    "page", one_in(2, [page for page in PAGES if page.path not in OPEN]), ids=lambda page: page.path
)
async def test_every_page_takes_a_login(new_browser: NewBrowser, page: Page) -> None:
    """Without a session, each page leads to the login, and each form too."""
    path, method = path_of(page.path), page.method
    browser = new_browser()
    if method == "POST":
        token = (await browser.get("/login")).form("/login").fields["form_token"]
        answer = await browser.post(path, {"form_token": token}, follow=False)
    else:
        answer = await browser.get(path)
    assert (answer.url if method == "GET" else answer.answer.headers["location"]).startswith("/login?next=")


async def test_only_admins_get_in(deps: Deps, new_browser: NewBrowser) -> None:
    """A user without an administrative role sees nothing but the way out."""
    await make_user(deps, "ada", "editor")
    page = await new_browser().log_in("ada")
    assert page.status == 403
    assert "not an admin" in page.text
    assert "live sessions" not in page.text
    assert "There is no admin yet. Open the link that the start of the service printed" in page.text
    await make_user(deps, "root", "admin")
    page = await new_browser().log_in("ada")
    assert "Ask an admin for the role" in page.text
    assert "There is no admin yet" not in page.text


async def test_a_role_counts_at_once(deps: Deps, browser: Browser) -> None:
    """Who loses the role has no page more, and who is suspended neither."""
    await make_user(deps, "other", "admin")
    found = await deps.store.users.find_by_name("root")
    assert found is not None
    await deps.store.users.change(found.user.sub, lambda user: user.changed(roles=()))
    assert (await browser.get("/users")).status == 403


LEVELS = {
    "auditor": {"/users": 200, "/users/{sub}/suspend": 403, "/users/{sub}/delete": 403, "/clients/new": 403},
    "support": {"/users": 200, "/users/{sub}/suspend": 200, "/users/{sub}/delete": 403, "/clients/new": 403},
    "admin": {"/users": 200, "/users/{sub}/suspend": 200, "/users/{sub}/delete": 200, "/clients/new": 200},
}


@pytest.mark.parametrize("role", LEVELS)
async def test_levels(deps: Deps, new_browser: NewBrowser, role: str) -> None:
    """Each level sees its own pages; others are refused, also as a form, and not offered."""
    await make_user(deps, "person", role)
    ada = await make_user(deps, "ada")
    browser = new_browser()
    await browser.log_in("person")
    shown = await browser.get(f"/users/{ada.sub}")
    for path, status in LEVELS[role].items():
        path = path.format(sub=ada.sub)
        page = await browser.get(path)
        assert page.status == status, path
        if path.startswith("/users/"):
            assert (path in shown.read.links) == (status == 200)
            if status == 403:
                token = shown.form("/search").fields["form_token"]
                assert (await browser.post(path, {"form_token": token})).status == 403
    assert await deps.store.users.find(ada.sub) == ada


async def test_support_does_not_touch_admins(deps: Deps, new_browser: NewBrowser) -> None:
    """Support may not end a session of an admin, nor suspend one, nor make a reset code."""
    root, _ = await make_user(deps, "root", "admin"), await make_user(deps, "help", "support")
    admin, browser = new_browser(), new_browser()
    await admin.log_in("root")
    await browser.log_in("help")
    for act in ("suspend", "end-sessions", "reset-code"):
        page = await browser.get(f"/users/{root.sub}/{act}")
        assert (await browser.submit(page, act)).status == 403
    handle = tokens.parse(admin.cookies[SESSION])
    assert handle is not None
    token = (await browser.get("/")).form("/search").fields["form_token"]
    assert (await browser.post(f"/sessions/{handle.handle}/end", {"form_token": token})).status == 403
    assert (await admin.get("/")).status == 200


async def test_tokens_of_other_clients_open_nothing(deps: Deps, new_browser: NewBrowser) -> None:
    """An admin's token from elsewhere, which resource servers were sent, is no session of the console."""
    await make_user(deps, "root", "admin")
    service = await deps.store.service.get()
    for client in [
        await deps.store.clients.get("app"),
        (await clients.create(deps, OPERATOR, name="x", public=True))[0],
    ]:
        grant = await login.login(
            deps, OPERATOR, client, service, username="root", password=PASSWORD, cookie=client.client_id == "app"
        )
        browser = new_browser()
        browser.cookies[SESSION] = grant.access_token
        assert (await browser.get("/users")).url.startswith("/login")
        assert SESSION not in browser.cookies
        assert isinstance(await verdict_on(deps, grant.access_token), Active)


async def test_a_token_for_bearers_of_the_client_opens_nothing(deps: Deps, new_browser: NewBrowser) -> None:
    """A login at the API through the public client `console` gives a token that the pages do not take."""
    await make_user(deps, "root", "admin")
    await new_browser().log_in()
    client, service = await deps.store.clients.get(CONSOLE), await deps.store.service.get()
    grant = await login.login(deps, OPERATOR, client, service, username="root", password=PASSWORD)
    browser = new_browser()
    browser.cookies[SESSION] = grant.access_token
    assert (await browser.get("/users")).url.startswith("/login")


async def test_a_login_replaces_the_session(deps: Deps, browser: Browser, new_browser: NewBrowser) -> None:
    """A session that was planted in the browser is not the one that a login gets, and it ends (session fixation)."""
    await make_user(deps, "mallory", "admin")
    planted = new_browser()
    await planted.log_in("mallory")
    victim = new_browser()
    victim.cookies |= planted.cookies
    await victim.log_in("root")
    assert victim.cookies[SESSION] != planted.cookies[SESSION]
    assert "root" in (await victim.get("/")).text
    assert (await planted.get("/")).url.startswith("/login")


async def test_log_out(browser: Browser) -> None:
    """Logging out ends the session itself, and not only the cookie."""
    kept = browser.cookies[SESSION]
    page = await browser.submit(await browser.get("/"), "/logout")
    assert "You are logged out" in page.text
    assert SESSION not in browser.cookies
    browser.cookies[SESSION] = kept
    assert (await browser.get("/")).url.startswith("/login")


async def test_an_open_page_keeps_no_session_alive(browser: Browser, deps: Deps, clock: Clock) -> None:
    """The session ends 30 minutes after its admin did something, also while a script keeps the trail up to date."""
    for _ in range(4):
        clock.forward(600)
        assert (await browser.get("/audit")).status == 200
        await deps.store.sessions.finish()
    for _ in range(2):
        clock.forward(600)
        assert (await browser.get("/audit", **{"X-Refresh": "1"})).url == "/audit"
        await deps.store.sessions.finish()
    clock.forward(601)
    assert (await browser.get("/audit", **{"X-Refresh": "1"})).url.startswith("/login")


async def test_cookies(browser: Browser, new_browser: NewBrowser) -> None:
    """No script reads a cookie. Elsewhere than on this machine, cookies take TLS and the prefix `__Host-`."""
    assert {line.partition("=")[0] for line in browser.set_cookies} >= {SESSION, "console-form"}
    for line in browser.set_cookies:
        assert "HttpOnly" in line
        assert "SameSite=lax" in line
        assert "Path=/" in line
        assert "Domain" not in line
    far = new_browser(Host="admin.example.org")
    await far.get("/login")
    for line in far.set_cookies:
        assert line.startswith("__Host-")
        assert "Secure" in line


FAR = {
    "another name": {"Host": "admin.example.org"},
    "X-Forwarded-For": {"X_Forwarded_For": "203.0.113.9"},
    "Forwarded": {"Forwarded": "for=203.0.113.9"},
    "X-Real-IP": {"X_Real_IP": "203.0.113.9"},
    "another machine": {"peer": "192.0.2.7"},
}


@pytest.mark.parametrize("far", FAR.values(), ids=FAR)
async def test_from_elsewhere_a_second_factor_is_needed(
    deps: Deps, new_browser: NewBrowser, clock: Clock, far: dict[str, str]
) -> None:
    """A password alone opens the console on this machine only. Elsewhere the login adds a factor, and then takes it."""
    await make_user(deps, "root", "admin")
    browser = new_browser(**far)
    browser.headers["Sec-Fetch-Site"] = "same-origin"
    page = await browser.log_in()
    assert "Add a second factor" in page.text
    assert (await browser.get("/users")).url.startswith("/login")
    shown = await browser.submit(page, "/login/enrol")
    secret = shown.form("/confirm").fields["secret"]
    done = await browser.submit(shown, "/confirm", code=code_of(secret, clock))
    assert "recovery codes" in done.text
    assert (await browser.get("/users")).status == 200
    again = new_browser(**far)
    again.headers["Sec-Fetch-Site"] = "same-origin"
    step = await again.log_in()
    clock.forward(30)
    wrong = await again.submit(step, "/login/step", code="000000")
    assert wrong.status == 401
    await again.submit(wrong, "/login/step", code=code_of(secret, clock))
    assert (await again.get("/users")).status == 200


def code_of(secret: str, clock: Clock) -> str:
    seed = b32decode(secret + "=" * (-len(secret) % 8))
    return codes.code_at(seed, int(clock.now) // 30)


@pytest.mark.parametrize("age_s", [0, 601])
async def test_a_session_from_before_the_policy(deps: Deps, browser: Browser, clock: Clock, age_s: int) -> None:
    """Once an admin has to have a factor, a running session shows and changes nothing until the admin has added one."""
    assert (await browser.get("/users")).status == 200
    user = await deps.store.users.find_by_name("root")
    assert user is not None
    await factors.require(deps, OPERATOR, user.user.sub, required=True)
    clock.forward(age_s)
    for path in ("/clients", "/users"):
        page = await browser.get(path)
        assert page.url.startswith("/login/step")
    if age_s:
        page = await browser.submit(page, "/login/step", password=PASSWORD)
    assert "Add a second factor" in page.text
    shown = await browser.submit(page, "/login/enrol")
    secret = shown.form("/confirm").fields["secret"]
    done = await browser.submit(shown, "/confirm", code=code_of(secret, clock))
    assert "recovery codes" in done.text
    assert (await browser.get("/users")).status == 200


async def test_a_session_of_this_machine_is_not_enough_elsewhere(deps: Deps, browser: Browser) -> None:
    """The cookie of a local login without a factor, carried through a proxy, leads to the login again."""
    token = browser.cookies[SESSION]
    browser.cookies = {f"__Host-{SESSION}": token}
    browser.headers |= {"X-Forwarded-For": "203.0.113.9", "Sec-Fetch-Site": "same-origin"}
    page = await browser.get("/users")
    assert page.url.startswith("/login")
    assert not isinstance(await verdict_on(deps, token), Active)


async def test_changes_take_a_recent_proof(deps: Deps, new_browser: NewBrowser, clock: Clock) -> None:
    """Who has a second factor and logged in long ago proves it again, as a step, and comes back to the question."""
    root, ada = await make_user(deps, "root", "admin"), await make_user(deps, "ada")
    secret = await add_app(deps, root.sub, clock)
    browser = new_browser()
    step = await browser.log_in()
    clock.forward(60)
    page = await browser.submit(step, "/login/step", code=code_of(secret, clock))
    assert page.url == "/"
    before = browser.cookies[SESSION]
    clock.forward(deps.settings.recent_login_s + 60)
    asked = await browser.get(f"/users/{ada.sub}/suspend")
    proof = await browser.submit(asked, "/suspend")
    assert "Prove that it is you" in proof.text
    assert (await deps.store.users.get(ada.sub)).status == "active"
    asked = await browser.submit(proof, "/login/step", code=code_of(secret, clock))
    assert asked.url == f"/users/{ada.sub}/suspend"
    assert browser.cookies[SESSION] != before
    await browser.submit(asked, "/suspend")
    assert (await deps.store.users.get(ada.sub)).status == "suspended"


async def add_app(deps: Deps, sub: str, clock: Clock) -> str:
    """Enrol an authenticator app; its secret."""
    user = await deps.store.users.get(sub)
    made = await totp.enrol(deps, lambda _: None, user, None)
    await totp.confirm(deps, OPERATOR, lambda _: None, sub, made.id, code_of(made.secret, clock))
    return made.secret


@pytest.mark.parametrize("following", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "/a\nb"])
async def test_a_login_leads_nowhere_else(deps: Deps, new_browser: NewBrowser, following: str) -> None:
    """The page after a login is one of this site."""
    await make_user(deps, "root", "admin")
    browser = new_browser()
    page = await browser.get(str(httpx.URL("/login", params={"next": following})))
    fields = page.form("/login").fields | {"username": "root", "password": PASSWORD, "next": following}
    answer = await browser.post("/login", fields, follow=False)
    assert answer.answer.headers["location"] == "/"
