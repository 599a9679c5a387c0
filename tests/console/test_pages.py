"""The header fields of every page, and the static files."""

import re
from importlib.resources import files

import pytest

from authsvc.console.admin.table import PAGES
from tests.console.conftest import Browser, NewBrowser
from tests.selection import one_in

GETS = sorted({page.path for page in PAGES if page.method == "GET"} - {"/confirm"})
STATIC = files("authsvc.console") / "static"


def assert_guarded(headers: dict[str, str]) -> None:
    """Nobody may store or frame the answer, and it loads and runs nothing but our own files."""
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert {value for name, value in policy.items() if name.endswith("-src")} == {"'none'", "'self'"}
    assert policy["form-action"] == "'self'"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] in ("same-origin", "no-referrer")
    assert headers["cross-origin-opener-policy"] == "same-origin"


@pytest.mark.parametrize("path", one_in(3, [*GETS, "/nothing", "/users/nobody"]))
async def test_every_page_is_guarded(browser: Browser, new_browser: NewBrowser, path: str) -> None:
    """Each page has the policy, for those who are logged in and for others, and an unknown page too."""
    path = path.format(sub="x", client_id="app")
    for one in (browser, new_browser()):
        answer = (await one.get(path)).answer
        assert_guarded({name.lower(): value for name, value in answer.headers.items()})


async def test_static_files(browser: Browser) -> None:
    """Static files have their type and may be stored for long; a changed file has another address."""
    page = await browser.get("/")
    assert page.read.loaded
    for url in page.read.loaded:
        assert re.fullmatch(r"/static/[a-z]+\.(css|js|svg)\?v=[0-9a-f]{12}", url)
        answer = (await browser.get(url)).answer
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-type"].split(";")[0] in ("text/css", "text/javascript", "image/svg+xml")
    for path in ("/static/nothing.css", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static/../page.py"):
        assert (await browser.get(path)).status == 404


def test_the_stylesheet_is_small() -> None:
    """One stylesheet of at most 12 kB, which loads nothing."""
    text = (STATIC / "style.css").read_text()
    assert len(text.encode()) <= 12_000
    assert "url(" not in text
    assert "@import" not in text


async def test_no_page_of_the_api(browser: Browser) -> None:
    """The port of the console answers no call of the API."""
    for path in ("/me", "/login", "/introspect", "/admin/users", "/healthz", "/openapi.yaml"):
        answer = (await browser.http.get(path)).headers.get("content-type", "")
        assert "json" not in answer
        assert "yaml" not in answer
