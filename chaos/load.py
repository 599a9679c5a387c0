"""A mixed load: users log in, refresh and log out, and resource servers introspect their tokens."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from chaos.world import Session, World

# Shares of the calls in per cent: introspect, login, refresh, revoke.
MIXED = (90, 5, 4, 1)
# For short runs: more changes, which are the calls that a fault can spoil.
CHANGING = (64, 12, 14, 10)
# The share of introspections that ask about an ended session.
OF_THE_DEAD = 0.2


@dataclass
class Load:
    """Makes `rate` calls a second in total. actors: how many calls can be under way at once."""

    world: World
    rate: float = 150
    actors: int = 24
    mix: tuple[int, int, int, int] = CHANGING
    stopping: bool = False

    async def run(self, seconds: float) -> None:
        async with self.running():
            await asyncio.sleep(seconds)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the load during the block. On leaving, wait for the calls under way."""
        self.stopping = False
        actors = [asyncio.create_task(self._act(random.Random(number))) for number in range(self.actors)]
        try:
            yield
        finally:
            self.stopping = True
            await asyncio.gather(*actors)

    async def _act(self, chance: random.Random) -> None:
        acts = (self._introspect, self._login, self._refresh, self._revoke)
        while not self.stopping:
            await asyncio.sleep(self.actors / self.rate * chance.uniform(0, 2))
            (act,) = chance.choices(acts, self.mix)
            await act(chance)

    async def _introspect(self, chance: random.Random) -> None:
        over = chance.random() < OF_THE_DEAD
        session = self._pick(chance, over=over)
        if session is not None:
            await self.world.introspect(chance.choice((session.access, session.access, session.refresh)))

    async def _login(self, chance: random.Random) -> None:
        await self.world.login(chance.choice(self.world.users))

    async def _refresh(self, chance: random.Random) -> None:
        session = self._pick(chance, over=False)
        if session is None or session.busy:
            return
        session.busy = True
        call = await self.world.refresh(session)
        session.over = session.over or call.status == 400
        session.busy = False

    async def _revoke(self, chance: random.Random) -> None:
        session = self._pick(chance, over=False)
        if session is None or session.busy:
            return
        session.busy = True
        await self.world.revoke(session)
        session.busy = False

    def _pick(self, chance: random.Random, *, over: bool) -> Session | None:
        """A random session. over: one of the sessions that ended last, because a fault could bring those back."""
        found = [session for session in self.world.sessions if session.over == over]
        if not found:
            return None
        return chance.choice(found[-50:] if over else found)
