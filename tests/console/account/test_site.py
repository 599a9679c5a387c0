"""The account pages as a whole: on or off, errors, outages."""

import re

import pytest
import redis

from authsvc.console.account import site
from authsvc.settings import Settings
from authsvc.web.cookies import NAME
from tests.conftest import PASSWORD, Service
from tests.console.account.person import Person


class TestOff:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.but(account_pages=False)

    async def test_no_page_is_served(self, service: Service) -> None:
        """Without the setting there is no page, and no file of one."""
        for path in ("/account", "/account/login", "/account/static/style.css"):
            assert (await service.http.get(path)).status_code == 404


async def test_a_page_that_is_none(person: Person) -> None:
    """An unknown path below is a page that leads back."""
    await person.open("/account/nothing/here")
    assert (person.answer.status_code, "This does not exist" in person.text) == (404, True)
    await person.open("/account/")
    assert person.path == "/account/login"
    assert (await person.http.get("/accounts")).headers["content-type"] == "application/json"


async def test_every_form_can_be_read_too() -> None:
    """A step, or a login, leads back by GET to the path of each form that a logged-in user sends."""
    pages = [*site._PAGES, *(page for _, of in site._OF for page in of)]
    read = {page.path for page in pages if page.method == "GET"}
    assert {page.path for page in pages if page.method == "POST"} - read == {"/login/passkey"}


async def test_reading_changes_nothing(service: Service, person: Person, valkey: "redis.Redis") -> None:
    """Opening every page writes nothing but the session's last use."""
    await service.user()
    await person.log_in()
    own = (await person.http.get("/me")).json()["session"]["session_id"]
    before = {key: valkey.dump(key) for key in valkey.scan_iter(count=1000)}
    pages = [*site._PAGES, *(page for _, of in site._OF for page in of)]
    for page in pages:
        if page.method == "GET":
            path = page.path.replace("{session_id}", own).replace("{factor_id}", "x").replace("{key_id}", "x")
            answer = await person.open(f"/account{path}".rstrip("/"))
            assert answer.status_code in (200, 404), path
    after = {key: valkey.dump(key) for key in valkey.scan_iter(count=1000)}
    assert after == before


async def test_no_page_says_more_than_the_store(service: Service, person: Person, valkey: "redis.Redis") -> None:
    """While nothing can be known, each page of a user is a 503 and clears no cookie."""
    await service.user()
    await person.log_in()
    valkey.delete("service")
    public = {"/login", "/logout", "/reset", "/theme.css", "/logo", "/login/step", "/login/enrol"}
    pages = [*site._PAGES, *(page for _, of in site._OF for page in of)]
    for page in pages:
        if page.method == "GET" and page.path not in public:
            path = page.path.replace("{session_id}", "x").replace("{factor_id}", "x").replace("{key_id}", "x")
            answer = await person.http.get(f"/account{path}".rstrip("/"))
            assert answer.status_code == 503, path
            assert NAME not in answer.headers.get("set-cookie", ""), path


async def test_nothing_can_be_known(service: Service, person: Person, valkey: "redis.Redis") -> None:
    """A store that was emptied is a page with 503, and no logout: the cookie stays, and the next page works."""
    await service.user()
    await person.log_in()
    service_record = valkey.dump("service") or b""
    valkey.delete("service")
    await person.open("/account")
    assert (person.answer.status_code, "cannot answer right now" in person.text) == (503, True)
    assert person.answer.headers["retry-after"] == "1"
    assert person.answer.headers["content-type"].startswith("text/html")
    valkey.restore("service", 0, service_record)
    await person.open("/account")
    assert "This device" in person.text


async def test_no_secret_in_a_page_that_is_shown_again(service: Service, person: Person) -> None:
    """No page holds a password, a session token or the token of a login in progress in its address."""
    await service.user()
    await person.log_in()
    for path in ("/account", "/account/security", "/account/password", "/account/activity"):
        await person.open(path)
        assert PASSWORD not in person.answer.text
        assert not re.search(r"tok_|aut_|ref_", person.answer.text)
