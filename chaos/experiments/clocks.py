"""The clocks of the workers and of the store disagree."""

import asyncio
import time
from pathlib import Path

from chaos.http import Http
from chaos.lab import Control, Experiment, Lab
from chaos.processes import ExperimentError
from chaos.variation import Patch, Variation

HOUR, DAY = 3600, 86400


def _library() -> str:
    for place in ("/usr/lib", "/usr/lib64", "/usr/local/lib"):
        for found in Path(place).glob("**/faketime/libfaketimeMT.so.1"):
            return str(found)
    raise ExperimentError("libfaketime is missing (Debian and Ubuntu: apt install libfaketime)")


async def clocks(lab: Lab) -> None:
    skew = lab.directory / "skew"
    skew.write_text("+0")
    faked = {"LD_PRELOAD": _library(), "FAKETIME_TIMESTAMP_FILE": str(skew), "FAKETIME_NO_CACHE": "1"}
    faked["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
    rig, world = await lab.set_up(users=12, workers=1, per_group={1: faked})
    # The tokens live longer than each skew: then a skew must not change whether a token is active.
    await world.call("PATCH", "/admin/clients/app", document={"access_ttl_s": 7 * DAY}, headers=world.admin)
    skews = lab.pick((HOUR, -HOUR), (HOUR, -HOUR, DAY, -DAY))
    for seconds in skews:
        skew.write_text(f"{seconds:+d}")
        await lab.load(rate=100).run(lab.pick(1.5, 10))
        await _cut_offs(lab)
    await world.sweep()
    lab.figure("a worker by", ", ".join(f"{seconds / HOUR:+g} h" for seconds in skews))
    await _late_by(lab, skew)
    for seconds in skews:
        skew.write_text("+0")
        rig.store.kill()
        rig.store.environment = {**faked, "FAKETIME": f"{seconds:+d}", "FAKETIME_TIMESTAMP_FILE": ""}
        await asyncio.to_thread(rig.store.start)
        with rig.store.open() as store:
            off = store.time()[0] - time.time()
        lab.require(abs(off - seconds) < 5, "setup", f"the store's clock is off by {off:.0f} s, not by {seconds}")
        await lab.load(rate=100).run(lab.pick(1.5, 10))
    await world.sweep()
    lab.figure("the store by", ", ".join(f"{seconds / HOUR:+g} h" for seconds in skews))


async def _cut_offs(lab: Lab) -> None:
    """A cut-off by one worker holds for the other one, whichever clock is fast."""
    world, ports = lab.world, [group.port for group in lab.rig.groups]
    https = [Http(port) for port in ports]
    for user, opened, ended in zip(world.users, (0, 1) * 6, (1, 0, 0, 1) * 3, strict=False):
        session = await world.login(user, http=https[opened])
        call = await world.cut_off(user, http=https[ended])
        lab.require(session is not None and call.status == 200, "setup", "a login or a cut-off failed")
        for http in https:
            if session is not None:
                await world.introspect(session.access, http=http)
                await world.refresh(session, http=http)
    for http in https:
        http.close()


async def _late_by(lab: Lab, skew: Path) -> None:
    """A worker whose clock is behind accepts an expired token for the length of the skew. That breaks no promise."""
    world, right, slow = lab.world, *[Http(group.port) for group in lab.rig.groups]
    await world.call("PATCH", "/admin/clients/app", document={"access_ttl_s": 1}, headers=world.admin)
    skew.write_text("+0")
    session = await world.login(world.users[0], http=right)
    if session is None:
        return
    await asyncio.sleep(2)
    skew.write_text("-60")
    on_time = await world.introspect(session.access, http=right)
    late = await world.introspect(session.access, http=slow)
    lab.require(on_time.result.active is False, "late", "an expired token is active on a worker whose clock is right")
    lab.figure("expired, worker 60 s behind", "still active" if late.result.active else "inactive")
    await world.call("PATCH", "/admin/clients/app", document={"access_ttl_s": 7 * DAY}, headers=world.admin)
    skew.write_text("+0")
    right.close()
    slow.close()


# A cut-off that compares the times of two workers' clocks, like services that compare `iat` with a `not before`.
BY_TIME = [
    Patch(
        "core/issuing.py",
        "epochs=opening.epochs or Epochs.of(opening.user, opening.client, opening.service),",
        "epochs=Epochs(int(now * 1000), opening.client.epoch, opening.service.epoch),",
    ),
    Patch("core/user.py", "return epoch == self.epoch or", "return epoch >= self.epoch or"),
]

EXPERIMENTS = (
    Experiment(
        "clocks",
        19,
        "the clock of one worker, then of the store, is an hour (long form: a day) fast and slow",
        "all workers agree about tokens that live longer than the skew; a cut-off holds, whichever clock is wrong",
        clocks,
        [Control("a cut-off compares times", ("Inv1",), Variation(BY_TIME))],
    ),
)
