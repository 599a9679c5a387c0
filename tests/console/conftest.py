"""A browser without scripts for the tests of the console: it keeps cookies, follows redirects and fills in forms."""

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from authsvc.console.admin.app import build_console
from authsvc.core.user import User
from authsvc.flows import users
from authsvc.flows.deps import OPERATOR, Deps
from authsvc.flows.indexes import fill_lists
from tests.conftest import PASSWORD

HOST = "localhost:8001"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"


@dataclass
class Form:
    """A form of a page, with the values that it would send."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class _Reader(HTMLParser):
    """Collects the forms, the links, the visible text, and what could run or be loaded."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.inline: list[str] = []
        self.text: list[str] = []
        self._script: str | None = None
        self._area: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.inline += [f"{tag} {name}" for name, _ in attrs if name.startswith("on") or name == "style"]
        self.inline += [tag] if tag in ("style", "iframe", "object", "embed", "base") else []
        self.loaded += [value for name, value in attrs if name == "src" and value]
        self.loaded += [given.get("href") or ""] if tag == "link" else []
        if tag == "script":
            self._script = tag
        elif tag == "a":
            self.links.append(given.get("href") or "")
        elif tag == "form":
            self.forms.append(Form(given.get("action") or "", given.get("method") or "get"))
        elif self.forms and "name" in given:
            self._field(tag, given)

    def _field(self, tag: str, given: dict[str, str | None]) -> None:
        name, value = given["name"] or "", given.get("value") or ""
        box = given.get("type") in ("checkbox", "radio")
        if tag == "textarea":
            self._area = name
            self.forms[-1].fields[name] = ""
        elif tag in ("input", "select") and (not box or "checked" in given):
            self.forms[-1].fields[name] = value or ("on" if box else "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None
        elif tag == "textarea":
            self._area = None

    def handle_data(self, data: str) -> None:
        if self._script:
            self.inline.append(f"script {data}")
        elif self._area:
            self.forms[-1].fields[self._area] += data
        else:
            self.text.append(data)


@dataclass
class Page:
    """An answer, read as a browser reads it."""

    answer: httpx.Response
    url: str

    def __post_init__(self) -> None:
        self.read = _Reader()
        if self.answer.headers.get("content-type", "").startswith("text/html"):
            self.read.feed(self.answer.text)

    @property
    def status(self) -> int:
        return self.answer.status_code

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.read.text))

    def form(self, action: str) -> Form:
        """The form whose action ends so."""
        (found,) = [form for form in self.read.forms if form.action.endswith(action)][:1]
        return found


@dataclass
class Browser:
    """Cookies, and how requests of this browser look."""

    http: httpx.AsyncClient
    headers: dict[str, str]
    cookies: dict[str, str] = field(default_factory=dict)
    set_cookies: list[str] = field(default_factory=list)

    async def get(self, path: str, **headers: str) -> Page:
        return await self._ask("GET", path, None, headers)

    async def post(
        self, path: str, fields: dict[str, str], headers: dict[str, str] | None = None, *, follow: bool = True
    ) -> Page:
        """Send a form as it is."""
        sent = {"Origin": f"http://{HOST}", "Sec-Fetch-Site": "same-origin"} | (headers or {})
        return await self._ask("POST", path, fields, sent, follow=follow)

    async def submit(self, page: Page, action: str, **fields: str) -> Page:
        """Fill in the form whose action ends so, and send it."""
        form = page.form(action)
        assert form.method == "post"
        return await self.post(urljoin(page.url, form.action), form.fields | fields)

    async def log_in(self, username: str = "root", password: str = PASSWORD) -> Page:
        return await self.submit(await self.get("/login"), "/login", username=username, password=password)

    async def _ask(
        self, method: str, path: str, fields: dict[str, str] | None, headers: dict[str, str], *, follow: bool = True
    ) -> Page:
        for _ in range(6):
            sent = self.headers | headers
            if self.cookies:
                sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            answer = await self.http.request(method, path, headers=sent, data=fields)
            self._keep(answer)
            if not follow or answer.status_code != 303:
                return Page(answer, path)
            method, path, fields, headers = "GET", answer.headers["location"], None, {}
        raise AssertionError("too many redirects")

    def _keep(self, answer: httpx.Response) -> None:
        for line in answer.headers.get_list("set-cookie"):
            self.set_cookies.append(line)
            name, _, value = line.partition(";")[0].partition("=")
            if "Max-Age=0" in line or value in ("", '""'):
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value


NewBrowser = Callable[..., Browser]


@pytest.fixture
async def new_browser(deps: Deps) -> AsyncIterator[NewBrowser]:
    """Opens browsers on this machine, or elsewhere by their headers and their address."""
    await fill_lists(deps)
    app, opened = build_console(deps), list[httpx.AsyncClient]()

    def make(peer: str = "127.0.0.1", **headers: str) -> Browser:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=True, client=(peer, 50000))
        opened.append(httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}"))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Browser(opened[-1], {"User-Agent": CHROME, "Host": HOST} | named)

    yield make
    for one in opened:
        await one.aclose()


async def make_user(deps: Deps, username: str, *roles: str, **fields: Any) -> User:
    user, _ = await users.create(deps, OPERATOR, username=username, password=PASSWORD, roles=roles, **fields)
    return user


@pytest.fixture
async def browser(deps: Deps, new_browser: NewBrowser) -> Browser:
    """A browser on this machine in which the admin `root` is logged in."""
    await make_user(deps, "root", "admin")
    made = new_browser()
    page = await made.log_in()
    assert page.status == 200, page.text
    assert page.url == "/"
    return made
