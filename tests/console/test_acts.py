"""What admins do in the console: consequences in numbers before, results after, and what may not last."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.core.user import User
from authsvc.errors import NotDurable
from authsvc.flows import api_keys, clients, login, users
from authsvc.flows.client_token import issue_to_client
from authsvc.flows.clients import Parties
from authsvc.flows.deps import OPERATOR, Caller, Deps
from authsvc.flows.grants import Grant
from authsvc.settings import Settings
from tests.conftest import CHEAP, PASSWORD, Clock, verdict_on
from tests.console.conftest import CHROME, Browser, NewBrowser, make_user

# Longer than the texts of other browsers, with the name at the end.
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.1.1 Mobile/15E148 Safari/604.1"
)


async def log_in(deps: Deps, username: str, user_agent: str = CHROME) -> Grant:
    client, service = await deps.store.clients.get("app"), await deps.store.service.get()
    caller = Caller(ip="203.0.113.9", user_agent=user_agent)
    return await login.login(deps, caller, client, service, username=username, password=PASSWORD)


@pytest.fixture
async def ada(deps: Deps) -> User:
    """A user with two sessions."""
    user = await make_user(deps, "ada", "editor")
    for _ in range(2):
        await log_in(deps, "ada")
    return user


async def live(deps: Deps, sub: str) -> int:
    return len([one for _, one in await deps.store.sessions.listed(sub, deps.clock()) if one])


async def test_a_user_without_a_password(deps: Deps, browser: Browser) -> None:
    """The page does not say that a password opens an account that has none."""
    user, _ = await users.create(deps, OPERATOR, username="hedy")
    assert "The password alone" not in (await browser.get(f"/users/{user.sub}")).text


async def test_suspend_and_reinstate(deps: Deps, browser: Browser, ada: User) -> None:
    """The dialog says how many sessions end, the message says how many ended, and the trail has the reason."""
    asked = await browser.get(f"/users/{ada.sub}/suspend")
    assert "2 sessions of ada end at once." in asked.text
    done = await browser.submit(asked, "/suspend", comment="stolen laptop")
    assert "Suspended ada and ended 2 sessions." in done.text
    assert "stolen laptop" in done.text
    assert "Nobody is logged in to this account" in done.text
    assert (await deps.store.users.get(ada.sub)).status == "suspended"
    asked = await browser.get(f"/users/{ada.sub}/reinstate")
    done = await browser.submit(asked, "/reinstate")
    assert "ada can log in again." in done.text
    assert (await deps.store.users.get(ada.sub)).status == "active"


async def test_a_phone_has_one_name(deps: Deps, browser: Browser) -> None:
    """The list of sessions and the events call it the same."""
    user = await make_user(deps, "ada")
    await log_in(deps, "ada", IPHONE)
    sessions, _, events = (await browser.get(f"/users/{user.sub}")).text.partition("What happened")
    assert "Safari on iPhone" in sessions
    assert "Safari on iPhone" in events


async def test_end_one_session_and_all(deps: Deps, browser: Browser, ada: User) -> None:
    """One session ends with one click; all of them after a question."""
    page = await browser.get(f"/users/{ada.sub}")
    assert "2 sessions" in page.text
    assert page.text.count("Chrome on Linux") >= 2
    assert "203.0.113.9" in page.text
    done = await browser.submit(page, "/end")
    assert "Ended 1 session of ada." in done.text
    assert done.url == f"/users/{ada.sub}"
    again = await browser.submit(page, "/end")
    assert "had ended already" in again.text
    done = await browser.submit(await browser.get(f"/users/{ada.sub}/end-sessions"), "/end-sessions")
    assert "Ended 1 session of ada." in done.text


async def test_keys(deps: Deps, browser: Browser, ada: User) -> None:
    """Keys are shown, counted where they end with the sessions, and ended by themselves."""
    for name in ("backup", "report"):
        await api_keys.create_for(deps, OPERATOR, ada.sub, api_keys.Wanted(name), "app")
    page = await browser.get(f"/users/{ada.sub}")
    assert "2 keys" in page.text
    assert "backup" in page.text
    asked = await browser.get(f"/users/{ada.sub}/suspend")
    assert "2 sessions and 2 keys of ada end at once." in asked.text
    done = await browser.submit(await browser.get(f"/users/{ada.sub}/end-keys"), "/end-keys")
    assert "Ended 2 keys of ada." in done.text
    assert "2 sessions" in done.text


async def test_roles(deps: Deps, browser: Browser, ada: User) -> None:
    """Roles are changed in one field, and a role that can't be one is explained."""
    asked = await browser.get(f"/users/{ada.sub}/roles")
    assert asked.form("/roles").fields["roles"] == "editor"
    wrong = await browser.submit(asked, "/roles", roles="editor no{brace")
    assert wrong.status == 400
    assert "'no{brace' can be no role: a role has 1 to 64 of" in wrong.text
    assert wrong.form("/roles").fields["roles"] == "editor no{brace", "what was typed can be mended"
    done = await browser.submit(wrong, "/roles", roles="editor , billing,")
    assert "ada has 2 roles now" in done.text
    assert "admin now" not in done.text
    assert (await deps.store.users.get(ada.sub)).roles == ("editor", "billing")


async def test_making_an_admin_is_said(deps: Deps, browser: Browser, ada: User) -> None:
    """The role that gives power over everything gets a sentence of its own, when it comes and when it goes."""
    for roles, said in (
        ("editor admin", "ada is an admin now. ada has 2 roles now"),
        ("admin", "ada has 1 role now"),
        ("", "ada is no admin now. ada has 0 roles now"),
    ):
        done = await browser.submit(await browser.get(f"/users/{ada.sub}/roles"), "/roles", roles=roles)
        assert said in done.text
        assert ("admin now" in done.text) == ("admin now" in said)


async def test_reset_code_is_shown_once(deps: Deps, browser: Browser, ada: User) -> None:
    """The code is on the page that answers the form, and in no URL, no cookie and no later page."""
    asked = await browser.get(f"/users/{ada.sub}/reset-code")
    assert "2 sessions end" in asked.text
    shown = await browser.submit(asked, "/reset-code")
    (code,) = [word for word in shown.text.split(" ") if word.startswith("rst_")]
    assert tokens.parse(code, Kind.RESET)
    assert shown.answer.headers["cache-control"] == "no-store"
    assert code not in str(browser.cookies)
    assert code not in (await browser.get(f"/users/{ada.sub}")).answer.text


async def test_a_reset_code_without_account_pages(browser: Browser, ada: User) -> None:
    """The page says who takes the code, and has no link to a page that is not served."""
    shown = await browser.submit(await browser.get(f"/users/{ada.sub}/reset-code"), "/reset-code")
    assert "POST /password/reset" in shown.text
    assert "/account/reset" not in shown.text


@pytest.mark.parametrize("settings", [Settings(**CHEAP, account_pages=True, issuer="https://app.example.org")])
async def test_the_link_with_a_reset_code(browser: Browser, ada: User) -> None:
    """With account pages there is a link to their form. The code stands behind `#`."""
    for path, fields in ((f"/users/{ada.sub}/reset-code", {}), ("/users/new", {"username": "grace"})):
        shown = await browser.submit(await browser.get(path), path, **fields)
        code, link = [word for word in shown.text.split(" ") if "rst_" in word]
        assert link == f"https://app.example.org/account/reset#{code}"


async def test_delete(deps: Deps, browser: Browser, ada: User) -> None:
    """A deleted user is gone, and the page of it says so."""
    done = await browser.submit(await browser.get(f"/users/{ada.sub}/delete"), "/delete")
    assert "Deleted ada and ended 2 sessions." in done.text
    assert done.url == "/users"
    gone = await browser.get(f"/users/{ada.sub}")
    assert gone.status == 404
    assert "There is no such thing" in gone.text


async def test_the_last_admin_stays(deps: Deps, browser: Browser) -> None:
    """The last admin can't be suspended, deleted or robbed of the role. The dialog says why."""
    async for page in deps.store.admins.pages():
        for admin in page:
            if not isinstance(admin, User):
                await deps.store.clients.delete(admin.client_id)
    account = await deps.store.users.find_by_name("root")
    assert account is not None
    root = account.user
    for act, fields in (("suspend", {}), ("delete", {}), ("roles", {"roles": "editor"})):
        asked = await browser.get(f"/users/{root.sub}/{act}")
        refused = await browser.submit(asked, act, **fields)
        assert refused.status == 409
        assert "Nobody would be left" in refused.text
    assert await deps.store.users.get(root.sub) == root


async def test_a_new_user(deps: Deps, browser: Browser) -> None:
    """Registering a user shows the code for the first password. A name that is taken is explained."""
    asked = await browser.get("/users/new")
    taken = await browser.submit(asked, "/users/new", username="root")
    assert taken.status == 409
    wrong = await browser.submit(taken, "/users/new", username="grace", roles="editor ü")
    assert wrong.status == 400
    assert "'ü' can be no role" in wrong.text
    shown = await browser.submit(wrong, "/users/new", username="grace", roles="editor, billing")
    assert "grace is registered" in shown.text
    account = await deps.store.users.find_by_name("grace")
    assert account is not None
    assert account.user.roles == ("editor", "billing")


async def test_the_life_of_a_client(deps: Deps, browser: Browser, clock: Clock) -> None:
    """Register, change, rotate with overlap, cut off, delete."""
    asked = await browser.get("/clients/new")
    shown = await browser.submit(asked, "/clients/new", name="orders", may_issue="on", audience="https://a.example")
    (secret,) = [word for word in shown.text.split(" ") if word.startswith("sec_")]
    (path,) = [link for link in shown.read.links if link.startswith("/clients/")]
    client = await deps.store.clients.get(path.rpartition("/")[2])
    assert client.opens_with(secret, clock())
    assert client.permissions == ("introspect", "issue")
    assert client.audience == ("https://a.example",)
    assert secret not in (await browser.get(path)).answer.text

    wrong = await browser.submit(await browser.get(f"{path}/change"), "/change", access_ttl_s="1e3")
    assert wrong.status == 400
    done = await browser.submit(wrong, "/change", access_ttl_s="60", name="orders 2")
    assert "Saved orders 2." in done.text
    assert (await deps.store.clients.get(client.client_id)).access_ttl_s == 60

    rotated = await browser.submit(await browser.get(f"{path}/secret"), "/secret", overlap_s="3600")
    (fresh,) = [word for word in rotated.text.split(" ") if word.startswith("sec_")]
    client = await deps.store.clients.get(client.client_id)
    assert client.opens_with(secret, clock())
    assert client.opens_with(fresh, clock())
    clock.forward(3601)
    assert not client.opens_with(secret, clock())

    await browser.log_in()  # the session was not used for an hour
    done = await browser.submit(await browser.get(f"{path}/cut-off"), "/cut-off")
    assert "Ended 0 sessions through orders 2." in done.text
    done = await browser.submit(await browser.get(f"{path}/delete"), "/delete")
    assert "Deleted orders 2" in done.text
    assert await deps.store.clients.find(client.client_id) is None


async def test_cut_off_of_a_client_counts(deps: Deps, browser: Browser, ada: User) -> None:
    """The numbers before and after are those of the client's sessions."""
    asked = await browser.get("/clients/app/cut-off")
    assert "2 sessions through built-in will end" in asked.text
    done = await browser.submit(asked, "/cut-off")
    assert "Ended 2 sessions through built-in." in done.text


async def test_cut_off_of_everything(deps: Deps, browser: Browser, ada: User) -> None:
    """It takes the name of the service, and ends the own session too."""
    grant = await log_in(deps, "ada")
    asked = await browser.get("/cut-off")
    assert "4 sessions will end at once, yours too" in asked.text
    refused = await browser.submit(asked, "/cut-off", typed="yes")
    assert refused.status == 400
    assert type(await verdict_on(deps, grant.access_token)).__name__ == "Active"
    done = await browser.submit(refused, "/cut-off", typed="127.0.0.1:8000")
    assert "Ended 4 sessions, yours too." in done.text
    assert done.url == "/login"
    assert type(await verdict_on(deps, grant.access_token)).__name__ == "Inactive"


async def test_a_token_is_explained(deps: Deps, browser: Browser, ada: User) -> None:
    """Whose a token is, whether it is alive, and why not; nothing of it stands in a URL or on the page."""
    grant = await log_in(deps, "ada")
    page = await browser.get("/token")
    for search in (False, True):
        shown = await (
            browser.submit(page, "/search", q=grant.access_token)
            if search
            else browser.submit(page, "/token", token=f" {grant.access_token}\n")
        )
        assert "alive" in shown.text
        assert "ada" in shown.text
        assert grant.access_token not in shown.answer.text
    ended = await browser.submit(shown, f"/sessions/{grant.session_id}/end")
    assert "Ended 1 session of ada." in ended.text
    assert ended.url == f"/token?session={grant.session_id}"
    assert "not alive" in ended.text
    assert "ended by an admin, by user root" in ended.text
    mistyped = grant.access_token[:-1] + ("0" if grant.access_token[-1] != "0" else "1")
    for wrong in ("tok_nonsense", "hello", mistyped):
        refused = await browser.submit(page, "/token", token=wrong)
        assert refused.status == 400
        assert wrong not in refused.answer.text


async def test_why_a_session_ended_stands_there_in_words(deps: Deps, browser: Browser, ada: User) -> None:
    """An end of all sessions is told in words, and not by the name of its event."""
    grant = await log_in(deps, "ada")
    await browser.submit(await browser.get(f"/users/{ada.sub}/suspend"), "/suspend")
    await deps.store.sessions.finish()
    shown = await browser.submit(await browser.get("/token"), "/token", token=grant.access_token)
    assert "ended: the user was suspended, by user root" in shown.text


async def test_a_token_of_a_program_is_explained(deps: Deps, browser: Browser, ada: User) -> None:
    """A key that was never used, and has no idle end; a token that speaks for its client and for no user."""
    issued = await api_keys.create_for(deps, OPERATOR, ada.sub, api_keys.Wanted("nightly"), "app")
    page = await browser.get("/token")
    shown = await browser.submit(page, "/token", token=issued.text)
    for words in ("a key", "nightly", "Last use never"):
        assert words in shown.text, words
    assert "without use" not in shown.text
    client, _ = await clients.create(deps, OPERATOR, name="nightly job", permissions=("token",), audience=("orders",))
    service = await deps.store.service.get()
    grant = await issue_to_client(deps, OPERATOR, Parties(client, service))
    shown = await browser.submit(page, "/token", token=grant.access_token)
    for words in ("the client speaks for itself", "a token of the client", "nightly job"):
        assert words in shown.text, words
    assert f"/users/{client.client_id}" not in shown.answer.text


async def test_search_finds(deps: Deps, browser: Browser, ada: User) -> None:
    """One box leads to users by name or subject, to clients and sessions, and to the list for the rest."""
    page = await browser.get("/")
    session = (await deps.store.sessions.listed(ada.sub, deps.clock()))[0][0]
    for typed, place in {
        "ADA": f"/users/{ada.sub}",
        ada.sub: f"/users/{ada.sub}",
        "app": "/clients/app",
        session: f"/token?session={session}",
        "ad": "/users?q=ad",
        "": "/users",
    }.items():
        assert (await browser.submit(page, "/search", q=typed)).url == place


async def test_the_list_of_users(deps: Deps, browser: Browser, ada: User) -> None:
    """Users are found by the beginning of their names, by status and by role."""
    await make_user(deps, "adam")
    await make_user(deps, "bob")
    await browser.submit(await browser.get(f"/users/{ada.sub}/suspend"), "/suspend")
    for query, names in {
        "?q=ada": {"ada", "adam"},
        "?status=suspended": {"ada"},
        "?role=admin": {"root"},
        "?q=zzz": set(),
        "": {"ada", "adam", "bob", "root"},
    }.items():
        text = (await browser.get(f"/users{query}")).text.partition("Last login")[2].split(" ")
        assert {name for name in ("ada", "adam", "bob", "root") if name in text} == names, query


async def test_the_trail_and_its_export(deps: Deps, browser: Browser, ada: User) -> None:
    """The trail is filtered by event and subject, and exported as lines of JSON."""
    page = await browser.get(f"/audit?sub={ada.sub}&event=login")
    assert page.text.count("Logged in") == 2
    assert "User created" not in page.text
    export = await browser.get(f"/audit/export?sub={ada.sub}&event=login")
    lines = [json.loads(line) for line in export.answer.text.splitlines()]
    assert [line["event"] for line in lines] == ["login.succeeded"] * 2
    assert "attachment" in export.answer.headers["content-disposition"]


async def test_clients_and_sessions_of_one_client(deps: Deps, browser: Browser, ada: User) -> None:
    """The sessions of all users stand in one list, and of one client in another."""
    await clients.create(deps, OPERATOR, name="unused", public=True)
    page = await browser.get("/sessions")
    assert "3 live sessions" in page.text
    page = await browser.get("/sessions?client_id=app")
    assert "2 live sessions" in page.text
    assert "unused" in (await browser.get("/clients")).text


@contextmanager
def not_durable(monkeypatch: pytest.MonkeyPatch, deps: Deps) -> Iterator[None]:
    """The store makes each change, and its copies do not have it in time."""
    swap = deps.store.connection.swap

    async def slow(changes: object, *, durable: bool) -> bool:
        done: bool = await swap(changes, durable=durable)  # type: ignore[arg-type]  # passed on
        if durable:
            raise NotDurable("too few replicas have it")
        return done

    with monkeypatch.context() as patched:
        patched.setattr(deps.store.connection, "swap", slow)
        yield


async def test_what_may_not_last_is_said(
    deps: Deps, browser: Browser, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change without enough copies is no success: the page says so, and offers to do it again."""
    asked = await browser.get(f"/users/{ada.sub}/suspend")
    with not_durable(monkeypatch, deps):
        unsure = await browser.submit(asked, "/suspend")
    assert unsure.status == 503
    assert "a crash could undo it now" in unsure.text
    assert "Do it again" in unsure.text
    done = await browser.submit(unsure, "/suspend")
    assert "Suspended ada" in done.text


async def test_a_store_that_is_away_is_no_answer(browser: Browser, new_browser: NewBrowser, deps: Deps) -> None:
    """While the store is away, each page is a 503 that says so, and nobody is logged out."""
    await deps.store.close()
    for path in ("/", "/users", "/sessions", "/clients", "/audit"):
        page = await browser.get(path)
        assert page.status == 503
        assert "The store does not answer" in page.text
        assert page.answer.headers["retry-after"]
    assert browser.cookies
