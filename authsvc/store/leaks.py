"""The records behind leaked tokens: read for many tokens at once, and ended together.

The calls are the same whatever the tokens are: two reads, a write for each record, and a deletion for each record. Dead
tokens have their write in a place where nothing is, on the same server. So neither the number of round trips nor the
wait for replicas or the disk tells who is alive.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeVar

from authsvc.core.factors import Device, Factors
from authsvc.core.leak import Leaked
from authsvc.core.passkey import Challenge
from authsvc.core.record import Record
from authsvc.core.session import Found, Session
from authsvc.core.step import Step
from authsvc.core.user import Credentials, ResetCode, User
from authsvc.driver.connection import Connection
from authsvc.driver.scripts import Change, Command, delete_command, swap_command
from authsvc.errors import StoreUnavailable
from authsvc.store import keys, newest
from authsvc.store.encoding import Encoder, load_if, load_to_change
from authsvc.store.lookup import Lookup
from authsvc.store.moment import Moment
from authsvc.store.sessions import index_of

R = TypeVar("R", bound=Record)


class End(NamedTuple):
    """The change that ends leaked tokens.

    tidy: removes what is left afterwards. swaps: whether another change of the record can forestall this one.
    """

    change: Command
    tidy: tuple[Command, ...] = ()
    swaps: bool = False


class Held:
    """What the store held behind leaked tokens, at one moment. The methods raise StoreUnavailable."""

    def __init__(self, moment: Moment, owners: Mapping[str, str]) -> None:
        self._moment = moment
        self._owners = owners

    def session(self, handle: str) -> Found | None:
        return self._moment.found(handle)

    def session_to_change(self, handle: str) -> Session | None:
        return self._to_change(Session, keys.session(handle))

    def step(self, handle: str) -> Step | None:
        return load_if(Step, self.raw(keys.step(handle)))

    def challenge(self, handle: str) -> Challenge | None:
        return load_if(Challenge, self.raw(keys.challenge(handle)))

    def code(self, handle: str) -> ResetCode | None:
        return load_if(ResetCode, self.raw(keys.code(handle)))

    def credentials(self, sub: str) -> Credentials | None:
        return self._to_change(Credentials, keys.credentials(sub))

    def user(self, sub: str) -> User | None:
        return load_if(User, self.raw(keys.user(sub)))

    def device_of(self, handle: str) -> tuple[User, Factors] | None:
        """Whose device this is, and what the user has; None if nobody has it."""
        sub = self._owners.get(handle)
        user = None if sub is None else self.user(sub)
        factors = None if sub is None else self._to_change(Factors, keys.factors(sub))
        return None if user is None or factors is None else (user, factors)

    def raw(self, key: str) -> bytes | None:
        return self._moment.value(key)

    def _to_change(self, model: type[R], key: str) -> R | None:
        raw = self.raw(key)
        return None if raw is None else load_to_change(model, raw)


class Leaks:
    """Reads what leaked tokens name, and ends it."""

    def __init__(self, connection: Connection, lookup: Lookup) -> None:
        self._connection = connection
        self._lookup = lookup
        self._encoder = Encoder(connection)

    async def read(self, leaked: Sequence[Leaked]) -> Held:
        """Everything that decides about these tokens. Raises StoreUnavailable."""
        named = [key for one in leaked for key in _named(one)]
        first = await self._lookup.sessions(None, (), named)
        owners: dict[str, str] = {}
        further = [key for one in leaked for key in _further(one, first, owners)]
        return Held(await self._lookup.sessions(None, (), [*named, *further]), owners)

    def end_session(self, handle: str, session: Session) -> End:
        unlisting = ("ZREM", index_of(session), handle)
        return End(delete_command([keys.session(handle)]), (unlisting, *newest.leaving(session.client_id, [handle])))

    async def change_session(self, held: Held, handle: str, session: Session, changed: Session) -> End:
        return await self._replace(held, keys.session(handle), session, changed)

    def end_step(self, handle: str) -> End:
        return End(delete_command([keys.step(handle)]), (("DEL", keys.challenge(handle)),))

    def end_challenge(self, handle: str) -> End:
        return End(delete_command([keys.challenge(handle)]), (("DEL", keys.step(handle)),))

    async def end_code(self, held: Held, handle: str, sub: str, credentials: Credentials) -> End:
        # A reset that is under way compares the credentials: they have to forget the code, and its record follows.
        return await self._replace(
            held, keys.credentials(sub), credentials, credentials.without_reset_code(), ("DEL", keys.code(handle))
        )

    async def end_device(self, held: Held, handle: str, sub: str, factors: Factors, device: Device) -> End:
        changed = factors.without_device(device)
        return await self._replace(held, keys.factors(sub), factors, changed, ("DEL", keys.device(handle)))

    def end_nothing(self, leaked: Leaked) -> End:
        """What is written for tokens that end nothing."""
        nothing = keys.nothing_beside(next(_named(leaked)))
        return End(delete_command([nothing]), (("DEL", nothing),))

    async def _replace(self, held: Held, key: str, old: Record, new: Record, *tidy: Command) -> End:
        encoded = await self._encoder.encode(new, instead_of=old)
        return End(swap_command([Change(key, held.raw(key) or b"", encoded, new.expires_at())]), tidy, swaps=True)

    async def apply(self, ends: Sequence[End]) -> list[bool]:
        """Make the changes. False for each that was forestalled by another change of its record.

        Raises NotDurable once all of them are made.
        """
        replies = await self._connection.change_each([end.change for end in ends])
        return [bool(reply) or not end.swaps for end, reply in zip(ends, replies, strict=True)]

    async def tidy(self, ends: Sequence[End]) -> None:
        """Remove what the changes have left. No decision depends on it, so a failure is no error."""
        with suppress(StoreUnavailable):
            await self._connection.batch([command for end in ends for command in end.tidy])


def _named(leaked: Leaked) -> Iterator[str]:
    """The keys that the handle names."""
    match leaked.named:
        case "session":
            yield keys.session(leaked.handle)
        case "step":
            yield keys.step(leaked.handle)
            yield keys.challenge(leaked.handle)
        case "code":
            yield keys.code(leaked.handle)
        case "device":
            yield keys.device(leaked.handle)


def _further(leaked: Leaked, first: Moment, owners: dict[str, str]) -> Iterator[str]:
    """The keys of the user and the client. The owner of a device is entered into `owners`."""
    handle = leaked.handle
    if leaked.named == "session" and (session := first.session(handle)) is not None:
        yield keys.user(session.sub)
        yield from map(keys.client, session.client_ids)
    elif leaked.named == "code" and (code := load_if(ResetCode, first.value(keys.code(handle)))) is not None:
        yield keys.credentials(code.sub)
    elif leaked.named == "device" and (owner := first.value(keys.device(handle))) is not None:
        owners[handle] = owner.decode()
        yield keys.user(owners[handle])
        yield keys.factors(owners[handle])
