"""Two versions share a store: a write keeps what only the newer version knows, and refuses its newer formats."""

import json
import logging
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core.client import Client
from authsvc.core.grace import Previous
from authsvc.core.issuing import reissue_tokens
from authsvc.core.record import FORMAT, Record, Service
from authsvc.core.rotation import Attempt, rotate
from authsvc.core.session import Session
from authsvc.core.throttle import PER_ACCOUNT, Attempts
from authsvc.core.user import Credentials, ResetCode, User
from authsvc.driver.connection import Connection
from authsvc.errors import CorruptRecord, FormatNotAllowed, NewerFormat
from authsvc.flows.deps import Deps
from authsvc.store import encoding, keys
from authsvc.store.encoding import Encoder, load, load_to_change
from tests.core.examples import HANDLE, LIFETIMES, NOW, a_client, a_user, begun, refresh_of

NEWER = FORMAT + 1
MEMBERS = {"brand_new": {"nested": [1, {"deep": None}]}, "another": "text"}


def stored(record: Record, **members: Any) -> bytes:
    """The record as a newer version stores it, with members that this version does not know."""
    known: dict[str, Any] = json.loads(record.to_json())
    return json.dumps(known | members).encode()


async def written(connection: Connection, record: Record, old: Record) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(await Encoder(connection).encode(record, instead_of=old))
    return members


@pytest.fixture
def connection(deps: Deps) -> Connection:
    return deps.store.connection


def every_change() -> list[Any]:
    session, pair = begun()
    user, client, service = a_user(), a_client(), Service(epoch=NOW * 1000)
    at, refresh = NOW + 100, refresh_of(pair)
    attempt = Attempt(at, access_ttl_s=900, grace_s=10)
    return [
        pytest.param(session, lambda held: held.touched(at), id="a use is noted"),
        pytest.param(session, lambda held: rotate(held, None, refresh, attempt).session, id="a refresh"),
        pytest.param(
            session, lambda held: reissue_tokens(held, HANDLE, now=at, lifetimes=LIFETIMES)[0], id="new tokens"
        ),
        pytest.param(user, lambda held: held.changed(roles=("editor",)), id="roles"),
        pytest.param(user, lambda held: held.cut_off(at, status="suspended"), id="suspended"),
        pytest.param(user, lambda held: held.but(username="grace", renaming_to=None), id="renamed"),
        pytest.param(client, lambda held: held.with_secret("s" * 43, at, 60), id="a secret is rotated"),
        pytest.param(client, lambda held: held.cut_off(at), id="a client is cut off"),
        pytest.param(service, lambda held: held.cut_off(at), id="all is cut off"),
        pytest.param(service, lambda held: held.with_format(2), id="the format is raised"),
        pytest.param(Credentials(hash="h"), lambda _: Credentials(hash="other"), id="credentials made afresh"),
        pytest.param(ResetCode(sub="u", digest="d", until=NOW), lambda held: held.but(by_admin=True), id="a code"),
    ]


@pytest.mark.parametrize(("record", "change"), every_change())
async def test_a_change_keeps_unknown_members(connection: Connection, record: Record, change: Any) -> None:
    """Every change of every kind of record writes the members that this version does not know as they were."""
    old = load_to_change(type(record), stored(record, **MEMBERS))
    assert MEMBERS.items() <= (await written(connection, change(old), old)).items()


async def test_attempts_keep_unknown_members(connection: Connection) -> None:
    """An attempt that is counted and judged keeps them, too."""
    old = load_to_change(Attempts, stored(Attempts(count=1, last=NOW, until=NOW + 60), **MEMBERS))
    new = old.counted(PER_ACCOUNT, NOW + 1).judged(PER_ACCOUNT, right=False)
    assert MEMBERS.items() <= (await written(connection, new, old)).items()


async def test_members_of_a_nested_object_stay_with_it(connection: Connection) -> None:
    """A rotated client secret keeps its unknown members at its new place, and the new secret gets none of them."""
    client = a_client().with_secret("a" * 43, NOW, 0)
    members = json.loads(client.to_json())
    members["secrets"][0]["kind"] = "hardware"
    old = load_to_change(Client, json.dumps(members).encode())
    new, last = (await written(connection, old.with_secret("b" * 43, NOW, 60), old))["secrets"]
    assert last["kind"] == "hardware"
    assert last["until"] == NOW + 60
    assert "kind" not in new


async def test_the_previous_tokens_keep_unknown_members(connection: Connection) -> None:
    """Noting a use of a session leaves the object with its previous tokens as it was."""
    previous = Previous(access="a", refresh="r", until=NOW, access_until=NOW)
    members = json.loads(begun()[0].but(previous=previous).to_json())
    members["previous"]["bound_to"] = "key"
    old = load_to_change(Session, json.dumps(members).encode())
    assert (await written(connection, old.touched(NOW + 1), old))["previous"] == members["previous"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(claims=st.dictionaries(st.text(max_size=3) | st.just("?"), JSON, max_size=3), unknown=JSON)
def test_claims_are_data(claims: dict[str, Any], unknown: Any) -> None:
    """Claims are written as they are, whatever their names, beside any unknown member."""
    raw = stored(a_user(claims=claims), brand_new=unknown)
    old = load_to_change(User, raw)
    members = json.loads(encoding._with_members_of(old.changed(roles=("a",))))
    assert members.get("claims", {}) == claims
    assert members["brand_new"] == unknown


def test_no_repr_shows_unknown_members() -> None:
    """An unknown member may be a secret, so its name and value stay out of a repr."""
    for record in (a_user(), a_client(), begun()[0], Credentials(hash="h")):
        shown = repr(load_to_change(type(record), stored(record, **MEMBERS)))
        assert "brand_new" not in shown
        assert "deep" not in shown


def test_only_a_change_reads_unknown_members() -> None:
    """Reading for any other purpose leaves them out, so a lookup pays nothing for them."""
    assert load(User, stored(a_user(), **MEMBERS)).unknown is None


@pytest.mark.parametrize("record", [a_user(), a_client(), begun()[0], Credentials(hash="h"), Service(epoch=1)])
def test_a_newer_format_is_refused(record: Record, caplog: pytest.LogCaptureFixture) -> None:
    """A record of a newer format is never decoded, also where it would parse, and the log says what to do, once."""
    encoding._log_newer.cache_clear()
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            with pytest.raises(NewerFormat) as refused:
                load(type(record), stored(record, v=NEWER))
    assert (refused.value.found, refused.value.understood) == (NEWER, FORMAT)
    assert [entry.getMessage() for entry in caplog.records] == [
        f"refused a record of format {NEWER}: this version understands up to {FORMAT}, run a newer one"
    ]


def test_a_newer_format_that_does_not_parse_is_no_damage() -> None:
    """A newer format may lack what this version requires: the operator is told of the format, and of no damage."""
    with pytest.raises(NewerFormat):
        load(User, b'{"v":%d}' % NEWER)
    for raw in (b'{"v":"x"}', b'{"v":0}', b"{}", b"nonsense", b'{"v":%d' % NEWER, b"\xff"):
        with pytest.raises(CorruptRecord):
            load(User, raw)


class NewerUser(User, frozen=True, kw_only=True, omit_defaults=True):
    """A user of the next version: `ward` is a field that an older version must not ignore."""

    v: Annotated[int, msgspec.Meta(ge=1, le=NEWER)] = 1
    ward: str | None = None

    def needs_format(self) -> int:
        return NEWER if self.ward else 1


async def test_a_newer_format_is_written_once_the_store_allows_it(deps: Deps) -> None:
    """A record in a newer format is refused until an operator has raised the store's format to it."""
    encoder = Encoder(deps.store.connection)
    plain = NewerUser(sub="u", epoch=1, created_at=1)
    with pytest.raises(FormatNotAllowed) as refused:
        await encoder.encode(plain.but(ward="w"))
    assert (refused.value.needed, refused.value.allowed) == (NEWER, FORMAT)
    assert "v" not in json.loads(await encoder.encode(plain))
    await deps.store.service.change(lambda service: service.with_format(NEWER))
    assert json.loads(await encoder.encode(plain.but(ward="w")))["v"] == NEWER
    assert "v" not in json.loads(await encoder.encode(plain.but(v=NEWER))), "a record takes no more than it needs"


async def test_a_refused_format_changes_nothing(deps: Deps, dump: Any) -> None:
    """A change of a record in a newer format is refused before anything is written."""
    raw = stored(a_user(), v=NEWER, ward="w")
    await deps.store.connection.create(keys.user("u1"), raw)
    before = dump()
    with pytest.raises(NewerFormat):
        await deps.store.users.change("u1", lambda user: user.changed(roles=("admin",)))
    with pytest.raises(NewerFormat):
        await deps.store.users.swap_both("u1", lambda user, credentials: (user, credentials))
    assert dump() == before
