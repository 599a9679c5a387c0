"""Forms change something only if a page of this browser and this session has made them."""

import pytest

from authsvc.console.admin.table import PAGES
from authsvc.console.context import TOKEN_FIELD
from authsvc.flows.deps import Deps
from tests.console.conftest import HOST, Browser, NewBrowser, make_user
from tests.selection import one_in

POSTS = sorted({page.path for page in PAGES if page.method == "POST"})


def path_of(path: str) -> str:
    return path.format(sub="someone", client_id="app", session_id="0123456789AB")


@pytest.mark.parametrize("path", one_in(3, POSTS))
async def test_every_form_takes_its_token(browser: Browser, path: str) -> None:
    """Each path that takes a form refuses it without the token, and with a wrong one."""
    for fields in ({"comment": "x"}, {TOKEN_FIELD: "0" * 32}):
        page = await browser.post(path_of(path), fields)
        assert page.status == 403
        assert "too old" in page.text


@pytest.mark.parametrize("path", one_in(4, POSTS))
async def test_every_form_comes_from_this_site(browser: Browser, path: str) -> None:
    """Each path refuses a form that a page of another site has sent, even with the right token."""
    token = (await browser.get("/")).form("/search").fields[TOKEN_FIELD]
    for headers in (
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "none"},
    ):
        assert (await browser.post(path_of(path), {TOKEN_FIELD: token}, headers)).status == 403


async def test_without_fetch_metadata_the_origin_decides(browser: Browser) -> None:
    """Older browsers send no Sec-Fetch-Site. Another port of this machine is another origin."""
    page = await browser.get("/")
    for origin, status in ((f"http://{HOST}", 200), ("http://localhost:3000", 403), ("null", 403)):
        fields = page.form("/search").fields | {"q": "root"}
        headers = {"Origin": origin, "Sec-Fetch-Site": ""}
        answer = await browser.http.post(
            "/search",
            data=fields,
            headers=browser.headers
            | {name: value for name, value in headers.items() if value}
            | {"Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())},
        )
        assert answer.status_code == (303 if status == 200 else 403)


async def test_a_token_of_another_browser_or_session_is_worth_nothing(
    deps: Deps, browser: Browser, new_browser: NewBrowser
) -> None:
    """A form of another admin's page, and one from before the login, change nothing."""
    ada = await make_user(deps, "ada")
    await make_user(deps, "mallory", "admin")
    other = new_browser()
    await other.log_in("mallory")
    foreign = (await other.get("/")).form("/search").fields[TOKEN_FIELD]
    early = new_browser()
    before = (await early.get("/login")).form("/login").fields[TOKEN_FIELD]
    early.cookies |= {name: value for name, value in browser.cookies.items() if name != "console-form"}
    for one, token in ((browser, foreign), (early, before)):
        assert (await one.post(f"/users/{ada.sub}/suspend", {TOKEN_FIELD: token})).status == 403
    assert (await deps.store.users.get(ada.sub)).status == "active"


async def test_a_form_is_a_form(browser: Browser) -> None:
    """JSON, several parts and other types of content are refused: another site can send some of them unasked."""
    page = await browser.get("/")
    for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x", ""):
        answer = await browser.post("/search", page.form("/search").fields, {"Content-Type": kind})
        assert answer.status == 415


async def test_a_form_may_not_be_huge(browser: Browser) -> None:
    """A body above the limit is refused before it is read."""
    page = await browser.get("/")
    answer = await browser.post("/search", page.form("/search").fields | {"q": "x" * 100_000})
    assert answer.status == 413


async def test_a_message_is_shown_once_and_only_if_we_wrote_it(browser: Browser, deps: Deps) -> None:
    """The result of a form is on the next page and on no other, and nobody else can write one."""
    ada = await make_user(deps, "ada")
    page = await browser.submit(await browser.get(f"/users/{ada.sub}/suspend"), "/suspend")
    assert "Suspended ada" in page.text
    assert "Suspended ada" not in (await browser.get(f"/users/{ada.sub}")).text
    browser.cookies["console-flash"] = "WyJZb3VyIGFjY291bnQgaXMgc3RvbGVuIiwgIndhcm5pbmciXQ.00000000"
    assert "stolen" not in (await browser.get("/users")).text
