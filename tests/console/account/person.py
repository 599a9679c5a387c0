"""A person with a browser without JavaScript: reads pages, fills in their forms and follows redirects."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx

from tests.conftest import PASSWORD, Service

ORIGIN = "https://auth.test"


@dataclass
class Form:
    """A form of a page: where it goes, and its fields with their values."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[Form] = []
        self.words: list[str] = []
        self._open: Form | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = Form(found["action"])
            self.forms.append(self._open)
        elif tag == "input" and self._open is not None and found.get("type") != "checkbox":
            self._open.fields[found["name"]] = found.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None

    def handle_data(self, data: str) -> None:
        self.words.append(data)


class Person:
    """One browser. `answer`: the last page, after redirects within the origin."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.answer: httpx.Response

    @property
    def path(self) -> str:
        return self.answer.url.raw_path.decode()

    @property
    def text(self) -> str:
        """The words of the page, with single spaces between."""
        return " ".join(" ".join(self._read().words).split())

    @property
    def forms(self) -> list[Form]:
        return self._read().forms

    def form(self, action: str) -> Form:
        (found,) = [one for one in self.forms if one.action.endswith(action)]
        return found

    async def open(self, path: str) -> httpx.Response:
        return await self._follow(await self.http.get(path))

    async def submit(self, action: str, **fields: str) -> httpx.Response:
        """Send the one form whose action ends so, with these fields filled in."""
        form = self.form(action)
        return await self.post(form.action, form.fields | fields)

    async def post(self, path: str, fields: dict[str, str], **headers: str) -> httpx.Response:
        sent = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"} | headers
        return await self._follow(await self.http.post(path, data=fields, headers=sent))

    async def log_in(self, username: str = "ada", password: str = PASSWORD, **query: str) -> httpx.Response:
        """Open the login page with this query, and send the form."""
        self.answer = await self.http.get("/account/login", params={"again": "1", **query})
        return await self.submit("/account/login", username=username, password=password)

    async def _follow(self, answer: httpx.Response) -> httpx.Response:
        self.answer = answer
        while self.answer.status_code == 303 and self.answer.headers["location"].startswith("/"):
            self.answer = await self.http.get(self.answer.headers["location"])
        return self.answer

    def _read(self) -> _Reader:
        reader = _Reader()
        reader.feed(self.answer.text)
        return reader


def pages_of(service: Service) -> httpx.AsyncClient:
    """A new browser, over the same application."""
    transport = httpx.ASGITransport(app=service.app, raise_app_exceptions=False, client=("192.0.2.1", 50000))
    return httpx.AsyncClient(transport=transport, base_url=ORIGIN)
