"""Names, devices, roles and events that somebody else has chosen are shown harmlessly on every page."""

from urllib.parse import urlencode

import pytest

from authsvc.console.admin.table import PAGES
from authsvc.flows import clients, login, users
from authsvc.flows.deps import OPERATOR, Caller, Deps
from tests.conftest import PASSWORD
from tests.console.conftest import Browser, Page, make_user
from tests.selection import one_in

NAMES = {
    "markup": "<script>alert(1)</script>",
    "attribute": "\"onmouseover='alert(1)'x=\"",
    "template": "{{7*7}}{%raw%}",
    "long": "x" * 254,
    "combining": "z" + "\u0334" * 200,
}
# Devices and user agents may hold what no name may.
DEVICES = {
    "markup": "<img src=x onerror=alert(1)>",
    "right to left": "\u202egnp.exe \u2066hidden\u2069",
    "long": "y" * 120,
    "invisible": "\u200badmin\u2060\ufeff",
}


async def everything(deps: Deps, name: str, device: str) -> str:
    """A user, a client and sessions with these names; the user's sub."""
    try:
        user = await make_user(deps, name)
    except Exception:  # some names can't be registered, and imports may still have brought them
        user = await make_user(deps, "fallback")
        await deps.store.users.change(user.sub, lambda held: held.but(claims={"name": name}))
        name = "fallback"
    await users.update(deps, OPERATOR, user.sub, claims={"note": device, "</pre><script>": name})
    client, _ = await clients.create(deps, OPERATOR, name=device, public=True)
    service = await deps.store.service.get()
    for agent in (device * 40, None):
        caller = Caller(ip="203.0.113.9", user_agent=agent)
        await login.login(deps, caller, client, service, username=name, password=PASSWORD, device=device)
    return user.sub


def assert_harmless(page: Page) -> None:
    """Nothing on the page runs, is loaded from elsewhere, or turns the direction of the text."""
    assert page.read.inline == []
    assert all(url.startswith("/static/") for url in page.read.loaded), page.read.loaded
    assert not {one for one in page.answer.text if one in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}
    assert "\u200b" not in page.answer.text
    assert "49" not in page.read.links


@pytest.mark.parametrize("name", one_in(5, NAMES))
@pytest.mark.parametrize("device", one_in(4, DEVICES))
async def test_every_page_is_harmless(deps: Deps, browser: Browser, name: str, device: str) -> None:
    """Each page that shows the names is only text."""
    sub = await everything(deps, NAMES[name], DEVICES[device])
    session = (await deps.store.sessions.listed(sub, deps.clock()))[0][0]
    (client,) = [one.client_id async for one in deps.store.listing.every_client() if one.name == DEVICES[device]]
    paths = {page.path for page in PAGES if page.method == "GET"} - {"/first", "/confirm", "/login/step"}
    for path in sorted(paths):
        page = await browser.get(path.format(sub=sub, client_id=client))
        assert page.status == 200, path
        if "html" in page.answer.headers["content-type"]:
            assert_harmless(page)
    assert_harmless(await browser.get(f"/token?session={session}"))


NOT_CURSORS = ["x", "a:b", "²", "1-2-3", "//evil.example", "\U0001f600", "A" * 5000, "0-0", "-1--1-aaaaaaaaaaaa"]


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted({page.path for page in PAGES if page.method == "GET" and "{" not in page.path}))
async def test_a_query_that_nobody_made(browser: Browser, path: str) -> None:
    """A page with a cursor, or another member, that no page links to is an ordinary page."""
    for value in NOT_CURSORS:
        for name in ("cursor", "before", "client_id", "period", "session", "q", "next"):
            page = await browser.get(f"{path}?{urlencode({name: value})}")
            assert page.status < 500, (path, name, value)


async def test_the_text_is_shown(deps: Deps, browser: Browser) -> None:
    """Harmless does not mean hidden: an admin sees what the name is made of."""
    await make_user(deps, "<b>bold</b>")
    assert "<b>bold</b>" in (await browser.get("/users")).text
