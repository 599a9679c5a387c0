"""Logging in and out on the account pages."""

from collections.abc import Callable

import pytest

from authsvc.web.cookies import NAME
from tests.conftest import APP_SCOPE, PASSWORD, Clock, Service
from tests.console.account.conftest import APP
from tests.console.account.person import Person
from tests.console.account.test_destination import HOSTILE
from tests.selection import one_in


async def test_a_login_with_a_password(service: Service, person: Person) -> None:
    """The first page asks for the login, then shows the devices. The cookie is the product's own, with its scope."""
    await service.user()
    await person.open("/account")
    assert person.path == "/account/login"
    await person.submit("/account/login", username="ada", password=PASSWORD)
    assert person.path == "/account"
    assert "This device" in person.text
    me = (await person.http.get("/me")).json()
    assert (me["username"], me["scope"]) == ("ada", APP_SCOPE)
    await person.submit("/account/logout")
    assert (person.path, "You are logged out." in person.text) == ("/account/login", True)
    assert NAME not in person.http.cookies


async def test_a_login_leads_back_to_the_page_that_was_wanted(service: Service, person: Person) -> None:
    """Somebody who opens a page and has to log in gets this page afterwards."""
    await service.user()
    await person.open("/account/activity")
    await person.submit("/account/login", username="ada", password=PASSWORD)
    assert person.path == "/account/activity"


@pytest.mark.parametrize("wanted", [f"{APP}/orders?page=2", "/orders"])
async def test_a_login_leads_to_an_app(service: Service, person: Person, wanted: str) -> None:
    """`next` names a page of an app: of this origin, or of an allowed one. The policy allows this redirect."""
    await service.user()
    await person.log_in(next=wanted)
    came = [*person.answer.history, person.answer][-1]
    assert (person.answer.headers.get("location") or person.path) == wanted
    login = await person.http.get("/account/login", params={"next": wanted})
    assert login.status_code == 200, "an app sends only those here whose session does not suffice"
    assert f"form-action 'self' {APP};" in login.headers["content-security-policy"]
    assert came is person.answer


@pytest.mark.parametrize("wanted", one_in(5, [one for one in HOSTILE if one.isprintable() and len(one) < 100]))
async def test_no_open_redirect(service: Service, person: Person, wanted: str) -> None:
    """A login never leads to another origin, wherever its link or its form says."""
    await service.user()
    await person.log_in(next=wanted)
    assert person.path == "/account"
    await person.open("/account/login?again=1")
    form = person.form("/account/login")
    await person.post(form.action, form.fields | {"username": "ada", "password": PASSWORD, "next": wanted})
    assert person.path == "/account"


async def test_a_wrong_password(service: Service, person: Person) -> None:
    """The form comes again with the name, the same text for unknown names, and without the password."""
    await service.user()
    texts = []
    for username in ("ada", "nobody", '"><script>alert(1)</script>'):
        await person.log_in(username, "not the password at all")
        assert person.answer.status_code == 400
        assert person.form("/account/login").fields["username"] == username
        assert "not the password" not in person.answer.text
        assert "<script>alert" not in person.answer.text
        texts.append(person.text)
    assert len(set(texts)) == 1
    assert "Username or password is wrong." in texts[0]
    assert NAME not in person.http.cookies


async def test_too_many_wrong_passwords(service: Service, person: Person) -> None:
    """The page says how long to wait, and so does the header."""
    await service.user()
    for _ in range(6):
        await person.log_in(password="not the password at all")
    assert person.answer.status_code == 429
    seconds = person.answer.headers["retry-after"]
    assert f"Try again in {seconds} seconds." in person.text


async def test_an_incomplete_form(service: Service, person: Person) -> None:
    """A form without a password is no attempt."""
    await service.user()
    await person.log_in(password="")
    assert (person.answer.status_code, "Please fill in all fields." in person.text) == (400, True)


async def test_a_browser_has_one_session(service: Service, person: Person) -> None:
    """A login ends the session that the browser had. A planted cookie is never adopted."""
    await service.user()
    await service.user("eve")
    await person.log_in("eve")
    planted = person.http.cookies[NAME]
    await person.log_in("ada")
    assert person.http.cookies[NAME] != planted
    assert not await service.active(planted)
    assert (await person.http.get("/me")).json()["username"] == "ada"


async def test_a_dead_session(service: Service, person: Person, clock: Clock) -> None:
    """A session that has ended leads to the login, and the browser forgets its cookie."""
    await service.user()
    await person.log_in()
    clock.forward(13 * 3600)
    await person.open("/account/security")
    assert person.path == "/account/login?next=%2Faccount%2Fsecurity"
    assert NAME not in person.http.cookies


async def test_two_cookies_do_not_hinder_a_logout(service: Service, person: Person) -> None:
    """Of two session cookies one was planted. The page says so little that a logout ends both."""
    await service.user()
    await person.log_in()
    one = person.http.cookies[NAME]
    await person.log_in()
    other = person.http.cookies[NAME]
    form_key = person.http.cookies["__Host-account-form"]
    headers = {"Cookie": f"{NAME}={one}; {NAME}={other}; __Host-account-form={form_key}"}
    person.http.cookies.clear()
    person.answer = await person.http.get("/account/logout", headers=headers)
    assert person.answer.status_code == 200
    form = person.form("/account/logout")
    sent = headers | {"Origin": "https://auth.test", "Sec-Fetch-Site": "same-origin"}
    answer = await person.http.post("/account/logout", data=form.fields, headers=sent)
    assert (answer.status_code, answer.headers["clear-site-data"]) == (303, '"cookies"')
    assert not await service.active(other)


async def test_a_bearer_token_opens_no_page(service: Service, person: Person) -> None:
    """Pages take the cookie only: a token in a header leads to the login."""
    await service.user()
    token = (await service.login())["access_token"]
    answer = await person.http.get("/account", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/account/login")


async def test_a_token_for_others_opens_no_page(service: Service, person: Person) -> None:
    """A token for another resource server, put into the cookie, leads to the login."""
    user = await service.user()
    _, issuer = await service.client("issue", audience=("https://orders.example",))
    issued = await service.http.post("/tokens", json={"sub": user.sub}, auth=issuer)
    person.http.cookies.set(NAME, issued.json()["access_token"], domain="auth.test")
    await person.open("/account")
    assert person.path == "/account/login"


class TestForms:
    """Every form is refused that no page of this browser and this session has made."""

    async def test_from_another_site(self, service: Service, person: Person) -> None:
        """Another site's form logs nobody in and ends nothing, even with the fields of our own form."""
        await service.user()
        await person.open("/account/login")
        form = person.form("/account/login")
        fields = form.fields | {"username": "ada", "password": PASSWORD}
        for origin, site in (("https://evil.example", "cross-site"), ("null", "cross-site"), ("null", "same-site")):
            await person.post(form.action, fields, Origin=origin, **{"Sec-Fetch-Site": site})
            assert person.answer.status_code == 403
            assert "This form is too old." in person.text
            assert NAME not in person.http.cookies

    async def test_without_a_token(self, service: Service, person: Person) -> None:
        """A form without the hidden field does nothing."""
        await service.user()
        await person.open("/account/login")
        await person.post("/account/login", {"username": "ada", "password": PASSWORD})
        assert person.answer.status_code == 403

    async def test_without_cookies(self, service: Service, person: Person) -> None:
        """A browser that keeps no cookie, as over plain HTTP, is told so."""
        await service.user()
        await person.open("/account/login")
        form = person.form("/account/login")
        person.http.cookies.clear()
        await person.post(form.action, form.fields | {"username": "ada", "password": PASSWORD})
        assert (person.answer.status_code, "Allow cookies." in person.text) == (403, True)

    async def test_of_another_browser(self, service: Service, new_person: Callable[[], Person], person: Person) -> None:
        """The hidden field of another browser, or of an earlier session, is no token here."""
        await service.user()
        other = new_person()
        await other.open("/account/login")
        await person.open("/account/login")
        earlier = person.form("/account/login")
        stolen = other.form("/account/login")
        await person.post("/account/login", stolen.fields | {"username": "ada", "password": PASSWORD})
        assert person.answer.status_code == 403
        await person.log_in()
        await person.post("/account/logout", {"form_token": earlier.fields["form_token"]})
        assert person.answer.status_code == 403
        assert (await person.http.get("/me")).status_code == 200


async def test_the_headers_of_a_page(service: Service, person: Person) -> None:
    """Nobody stores or frames a page, and it loads nothing from elsewhere and nothing inline."""
    await person.open("/account/login")
    headers = person.answer.headers
    assert headers["cache-control"] == "no-store"
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-frame-options"] == "DENY"
    cookie = headers["set-cookie"]
    for attribute in ("__Host-account-form=", "HttpOnly", "Secure", "SameSite=lax", "Path=/"):
        assert attribute in cookie
    assert "<style" not in person.answer.text
    assert " style=" not in person.answer.text
