"""What happened in the account, as its user sees it."""

import pytest

from authsvc.console.account import texts
from authsvc.core.event import Event
from authsvc.flows import activity, sessions, users
from authsvc.flows.deps import Caller
from tests.conftest import Clock, Service
from tests.console.account.person import Person

# Events that say nothing to a user, or concern no user.
NOT_SHOWN = {
    "audit.left_out", "client.changed", "client.created", "client.cut_off", "client.deleted", "client.refused",
    "client.secret_rotated", "factor.keys_forgotten", "factors.imported", "keys.imported", "login.throttled",
    "password.change.throttled", "service.cut_off", "service.format_raised", "service.started_first",
    "token.exchanged", "token.refreshed", "token.repeated", "token.revoked", "user.deleted", "users.exported",
    "users.import_started", "users.imported",
}  # fmt: skip


def test_each_event_has_a_text_or_is_left_out() -> None:
    """Whoever adds an event decides whether users see it."""
    shown = {name.removeprefix("event.") for name in texts.load(None).by_name if name.startswith("event.")}
    assert set(Event) <= shown | NOT_SHOWN
    assert shown & NOT_SHOWN == set()


async def test_the_page(service: Service, person: Person, clock: Clock) -> None:
    """The user sees the own events, newest first, and nobody else's."""
    user = await service.user()
    await service.user("eve")
    await person.log_in("eve")
    await person.log_in(password="not the password at all")
    clock.forward(3600)
    await person.log_in()
    await person.open("/account/activity")
    rows = person.text.partition("change your password.")[2]
    assert rows.index("Login") < rows.index("Failed login") < rows.index("Your account was created")
    assert "1 h ago" in rows
    assert rows.count("Login") == 1
    admin = Caller("user:somebody-else", ip="203.0.113.9", user_agent="the browser of an admin")
    await users.update(service.deps, admin, user.sub, roles=("editor",))
    await person.open("/account/activity")
    assert "Your account was changed by an admin" in person.text
    await users.update(service.deps, Caller("client:shop", ip="203.0.113.9"), user.sub, roles=())
    await person.open("/account/activity")
    assert "Your account was changed by an app" in person.text
    assert "203.0.113.9" not in person.text
    assert "the browser of an admin" not in person.answer.text


async def test_pages(service: Service, person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page looks at a bounded part of the trail. The next one goes on from there, and each event is on one page."""
    user = await service.user()
    monkeypatch.setattr(activity, "PAGE", 3)
    monkeypatch.setattr(activity, "PAGES", 2)
    for _ in range(20):
        await service.login()
    listed = await sessions.list_active(service.deps, user.sub)
    assert len(listed) == 20
    seen, before, pages = [], None, 0
    while True:
        found, before = await activity.of_user(
            service.deps, user.sub, {"login.succeeded", "user.created"}, before=before, limit=4
        )
        assert len(found) <= 4
        seen += [one.id for one in found]
        pages += 1
        if before is None:
            break
    assert len(seen) == len(set(seen)) == 21
    assert pages > 3
    await person.log_in()
    await person.open("/account/activity")
    assert "Older" in person.text
    older = next(part for part in person.answer.text.split('"') if "?before=" in part)
    await person.open(older)
    assert "Newest" in person.text


async def test_a_part_of_the_trail_without_own_events(
    service: Service, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user among many others may have to go on, and the page says so."""
    await service.user()
    await service.user("eve")
    await person.log_in()
    monkeypatch.setattr(activity, "PAGE", 5)
    for _ in range(25):
        await service.login("eve")
    await person.open("/account/activity")
    assert "Nothing of yours in this part." in person.text
    await person.open(next(part for part in person.answer.text.split('"') if "?before=" in part))
    assert "Login" in person.text


@pytest.mark.parametrize("before", ["x", "0-0", "1-1' OR 1", "\u0661-1"])
async def test_a_cursor_that_is_none(service: Service, person: Person, before: str) -> None:
    """A cursor that no page can have named shows the newest events."""
    await service.user()
    await person.log_in()
    assert (await person.open(f"/account/activity?before={before}")).status_code == 200
    assert "Login" in person.text
