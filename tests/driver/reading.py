"""Reading through a Reader and waiting for the values."""

import asyncio
from collections.abc import Sequence

from authsvc.driver.reader import Reader, Value
from authsvc.errors import StoreUnavailable


async def read(reader: Reader, give_up_at: float, *wanted: str) -> Sequence[Value]:
    """The values of these keys. give_up_at: on the event loop's clock. Raises StoreUnavailable."""
    answer: asyncio.Future[Sequence[Value] | StoreUnavailable] = asyncio.get_running_loop().create_future()
    reader.read(wanted or ["a"], give_up_at, answer.set_result)
    values = await answer
    if isinstance(values, StoreUnavailable):
        raise values
    return values
