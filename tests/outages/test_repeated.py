"""A client that got 503 may repeat the call."""

import re
from typing import Any

import httpx
import pytest
import redis

from authsvc.driver.timeouts import Timeouts
from tests.conftest import PATIENT
from tests.outages.proxy import Fault, Plan, Proxy
from tests.outages.world import BY_NAME, World, difference, restore, save, state_of
from tests.selection import one_in

# The answers that a repeated call may also get, if the first one worked.
REPEATABLE: dict[str, set[int]] = {
    "refresh": set(),
    "revoke by token": set(),
    "revoke by session": set(),
    "revoke one's own": set(),
    "log out": {401},
    "end one": {404},
    "create a user": {409},
    "rename": set(),
    "rename and suspend": set(),
    "rename to a name that is taken": set(),
    "delete a user": {404},
    "delete a client": {404},
    "reset the password": {400},
}


@pytest.fixture
def timeouts() -> Timeouts:
    """Faults break connections here and nothing hangs, so the store may be late on a busy machine."""
    return PATIENT


@pytest.mark.parametrize("name", one_in(20, REPEATABLE))
async def test_repeating_what_failed_completes_it(world: World, proxy: Proxy, valkey: "redis.Redis", name: str) -> None:
    """After 503 at any command, the repeated call leads to the same state as one call that works."""
    call = BY_NAME[name]
    snapshot, old = save(valkey), state_of(valkey)
    proxy.arm()
    await call.make(world)
    await world.deps.store.sessions.finish()
    new, length = difference(old, state_of(valkey)), len(proxy.commands)
    for at in range(1, length + 1):
        for fault in (Fault.CUT, Fault.LOST):
            restore(valkey, snapshot)
            proxy.arm(Plan(fault, at, Fault.CUT))
            if (await call.make(world)).status_code != 503:
                continue
            await world.deps.store.sessions.finish()
            proxy.arm()
            again = await call.make(world)
            if again.status_code == 503:  # the unfinished user of the first call has yet to expire
                assert name == "create a user"
                unfinished = [key for key in valkey.scan_iter("*{*}") if valkey.type(key) == b"string"]
                assert [valkey.pexpire(key, 1) for key in unfinished if 0 < valkey.pttl(key) <= 10_000]
                again = await call.make(world)
            await world.deps.store.sessions.finish()
            hit = f"{fault.name} at {at} of {proxy.commands}: {again.text}"
            assert again.status_code in {call.usual} | REPEATABLE[name], hit
            assert _unversioned(difference(old, state_of(valkey))) == _unversioned(new), hit


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.LOST])
async def test_a_refresh_can_be_repeated(world: World, proxy: Proxy, valkey: "redis.Redis", fault: Fault) -> None:
    """A refresh that failed at any command and is repeated with the same token gives one pair. The session lives on."""
    snapshot, token = save(valkey), world.phone["refresh_token"]
    proxy.arm()
    await world.refresh(token)
    for at in range(1, len(proxy.commands) + 1):
        restore(valkey, snapshot)
        proxy.arm(Plan(fault, at, Fault.CUT))
        broken = await world.refresh(token)
        proxy.arm()
        repeated, third = await world.refresh(token), await world.refresh(token)
        pair = _pair(repeated)
        assert _pair(third) == pair
        assert broken.status_code == 503 or _pair(broken) == pair
        assert await world.active(pair[0])
        assert (await world.refresh(pair[1])).status_code == 200


class TestStrict:
    @pytest.fixture
    def grace_s(self) -> int:
        return 0

    async def test_a_lost_store_reply_is_no_reuse(self, world: World, proxy: Proxy, valkey: "redis.Redis") -> None:
        """A swap that the driver repeats recognises its own write. The session lives on, even without a grace."""
        snapshot, token = save(valkey), world.phone["refresh_token"]
        proxy.arm()
        await world.refresh(token)
        assert "EVAL" in proxy.commands
        for at in range(1, len(proxy.commands) + 1):
            restore(valkey, snapshot)
            proxy.arm(Plan(Fault.LOST, at))
            access, refresh = _pair(await world.refresh(token))
            proxy.arm()
            assert await world.active(access)
            assert (await world.refresh(refresh)).status_code == 200

    async def test_a_refresh_that_was_not_applied_can_be_repeated(
        self, world: World, proxy: Proxy, valkey: "redis.Redis"
    ) -> None:
        """A refresh that is cut off before the swap spends nothing, and the token still works."""
        snapshot, token = save(valkey), world.phone["refresh_token"]
        proxy.arm()
        await world.refresh(token)
        for at in range(1, proxy.commands.index("EVAL") + 2):
            restore(valkey, snapshot)
            proxy.arm(Plan(Fault.CUT, at, Fault.CUT))
            assert (await world.refresh(token)).status_code == 503
            proxy.arm()
            assert await world.active(_pair(await world.refresh(token))[0])


def _unversioned(changes: list[str]) -> list[str]:
    return [re.sub(r', "version": \d+', "", line) for line in changes]


def _pair(answer: httpx.Response) -> tuple[Any, Any]:
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"], answer.json()["refresh_token"]
