"""The primary dies, or is cut off from its replicas, and a replica takes over."""

import asyncio
import time
from contextlib import AbstractContextManager, suppress
from typing import TypeVar

from redis import RedisError

from chaos.http import Http, NoAnswer
from chaos.lab import Control, Experiment, Lab
from chaos.processes import free_port
from chaos.proxy import Proxy
from chaos.variation import Variation
from chaos.waiting import until_it
from chaos.world import Session, User
from tests.topologies import DOWN_AFTER_MS, REPLICATION, Sentinels, replicated, sentinels

S = TypeVar("S")

# The longest time without writes after the loss of a primary.
OUTAGE_S = 15.0
# How long a node that was killed may take to become a replica with all data. The sentinels reconfigure it some seconds
# after its start.
WHOLE_S = 60.0
REPLICA = {"AUTHSVC_DURABILITY": "replica"}
LOCAL = Variation(settings={"AUTHSVC_DURABILITY": "local"})


async def resurrection(lab: Lab) -> None:
    """Revoke while nothing reaches the replica, kill the primary, and let the replica take over."""
    # A failover may lose logins: nothing promises that they reach the replica.
    lab.tolerated = ("Inv3",)
    store = await entered(lab, replicated(lab.directory / "nodes", replicas=1))
    proxy = await lab.stack.enter_async_context(Proxy(free_port(), store.primary().port))
    _, world = await lab.set_up(users=20, store_url=f"redis://127.0.0.1:{proxy.port}", settings=REPLICA)
    sessions = [session for user in world.users for session in await _logins(lab, user, lab.pick(2, 10))]
    in_time = [await world.revoke(session) for session in sessions[::2]]
    lab.require(
        all(call.status == 200 for call in in_time), "before", "a revocation failed though the replica is there"
    )
    await asyncio.to_thread(store.freeze_replication)
    frozen = list(await asyncio.gather(*[world.revoke(session) for session in sessions[1::2]]))
    frozen += [await world.cut_off(user) for user in world.users[:2]]
    acknowledged = sum(call.status == 200 for call in frozen)
    await asyncio.to_thread(store.primary().kill)
    promoted = await asyncio.to_thread(store.fail_over)
    proxy.upstream = promoted.port
    proxy.reset()
    back = await until_it(lambda: _reads(lab), OUTAGE_S)
    await world.sweep()
    came_back = await _alive(lab, sessions[1::2])
    lab.figure("revoked before / while frozen", f"{len(in_time)} / {len(frozen)}")
    lab.figure("acknowledged while frozen", acknowledged)
    lab.figure("back with the replica", len(came_back))
    lab.require(back < OUTAGE_S, "outage", "nothing is answered after the failover")
    lab.require(bool(came_back), "setup", "nothing came back with the replica, so nothing was shown")


async def sentinel_failover(lab: Lab) -> None:
    # Only revocations wait for the replica, so a failover may lose logins and rotations.
    lab.tolerated = ("Inv3", "Inv4")
    # One replica: of two replicas, one could acknowledge a revocation while the sentinels promote the other.
    # A file: a node that was killed keeps its data, in case it is promoted before it has caught up.
    store: Sentinels = await entered(lab, sentinels(lab.directory / "nodes", "appendonly yes", replicas=1))
    url = store.primary().url if lab.variation.skip else store.url
    _, world = await lab.set_up(store_url=url, settings=REPLICA)
    world.by_id = True
    outages: list[float] = []
    async with lab.load(rate=100).running():
        for number in range(lab.pick(2, 10)):
            await asyncio.sleep(1)
            before = await asyncio.to_thread(store.primary)
            began = time.monotonic()
            if number % 2 and not lab.variation.skip:
                await asyncio.to_thread(store.fail_over)
            else:
                await asyncio.to_thread(before.kill)
                await asyncio.to_thread(store.await_failover, before)
            await until_it(lambda: _writes(lab), OUTAGE_S)
            outages.append(time.monotonic() - began)
            if outages[-1] >= OUTAGE_S:
                break
            if not before.answers():
                await asyncio.to_thread(before.start)
            # Both nodes must have all data before the next failover.
            whole = await until_it(lambda: asyncio.to_thread(_is_whole, store), WHOLE_S)
            lab.require(whole < WHOLE_S, "setup", f"the replica has not caught up within {WHOLE_S:g} s")
            await asyncio.sleep(1)
    await world.sweep()
    lab.figure("failovers", len(outages))
    lab.figure("no writes for", f"{sorted(outages)[len(outages) // 2]:.1f} s, {max(outages):.1f} s at most")
    lab.figure("down-after", f"{DOWN_AFTER_MS} ms")
    lab.require(max(outages) < OUTAGE_S, "outage", f"no write for {max(outages):.1f} s")


def _is_whole(store: Sentinels) -> bool:
    """Whether there is one replica and it has all data of the primary."""
    try:
        return store.primary().replicas_online() == 1 and all(replica.follows() for replica in store.replicas())
    except (RedisError, AssertionError):  # a node does not answer yet
        return False


async def split_brain(lab: Lab) -> None:
    """Promote the replica while the old primary and half of the workers are cut off together."""
    lab.tolerated = ("Inv3",)
    options = () if lab.variation.settings else ("min-replicas-to-write 1", "min-replicas-max-lag 2")
    store = await entered(lab, replicated(lab.directory / "nodes", *options, replicas=1))
    old, new = store.nodes
    ways = [await lab.stack.enter_async_context(Proxy(free_port(), old.port)) for _ in range(2)]
    urls = {number: {"AUTHSVC_REDIS_URL": f"redis://127.0.0.1:{way.port}"} for number, way in enumerate(ways)}
    rig, world = await lab.set_up(users=20, store_url=urls[0]["AUTHSVC_REDIS_URL"], per_group=urls, settings=REPLICA)
    followers, isolated = [Http(group.port) for group in rig.groups]
    sessions = [session for user in world.users for session in await _logins(lab, user, 2)]
    await asyncio.to_thread(store.freeze_replication)
    await asyncio.to_thread(new.call, "REPLICAOF", "NO", "ONE")
    ways[0].upstream = new.port
    ways[0].reset()
    led = await until_it(lambda: _reads(lab, followers), OUTAGE_S)
    lab.require(led < OUTAGE_S, "outage", "nothing is answered after the promotion")
    refused = await asyncio.gather(*[world.revoke(session, http=isolated) for session in sessions[::2]])
    acknowledged = sum(call.status == 200 for call in refused)
    lab.figure("revoked on the isolated side", f"{len(refused)}, {acknowledged} acknowledged")
    # Heal: the old primary becomes a replica of the new one, and its workers are led to the new one, too.
    for node in store.nodes:
        await asyncio.to_thread(node.call, "ACL", "SETUSER", REPLICATION, "on")
    ways[1].upstream = new.port
    await asyncio.to_thread(old.call, "REPLICAOF", "127.0.0.1", new.port)
    ways[1].reset()
    lab.require(
        await until_it(lambda: _reads(lab, isolated), OUTAGE_S) < OUTAGE_S, "outage", "the isolated side stays away"
    )
    await world.sweep()
    for session in sessions:
        await world.introspect(session.access, http=isolated)
    followers.close()
    isolated.close()


async def entered(lab: Lab, store: AbstractContextManager[S]) -> S:
    """Start processes without blocking the event loop, and end them with the experiment."""
    lab.stack.callback(lambda: store.__exit__(None, None, None))
    return await asyncio.to_thread(store.__enter__)


async def _logins(lab: Lab, user: User, count: int) -> list[Session]:
    found = [await lab.world.login(user) for _ in range(count)]
    return [session for session in found if session]


async def _reads(lab: Lab, http: Http | None = None) -> bool:
    """Whether introspection works. /readyz would be 503 as long as there is no replica."""
    with suppress(NoAnswer):
        form = {"token": next(iter(lab.world.tokens.values()))}
        answer = await (http or lab.rig.http).call("POST", "/introspect", form=form, headers=lab.world.admin)
        return answer.status == 200
    return False


async def _writes(lab: Lab) -> bool:
    return await lab.world.login(lab.world.users[0]) is not None


async def _alive(lab: Lab, sessions: list[Session]) -> list[Session]:
    document = {"tokens": [session.access for session in sessions]}
    answer = await lab.rig.http.call("POST", "/introspect/batch", document=document, headers=lab.world.admin)
    return [session for session, item in zip(sessions, answer.json()["items"], strict=True) if item.get("active")]


EXPERIMENTS = (
    Experiment(
        "resurrection",
        4,
        "replication is cut off, sessions are revoked, the primary is killed, the replica takes over "
        "(AUTHSVC_DURABILITY=replica)",
        "an acknowledged revocation holds; a revocation that did not reach the replica was answered 503",
        resurrection,
        [Control("AUTHSVC_DURABILITY=local", ("Inv1",), LOCAL)],
    ),
    Experiment(
        "sentinel-failover",
        5,
        "the primary is killed, or the sentinels are told to replace it, again and again (AUTHSVC_DURABILITY=replica)",
        "writes work again within 15 s; no acknowledged revocation is lost; no 500; lost logins are counted",
        sentinel_failover,
        [Control("the service knows one address and not the sentinels", ("outage",), Variation(skip=True))],
    ),
    Experiment(
        "split-brain",
        6,
        "a replica is promoted while the old primary and half of the workers are cut off together "
        "(min-replicas-to-write 1, AUTHSVC_DURABILITY=replica); then the network heals",
        "the isolated side acknowledges no revocation; after healing each acknowledged revocation holds",
        split_brain,
        [Control("AUTHSVC_DURABILITY=local, and the primary takes writes without replicas", ("Inv1",), LOCAL)],
    ),
)
