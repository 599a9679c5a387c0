"""The store's memory is full."""

from chaos.lab import Control, Experiment, Lab
from chaos.variation import Patch, Variation
from chaos.waiting import until_it

# A worker asks the store about itself once a second.
NOTICED_S = 3.0


async def out_of_memory(lab: Lab) -> None:
    rig, world = await lab.set_up(users=6)
    sessions = [
        session for user in world.users for session in [await world.login(user), await world.login(user)] if session
    ]
    lab.require(len(sessions) == 12, "setup", "a login failed before the store was full")
    with rig.store.open() as store:
        store.config_set("maxmemory", "1mb")
    refused = [await world.login(user) for user in world.users]
    lab.require(refused == [None] * 6 and lab.calls[-1].status == 503, "full", "a login was not refused with 503")
    alive = [await world.introspect(session.access) for session in sessions]
    lab.require(all(call.result.active for call in alive), "full", "introspection does not work in a full store")
    revoked = [await world.revoke(session) for session in sessions[::4]]
    cut_off = [await world.cut_off(user) for user in world.users[1::2]]
    done = [call for call in (*revoked, *cut_off) if call.status == 200]
    lab.figure("refused logins", len(refused))
    lab.figure("revocations", f"{len(done)} of {len(revoked) + len(cut_off)}")
    lab.require(
        len(done) == len(revoked) + len(cut_off), "refused", "a revocation was refused because the store is full"
    )
    await world.sweep()
    with rig.store.open() as store:
        store.config_set("maxmemory", "0")
        store.config_set("maxmemory-policy", "allkeys-lru")
        noticed = await until_it(lambda: _unfit(lab), NOTICED_S)
        store.config_set("maxmemory-policy", "noeviction")
    lab.figure("/readyz 503 for a store that evicts", f"after {noticed:.1f} s")
    lab.require(noticed <= NOTICED_S, "evicting", "/readyz is content with a store that may forget sessions")
    lab.require(await world.login(world.users[0]) is not None, "recovery", "no login though there is room again")


async def _unfit(lab: Lab) -> bool:
    return (await lab.world.call("GET", "/readyz")).status == 503


NO_ALLOW_OOM = Patch("driver/scripts.py", 'SWAP = b"""#!lua flags=allow-oom\n', 'SWAP = b"""#!lua\n')

EXPERIMENTS = (
    Experiment(
        "full-store",
        8,
        "maxmemory is set below the memory in use; then the store may evict keys",
        "logins get 503; introspection, revocations and cut-offs work; /readyz is 503 while the store may evict",
        out_of_memory,
        [Control("the swap may not use more than maxmemory", ("refused",), Variation([NO_ALLOW_OOM]))],
    ),
)
