"""docs/logs.md lists every line of the log, and each line has the id of its request."""

import ast
import asyncio
import contextlib
import io
import json
import logging
import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from authsvc.core import token as tokens
from authsvc.core.event import Entry, Event
from authsvc.core.token import Kind
from authsvc.driver.redis_py import OnPrimary
from authsvc.errors import StoreUnavailable
from authsvc.logs import JsonLines, RequestId, TextLines, request_id
from authsvc.store.changes import Changes
from tests.conftest import PASSWORD, Service, bearer
from tests.edge.test_protocol import eventually

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "logs.md").read_text()
# The commands write for people. The SDK writes into the log of the program that uses it.
SERVICE = [
    path
    for path in sorted((ROOT / "authsvc").rglob("*.py"))
    if path.relative_to(ROOT / "authsvc").parts[0] not in ("cli", "sdk")
]
_LEVELS = {"info": "info", "warning": "warning", "error": "error", "exception": "error"}


def calls() -> Iterator[ast.Call]:
    for path in SERVICE:
        yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))


def written() -> set[tuple[str, str]]:
    """Message and level of each line that the code can write, except the lines of the trail and the access log."""
    found = set()
    for call in calls():
        match call.func:
            case ast.Attribute(value=ast.Name(id="log" | "logger"), attr=level) if level in _LEVELS:
                assert isinstance(call.args[0], ast.Constant), "a message that can't be listed"
                found.add((str(call.args[0].value), _LEVELS[level]))
    return found - {("%s", "info"), ("%s %s", "info")}


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_message_is_listed() -> None:
    """The page has exactly the messages of the code, each with its level."""
    rows = re.findall(r"^\| `(.+?)` \| (\w+) \|", section("What else may be written"), re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == written()


def test_every_event_is_listed() -> None:
    """The page has exactly the events of the audit trail, and each field of an entry."""
    rows = re.findall(r"^\| `([a-z_.]+)` \|", section("The audit trail"), re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == set(Event)
    for name in Entry.__struct_fields__:
        assert f"`{name}`" in PAGE


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """The log lines that the service would write to stderr."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.addFilter(RequestId())
    handler.setFormatter(JsonLines())
    root = logging.getLogger("authsvc")
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield out
    root.removeHandler(handler)
    root.setLevel(level)


def read(lines: io.StringIO) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    for line in found:
        assert set(line) <= {
            "at", "level", "logger", "message", "request_id", "traceback", *Entry.__struct_fields__,
        }  # fmt: skip
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["at"])
    return found


async def test_each_line_has_the_id_of_its_request(service: Service, lines: io.StringIO) -> None:
    """The answer, the log lines and the trail have the id of the request: the caller's own, or a new one."""
    await service.user()
    given = await service.http.post(
        "/login", json={"username": "ada", "password": PASSWORD}, headers={"X-Request-ID": "theirs-1"}
    )
    made = await service.http.post("/login", json={"username": "ada", "password": "not this one either"})
    assert given.headers["x-request-id"] == "theirs-1"
    told = {line["message"]: line.get("request_id") for line in read(lines)}
    assert told["login.succeeded"] == "theirs-1"
    assert told["login.failed"] == made.headers["x-request-id"]
    trail = (await service.http.get("/admin/audit", auth=service.admin)).json()["items"]
    assert {item["event"]: item.get("request_id") for item in trail if item["event"].startswith("login")} == {
        "login.succeeded": "theirs-1",
        "login.failed": made.headers["x-request-id"],
    }


async def test_lines_about_the_store_have_the_id_of_the_request(
    service: Service, valkey: "redis.Redis", lines: io.StringIO
) -> None:
    """A line about the store, written far below the routes, has the id of its request."""
    await service.user()
    valkey.config_set("maxmemory", 1)
    try:
        answer = await service.http.post("/login", json={"username": "ada", "password": PASSWORD})
        assert answer.status_code == 503
    finally:
        valkey.config_set("maxmemory", 0)
    ids = {line.get("request_id") for line in read(lines) if line["message"].startswith("store unavailable")}
    assert ids == {answer.headers["x-request-id"]}


async def test_overlapping_requests_keep_their_own_ids(service: Service, lines: io.StringIO) -> None:
    """When requests overlap, each line has the id of its own request."""
    await service.user()
    tokens = [(await service.login())["access_token"] for _ in range(8)]
    lines.seek(0)
    lines.truncate()
    await asyncio.gather(
        *(
            service.http.post("/logout", headers=bearer(token) | {"X-Request-ID": f"number-{number}"})
            for number, token in enumerate(tokens)
        )
    )
    ended = {line["session_id"]: line["request_id"] for line in read(lines) if line["message"] == "session.ended"}
    assert ended == {token[4:16]: f"number-{number}" for number, token in enumerate(tokens)}


async def test_shared_work_has_no_request_id(
    service: Service, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work that several requests share has no id: following the store, and joint lookups."""

    async def broken(*_: Any) -> None:
        raise OSError

    request_id.set("the-first")
    monkeypatch.setattr(OnPrimary, "connect", broken)
    with pytest.raises(StoreUnavailable):
        await service.deps.store.lookup.client("app")
    assert [line.get("request_id", "none") for line in read(lines)] == ["none"]
    monkeypatch.setattr(Changes, "_follow_once", broken)
    with contextlib.closing(service.deps.store.changes.subscribe()):
        await eventually(lambda: len(read(lines)) > 1)
    assert {line.get("request_id", "none") for line in read(lines)} == {"none"}


def test_a_line_outside_of_requests_has_no_id(lines: io.StringIO) -> None:
    """A line outside of requests has no field for the id."""
    request_id.set(None)
    logging.getLogger("authsvc.somewhere").warning("worker %s ended: replaced", 1)
    assert "request_id" not in read(lines)[0]


HOSTILE = 'a\n{"event":"login.succeeded"}\r\n\x1b[2J\u2028\u2029\x85\x00"\\'


async def test_one_event_is_one_line(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """Hostile names, devices and user agents leave each log line one JSON object on one line of ASCII."""
    caplog.set_level(logging.DEBUG)
    await service.user()
    for name in (HOSTILE, "ada"):
        body = {"username": name.replace("\0", ""), "password": "a walk by the river", "device": "phone"}
        agent = HOSTILE.encode().replace(b"\n", b"").replace(b"\r", b"").replace(b"\0", b"")
        await service.http.post("/login", json=body, headers=[(b"User-Agent", agent)])
    assert {record.getMessage() for record in caplog.records} >= {"login.failed", "login.succeeded"}
    for record in caplog.records:
        assert_one_line(JsonLines().format(record))


@pytest.mark.parametrize("text", [HOSTILE, "%s", "%(x)s", "\ud800", "é", ""])
def test_one_record_is_one_line(text: str) -> None:
    """A hostile message, extra field or traceback leaves the line one JSON object on one line, too."""
    record = logging.LogRecord("authsvc", logging.WARNING, __file__, 1, "message %s", (text,), None)
    record.fields = {"event": text, "details": {text: [text]}}
    line = assert_one_line(JsonLines().format(record))
    assert line["event"] == text
    assert line["message"] == f"message {text}"
    try:
        raise ValueError(text)
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    assert "ValueError" in assert_one_line(JsonLines().format(record))["traceback"]


@pytest.mark.parametrize("text", [HOSTILE, "%s", "\ud800", "é", ""])
def test_a_line_for_people_is_one_line(text: str) -> None:
    """In text, hostile messages and fields stay on their line, and a traceback is indented."""
    record = logging.LogRecord("authsvc", logging.WARNING, __file__, 1, "message %s", (text,), None)
    record.fields = {"sub": text, "details": {text: [text]}, "client_id": "app"}
    line = TextLines().format(record)
    assert re.match(r"\d\d:\d\d:\d\d warning message ", line)
    assert line.isprintable()
    assert line.endswith("  client_id=app")
    try:
        raise ValueError(text)
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    first, *traceback = TextLines().format(record).split("\n")
    assert first == line
    assert any("ValueError" in one for one in traceback)
    assert all(one.startswith("  ") and one.isprintable() for one in traceback)


def test_an_event_for_people_has_its_name_once() -> None:
    """The name of an event is the message of its line, and what is not known is left out."""
    record = logging.LogRecord("authsvc.audit", logging.INFO, __file__, 1, "%s", ("user.created",), None)
    record.fields = {"event": "user.created", "actor": "operator", "reason": None, "user_agent": "curl/8 (x)"}
    assert (
        TextLines().format(record).partition(" info    ")[2] == 'user.created  actor=operator  user_agent="curl/8 (x)"'
    )


def assert_one_line(line: str) -> dict[str, Any]:
    assert line.isascii()
    assert line.isprintable()
    parsed: dict[str, Any] = json.loads(line)
    assert parsed["at"].endswith("Z")
    return parsed


@pytest.mark.parametrize("before", ["Basic ", "basic   ", "Basic\t"])
def test_credentials_are_masked(before: str) -> None:
    """The text of an unexpected exception may hold a token or an Authorization field. The log shows neither."""
    secret = tokens.new(Kind.SECRET)
    basic = b64encode(f"orders:{secret.text}".encode()).decode()
    try:
        raise RuntimeError(f"b'{before}{basic}' {secret.text}")
    except RuntimeError as error:
        info = (RuntimeError, error, error.__traceback__)
    record = logging.LogRecord("authsvc", logging.ERROR, "", 0, "failed: %s", (secret.text,), info)
    for line in (JsonLines().format(record), TextLines().format(record)):
        assert secret.handle in line
        assert secret.text[16:] not in line
        assert basic not in line
