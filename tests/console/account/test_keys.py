"""Keys for programs on the account pages."""

import re

import pytest

from tests.conftest import Clock, Service
from tests.console.account.person import Person
from tests.console.account.test_steps import submit_code

DAY_S = 86400


async def with_key(service: Service, person: Person, **fields: str) -> str:
    """A user who has just made a key on the page; its text."""
    await service.user()
    await person.log_in()
    await person.open("/account/keys/new")
    await person.submit("/keys/new", name="nightly backup", **{"days": "90"} | fields)
    (key,) = re.findall(r"<code>(key_\w{45})</code>", person.answer.text)
    return str(key)


async def test_a_key(service: Service, person: Person, clock: Clock) -> None:
    """The key is shown once. It works, has the scope that was ticked, and ends when the form said."""
    key = await with_key(service, person, **{"scope:orders:read": "yes"})
    told = await service.introspect(key)
    assert (told["active"], told["token_use"], told["scope"]) == (True, "key", "orders:read")
    assert told["exp"] == int(clock()) + 90 * DAY_S
    await person.open("/account/keys")
    assert key not in person.answer.text
    assert "nightly backup" in person.text
    assert "Last used just now" in person.text
    await person.submit("/account/logout")
    assert (await service.introspect(key))["active"], "a key survives the logout"


async def test_deleting_one(service: Service, person: Person) -> None:
    """The page says what follows, and the key ends at once."""
    key = await with_key(service, person)
    await person.open("/account/keys")
    path = next(part for part in person.answer.text.split('"') if part.endswith("/delete"))
    await person.open(path)
    assert "Delete nightly backup?" in person.text
    await person.submit(path)
    assert (person.path, "Deleted: nightly backup." in person.text) == ("/account/keys", True)
    assert "No key yet." in person.text
    assert not (await service.introspect(key))["active"]
    assert (await person.open(path)).status_code == 404


async def test_a_key_of_somebody_else(service: Service, person: Person) -> None:
    """Nobody sees or deletes a key of another user."""
    key = await with_key(service, person)
    await service.user("eve")
    await person.log_in("eve")
    await person.open("/account/keys")
    assert "nightly backup" not in person.text
    path = f"/account/keys/{key[4:16]}/delete"
    assert (await person.open(path)).status_code == 404
    await person.open("/account")
    token = person.form("/account/logout").fields["form_token"]
    await person.post(path, {"form_token": token})
    assert person.answer.status_code == 404
    assert (await service.introspect(key))["active"]


@pytest.mark.parametrize(
    "fields", [{"name": ""}, {"name": "n" * 121}, {"days": "9999"}, {"days": "x"}, {"scope:admin": "yes"},
               {"scope:unknown": "yes"}, {"scope:a\nb": "yes"}]
)  # fmt: skip
async def test_what_does_not_fit(service: Service, person: Person, fields: dict[str, str]) -> None:
    """A form that no page offers makes no key."""
    await service.user()
    await person.log_in()
    await person.open("/account/keys/new")
    await person.submit("/keys/new", **{"name": "backup", "days": "30"} | fields)
    assert person.answer.status_code == 400
    assert "key_" not in person.answer.text
    await person.open("/account/keys")
    assert "No key yet." in person.text


async def test_a_recent_login_comes_first(service: Service, person: Person, clock: Clock) -> None:
    """A thief of an open session must not make a key: the page asks for the password first."""
    await service.user()
    await person.log_in()
    await person.open("/account/keys/new")
    clock.forward(900)
    await person.submit("/keys/new", name="backup", days="30")
    assert person.path == "/account/confirm?next=%2Faccount%2Fkeys%2Fnew"
    assert "key_" not in person.answer.text
    await submit_code(person, "password", "a walk by the river")
    assert person.path == "/account/keys/new"


async def test_pages(service: Service, person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long list comes in pages."""
    await service.user()
    await person.log_in()
    monkeypatch.setattr("authsvc.console.account.keys._PER_PAGE", 2)
    for name in ("one", "two", "three"):
        await person.open("/account/keys/new")
        await person.submit("/keys/new", name=name, days="30")
    await person.open("/account/keys")
    first = [name for name in ("one", "two", "three") if name in person.text]
    assert len(first) == 2
    await person.open(next(part for part in person.answer.text.split('"') if "?after=" in part))
    assert sum(name in person.text.split() for name in ("one", "two", "three")) == 1
