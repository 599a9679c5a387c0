"""The command line for people: names in the place of ids, wrong values, numbers, and texts that fit the terminal."""

import json
import re
from pathlib import Path

import pytest

from authsvc.checks.table import CHECKS
from authsvc.cli.output import ago
from authsvc.cli.statuses import MISUSED, NOT_FOUND, OK, REFUSED
from authsvc.core.event import Event
from tests.cli.test_cli import Cli
from tests.cli.test_terminal import at_a_terminal
from tests.conftest import PASSWORD


def test_the_trail_takes_names(started: Cli) -> None:
    """--sub and --client take names. A name that nothing has is not found. A deleted user's sub still works."""
    ada = started.user("ada")
    orders = started.json("client", "create", "orders")
    assert started.lines("audit", "--sub", "ada") == started.lines("audit", "--sub", ada["sub"]) != []
    assert started.lines("audit", "--client", "orders") == started.lines("audit", "--client", orders["client_id"]) != []
    for option in ("--sub", "--client"):
        result = started("audit", option, "nobody-here")
        assert (result.exit_code, result.stdout) == (NOT_FOUND, "")
        assert re.fullmatch(r"authsvc: no (user|client) has the .+\n", result.stderr)
    started.ok("user", "delete", "ada", "--yes")
    assert [event["event"] for event in started.lines("audit", "--sub", ada["sub"])] == ["user.deleted", "user.created"]


def test_an_unknown_event_lists_the_events(started: Cli) -> None:
    """A wrong --event is wrong usage, and the message has every kind and event. No event is said in words."""
    result = started("audit", "--event", "nonsense")
    assert result.exit_code == MISUSED
    assert set(Event) <= set(re.findall(r"[a-z_]+\.[a-z_.]+[a-z]", result.stderr))
    none = started("audit", "--event", "client.deleted")
    assert (none.exit_code, none.stdout, none.stderr) == (OK, "", "no such events\n")


def test_an_event_that_is_almost_right(started: Cli) -> None:
    """The message names the event that is meant, and lists the events, one kind a line, within 80 columns."""
    message = started("audit", "--event", "user.change").stderr
    assert "no such event (did you mean user.changed?)." in message
    assert "\n  session.ended session.stepped_up\n" in message
    assert max(map(len, message.splitlines())) <= 80


def test_a_token_for_a_name_that_is_almost_right(started: Cli) -> None:
    """A user who is made for a token is said, with the users who may be meant. For a known user nothing is said."""
    started.user("lea")
    started.ok("client", "create", "issuer", "--permission", "issue")
    issue = ("token", "issue", "--client", "issuer", "--sub", "leaa")
    made = "made the user leaa: no other user has this sub or name (did you mean lea?)\n"
    first = started(*issue)
    assert first.stderr.startswith(made)
    assert first.stdout.startswith("tok_")
    assert "made the user" not in started(*issue).stderr
    assert started("token", "issue", "--json", "--client", "issuer", "--sub", "leb").stderr.startswith("made the user")


def test_a_second_client_of_a_name(started: Cli) -> None:
    """It is registered, and the command says that another one has the name."""
    first = started("client", "create", "orders", "--json")
    assert "Another client" not in first.stderr
    second = started("client", "create", "orders").stderr
    assert f"\nAnother client has this name, too: {json.loads(first.stdout)['client_id']}. " in second


def test_a_user_with_all_that_the_console_shows(started: Cli) -> None:
    """`user show` has the last login, the live sessions and the second factors."""
    started.user("ada")
    started.login()
    shown = started.ok("user", "show", "ada")
    assert re.search(r"^last_login_at +20", shown, re.MULTILINE)
    assert re.search(r"^sessions +1$", shown, re.MULTILINE)
    assert re.search(r"^second_factors +0$", shown, re.MULTILINE)


def test_a_token_is_issued_for_a_name(started: Cli) -> None:
    """--sub takes the name of a user and makes no second user. What fits two users is refused."""
    ada = started.user("ada")
    started.ok("client", "create", "issuer", "--permission", "issue")
    started.ok("token", "issue", "--client", "issuer", "--sub", "ada")
    assert [user["sub"] for user in started.lines("user", "list")] == [ada["sub"]]
    started.ok("token", "issue", "--client", "issuer", "--sub", "external-7")
    assert "external-7" in {user["sub"] for user in started.lines("user", "list")}
    started.user("external-7")
    result = started("token", "issue", "--client", "issuer", "--sub", "external-7")
    assert (result.exit_code, result.stdout) == (REFUSED, "")


def test_a_client_is_found_by_name(started: Cli) -> None:
    """Every command on a client takes its name. Two clients of one name are refused, with their ids."""
    first = started.json("client", "create", "orders")["client_id"]
    assert started.json("client", "show", "orders")["client_id"] == first
    assert started.json("client", "update", "orders", "--audience", "o")["audience"] == ["o"]
    assert started.json("client", "rotate-secret", "orders")["client_id"] == first
    assert f"orders ({first})" in started("client", "logout", "orders").stderr
    second = started.json("client", "create", "orders")["client_id"]
    for command in ("show", "logout", "rotate-secret"):
        result = started("client", command, "orders")
        assert result.exit_code == REFUSED
        assert first in result.stderr
        assert second in result.stderr
    assert started("client", "delete", second, "--yes").stderr == f"deleted orders ({second}), and ended 0 sessions\n"
    assert started.json("client", "show", "orders")["client_id"] == first


def test_what_was_done_is_said_with_numbers(started: Cli) -> None:
    """A logout says how many sessions it ended, and a list without sessions says so."""
    sub = started.user("ada")["sub"]
    started.login()
    started.login()
    assert started("user", "logout", "ada").stderr == f"ended 2 sessions of ada ({sub})\n"
    none = started("user", "sessions", "ada")
    assert (none.stdout, none.stderr) == ("", f"no live sessions of ada ({sub})\n")
    assert started.ok("user", "sessions", "ada", "--json") == ""


def test_times_as_people_say_them() -> None:
    """The largest unit that fits. A clock that runs ahead is no time in the past."""
    seen = [ago(1_000_000 - seconds, 1_000_000) for seconds in (-5, 59, 61, 7200, 200_000)]
    assert seen == ["0 s ago", "59 s ago", "1 min ago", "2 h ago", "2 d ago"]


@pytest.mark.slow
def test_the_trail_at_a_terminal(started: Cli, tmp_path: Path) -> None:
    """The terminal shows the name beside the sub."""
    sub = started.user("ada")["sub"]
    created = ("audit", "--event", "user.created")
    seen = at_a_terminal(*created, started=started, cwd=tmp_path, TERM="xterm", COLUMNS="80")
    assert re.search(rf" ada +{sub} ", seen)
    assert " ago " in seen
    exact = at_a_terminal(*created, "--exact-times", started=started, cwd=tmp_path, TERM="xterm", COLUMNS="80")
    assert " ago " not in exact
    assert re.search(r"\d{4}-\d\d-\d\dT[0-9:+]+  user\.created", exact)


def test_check_shows_problems_first(started: Cli) -> None:
    """Without --all the rows that pass are counted only. The worst results come first."""
    rows = [line.split()[0] for line in started("check").stdout.splitlines()[1:]]
    assert "pass" not in rows
    order = ["fail", "warn", "unknown"]
    assert rows == sorted(rows, key=order.index)
    whole = started("check", "--all")
    assert len(whole.stdout.splitlines()) == len(CHECKS) + 1
    assert len(json.loads(started("check", "--json").stdout)["checks"]) == len(CHECKS)


def test_a_file_that_is_not_text_is_one_line(started: Cli, tmp_path: Path) -> None:
    """A setting from a file that is not UTF-8 is named, with the file and the remedy."""
    (tmp_path / "issuer").write_bytes(b"\xff\xfe")
    result = started("user", "list", AUTHSVC_ISSUER_FILE=str(tmp_path / "issuer"))
    assert (result.exit_code, result.stdout) == (MISUSED, "")
    assert result.stderr == (
        f"authsvc: AUTHSVC_ISSUER_FILE: {tmp_path / 'issuer'} is not text in UTF-8: write the value as plain text\n"
    )
    assert PASSWORD not in result.stderr


def test_a_comment_goes_into_the_trail(started: Cli) -> None:
    """Commands that change something take a comment. What is no comment is wrong usage, and nothing is changed."""
    started.user("ada")
    started.ok("user", "suspend", "ada", "--comment", "ticket 4711")
    started.ok("client", "create", "orders", "--comment", "ticket 4712")
    started.ok("service", "cut-off", "--yes", "--comment", "ticket 4713")
    assert [event.get("comment") for event in started.lines("audit", "--limit", "3")] == [
        *("ticket 4713", "ticket 4712", "ticket 4711"),
    ]
    assert started.code("user", "reinstate", "ada", "--comment", "it was tok_4fQ0kzPq1LxA") == MISUSED
    assert started.json("user", "show", "ada")["status"] == "suspended"
