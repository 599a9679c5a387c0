"""`authsvc token explain` of a leaked token, and `authsvc patterns`."""

import json
import re
import tomllib
from collections.abc import Callable

import pytest
import yaml
from click.testing import CliRunner

from authsvc.cli import cli
from authsvc.cli.patterns import SCANNERS, expression
from authsvc.cli.statuses import INACTIVE, MISUSED, OK
from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.flows.deps import Caller
from authsvc.flows.leaked import report
from tests.cli.test_cli import Cli

URL = "https://git.example/ada/notes/blob/main/.env"
# The end of the secret of GitHub, hidden in a URL that no terminal may take for a link of its own.
HOSTILE = "https://git.example/\x1b]8;;https://evil.example\x07click\x1b]8;;\x07"


def test_explain_says_what_a_leaked_token_was(started: Cli) -> None:
    """When and where it was found, its kind, and what it could do; as lines and as JSON."""
    started.user("ada", "--role", "editor")
    grant = started.login()
    started.do(lambda deps: report(deps, Caller(ip="192.0.2.1"), [(grant.access_token, URL)]))
    result = started("token", "explain", stdin=grant.access_token)
    assert result.exit_code == INACTIVE
    shown = dict(re.findall(r"^(\w+) +(.+)$", result.stdout.partition("\n\n")[0], re.MULTILINE))
    assert shown["reason"] == "ended: reported as leaked, by anonymous"
    assert (shown["kind"], shown["url"], shown["was"], shown["roles"]) == ("access", URL, "active", "editor")
    assert re.match(r"\d{4}-\d\d-\d\dT", shown["leaked_at"])
    leaked = json.loads(started("token", "explain", "--json", stdin=grant.access_token).stdout)["leaked"]
    assert leaked["url"] == URL
    assert leaked["token"] == f"tok_{grant.session_id}"


def test_a_place_cannot_steer_the_terminal(started: Cli) -> None:
    """The place of the find is shown as it was sent, as text: no escape sequence makes a link of it."""
    started.user()
    first, second = started.login(), started.login()
    started.do(lambda deps: report(deps, Caller(), [(first.access_token, HOSTILE), (second.access_token, URL)]))
    for arguments in (["token", "explain", first.session_id], ["token", "explain", second.session_id], ["audit"]):
        for options in ([], ["--json"]):
            out = started(*arguments, *options).stdout
            assert all(line.isprintable() for line in out.split("\n")), arguments
            assert "evil" not in out


EVERY_KIND = [tokens.new(kind).text for kind in Kind]
WORDED = tokens.new(Kind.KEY, word="acme").text


@pytest.mark.parametrize("word", ["", "acme"])
def test_the_expression_finds_every_kind(word: str) -> None:
    """Each kind of token is found as a whole, wherever it stands, and a key with its word."""
    pattern = re.compile(expression(word))
    for text in [*EVERY_KIND, WORDED] if word else EVERY_KIND:
        for around in (
            "{}",
            "x = '{}';",
            "Bearer {}\n",
            '{{"log": "a\\n{}\\nb"}}',
            "https://a.example/?token={}&b=1",
            "({})",
            "{}.",
        ):
            assert pattern.findall(around.format(text)) == [text], around


@pytest.mark.parametrize("word", ["", "acme"])
def test_the_expression_takes_nothing_else(word: str) -> None:
    """Neither a longer nor a shorter text, nor one with other characters."""
    pattern = re.compile(expression(word))
    for text in [*EVERY_KIND, WORDED]:
        for other in (
            text[:-1],
            text + "0",
            text[:-5] + "-" + text[-4:],
            text.upper(),
            text.replace("_", "-"),
            text + "_0",
        ):
            assert pattern.search(other) is None, other


def read_yaml(text: str) -> str:
    document = yaml.safe_load(text)
    if "detectors" in document:
        [detector] = document["detectors"]
        assert "verify" not in detector, "a scanner must not send live tokens anywhere"
        return str(detector["regex"]["token"])
    if "matchers" in document:
        [matcher] = document["matchers"]
        return str(matcher["pattern"]).removeprefix("(?P<token>").removesuffix(")")
    return str(document["Secret format"])


def read_toml(text: str) -> str:
    [rule] = tomllib.loads(text)["rules"]
    assert set(rule["keywords"]) == {f"{kind}_" for kind in Kind}
    return str(rule["regex"])


READERS: dict[str, Callable[[str], str]] = {
    "gitleaks": read_toml,
    "trufflehog": read_yaml,
    "github": read_yaml,
    "gitguardian": read_yaml,
}


@pytest.mark.parametrize("scanner", SCANNERS)
def test_each_scanner_has_a_rule_in_its_form(scanner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule has the expression with the word of AUTHSVC_KEY_PREFIX; the command asks no store."""
    monkeypatch.setenv("AUTHSVC_KEY_PREFIX", "acme")
    monkeypatch.setenv("AUTHSVC_REDIS_URL", "redis://127.0.0.1:1")
    ran = CliRunner().invoke(cli, ["patterns", "--for", scanner])
    assert ran.exit_code == OK
    assert READERS[scanner](ran.stdout) == expression("acme")


def test_the_bare_expression(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a scanner the expression alone is printed, for `grep -P` and the like."""
    assert CliRunner().invoke(cli, ["patterns"]).stdout == f"{expression()}\n"
    assert CliRunner().invoke(cli, ["patterns", "--for", "other"]).exit_code == MISUSED
    monkeypatch.setenv("AUTHSVC_KEY_PREFIX", "Acme!")
    assert CliRunner().invoke(cli, ["patterns"]).exit_code == MISUSED
