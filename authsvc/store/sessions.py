"""Session records, and the indexes by which a user's sessions and keys are listed."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from authsvc.core.grace import Grace
from authsvc.core.rotation import Rotation
from authsvc.core.session import KEY, Session
from authsvc.core.user import User
from authsvc.driver.connection import Connection
from authsvc.driver.deadline import request_budget
from authsvc.driver.scripts import Change, Command
from authsvc.errors import AuthError, NotFound
from authsvc.store import keys, newest
from authsvc.store.encoding import load_if, load_to_change
from authsvc.store.records import Records
from authsvc.store.turns import Turns

log = logging.getLogger(__name__)

# How long it is known when a user last logged in.
LAST_LOGIN_S = 400 * 86400
# The entry of the last login in the index of a user's sessions. Its score is when it is dropped, as that of each entry:
# LAST_LOGIN_S after the login. A key for each user would take ten times the memory.
LAST_LOGIN = "last"


class Sessions(Records[Session]):
    """`session:<handle>`, `grace:{session:<handle>}:<refresh>`, `sessions:{<sub>}` and `keys:{<sub>}`.

    The indexes `sessions:` and `keys:` serve lists and the cap; no decision depends on them, nor on those in
    `store/newest.py`. `store/api_keys.py` reads the one of keys.
    """

    def __init__(self, connection: Connection, turns: Turns) -> None:
        super().__init__(connection, turns, Session, keys.session)
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def add(self, handle: str, session: Session, now: float) -> int | None:
        """Store a new session and list it; None if the handle is taken.

        Returns how many of the user's sessions are listed now, an upper bound of those alive.
        """
        others = newest.beside(handle, session, apart=self._connection.clustered)
        last_login = {LAST_LOGIN: session.created_ms // 1000 + LAST_LOGIN_S}
        listed = await self._add(handle, session, now, last_login, others)
        return None if listed is None else listed - len(last_login)

    async def add_key(self, handle: str, session: Session, now: float) -> int | None:
        """Store a new key and list it among the user's keys; None if the handle is taken.

        Returns how many keys of the user are listed now, an upper bound of those alive.
        """
        return await self._add(handle, session, now, {}, [])

    async def _add(
        self, handle: str, session: Session, now: float, entries: Mapping[str, int], others: Sequence[Command]
    ) -> int | None:
        """Store a new session and list it, with other entries of the index and when to drop them.

        Returns how many entries there are. None: the handle is taken.
        """
        # One round trip. If only one of both is written, the caller gets an error and nobody gets the tokens.
        index, entered = index_of(session), {handle: session.end, **entries}
        ends_ms = max(entered.values()) * 1000
        listing: list[Command] = [
            ("ZADD", index, *(word for name, until in entered.items() for word in (until, name))),
            ("ZREMRANGEBYSCORE", index, "-inf", int(now)),
            ("PEXPIREAT", index, ends_ms, "NX"),
            ("PEXPIREAT", index, ends_ms, "GT"),
            ("ZCARD", index),
        ]
        # Its digests make a session unlike any other record, so it needs no write id, which a million sessions save.
        encoded = await self._encoder.encode_unique(session)
        created, told = await self._connection.create_beside(listing, self.key(handle), encoded, session.end, others)
        return int(told[-1]) if created else None

    async def create_unlisted(self, handle: str, session: Session) -> bool:
        """Store a new session that no list of a user shows; False if the handle is taken."""
        return await self._connection.create(self.key(handle), await self._encoder.encode_unique(session), session.end)

    async def rotate(self, handle: str, decide: Callable[[Session, Grace | None], Rotation]) -> Rotation:
        """Replace the session, and write its grace, by what `decide` returns. It is called again as in `step`.

        Losing a rotation in a failover is harmless. The end of a session is made durable. Raises NotFound, NotDurable.
        """
        # Not limited: each of many tabs that present one token at the same moment gets the pair.
        turn = self._turns.of(keys.session(handle), limited=False)
        return await turn.until_swapped(lambda: self._try_rotation(handle, decide))

    async def _try_rotation(
        self, handle: str, decide: Callable[[Session, Grace | None], Rotation]
    ) -> tuple[bool, Rotation]:
        """One attempt. The first value is False if somebody else changed a record meanwhile.

        Each command has one key. While a slot moves, a node of a cluster refuses a command with two keys of which one
        is absent. So the grace is written first, under a key that only this rotation has.
        """
        raw = await self._connection.call("GET", keys.session(handle))
        if raw is None:
            raise NotFound("no such session")
        held = load_to_change(Session, raw)
        key = keys.grace(handle, held.refresh or "")
        raw_grace = await self._connection.call("GET", key) if held.previous else None
        held_grace = load_if(Grace, raw_grace)
        rotation = decide(held, held_grace)
        new = rotation.session
        if new is held:
            unchanged = rotation.grace is held_grace
            return unchanged or await self._write_grace(key, raw_grace or b"", rotation), rotation
        if new is None:
            return await self._connection.swap([Change(keys.session(handle), raw, b"")], durable=True), rotation
        if rotation.grace is not None:
            await self._write_grace(keys.grace(handle, new.refresh or ""), b"", rotation)
        encoded = await self._encoder.encode(new, instead_of=held)
        change = Change(keys.session(handle), raw, encoded, new.expires_at())
        return await self._connection.swap([change], durable=False), rotation

    async def _write_grace(self, key: str, old: bytes, rotation: Rotation) -> bool:
        if rotation.grace is None:
            return True
        # The store counts the time itself: its clock may be ahead by more than the grace.
        written = await self._encoder.encode(rotation.grace)
        change = Change(key, old, written, lives_s=rotation.grace_s)
        return await self._connection.swap([change], durable=False)

    async def listed(self, sub: str, now: float) -> list[tuple[str, Session]]:
        """The user's sessions that have a record, oldest first. Some may be cut off: `decide` says which."""
        index = keys.sessions(sub)
        _, handles = await self._connection.transaction(
            [("ZREMRANGEBYSCORE", index, "-inf", int(now)), ("ZRANGE", index, 0, -1)]
        )
        names = _handles(handles)
        found = zip(names, await self.find_all(names), strict=True)
        present = [(handle, session) for handle, session in found if session is not None]
        return sorted(present, key=lambda pair: (pair[1].created_ms, pair[0]))

    async def count(self, sub: str, now: float) -> int:
        """How many sessions of the user are listed, an upper bound of those alive."""
        index = keys.sessions(sub)
        _, listed, last_login = await self._connection.transaction(
            [("ZREMRANGEBYSCORE", index, "-inf", int(now)), ("ZCARD", index), ("ZSCORE", index, LAST_LOGIN)]
        )
        return int(listed) - (last_login is not None)

    async def end(self, handle: str, session: Session) -> bool:
        """Delete a session and its entries in the indexes; False if both were gone."""
        deleted = await self.delete(handle)  # ends the session
        # Either is enough. A repeated command finds nothing to do: its first attempt worked, and the reply got lost.
        unlisted = await self.unlist({handle: session})
        return deleted or unlisted > 0

    async def unlist(self, ended: Mapping[str, Session]) -> int:
        """Remove sessions of a user from the indexes. Returns how many of them were in the user's own."""
        by_index: dict[str, list[str]] = {}
        by_client: dict[str, list[str]] = {}
        for handle, session in ended.items():
            by_index.setdefault(index_of(session), []).append(handle)
            by_client.setdefault(session.client_id, []).append(handle)
        own: list[Command] = [("ZREM", index, *handles) for index, handles in by_index.items()]
        others = [command for of_client in by_client.items() for command in newest.leaving(*of_client)]
        replies = await self._connection.batch([*own, *others])
        return sum(replies[: len(own)])

    async def last_logins(self, subs: Sequence[str]) -> list[int | None]:
        """When the newest session of each user began, in epoch seconds. None: never, or not in LAST_LOGIN_S."""
        found = await self._connection.batch([("ZSCORE", keys.sessions(sub), LAST_LOGIN) for sub in subs])
        return [None if until is None else int(until) - LAST_LOGIN_S for until in found]

    def delete_cut_off(self, user: User) -> None:
        """Delete the sessions and keys that raised epochs have ended, in the background: that only frees memory.

        user: after the cut-off.
        """
        sub = user.sub
        self._later(f"delete_cut_off {sub}", self._delete_cut_off(keys.sessions(sub), user.epoch, user.spared))
        if user.key_epoch is not None:
            self._later(f"delete_cut_off keys {sub}", self._delete_cut_off(keys.api_keys(sub), user.key_epoch))

    async def _delete_cut_off(self, index: str, epoch: int, spared: str | None = None) -> None:
        handles = _handles(await self._connection.call("ZRANGE", index, 0, -1))
        for at in range(0, len(handles), 500):
            batch = handles[at : at + 500]
            found = zip(batch, await self.find_all(batch), strict=True)
            # Spare a login since the cut-off. An entry without a record may be a login that is about to write it.
            dead = {
                handle: session
                for handle, session in found
                if session and session.epochs.user < epoch and handle != spared
            }
            await self._connection.batch([("DEL", self.key(handle)) for handle in dead])
            await self.unlist(dead)

    def touch(self, handle: str, now: float, ip: str | None = None) -> None:
        """Note a use, which moves the idle deadline, in the background. If that fails, the next use is noted.

        ip: from where the session was used, if that is known.
        """
        self._later(f"touch {handle}", self._touch(handle, now, ip))

    async def _touch(self, handle: str, now: float, ip: str | None) -> None:
        # Another request may have noted a use since this one read the session.
        await self.change(
            handle, lambda session: session.touched(now, ip) if session.due_for_touch(now) else session, durable=False
        )

    def note_answer(self, handle: str, access: str) -> None:
        """Note that the answer of the last refresh arrived, in the background. If that fails, the next use notes it.

        access: the digest of the current access token.
        """
        self._later(f"answer {handle}", self._note_answer(handle, access))

    async def _note_answer(self, handle: str, access: str) -> None:
        await self.change(handle, lambda session: session.with_answer(access), durable=False)

    def _later(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        if name in self._under_way:
            work.close()
            return
        task = asyncio.create_task(_logged(name, work))
        self._under_way[name] = task
        task.add_done_callback(lambda _: self._under_way.pop(name, None))

    async def finish(self) -> None:
        """Wait for the background work."""
        while self._under_way:
            await asyncio.gather(*self._under_way.values())


def index_of(session: Session) -> str:
    """The index that lists this session."""
    return keys.api_keys(session.sub) if session.origin == KEY else keys.sessions(session.sub)


def forgetting_last_login(sub: str) -> Command:
    """The command that forgets when a user last logged in. Without sessions, the index is gone then."""
    return ("ZREM", keys.sessions(sub), LAST_LOGIN)


def _handles(entries: Sequence[bytes]) -> list[str]:
    """The handles of sessions among the entries of an index."""
    return [name for entry in entries if (name := entry.decode()) != LAST_LOGIN]


async def _logged(name: str, work: Coroutine[Any, Any, None]) -> None:
    try:
        with request_budget(None):  # the request that began it may be over
            await work
    except NotFound:
        pass  # the session ended meanwhile
    except AuthError as error:
        log.info("%s: not done: %s", name.partition(" ")[0], error)
