"""The store's file on the disk is cut short, damaged or replaced by an old one."""

import asyncio
import random
import shutil
import subprocess
import time
from pathlib import Path

from chaos.journal import Call
from chaos.lab import Control, Experiment, Lab
from chaos.processes import ExperimentError
from chaos.variation import Variation
from chaos.world import Session

LAST_DELETION = b"*2\r\n$3\r\nDEL\r\n"


async def files(lab: Lab) -> None:
    await lab.set_up(users=8, workers=1)
    await _cut_short(lab)
    if not lab.variation.skip:
        await _damaged(lab)
    await _old_backup(lab)


async def _cut_short(lab: Lab) -> None:
    """Cut the last bytes off the file, as a crash of the machine does without fsync."""
    came_back = 0
    sizes = [None, *random.sample(range(1, 501), lab.pick(3, 12))]
    for size in sizes:
        sessions = await _logins(lab)
        old, recent = sessions[::2], sessions[1::2]
        for session in old:
            await lab.world.revoke(session)
        await asyncio.sleep(1)  # revocations of a second ago are far from the end of the file
        for session in recent:
            await lab.world.revoke(session)
        lab.rig.store.kill()
        file = lab.rig.store.append_only_file
        written = file.read_bytes()
        # Without a size: cut just before the last revocation.
        file.write_bytes(written[: written.rindex(LAST_DELETION)] if size is None else written[:-size])
        await asyncio.to_thread(lab.rig.store.start)
        lost = await _alive(lab, old)
        lab.require(not lost, "cut", f"{len(lost)} revocations older than a second were lost with the last bytes")
        came_back += len(await _alive(lab, recent))
        await _cut_off(lab)
        await lab.world.sweep([token for session in sessions for token in (session.access, session.refresh)])
    lab.figure("files cut", len(sizes))
    lab.figure("back until the cut-off", came_back)
    lab.require(came_back > 0, "cut", "nothing came back with a shorter file, so nothing was shown")


async def _damaged(lab: Lab) -> None:
    """Flip a bit in the middle of the file. The store must refuse to start."""
    session = (await _logins(lab))[0]
    lab.rig.store.kill()
    file = lab.rig.store.append_only_file
    whole = file.read_bytes()
    middle = whole.index(b"\r\n*", len(whole) // 2) + 2
    file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    try:
        await asyncio.to_thread(lab.rig.store.start)
        lab.require(False, "damaged", "the store starts with a damaged file")
    except ExperimentError:
        call = await lab.world.introspect(session.access)
        lab.require(call.status == 503, "damaged", f"introspection answers {call.status} without a store")
    file.write_bytes(whole)
    await asyncio.to_thread(lab.rig.store.start)
    call = await lab.world.introspect(session.access)
    lab.require(bool(call.result.active), "damaged", "the session is gone though the file is whole again")


async def _old_backup(lab: Lab) -> None:
    """Restore a backup that is older than the revocations."""
    sessions = await _logins(lab)
    place, backup = lab.rig.store.data / "appendonlydir", lab.directory / "backup"
    shutil.copytree(place, backup)
    for session in sessions:
        await lab.world.revoke(session)
    lab.rig.store.kill()
    shutil.rmtree(place)
    shutil.move(backup, place)
    await asyncio.to_thread(lab.rig.store.start)
    came_back = await _alive(lab, sessions)
    lab.figure("back with a backup until the cut-off", f"{len(came_back)} of {len(sessions)}")
    lab.require(bool(came_back), "backup", "nothing came back with the backup, so nothing was shown")
    await _cut_off(lab)
    await lab.world.sweep()


async def _logins(lab: Lab) -> list[Session]:
    found = [await lab.world.login(user) for user in lab.world.users]
    return [session for session in found if session]


async def _alive(lab: Lab, sessions: list[Session]) -> list[Session]:
    """The active sessions. The journal does not get these calls: before the cut-off nothing is promised."""
    document = {"tokens": [session.access for session in sessions]}
    answer = await lab.rig.http.call("POST", "/introspect/batch", document=document, headers=lab.world.admin)
    return [session for session, item in zip(sessions, answer.json()["items"], strict=True) if item["active"]]


async def _cut_off(lab: Lab) -> None:
    """Run `authsvc service cut-off`, as the operator must after the store has lost its newest writes."""
    if lab.variation.skip:
        return
    sent = time.monotonic()
    command = [str(Path(lab.variation.python()).with_name("authsvc")), "service", "cut-off", "--yes"]
    environment = {"AUTHSVC_REDIS_URL": lab.rig.settings["AUTHSVC_REDIS_URL"]}
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, check=False
    )
    lab.require(done.returncode == 0, "cut-off", f"the cut-off failed: {done.stderr[-300:]}")
    lab.world.journal.add(Call("cut-off", sent, time.monotonic(), 200 if done.returncode == 0 else 1))


EXPERIMENTS = (
    Experiment(
        "old-files",
        9,
        "the store's file loses its last 1 to 500 bytes, gets a bit flipped, is replaced by an old backup",
        "revocations older than a second survive the cut; the store refuses a damaged file; after "
        "`authsvc service cut-off` no older session is active",
        files,
        [Control("the operator forgets the cut-off", ("Inv1",), Variation(skip=True))],
    ),
)
