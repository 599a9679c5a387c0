"""Missing and unreadable records decide nothing: the token is neither active nor inactive."""

import re

import pytest
import redis

from authsvc.driver.timeouts import Timeouts
from tests.conftest import PATIENT
from tests.outages.world import BY_NAME, CALLS, World, difference, save, state_of
from tests.selection import one_in

GARBAGE = [b"", b"{", b"null", b"[]", b"{}", b"\xff\xfe", b'{"sub": 1}', b'"a string"']


@pytest.fixture
def timeouts() -> Timeouts:
    """Only records are damaged here, so the store may be late on a busy machine."""
    return PATIENT


async def test_an_emptied_store_is_no_logout(world: World, valkey: "redis.Redis") -> None:
    """After FLUSHALL every call is answered 503, and no token is called inactive."""
    valkey.flushall()
    for call in CALLS:
        answer = await call.make(world)
        assert answer.status_code == 503, f"{call.name}: {answer.text}"
        assert answer.headers["Retry-After"] == "1"


async def test_without_the_service_record_nobody_knows(world: World, valkey: "redis.Redis") -> None:
    """Without the service record there is no cut-off to compare with: every call that needs it is 503."""
    valkey.delete("service")
    for name in (
        "introspect",
        "introspect many",
        "introspect an idle session",
        "refresh",
        "reuse",
        "log in",
        "log in, unknown user",
        "issue",
        "issue again",
        "log out",
        "who am I",
        "my sessions",
        "end others",
        "end all",
        "end one",
        "change the password",
        "a user's sessions",
        "revoke all",
        "ready?",
    ):
        answer = await BY_NAME[name].make(world)
        assert answer.status_code == 503, f"{name}: {answer.status_code} {answer.text}"
        assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize("garbage", one_in(3, GARBAGE))
@pytest.mark.parametrize("kind", ["session", "user", "client", "service"])
async def test_an_unreadable_record_decides_nothing(
    world: World, valkey: "redis.Redis", kind: str, garbage: bytes
) -> None:
    """A call that needs an unreadable record is 503, never active, inactive or 500."""
    key = {
        "session": f"session:{world.phone['session_id']}",
        "user": f"user:{{{world.ada}}}",
        "client": "client:app",
        "service": "service",
    }[kind]
    valkey.set(key, garbage)
    for name in ("introspect", "introspect many", "who am I", "log out", "refresh", "my sessions", "end others"):
        answer = await BY_NAME[name].make(world)
        assert answer.status_code == 503, f"{name}: {answer.status_code} {answer.text}"
    if kind in ("user", "client", "service"):
        assert (await BY_NAME["log in"].make(world)).status_code == 503
    assert valkey.get(key) == garbage, "nobody writes over what nobody can read"


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_unreadable_credentials_open_nothing(world: World, valkey: "redis.Redis", garbage: bytes) -> None:
    """A login is 503, with the right password and with a wrong one."""
    valkey.set(f"credentials:{{{world.ada}}}", garbage)
    # An empty object is readable: credentials without a password, which no password opens.
    expected = 401 if garbage in (b"{}", b'{"sub": 1}') else 503
    for name in ("log in", "log in, wrong password"):
        assert (await BY_NAME[name].make(world)).status_code == expected
    assert (await world.login("old")).status_code == 200, "others are not concerned"


DIGEST = re.compile(rb'"(tok|ref|access|refresh|digest)":"[^"]+"')


@pytest.mark.parametrize("damage", ["é" * 27, "A" * 26, "A" * 28, "", "\U0001f600" * 27])
@pytest.mark.parametrize("kind", ["session", "client", "code"])
async def test_a_damaged_digest_decides_nothing(world: World, valkey: "redis.Redis", kind: str, damage: str) -> None:
    """A digest of another length or alphabet is 503 at every call that compares it, and never a 500."""
    key = {
        "session": f"session:{world.phone['session_id']}",
        "client": f"client:{world.admin[0]}",
        "code": f"code:{world.reset_code[4:16]}",
    }[kind]
    record = valkey.get(key)
    assert isinstance(record, bytes)
    damaged, count = DIGEST.subn(lambda found: b'"%s":"%s"' % (found[1], damage.encode()), record)
    assert count
    valkey.set(key, damaged)
    names = {
        "session": ("introspect", "introspect many", "who am I", "log out", "refresh"),
        "client": ("introspect", "introspect many"),
        "code": ("reset the password",),
    }[kind]
    for name in names:
        answer = await BY_NAME[name].make(world)
        assert answer.status_code == 503, f"{name}: {answer.status_code} {answer.text}"
    assert valkey.get(key) == damaged


async def test_records_of_another_type(world: World, valkey: "redis.Redis") -> None:
    """A key of another type (WRONGTYPE) is 503, too, or no record where MGET reads it."""
    key = f"session:{world.phone['session_id']}"
    valkey.delete(key)
    valkey.lpush(key, "no", "record")
    for name in ("log out", "who am I", "refresh", "revoke by token"):
        answer = await BY_NAME[name].make(world)
        assert answer.status_code in (400, 401, 503), f"{name}: {answer.text}"


async def test_replies_for_another_key_are_noticed(world: World, valkey: "redis.Redis") -> None:
    """If the records of two users are exchanged, as by mixed-up replies (CVE-2023-28858), both tokens are 503."""
    first, second = f"user:{{{world.ada}}}", f"user:{{{world.root}}}"
    ada, root = valkey.get(first), valkey.get(second)
    assert ada is not None
    assert root is not None
    valkey.mset({first: root, second: ada})
    for name in ("introspect", "who am I", "introspect many"):
        assert (await BY_NAME[name].make(world)).status_code == 503


async def test_the_snapshot_tells_what_happened(world: World, valkey: "redis.Redis") -> None:
    """Control: `difference` sees an ended session, a changed role, a moved name, and nothing between equal states."""
    old = state_of(valkey)
    assert difference(old, state_of(valkey)) == []
    await BY_NAME["log out"].make(world)
    await BY_NAME["rename"].make(world)
    handle = world.phone["session_id"]
    seen = difference(old, state_of(valkey))
    assert f"- session:{handle}" in seen
    assert "- login:ada" in seen
    assert any(line.startswith("+ login:lovelace") for line in seen)
    assert any("Lovelace" in line for line in seen)
    assert save(valkey)
