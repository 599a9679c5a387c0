"""User records, their credentials, and the unique index of their names."""

import asyncio
from collections.abc import Callable
from secrets import token_urlsafe

from authsvc.core.factors import Account, Factors
from authsvc.core.user import Credentials, User
from authsvc.core.username import normalise
from authsvc.driver.connection import Connection
from authsvc.driver.scripts import Change
from authsvc.errors import NotFound, StoreUnavailable, UsernameTaken
from authsvc.store import keys
from authsvc.store.directory import entering, entries_of, removing
from authsvc.store.encoding import load, load_if, load_to_change
from authsvc.store.records import Records
from authsvc.store.sessions import forgetting_last_login
from authsvc.store.turns import Turns

# The records of a user expire after this time unless the registration completes: a crash leaves no half-made user.
_UNFINISHED_S = 10
# The pause, and the number of pauses, for another registration of the same name to complete or to expire.
_WAIT_S, _MAX_WAITS = 0.02, 25

ChangeOfBoth = Callable[[User, Credentials | None], tuple[User, Credentials | None]]
ChangeOfAccount = Callable[[Account], Account]


class Users(Records[User]):
    """`user:{<sub>}`, `credentials:{<sub>}` and `factors:{<sub>}` share a slot. `login:<canonical name>` has its own.

    An entry of the index counts only if its user has that name. A crash between two writes may leave a stale entry; it
    lets nobody log in, and another user may take it over.
    """

    def __init__(self, connection: Connection, turns: Turns) -> None:
        super().__init__(connection, turns, User, keys.user)

    async def find_account(self, sub: str) -> Account | None:
        """The user and the credentials as of one moment, and the second factors right after it, in one round trip.

        Most users have no factors. While a slot moves, a node of a cluster refuses a command for a present and an
        absent key, so the factors have a command of their own. The credentials say whether there is a factor, so a
        change in between is never taken for an account without one.
        """
        user_key, credentials_key, factors_key = _keys_of(sub)
        both, factors = await self._connection.batch([("MGET", user_key, credentials_key), ("GET", factors_key)])
        user, credentials = both
        if user is None:
            return None
        return Account(load(User, user), load_if(Credentials, credentials), load_if(Factors, factors))

    async def find_by_name(self, canonical_name: str) -> Account | None:
        entry = await self._connection.call("GET", keys.login(canonical_name))
        # A name that nobody has takes as long to look up. The sub is "-", for an empty one would put the keys into
        # several slots.
        found = await self.find_account(keys.named_by(entry) if entry else "-")
        return found if found and found.user.answers_to(canonical_name) else None

    async def register(self, user: User, credentials: Credentials) -> None:
        """Store a new user and take the name. After UsernameTaken, and after any failure, nothing is left."""
        both = (keys.user(user.sub), keys.credentials(user.sub))
        await self._connection.transaction(
            [
                ("SET", both[0], await self._encoder.encode(user), "EX", _UNFINISHED_S),
                ("SET", both[1], await self._encoder.encode(credentials), "EX", _UNFINISHED_S),
            ]
        )
        try:
            await self._take_name(user)
        except UsernameTaken:
            await self._connection.call("DEL", *both)
            raise
        await self._connection.transaction([("PERSIST", key) for key in both])
        kept, *_ = await self._connection.batch([("EXISTS", *both), *entering([user])])
        if kept != 2:
            raise StoreUnavailable("the new user was not kept")  # too slow: the records have expired

    async def create(self, id_: str, record: User) -> bool:
        """Store a user without a name, and enter it into the index. False if there is a user with this sub already."""
        created = await super().create(id_, record)
        await self._connection.batch(entering([record]))
        return created

    async def rename(self, sub: str, name: str, change: Callable[[User], User]) -> User:
        """Apply `change`, as an admin, and give the user another name. Raises UsernameTaken, NotFound."""
        # Reserve, take, switch, release. After a crash at any point the user has one of the names, or both.
        reserved = await self.change(sub, lambda user: user.but(renaming_to=name), first=True)
        former = await self._entry(reserved.username)
        try:
            await self._take_name(reserved)
        except UsernameTaken:
            await self.change(
                sub, lambda user: user.but(renaming_to=None) if user.renaming_to == name else user, first=True
            )
            raise

        def finish(user: User) -> User:
            if user.renaming_to != name:
                raise UsernameTaken("this user was given another name meanwhile")
            return change(user).but(username=name, renaming_to=None)

        renamed = await self.change(sub, finish, first=True)
        if reserved.username and not renamed.answers_to(normalise(reserved.username)):
            await self._release_name(reserved.username, sub, former)
        return renamed

    async def _take_name(self, user: User) -> None:
        name = normalise(user.renaming_to or user.username or "")
        key = keys.login(name)
        mine, waits = user.sub.encode(), 0
        turn = self._turns.of(key, first=True)
        while True:
            async with turn:
                held = await self._connection.call("SET", key, mine, "NX", "GET")
                if held is None:
                    return
                new = mine
                if keys.named_by(held) == user.sub:
                    # A rename away from this name may be about to release the old entry. A new entry is safe from that.
                    new = b"%s %s" % (mine, token_urlsafe(6).encode())
                unfinished = keys.named_by(held) != user.sub and await self._is_held(name, held)
                if not unfinished and await self._connection.swap([Change(key, held, new)]):
                    return
            if unfinished:
                if waits == _MAX_WAITS:
                    raise StoreUnavailable("the name is being taken by a user who is not finished")
                waits += 1
                await asyncio.sleep(_WAIT_S)

    async def _is_held(self, name: str, entry: bytes) -> bool:
        """Whether the user of the entry has the name, for now. Raises UsernameTaken if the user is there to stay."""
        holder = await self.find(keys.named_by(entry))
        if holder is None or not holder.answers_to(name):
            return False
        # The holder's registration may have broken off, and then the name is free within seconds.
        if await self._connection.call("PTTL", self.key(holder.sub)) == -1:
            raise UsernameTaken("this username is taken")
        return True

    async def _entry(self, name: str | None) -> bytes | None:
        """The index entry of a name."""
        raw: bytes | None = None if name is None else await self._connection.call("GET", keys.login(normalise(name)))
        return raw

    async def _release_name(self, name: str, sub: str, entry: bytes | None) -> None:
        """Delete the index entry of a name, unless somebody has written another entry since."""
        if entry is not None and keys.named_by(entry) == sub:
            await self._connection.swap([Change(keys.login(normalise(name)), entry, b"")])

    async def swap_both(self, sub: str, change: ChangeOfBoth, *, first: bool = False) -> User:
        """Replace user and credentials together, or neither, as `step` does. Raises NotFound, TooManyChanges."""
        turn = self._turns.of(keys.user(sub), keys.credentials(sub), first=first)
        return await turn.until_swapped(lambda: self._try_both(sub, change))

    async def _try_both(self, sub: str, change: ChangeOfBoth) -> tuple[bool, User]:
        """One attempt. The first value is False if somebody else changed one of the records meanwhile."""
        user_key, credentials_key = keys.user(sub), keys.credentials(sub)
        raw_user, raw_credentials = await self._connection.call("MGET", user_key, credentials_key)
        if raw_user is None:
            raise NotFound("no such user")
        held = load_to_change(User, raw_user)
        held_credentials = load_to_change(Credentials, raw_credentials) if raw_credentials else None
        user, credentials = change(held, held_credentials)
        changes = [Change(user_key, raw_user, await self._encoder.encode(user, instead_of=held))]
        if credentials is not None:
            written = await self._encoder.encode(credentials, instead_of=held_credentials)
            changes.append(Change(credentials_key, raw_credentials or b"", written))
        return await self._connection.swap(changes), user

    async def swap_account(self, sub: str, change: ChangeOfAccount, *, first: bool = False) -> Account:
        """Replace what changed of an account, or nothing, as `step` does. Raises NotFound, TooManyChanges.

        The rest is compared: `change` decides about an account that nobody has changed meanwhile.
        """
        turn = self._turns.of(*_keys_of(sub), first=first)
        held, account = await turn.until_swapped(lambda: self._try_account(sub, change))
        await self._forget_handle(held.factors, account.factors)
        return account

    async def _try_account(self, sub: str, change: ChangeOfAccount) -> tuple[bool, tuple[Account, Account]]:
        """One attempt, with the account before and after it. False if somebody else changed a record meanwhile."""
        raw = await self._connection.call("MGET", *_keys_of(sub))
        if raw[0] is None:
            raise NotFound("no such user")
        user, credentials, factors = raw
        held = Account(
            load_to_change(User, user),
            load_to_change(Credentials, credentials) if credentials else None,
            load_to_change(Factors, factors) if factors else None,
        )
        account = change(held)
        changes = []
        for key, old_bytes, old, new in zip(_keys_of(sub), raw, held, account, strict=True):
            kept = old_bytes or b""
            expires_at = None if new is None else new.expires_at()
            if new is not old:
                kept = b"" if new is None else await self._encoder.encode(new, instead_of=old)
            changes.append(Change(key, old_bytes or b"", kept, expires_at))
        return await self._connection.swap(changes), (held, account)

    async def find_by_handle(self, user_handle: str) -> Account | None:
        """The account that authenticators know by this handle."""
        entry = await self._connection.call("GET", keys.passkey(user_handle))
        account = None if entry is None else await self.find_account(entry.decode())
        found = account is not None and account.factors is not None and account.factors.user_handle == user_handle
        return account if found else None

    async def name_handle(self, user_handle: str, sub: str) -> None:
        """Enter the handle of a user into the index. An entry that no account names lets nobody in."""
        await self._connection.call("SET", keys.passkey(user_handle), sub)

    async def name_device(self, handle: str, sub: str, until: int) -> None:
        """Enter a trusted device into the index, which tells whose a leaked token of a device was."""
        await self._connection.call("SET", keys.device(handle), sub, "PXAT", until * 1000)

    async def _forget_handle(self, before: Factors | None, after: Factors | None) -> None:
        """Remove a handle from the index that the account has no more."""
        held = before.user_handle if before else None
        if held is not None and (after is None or after.user_handle != held):
            await self._connection.delete(keys.passkey(held))

    async def remove(self, sub: str) -> User:
        """Delete a user, the credentials, the second factors and the name. Raises NotFound."""
        account = await self.find_account(sub)
        if account is None:
            raise NotFound("no such user")
        user = account.user
        await self._connection.delete(*_keys_of(sub))  # ends every session
        await self._connection.batch([*removing(entries_of(user)), forgetting_last_login(sub)])
        await self._forget_handle(account.factors, None)
        for name in (user.username, user.renaming_to):
            if name:
                await self._release_name(name, sub, await self._entry(name))
        return user


def _keys_of(sub: str) -> tuple[str, str, str]:
    """The keys of an account, which share a slot."""
    return keys.user(sub), keys.credentials(sub), keys.factors(sub)
