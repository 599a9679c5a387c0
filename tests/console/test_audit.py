"""The page of the audit trail: filters by name, values that nobody has, and what was changed."""

import pytest

from authsvc.core.user import User
from authsvc.flows import clients, trail, users
from authsvc.flows.deps import OPERATOR, Caller, Deps
from tests.console.conftest import Browser, make_user


@pytest.fixture
async def lea(deps: Deps, browser: Browser) -> User:
    """A user whose roles root has changed."""
    user = await make_user(deps, "lea")
    root = await deps.store.users.find_by_name("root")
    assert root is not None
    await users.update(deps, Caller(f"user:{root.user.sub}", level="admin"), user.sub, roles=("editor", "billing"))
    return user


def events_of(text: str) -> str:
    """The words of the table."""
    return text.partition("From ")[2]


@pytest.mark.parametrize("typed", ["lea", "LEA", " lea "])
async def test_a_user_by_name(browser: Browser, lea: User, typed: str) -> None:
    """A name finds what the id finds. The address of the page has the id, and the field shows the name."""
    page = await browser.get(f"/audit?sub={typed}")
    assert page.url == f"/audit?sub={lea.sub}"
    assert page.form("/audit").fields["sub"] == "lea"
    assert "User changed" in events_of(page.text)
    assert "Logged in" not in events_of(page.text)
    assert events_of(page.text) == events_of((await browser.get(f"/audit?sub={lea.sub}")).text)


@pytest.mark.parametrize("typed", ["root", "user root", "user:root"])
async def test_who_did_it_by_name(browser: Browser, lea: User, typed: str) -> None:
    """An actor is found as the table shows it, and by the name alone."""
    page = await browser.get(f"/audit?actor={typed}")
    assert page.form("/audit").fields["actor"] == "user root"
    assert "User changed" in events_of(page.text)
    assert "User created" not in events_of(page.text)
    again = await browser.get(f"/audit?actor={page.form('/audit').fields['actor']}")
    assert events_of(again.text) == events_of(page.text)


async def test_actors_without_an_id(browser: Browser, lea: User) -> None:
    """`operator` is an actor, and no name is looked for."""
    page = await browser.get("/audit?actor=operator")
    assert page.url == "/audit?actor=operator"
    assert "User created" in events_of(page.text)
    assert "User changed" not in events_of(page.text)


async def test_a_client_by_name(deps: Deps, browser: Browser) -> None:
    """A client is found by its name, as subject and as actor. Several with one name are told apart by their ids."""
    client, _ = await clients.create(deps, OPERATOR, name="nightly job", public=True)
    await users.create(deps, Caller(f"client:{client.client_id}"), username="hedy")
    page = await browser.get("/audit?client_id=nightly job")
    assert page.url == f"/audit?client_id={client.client_id}"
    assert "Client created" in events_of(page.text)
    for typed in ("nightly job", "client nightly job"):
        page = await browser.get(f"/audit?actor={typed}")
        assert page.url == f"/audit?actor=client%3A{client.client_id}"
        assert "User created" in events_of(page.text)
    other, _ = await clients.create(deps, OPERATOR, name="nightly job", public=True)
    page = await browser.get("/audit?client_id=nightly job")
    assert "Several clients have the name 'nightly job': say which of the ids" in page.text
    assert client.client_id in page.text
    assert other.client_id in page.text
    assert (await browser.get("/audit/export?client_id=nightly job")).status == 400


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sub=nobody", "No user has the sub or name 'nobody'."),
        ("client_id=nix", "No client has the id or name 'nix'."),
        ("actor=nobody", "No user has the sub or name 'nobody'. No client has the id or name 'nobody'."),
        ("actor=user nobody", "No user has the sub or name 'nobody'."),
        ("event=nix.da", "There is no event type 'nix.da'."),
        ("event=login.succeded", "There is no event type 'login.succeded' (did you mean login.succeeded?)."),
    ],
)
async def test_what_nobody_has(browser: Browser, query: str, said: str) -> None:
    """A value that nothing has is named. The page does not ask again by itself."""
    page = await browser.get(f"/audit?{query}")
    assert "No such event." in page.text
    assert said in page.text
    assert "data-refresh" not in page.answer.text


async def test_no_event_of_a_known_user(browser: Browser, lea: User) -> None:
    """A filter whose values exist finds nothing, and the page says no more."""
    page = await browser.get("/audit?sub=lea&event=login.failed")
    assert "No such event. Show every event" in page.text


async def test_a_deleted_user(deps: Deps, browser: Browser, lea: User) -> None:
    """The events of a user who was deleted are found by the id."""
    await users.delete(deps, OPERATOR, lea.sub)
    page = await browser.get(f"/audit?sub={lea.sub}")
    assert "User deleted" in events_of(page.text)
    assert "No user has" not in page.text


async def test_an_export_by_name(browser: Browser, lea: User) -> None:
    """The export takes names too."""
    assert (await browser.get("/audit/export?sub=lea")).answer.text.count('"user.changed"') == 1


async def test_what_was_changed(browser: Browser, lea: User) -> None:
    """The row names the changed fields, and lists are no Python."""
    for path in ("/audit", f"/users/{lea.sub}", "/"):
        assert "User changed: roles" in (await browser.get(path)).text, path
    page = await browser.get("/audit?event=user.changed")
    assert "fields roles" in page.text
    assert "roles editor, billing" in page.text
    assert "[" not in events_of(page.text)


async def test_a_large_store(deps: Deps, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client's name is looked for in a part of a large store, and the page says so. The id is found in any store."""
    client, _ = await clients.create(deps, OPERATOR, name="nightly job", public=True)
    monkeypatch.setattr(trail, "MOST_STEPS", 0)
    page = await browser.get("/audit?client_id=nightly job")
    assert "No client has the id or name 'nightly job' in the part of the store that was searched" in page.text
    assert "Client created" in events_of((await browser.get(f"/audit?client_id={client.client_id}")).text)
