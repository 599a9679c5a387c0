"""The link that makes the first admin."""

import asyncio

import pytest

from authsvc.console.admin.access import SESSION
from authsvc.core import token as tokens
from authsvc.errors import InvalidGrant, Overloaded
from authsvc.flows import first_admin, password
from authsvc.flows.deps import OPERATOR, Deps
from authsvc.flows.first_admin import INVITATION_S, accept, invite
from tests.conftest import PASSWORD, Clock
from tests.console.conftest import NewBrowser, make_user


async def code_of(deps: Deps) -> str:
    code = await invite(deps)
    assert code is not None
    return code


async def test_it_makes_the_first_admin(deps: Deps, new_browser: NewBrowser) -> None:
    """The form of the link makes an admin, who is logged in at once."""
    code, browser = await code_of(deps), new_browser()
    page = await browser.get(f"/first?code={code}")
    done = await browser.submit(page, "/first", username="grace", password=PASSWORD, repeated=PASSWORD)
    assert "Welcome, grace" in done.text
    assert SESSION in browser.cookies
    account = await deps.store.users.find_by_name("grace")
    assert account is not None
    assert account.user.is_admin


async def test_looking_spends_nothing(deps: Deps, new_browser: NewBrowser) -> None:
    """A program that looks at links in advance does not use the link up, and the page names it to nobody."""
    code = await code_of(deps)
    for _ in range(3):
        page = await new_browser().get(f"/first?code={code}")
        assert page.status == 200
        assert page.answer.headers["referrer-policy"] == "no-referrer"
        assert page.answer.headers["cache-control"] == "no-store"


async def test_it_works_once(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many uses that have all looked at the invitation before one of them spends it make one admin."""
    code, delete, all_have_looked = await code_of(deps), deps.store.codes.delete, asyncio.Barrier(4)

    async def together(handle: str) -> bool:
        await all_have_looked.wait()
        return await delete(handle)

    monkeypatch.setattr(deps.store.codes, "delete", together)
    tries = [accept(deps, OPERATOR, code, username=f"user{number}", password=PASSWORD) for number in range(4)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sorted(type(one).__name__ for one in results) == ["InvalidGrant"] * 3 + ["User"]


async def test_it_ends_after_an_hour(deps: Deps, clock: Clock, new_browser: NewBrowser) -> None:
    """An old link makes nobody an admin."""
    code = await code_of(deps)
    page = await new_browser().get(f"/first?code={code}")
    clock.forward(INVITATION_S)
    assert (await new_browser().get(f"/first?code={code}")).status == 404
    browser = new_browser()
    page = await browser.get("/login")
    fields = page.form("/login").fields | {
        "code": code,
        "username": "grace",
        "password": PASSWORD,
        "repeated": PASSWORD,
    }
    assert (await browser.post("/first", fields)).status == 404
    assert await deps.store.users.find_by_name("grace") is None


async def test_there_is_none_beside_an_admin(deps: Deps, new_browser: NewBrowser) -> None:
    """While an admin can log in, no link is made, and one from before is dead. A suspended admin does not count."""
    code = await code_of(deps)
    root = await make_user(deps, "root", "admin")
    assert await invite(deps) is None
    assert (await new_browser().get(f"/first?code={code}")).status == 404
    await deps.store.users.change(root.sub, lambda user: user.changed(status="suspended"))
    assert await invite(deps) is not None


async def test_a_mistake_does_not_spend_it(deps: Deps, new_browser: NewBrowser) -> None:
    """A weak password, a repeated one that differs, and a name that is taken can be mended."""
    await make_user(deps, "taken")
    code, browser = await code_of(deps), new_browser()
    page = await browser.get(f"/first?code={code}")
    for name, one, two in (("grace", "tiny", "tiny"), ("grace", PASSWORD, "another"), ("taken", PASSWORD, PASSWORD)):
        page = await browser.submit(page, "/first", username=name, password=one, repeated=two)
        assert page.status == 400
        assert one not in page.answer.text
    done = await browser.submit(page, "/first", username="grace", password=PASSWORD, repeated=PASSWORD)
    assert "Welcome" in done.text


async def test_a_failure_does_not_spend_it(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the password could not be hashed now, the same link works a moment later."""
    code = await code_of(deps)
    with monkeypatch.context() as patched:
        patched.setattr(deps.hasher, "hash", _overloaded)
        with pytest.raises(Overloaded):
            await accept(deps, OPERATOR, code, username="grace", password=PASSWORD)
    assert (await accept(deps, OPERATOR, code, username="grace", password=PASSWORD)).is_admin


async def _overloaded(_: str) -> str:
    raise Overloaded("too many passwords are being hashed")


async def test_it_is_no_reset_code_and_no_reset_code_is_one(deps: Deps) -> None:
    """The code of the link sets no password, and a user's reset code makes no admin."""
    code = await code_of(deps)
    ada = await make_user(deps, "ada")
    reset, _ = await password.new_reset_code(deps, OPERATOR, ada.sub)
    assert not await first_admin.is_open(deps, reset)
    for presented in (reset, tokens.new(tokens.Kind.RESET).text, "", "rst_", "x" * 49):
        assert not await first_admin.is_open(deps, presented)
    try:
        await password.reset_password(deps, OPERATOR, code, "four herons at dawn")
    except InvalidGrant:
        pass
    else:
        raise AssertionError("the code of the link has set a password")
    assert await first_admin.is_open(deps, code)
