"""Each key that expires has its TTL from birth, so that nothing has to be swept."""

import redis

from authsvc.store.sessions import LAST_LOGIN_S
from tests.canaries import CLIENTS, NAMED, UNNAMED, Canaries, run_through_everything
from tests.conftest import Clock, Service
from tests.flows.conftest import World
from tests.flows.contents import expire, keys, lasting_with_ttl, without_ttl


async def test_all_that_expires_has_its_ttl_from_birth(service: Service, valkey: "redis.Redis", clock: Clock) -> None:
    """Only users, logins, credentials, factors, handles of passkeys, clients and the service record are without a TTL.

    When all other keys have expired, the new users and clients are the only new keys.
    """
    before = keys(valkey)
    assert without_ttl(valkey) == set()
    await run_through_everything(service, Canaries())
    assert without_ttl(valkey) == set()
    assert lasting_with_ttl(valkey) == set()
    kinds = {key.partition(b":")[0] for key in keys(valkey)}
    assert kinds == {
        *(b"user", b"login", b"credentials", b"factors", b"passkey", b"client", b"service"),
        *(b"session", b"grace", b"sessions", b"code", b"step", b"challenge", b"throttle", b"audit", b"admins"),
        *(b"device", b"index", b"keys"),
    }
    clock.forward(500 * 86400)
    expire(valkey, clock())
    left = keys(valkey) - before
    assert {key.partition(b":")[0] for key in left} == {
        *(b"user", b"login", b"credentials", b"factors", b"passkey", b"client", b"index"),
    }
    # A named user has a login and credentials as well. One of them has factors, of which one is a
    # passkey. The index of users lists them.
    assert len(left) == NAMED * 3 + UNNAMED + CLIENTS + 3
    assert before - keys(valkey) <= {b"audit"}


async def test_the_ttl_is_the_records_own_end(world: World, valkey: "redis.Redis", clock: Clock) -> None:
    """A session's key expires when the session ends, to the millisecond, also after a refresh and a use.

    The index of a user's sessions expires when the last login is forgotten.
    """
    user = await world.user()
    short = await world.client(public=True, session_ttl_s=1000, idle_ttl_s=100)
    ends = int(clock()) + 1000
    grant = await world.login(client=short)
    key, index = f"session:{grant.session_id}", f"sessions:{{{user.sub}}}"
    assert valkey.pexpiretime(key) == ends * 1000
    assert valkey.pexpiretime(index) == (int(clock()) + LAST_LOGIN_S) * 1000
    clock.forward(60.5)
    assert await world.active(grant.access_token)
    await world.deps.store.sessions.finish()
    assert (await world.deps.store.sessions.get(grant.session_id)).seen == int(clock())
    assert valkey.pexpiretime(key) == ends * 1000
    grant = await world.refresh(grant.refresh_token, client=short)
    assert valkey.pexpiretime(key) == ends * 1000
    await world.login()
    assert valkey.pexpiretime(index) == (int(clock()) + LAST_LOGIN_S) * 1000
    clock.forward(2000)
    await world.login()
    assert grant.session_id.encode() not in valkey.zrange(index, 0, -1), "the index drops its dead on every use"
