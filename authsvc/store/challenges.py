"""The challenges of passkeys: one at a time for each session and login, each for one answer."""

from contextlib import suppress

from authsvc.core.passkey import Challenge
from authsvc.driver.connection import Connection
from authsvc.errors import NotFound, StoreUnavailable
from authsvc.store import keys
from authsvc.store.records import Records
from authsvc.store.turns import Turns


class Challenges(Records[Challenge]):
    """`challenge:<handle>`, by the handle of the session or the login that waits for an answer."""

    def __init__(self, connection: Connection, turns: Turns) -> None:
        super().__init__(connection, turns, Challenge, keys.challenge)

    async def put(self, of: str, challenge: Challenge) -> None:
        """Store the challenge instead of an earlier one: a page that is loaded again asks again."""
        if await self.create(of, challenge):
            return
        try:
            await self.change(of, lambda _: challenge, durable=False)
        except NotFound:  # it has expired in between
            await self.create(of, challenge)

    async def take(self, of: str, now: float) -> Challenge | None:
        """Return the challenge to the first caller that asks, and remove it. None for all others, and if it lapsed."""

        def taken(held: Challenge) -> Challenge:
            # Marked first, and deleted later: two callers can delete a record, and only one can write this very mark.
            if held.taken or now >= held.until:
                raise _Gone()
            return held.but(taken=True)

        try:
            challenge = await self.change(of, taken)
        except (NotFound, _Gone):
            return None
        with suppress(StoreUnavailable):
            await self.delete(of)
        return challenge


class _Gone(Exception):
    """Somebody else took the challenge, or it has lapsed."""
