"""The devices of the user: seeing them, and ending their sessions."""

from collections.abc import Callable

import pytest

from authsvc.web.cookies import NAME
from tests.conftest import PASSWORD, Clock, Service
from tests.console.account.person import Person
from tests.console.account.test_steps import submit_code, with_step

WINDOWS = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"


async def test_the_list(service: Service, person: Person, clock: Clock) -> None:
    """Each device is named as its app named it, or by its browser in words, with its last use and address."""
    await service.user()
    await service.login(device="Ada's phone")
    headers = {"User-Agent": WINDOWS}
    await service.http.post("/login", json={"username": "ada", "password": PASSWORD}, headers=headers)
    clock.forward(7200)
    await person.log_in()
    rows = person.text.partition("change your password.")[2]
    assert rows.index("This device") < rows.index("Ada's phone")
    assert rows.index("This device") < rows.index("Chrome on Windows")
    assert "192.0.2.1 · Last used 2 h ago · Logged in 2 h ago" in rows
    assert '<time datetime="20' in person.answer.text


async def test_one_session_ends(service: Service, person: Person) -> None:
    """One click ends the session of a lost phone, and the page says which one."""
    await service.user()
    phone = await service.login(device="Ada's phone")
    await person.log_in()
    await person.submit(f"/sessions/{phone['session_id']}/end")
    assert (person.path, "The session on Ada's phone has ended." in person.text) == ("/account", True)
    assert not await service.active(phone["access_token"])
    await person.open("/account")
    assert "has ended" not in person.text, "the message is shown once"


async def test_all_others_end(service: Service, person: Person) -> None:
    """All other sessions end at once. This one goes on."""
    await service.user()
    phones = [await service.login() for _ in range(3)]
    await person.log_in()
    await person.open("/account/sessions/others/end")
    assert "All devices but this one are logged out at once: 3." in person.text
    await person.submit("/sessions/others/end")
    assert "All other sessions have ended: 3." in person.text
    assert "You are logged in on this device only." in person.text
    assert not any([await service.active(phone["access_token"]) for phone in phones])


async def test_this_session_ends(service: Service, person: Person) -> None:
    """Ending the session of this browser logs it out."""
    await service.user()
    await person.log_in()
    own = (await person.http.get("/me")).json()["session"]["session_id"]
    await person.open(f"/account/sessions/{own}/end")
    await person.submit(f"/sessions/{own}/end")
    assert (person.path, NAME in person.http.cookies) == ("/account/login", False)


async def test_a_session_of_somebody_else(service: Service, person: Person) -> None:
    """Nobody sees or ends a session of another user."""
    await service.user()
    await service.user("eve")
    hers = await service.login("eve")
    await person.log_in()
    path = f"/account/sessions/{hers['session_id']}/end"
    assert (await person.open(path)).status_code == 404
    await person.open("/account")
    await person.post(path, {"form_token": person.form("/account/logout").fields["form_token"]})
    assert "This session had ended already." in person.text
    assert await service.active(hers["access_token"])


async def test_a_session_that_has_ended_already(service: Service, person: Person) -> None:
    """A second click on the same button is no error."""
    await service.user()
    phone = await service.login()
    await person.log_in()
    form = person.form(f"/sessions/{phone['session_id']}/end")
    await person.post(form.action, form.fields)
    await person.post(form.action, form.fields)
    assert (person.path, "This session had ended already." in person.text) == ("/account", True)


async def test_a_step_comes_first_for_an_account_with_a_factor(service: Service, person: Person, clock: Clock) -> None:
    """A thief of an old session cannot log the owner out. The step leads to the question that was meant."""
    phone = await with_step(service, person)
    other = await service.http.get("/me")
    assert other.status_code == 401
    await submit_code(person, "totp", phone.code())
    clock.forward(900)
    await person.open("/account")
    (end,) = [one for one in person.forms if one.action.endswith("/end") and "others" not in one.action]
    await person.post(end.action, end.fields)
    assert person.path.startswith("/account/confirm?next=")
    await submit_code(person, "totp", phone.code())
    assert person.path == end.action
    await person.submit("/end")
    assert "has ended." in person.text


HOSTILE = [
    '<img src=x onerror="alert(1)">',
    "</li></ul><script>alert(1)</script>",
    "a\u202egnp.exe\u202c\u2066\u2069",
    "{{ 7 * 7 }}",
    "\u200b\u200b\u00ad",
    "'\"><a href=//evil.example>",
    "W" * 120,
]


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_names(service: Service, person: Person, new_person: Callable[[], Person], name: str) -> None:
    """Devices and user agents that somebody chose are shown as text, and reorder nothing around them."""
    await service.user()
    phone = await service.login(device=name)
    headers = {"User-Agent": name.encode("ascii", "replace").decode() * 30}
    await service.http.post("/login", json={"username": "ada", "password": PASSWORD}, headers=headers)
    await person.log_in()
    for _ in range(2):
        text = person.answer.text
        for harm in ("<img", "<script>alert", "\u202e", "\u2066", "\u200b", "<a href=//", ">49<"):
            assert harm not in text
        assert text.count("<li>") == 3 if "rows" in text else True
        await person.open(f"/account/sessions/{phone['session_id']}/end")
    await person.submit("/end")
    assert "<script>alert" not in person.answer.text
    assert "\u202e" not in person.answer.text
