"""The state of the service in Redis or Valkey, by kind of record."""

import asyncio
from contextlib import suppress

from authsvc.core.client import Client
from authsvc.core.factors import Factors
from authsvc.core.step import Step
from authsvc.core.user import Credentials, ResetCode
from authsvc.driver.connection import Connection
from authsvc.store import keys
from authsvc.store.admins import Admins
from authsvc.store.api_keys import ApiKeys
from authsvc.store.audit import Audit
from authsvc.store.bulk_users import BulkInsert
from authsvc.store.challenges import Challenges
from authsvc.store.changes import Changes
from authsvc.store.directory import Directory
from authsvc.store.indexes import Indexes
from authsvc.store.leaks import Leaks
from authsvc.store.listing import Listing
from authsvc.store.locked import Locked
from authsvc.store.lookup import Lookup
from authsvc.store.newest import Newest
from authsvc.store.operator_events import OperatorEvents
from authsvc.store.records import Records
from authsvc.store.service import ServiceRecord
from authsvc.store.sessions import Sessions
from authsvc.store.throttle import Throttle
from authsvc.store.turns import Turns
from authsvc.store.users import Users

# How long closing waits for background work. Losing that work is harmless, because later requests repeat it.
FINISH_WITHIN_S = 0.5


class Store:
    """The state behind the tokens, by kind of record."""

    def __init__(self, connection: Connection, *, audit_retention_s: int, audit_max_events: int) -> None:
        self.connection = connection
        turns = Turns(connection.timeouts.request_s)
        self.sessions = Sessions(connection, turns)
        self.api_keys = ApiKeys(connection, self.sessions)
        self.users = Users(connection, turns)
        self.bulk = BulkInsert(connection)
        self.credentials = Records(connection, turns, Credentials, keys.credentials)
        self.factors = Records(connection, turns, Factors, keys.factors)
        self.challenges = Challenges(connection, turns)
        self.steps = Records(connection, turns, Step, keys.step)
        self.clients = Records(connection, turns, Client, keys.client)
        self.service = ServiceRecord(connection, turns)
        self.codes = Records(connection, turns, ResetCode, keys.code)
        self.lookup = Lookup(connection)
        self.leaks = Leaks(connection, self.lookup)
        self.listing = Listing(connection)
        self.admins = Admins(connection)
        self.directory = Directory(connection)
        self.newest = Newest(connection)
        self.locked = Locked(connection)
        self.indexes = Indexes(connection)
        self.throttle = Throttle(connection, turns)
        self.changes = Changes(connection)
        self.audit = Audit(connection, retention_s=audit_retention_s, max_events=audit_max_events)
        self.operator_events = OperatorEvents(connection, self.audit)

    async def close(self) -> None:
        """Finish the background work, unless the store hangs, and close the connections."""
        await self.changes.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(FINISH_WITHIN_S):
                await self.sessions.finish()
        await self.lookup.close()
        await self.connection.close()
