"""The one record `service`, on which every session depends."""

from collections.abc import Callable

from authsvc.core.record import Service
from authsvc.driver.connection import Connection
from authsvc.errors import StoreUnavailable
from authsvc.store import keys
from authsvc.store.records import Records
from authsvc.store.turns import Turns


class ServiceRecord:
    """Reads and changes the record of the whole service."""

    def __init__(self, connection: Connection, turns: Turns) -> None:
        self._records = Records(connection, turns, Service, lambda _: keys.SERVICE)

    async def find(self) -> Service | None:
        """The record; None before the first start, and after somebody emptied the store."""
        return await self._records.find("")

    async def get(self) -> Service:
        """The record. Raises StoreUnavailable if there is none: nobody can then say which sessions were cut off."""
        service = await self.find()
        if service is None:
            raise StoreUnavailable("the store holds no service record")
        return service

    async def create(self, service: Service) -> bool:
        """Store the first record; False if there is one already."""
        return await self._records.create("", service)

    async def change(self, change: Callable[[Service], Service], *, durable: bool = True) -> Service:
        """Replace the record by what `change` makes of it. Raises NotFound, NotDurable."""
        return await self._records.change("", change, durable=durable, first=True)
