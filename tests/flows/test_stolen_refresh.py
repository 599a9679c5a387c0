"""A thief with a copied pair of tokens, or with a copy of the store: what the thief gets, and what ends the session."""

import asyncio
import base64
import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator, Iterator
from itertools import product

import pytest
import redis

from authsvc.composition import open_deps
from authsvc.core import refresh_token as refresh_tokens
from authsvc.core import token as tokens
from authsvc.core.event import Event
from authsvc.core.grace import MAX_NOTED
from authsvc.core.token import Kind
from authsvc.errors import InvalidGrant
from authsvc.flows import revoke
from authsvc.flows.deps import OPERATOR, Caller
from authsvc.flows.grants import Grant
from authsvc.flows.password import change_password
from authsvc.settings import Settings
from authsvc.store import keys
from tests.conftest import CHEAP, PASSWORD, PATIENT, Clock, Service
from tests.flows.conftest import HERE, World, world_of
from tests.flows.contents import expire, texts
from tests.selection import slow

GRACE_S = 10
THIEF = Caller(ip="203.0.113.66", user_agent="the thief", request_id="r-2")
NEW = "seven quiet herons wading"


async def refused(world: World, token: str | None, caller: Caller = HERE) -> None:
    with pytest.raises(InvalidGrant):
        await world.refresh(token, caller=caller)


async def rotated(world: World, grant: Grant, times: int) -> Grant:
    for _ in range(times):
        grant = await world.refresh(grant.refresh_token, caller=THIEF)
    return grant


@pytest.mark.parametrize("rotations", [1, 32, 33, 34, slow(100), slow(1000)])
async def test_the_owner_s_token_ends_the_session_of_a_thief(world: World, clock: Clock, rotations: int) -> None:
    """However often a thief refreshes, the owner's next refresh is reuse and ends the session of both."""
    await world.user()
    owner = await world.login()
    thief = await rotated(world, owner, rotations)
    clock.forward(GRACE_S)
    assert await world.alive(thief)
    await refused(world, owner.refresh_token)
    assert not await world.alive(thief)
    last = (await world.events())[-1]
    assert (last.event, last.reason, last.session_id) == ("token.reused", "spent", owner.session_id)


@pytest.mark.parametrize("age", [1, 20, 40])
async def test_a_spent_token_of_any_age_revokes_its_session(service: Service, age: int) -> None:
    """`POST /revoke` with any refresh token that the session ever issued ends it (RFC 7009 section 2.1)."""
    await service.user()
    issued = [await service.login()]
    for _ in range(40):
        issued.append((await service.refresh(issued[-1]["refresh_token"])).json())
    forged = tokens.new(Kind.REFRESH, issued[0]["session_id"]).text
    for token, active in ((forged, True), (issued[-1 - age]["refresh_token"], False)):
        answer = await service.http.post("/revoke", data={"token": token, "client_id": "app"})
        assert answer.status_code == 200
        assert await service.active(issued[-1]["access_token"]) is active


async def test_forged_tokens_end_nothing(world: World, valkey: "redis.Redis") -> None:
    """A stranger who knows the handle ends no session, with a thousand secrets at `/token` and at `/revoke`."""
    await world.user()
    grant = await world.refresh((await world.login()).refresh_token)
    session, grace = keys.session(grant.session_id), grace_of(grant)
    assert valkey.exists(session, grace) == 2
    before = (valkey.get(session), valkey.get(grace))
    genuine = tokens.parse(grant.refresh_token or "")
    assert genuine is not None
    secrets = [genuine.secret ^ 1 << bit for bit in range(160)]
    forged = [tokens.assemble(Kind.REFRESH, grant.session_id, secret) for secret in secrets]
    forged += [refresh_tokens.new(tokens.new_seed(), grant.session_id) for _ in range(840)]
    for token in forged:
        await refused(world, token.text, THIEF)
        await revoke.revoke_token(world.deps, OPERATOR, None, token.text)
    assert (valkey.get(session), valkey.get(grace)) == before
    assert await world.alive(grant)


async def test_a_password_change_forgets_no_token(world: World) -> None:
    """A token from before a password change is reuse after it, even within its grace."""
    await world.user()
    first = await world.login()
    second = await world.refresh(first.refresh_token)
    for stolen in (first, second):
        me = await world.me(second)
        changed = await change_password(world.deps, HERE, me, PASSWORD, NEW)
        await change_password(world.deps, HERE, await world.me(changed), NEW, PASSWORD)
        await refused(world, stolen.refresh_token, THIEF)
        assert not await world.alive(changed)
        first = await world.login()
        second = await world.refresh(first.refresh_token)


@pytest.fixture
async def second_worker(world: World, valkey_url: str, settings: Settings, clock: Clock) -> AsyncIterator[World]:
    async with open_deps(settings, valkey_url, clock, timeouts=PATIENT) as deps:
        yield await world_of(deps)


async def test_owner_and_thief_at_once(world: World, second_worker: World) -> None:
    """If owner and thief present one token at the same moment, both get one pair. The slower one ends the session."""
    await world.user()
    for _ in range(10):
        grant = await world.login()
        owner, thief = await asyncio.gather(
            world.refresh(grant.refresh_token), second_worker.refresh(grant.refresh_token, caller=THIEF)
        )
        assert owner == thief
        await rotated(second_worker, thief, 2)
        await refused(world, owner.refresh_token)
        assert not await world.alive(owner)


# A copy of the store.


def candidates(valkey: "redis.Redis") -> set[str]:
    """Every text in the store that may be a secret: each string of each JSON record, and each whole value."""
    found = {text.decode("utf-8", "replace") for text in texts(valkey)}
    for text in list(found):
        found |= set(re.findall(r"[0-9A-Za-z_-]{12,64}", text))
    return found


def derived(seeds: set[str], spent: str, handle: str) -> Iterator[str]:
    """The tokens that this version and earlier ones would derive from a spent one, with anything as seed.

    The derivation is written down here once more, so that the test does not depend on the code that it attacks.
    """
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    for seed, kind in product(seeds, ("tok", "ref")):
        number = int.from_bytes(hmac.digest(seed.encode(), f"{spent}\n{kind}".encode(), hashlib.sha256))
        numbers = [number % 62**27]
        if kind == "ref":
            random = number % (62**27 // 2**48)
            for key in seeds:
                mac = hmac.digest(key.encode(), f"genuine\n{handle}\n{random}".encode(), hashlib.sha256)[:6]
                numbers.append(random * 2**48 + int.from_bytes(mac))
        for value in numbers:
            secret = ""
            for _ in range(27):
                value, digit = divmod(value, 62)
                secret = alphabet[digit] + secret
            yield f"{kind}_{handle}{secret}"


def living(valkey: "redis.Redis", handle: str) -> set[str]:
    """The digests of the tokens that the session accepts now."""
    record = json.loads(valkey.get(keys.session(handle)) or b"{}")
    return {record["tok"], record["ref"]}


def digest_of(body: str) -> str:
    """The stored form of the token whose text begins like this."""
    token = tokens.assemble(Kind(body[:3]), body[4:16], tokens.Token(body + "000000", Kind(body[:3]), "").secret)
    return base64.b64encode(hashlib.sha256(token.text.encode()).digest()).decode()[:27]


async def test_a_copy_of_the_store_and_a_spent_token_derive_nothing(
    world: World, valkey: "redis.Redis", clock: Clock
) -> None:
    """Once the grace is over, no text in the whole store turns a spent token into a token in use.

    Within the grace it does: that is what a repeated answer is made from, and it shows that the test finds it.
    """
    await world.user()
    grant = await world.login()
    for _ in range(3):
        spent, grant = grant, await world.refresh(grant.refresh_token)
    for seconds, found in ((0, True), (GRACE_S + 60, False)):  # the store counts the grace by its own clock
        clock.forward(seconds)
        expire(valkey, clock())
        digests = {digest_of(body) for body in derived(seeds(valkey), spent.refresh_token or "", grant.session_id)}
        assert bool(digests & living(valkey, grant.session_id)) is found
    assert await world.alive(grant)


def seeds(valkey: "redis.Redis") -> set[str]:
    return {text for text in candidates(valkey) if len(text) <= 64}


async def test_the_seed_of_a_rotation_is_gone_when_its_grace_is_over(world: World, valkey: "redis.Redis") -> None:
    """The key has its TTL from birth, by the store's own clock, and a repeat does not prolong it."""
    await world.user()
    first = await world.login()
    key = grace_of(await world.refresh(first.refresh_token))
    ends = int(valkey.pexpiretime(key))
    seconds, microseconds = valkey.time()
    assert 0 < ends - (seconds * 1000 + microseconds // 1000) <= GRACE_S * 1000
    await world.refresh(first.refresh_token)
    assert abs(int(valkey.pexpiretime(key)) - ends) < 1000


async def test_a_session_and_its_grace_share_a_slot(world: World, valkey: "redis.Redis") -> None:
    """The grace is on the hash slot of its session, whatever the handle."""
    for handle in (tokens.new_handle() for _ in range(50)):
        both = (keys.session(handle), keys.grace(handle, "digest"))
        assert len({valkey.execute_command("CLUSTER", "KEYSLOT", key) for key in both}) == 1


def grace_of(grant: Grant) -> str:
    """The key of the grace of the refresh that issued these tokens."""
    return keys.grace(grant.session_id, tokens.digest(grant.refresh_token or ""))


class TestStrict:
    """With a grace of 0."""

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(**CHEAP | {"refresh_grace_s": 0})

    async def test_nothing_is_kept_to_repeat_an_answer(self, world: World, valkey: "redis.Redis") -> None:
        """No key holds the seed of the rotation, not even for a moment, and the second use ends the session."""
        await world.user()
        first = await world.login()
        second = await world.refresh(first.refresh_token)
        assert not valkey.exists(grace_of(second))
        found = {digest_of(body) for body in derived(seeds(valkey), first.refresh_token or "", first.session_id)}
        assert not found & living(valkey, first.session_id)
        await refused(world, first.refresh_token)
        assert not await world.alive(second)


# Riding on the grace.


async def used(world: World, grant: Grant) -> None:
    """The holder of a grant uses the access token once."""
    await world.me(grant)
    await world.deps.store.sessions.finish()


async def test_a_thief_who_rides_on_the_grace_ends_the_session(world: World) -> None:
    """A thief who repeats the owner's refresh after the owner used the new pair gets nothing and ends the session."""
    await world.user()
    first = await world.login()
    owner = await world.refresh(first.refresh_token)
    await used(world, owner)
    await refused(world, first.refresh_token, THIEF)
    assert not await world.alive(owner)
    last = (await world.events())[-1]
    assert (last.event, last.ip, last.user_agent) == ("token.reused", THIEF.ip, THIEF.user_agent)
    assert last.reason == "spent, and repeated from elsewhere"


@pytest.mark.parametrize(
    ("ip", "user_agent", "gets_it"),
    [
        ("192.0.2.1", "a test", True),
        ("192.0.2.254", "a test", True),
        ("192.0.2.1", "another", False),
        ("192.0.2.1", None, False),
        ("192.0.3.1", "a test", False),
        (None, "a test", False),
        ("::ffff:192.0.2.9", "a test", True),
    ],
)
async def test_two_tabs_still_work(world: World, ip: str | None, user_agent: str | None, gets_it: bool) -> None:
    """After the first use, a repeat gets the pair only from the same network and user agent."""
    await world.user()
    first = await world.login()
    owner = await world.refresh(first.refresh_token)
    await used(world, owner)
    tab = Caller(ip=ip, user_agent=user_agent)
    if gets_it:
        assert await world.refresh(first.refresh_token, caller=tab) == owner
    else:
        await refused(world, first.refresh_token, tab)
    assert await world.alive(owner) is gets_it


@pytest.mark.parametrize(
    ("at", "again", "gets_it"),
    [
        ("2001:db8:0:1100::1", "2001:db8:0:11ff::2", True),
        ("2001:db8:0:1100::1", "2001:db8:0:1200::1", False),
    ],
)
async def test_the_network_of_ipv6_is_a_56(world: World, at: str, again: str, gets_it: bool) -> None:
    """A device that changes its address within the /56 of its line still gets its pair again."""
    await world.user()
    first = await world.login()
    owner = await world.refresh(first.refresh_token, caller=Caller(ip=at))
    await used(world, owner)
    if gets_it:
        assert await world.refresh(first.refresh_token, caller=Caller(ip=again)) == owner
    else:
        await refused(world, first.refresh_token, Caller(ip=again))


async def test_a_phone_that_lost_the_answer_gets_it_from_anywhere(world: World, clock: Clock) -> None:
    """Before the first use a repeat gets the pair from another network. It is in the trail with its address."""
    await world.user()
    first = await world.login()
    lost = await world.refresh(first.refresh_token)
    clock.forward(GRACE_S - 1)
    elsewhere = Caller(ip="198.51.100.1", user_agent="a test")
    again = await world.refresh(first.refresh_token, caller=elsewhere)
    assert (again.access_token, again.refresh_token) == (lost.access_token, lost.refresh_token)
    last = (await world.events())[-1]
    assert (last.event, last.ip, last.session_id) == ("token.repeated", elsewhere.ip, first.session_id)


async def test_the_copied_pair_is_no_sign_of_an_arrived_answer(world: World) -> None:
    """Only the new tokens show that the answer arrived. The previous access token still works, and shows nothing.

    Else a thief who holds it could turn the owner's retry from another network into reuse.
    """
    await world.user()
    first = await world.login()
    lost = await world.refresh(first.refresh_token)
    await used(world, first)
    again = await world.refresh(first.refresh_token, caller=Caller(ip="198.51.100.1"))
    assert (again.access_token, again.refresh_token) == (lost.access_token, lost.refresh_token)


async def test_each_refresh_has_a_first_use_of_its_own(world: World) -> None:
    """A noted use of one pair says nothing about the next one."""
    await world.user()
    first = await world.login()
    second = await world.refresh(first.refresh_token)
    await used(world, second)
    third = await world.refresh(second.refresh_token)
    assert await world.refresh(second.refresh_token, caller=THIEF) == third
    await used(world, third)
    await refused(world, second.refresh_token, THIEF)


async def test_the_owner_is_at_home_where_the_refresh_succeeded(world: World) -> None:
    """A thief who got the pair in time does not become its owner: the owner's repeat still gets it, the thief's not."""
    await world.user()
    first = await world.login()
    owner = await world.refresh(first.refresh_token)
    thief = await world.refresh(first.refresh_token, caller=THIEF)
    await used(world, thief)
    assert await world.refresh(first.refresh_token) == owner
    await refused(world, first.refresh_token, THIEF)


async def test_repeats_are_counted_and_the_trail_keeps_a_few(world: World) -> None:
    """Every repeat raises the metric. The audit trail keeps four of each refresh, so that nobody washes it out."""
    await world.user()
    first = await world.login()
    await world.refresh(first.refresh_token)
    counted: list[str] = []
    count_event = world.deps.metrics.count_event

    def counting(event: Event, outcome: str, reason: str | None, token_use: str | None = None) -> None:
        counted.append(event)
        count_event(event, outcome, reason, token_use)

    world.deps.metrics.count_event = counting  # type: ignore[method-assign]
    await asyncio.gather(*[world.refresh(first.refresh_token) for _ in range(30)])
    assert counted == ["token.repeated"] * 30
    assert [entry.event for entry in await world.events()].count("token.repeated") == MAX_NOTED


async def test_a_forged_token_waits_for_no_change_of_the_session(world: World) -> None:
    """A flood of forged tokens cannot delay the owner's refresh: it does not join the queue of the session."""
    await world.user()
    grant = await world.login()
    async with world.deps.store.sessions._turns.of(keys.session(grant.session_id)):
        await refused(world, refresh_tokens.new(tokens.new_seed(), grant.session_id).text, THIEF)
