"""`authsvc session …`, and the numbers of sessions that commands say they ended."""

import re
from pathlib import Path

import pytest
import redis

from authsvc.cli.statuses import MISUSED, NOT_FOUND, OK
from authsvc.core import token as tokens
from authsvc.flows import all_sessions
from authsvc.flows.client_token import issue_to_client
from authsvc.flows.clients import Parties
from authsvc.flows.deps import OPERATOR, Caller, Deps
from authsvc.flows.grants import Grant
from tests.cli.test_cli import Cli
from tests.cli.test_terminal import at_a_terminal
from tests.selection import slow


def ids(started: Cli, *options: str) -> list[str]:
    return [one["session_id"] for one in started.lines("session", "list", *options)]


def two_users(started: Cli) -> dict[str, list[str]]:
    """Ada has two sessions of `app` and one of `shop`, bob one of `shop`. All begin at different times."""
    started.user("ada")
    started.user("bob")
    shop = started.json("client", "create", "shop", "--public")["client_id"]
    made: dict[str, list[str]] = {"ada": [], "bob": []}
    for name, client_id in (("ada", "app"), ("ada", shop), ("bob", shop), ("ada", "app")):
        made[name].append(started.login(name, client_id=client_id).session_id)
        started.clock.forward(1)
    return made


def test_sessions_of_all_users_newest_first(started: Cli) -> None:
    """The list has the live sessions of all users, by the time of their beginning, and the names beside the ids."""
    made = two_users(started)
    first, second, third = made["ada"]
    (of_bob,) = made["bob"]
    assert ids(started) == [third, of_bob, second, first]
    assert ids(started, "--user", "bob") == [of_bob]
    assert ids(started, "--client", "shop") == [of_bob, second]
    assert ids(started, "--client", "shop", "--user", "ada") == [second]
    assert ids(started, "--limit", "2") == [third, of_bob]
    document = started.lines("session", "list", "--user", "bob")[0]
    assert (document["user"], document["client"]) == ("bob", "shop")
    limited = started("session", "list", "--limit", "1")
    assert limited.stderr == "the newest 1 of 4 live sessions; --limit shows more\n"
    assert started("session", "list").stderr == "4 live sessions\n"


def test_only_live_sessions_are_listed(started: Cli) -> None:
    """What a cut-off, a suspension or a deleted client ended is not there, though its record may be."""
    made = two_users(started)
    started.ok("client", "logout", "shop")
    assert ids(started) == [made["ada"][2], made["ada"][0]]
    started.ok("user", "suspend", "ada")
    result = started("session", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (OK, "", "no live sessions\n")


def test_tokens_of_clients_are_listed_and_counted(started: Cli) -> None:
    """A token that a client got for itself is a session too, without a user. A cut-off counts it."""
    client_id = started.json("client", "create", "job", "--permission", "token")["client_id"]

    async def issued(deps: Deps) -> Grant:
        parties = Parties(await deps.store.clients.get(client_id), await deps.store.service.get())
        return await issue_to_client(deps, OPERATOR, parties)

    first = started.do(issued).session_id
    started.clock.forward(1)
    second = started.do(issued).session_id
    assert ids(started) == ids(started, "--client", "job") == [second, first]
    document = started.lines("session", "list")[0]
    assert (document["sub"], document["client"]) == (client_id, "job")
    assert started("client", "logout", "job").stderr == f"ended 2 sessions opened through job ({client_id})\n"
    assert ids(started) == []


def test_the_walk_takes_one_page_of_keys_at_a_time(started: Cli) -> None:
    """A walk that ends early says so. The number is then a lower bound."""
    started.user("ada")
    for _ in range(3):
        started.login("ada")

    async def count(deps: Deps) -> tuple[all_sessions.Count, int]:
        whole = await all_sessions.count(deps)
        pages, complete = await deps.store.listing.session_handles(0)
        assert not complete
        return whole, sum(len(page) for page in pages)

    assert started.do(count) == ((3, True), 0)


@pytest.mark.parametrize("command", [("client", "logout", "shop"), ("session", "end", "--client", "shop")])
def test_a_cut_off_of_a_client_is_counted(started: Cli, command: tuple[str, ...]) -> None:
    """The number is of the sessions that this cut-off ended, and not of those that ended before."""
    two_users(started)
    (client_id,) = [one["client_id"] for one in started.lines("client", "list") if one["name"] == "shop"]
    assert started(*command).stderr == f"ended 2 sessions opened through shop ({client_id})\n"
    assert started(*command).stderr == f"ended 0 sessions opened through shop ({client_id})\n"
    started.login("bob", client_id=client_id)
    assert started(*command).stderr == f"ended 1 session opened through shop ({client_id})\n"


def test_every_way_to_end_sessions_says_how_many(started: Cli) -> None:
    """Suspending, deleting, and the cut-off of the service name the user and the number."""
    two_users(started)
    assert re.fullmatch(r"suspended bob \(\w{12}\), and ended 1 session\n", started("user", "suspend", "bob").stderr)
    assert re.fullmatch(
        r"deleted shop \(\w{12}\), and ended 1 session\n", started("client", "delete", "shop", "--yes").stderr
    )
    assert started("service", "cut-off", "--yes").stderr == "ended every session there was: 2 sessions\n"
    started.login("ada")
    deleted = started("user", "delete", "ada", "--yes").stderr
    assert re.fullmatch(r"deleted ada \(\w{12}\), and ended 1 session\n", deleted)


def test_sessions_are_ended_by_id(started: Cli) -> None:
    """Each id that exists is ended and named; one that does not is not found, and the others end all the same."""
    made = two_users(started)
    first, second, third = made["ada"]
    gone = tokens.new_handle()
    result = started("session", "end", first, gone, second)
    assert result.exit_code == NOT_FOUND
    ended = [line.split()[2] for line in result.stderr.splitlines() if line.startswith("ended session")]
    assert ended == [first, second]
    assert gone in result.stderr.splitlines()[-1]
    assert ids(started) == [third, made["bob"][0]]


def test_sessions_are_ended_by_user_and_client(started: Cli) -> None:
    """--user ends all of a user's, and --user with --client only those through the client."""
    made = two_users(started)
    both = started("session", "end", "--user", "ada", "--client", "shop").stderr
    assert re.fullmatch(r"ended 1 session of ada \(\w{12}\) opened through shop \(\w{12}\)\n", both)
    assert ids(started) == [made["ada"][2], made["bob"][0], made["ada"][0]]
    assert re.fullmatch(r"ended 2 sessions of ada \(\w{12}\)\n", started("session", "end", "--user", "ada").stderr)
    assert ids(started) == made["bob"]


@pytest.mark.parametrize("arguments", [[], ["8fQ0kzPq1LxB", "--user", "ada"], ["short"], ["8fQ0kzPq1LxB", "ada"]])
def test_ending_has_to_be_told_what(started: Cli, arguments: list[str]) -> None:
    """Nothing, both, and what is no id: wrong usage, and nothing ends."""
    started.user("ada")
    started.login("ada")
    assert started.code("session", "end", *arguments) == MISUSED
    assert len(ids(started)) == 1


def test_a_token_is_no_session_id(started: Cli) -> None:
    """A token as an argument is refused and not repeated."""
    started.user("ada")
    token = started.login("ada").access_token
    result = started("session", "end", token)
    assert result.exit_code == MISUSED
    assert token not in result.output


def test_names_that_are_almost_right(started: Cli) -> None:
    """A mistyped name of a user or a client gets the names that are like it. A long text or a token is not repeated."""
    started.user("grace.hopper")
    started.user("lea")
    started.ok("client", "create", "orders")
    for arguments, near in (
        (("user", "show", "grace.hoper"), "grace.hopper"),
        (("session", "list", "--client", "order"), "orders"),
        (("audit", "--sub", "Grace.Hoppers"), "grace.hopper"),
        (("user", "show", "lae"), "lea"),
        (("session", "list", "--user", "Ela"), "lea"),
    ):
        result = started(*arguments)
        assert result.exit_code == NOT_FOUND
        assert f"did you mean {near}?" in result.stderr
        assert repr(arguments[-1]) in result.stderr
    assert "did you mean" not in started("user", "show", "something else").stderr
    for text in ("x" * 10_000, tokens.new(tokens.Kind.ACCESS).text):
        result = started("user", "show", text)
        assert result.exit_code == NOT_FOUND
        assert text not in result.stderr


def test_what_a_user_is_already(started: Cli) -> None:
    """Suspending a suspended user says so, and so does reinstating an active one."""
    sub = started.user("ada")["sub"]
    started.login("ada")
    assert started("user", "reinstate", "ada").stderr == f"ada ({sub}) is active already\n"
    assert started("user", "suspend", "ada").stderr == f"suspended ada ({sub}), and ended 1 session\n"
    assert started("user", "suspend", "ada").stderr == f"ada ({sub}) is suspended already\n"
    assert started("user", "reinstate", "ada").stderr == f"ada ({sub}) may log in again\n"


FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0"


def two_devices(started: Cli) -> tuple[str, str]:
    """Ada's sessions: one in a browser, and one on a phone that the login names."""
    started.user("ada")
    here = Caller(ip="192.0.2.7", user_agent=FIREFOX)
    browser = started.login("ada", caller=here).session_id
    started.clock.forward(1)
    return browser, started.login("ada", caller=here, device="Ada's phone").session_id


@pytest.mark.parametrize("command", [("session", "list"), slow(("user", "sessions", "ada"))])
def test_a_list_of_sessions_has_their_devices(started: Cli, tmp_path: Path, command: tuple[str, ...]) -> None:
    """The name that the login gave, or the browser: piped, and at a terminal of 80 columns. JSON has both fields."""
    two_devices(started)
    piped = started.ok(*command)
    seen = at_a_terminal(*command, started=started, cwd=tmp_path, TERM="xterm", COLUMNS="80")
    for text in (piped, seen):
        assert "Firefox 142 on Linux" in text
        assert "Ada's phone" in text
        assert re.search(r"session_id +user +(sub +)?client", text)
    assert "last_seen" in seen
    assert not re.search(r"\bsub\b", seen)
    assert "user_agent" not in piped
    (phone, browser) = started.lines(*command)
    assert (phone["device"], browser["device"]) == ("Ada's phone", None)
    assert browser["user_agent"] == "Firefox 142 on Linux"


def test_an_explanation_has_the_device_and_the_address(started: Cli) -> None:
    """As the page of the console does."""
    browser, phone = two_devices(started)
    told = started.ok("token", "explain", browser)
    assert re.search(r"^device +Firefox 142 on Linux$", told, re.MULTILINE)
    assert re.search(r"^ip +192\.0\.2\.7$", told, re.MULTILINE)
    assert re.search(r"^device +Ada's phone$", started.ok("token", "explain", phone), re.MULTILINE)
    session = started.json("token", "explain", browser)["session"]
    assert (session["ip"], session["user_agent"]) == ("192.0.2.7", "Firefox 142 on Linux")


def test_a_damaged_record_costs_the_number_only(started: Cli, valkey: "redis.Redis") -> None:
    """Ending sessions does not depend on counting them: with a damaged session among them they all end."""
    made = two_users(started)
    valkey.set(f"session:{made['ada'][0]}", b"{not JSON", keepttl=True)
    unknown = "ended all sessions (how many is not known)"
    assert started("user", "logout", "ada").stderr.startswith(f"{unknown} of ada")
    assert started("client", "logout", "shop").stderr.startswith(f"{unknown} opened through shop")
    assert f"and {unknown}" in started("user", "suspend", "ada").stderr
    assert started.ok("service", "cut-off", "--yes") == ""
    valkey.delete(f"session:{made['ada'][0]}")
    assert ids(started) == []
