"""Telling caches what to forget, as long as their client may introspect."""

from types import TracebackType
from typing import Self

from authsvc.core.client import Client
from authsvc.core.token import digest
from authsvc.errors import InvalidClient, StoreUnavailable, UnauthorizedClient
from authsvc.flows import clients
from authsvc.flows.deps import Caller, Deps
from authsvc.store import keys
from authsvc.store.subscription import EVERYTHING, Announcement, Subscription

# How often an open stream checks that its secret has not expired. Changes are noticed at once.
RECHECK_S = 10


async def listen(deps: Deps, caller: Caller, client_id: str, secret: str | None) -> "Listener":
    """Open the stream of changes for a resource server.

    Raises InvalidClient, UnauthorizedClient, TooManyAttempts, StoreUnavailable.
    """
    client = await clients.authenticate(deps, caller, client_id, secret)
    if not client.may("introspect"):
        raise UnauthorizedClient("this client may not introspect: it takes the permission introspect")
    if secret is None:
        raise InvalidClient
    return Listener(deps, client_id, digest(secret))


class Listener:
    """A client that reads the stream of changes; a context manager. It knows the digest of the secret that it used."""

    def __init__(self, deps: Deps, client_id: str, secret_digest: str) -> None:
        self._deps = deps
        self._client_id = client_id
        self._secret_digest = secret_digest
        self._own_key = keys.digest(keys.client(client_id).encode())
        self._check_at = deps.clock() + RECHECK_S
        self._doubtful = False
        self._subscription: Subscription

    def __enter__(self) -> Self:
        self._subscription = self._deps.store.changes.subscribe()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._subscription.close()

    def close(self) -> None:
        """End the stream: `next` returns None from now on."""
        self._subscription.close()

    async def next(self) -> Announcement | None:
        """The next announcement. None at the end of the stream, or if the client may no longer introspect."""
        if self._doubtful and not await self._may_listen():
            return None
        told = await self._subscription.take()
        if told is not None:
            concerned = told is EVERYTHING or self._own_key in told.digests
            self._doubtful = concerned or self._deps.clock() >= self._check_at
        return told

    async def _may_listen(self) -> bool:
        now = self._deps.clock()
        try:
            client: Client | None = await self._deps.store.lookup.client(self._client_id)
        except StoreUnavailable:
            # The permission may still be there. Caches keep nothing while the store is unreachable, so ask again soon.
            self._check_at = now
            return True
        self._check_at = now + RECHECK_S
        return client is not None and client.holds(self._secret_digest, now) and client.may("introspect")
