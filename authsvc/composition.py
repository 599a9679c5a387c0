"""Put the parts of the service together: settings in, `Deps` out. The server and the command line both begin here."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext

from authsvc.api.routes import CALLS
from authsvc.driver.connection import Connection
from authsvc.driver.deadline import Span
from authsvc.driver.durability import Durability
from authsvc.driver.timeouts import Timeouts
from authsvc.flows.deps import Deps
from authsvc.hashing.hasher import Hasher
from authsvc.metrics import Metrics
from authsvc.ops.data_dir import is_embedded
from authsvc.ops.fitness import Fitness
from authsvc.ops.rights import needed
from authsvc.settings import Settings
from authsvc.store import Store
from authsvc.store.keys import PATTERNS
from authsvc.store.memory import Memory


@asynccontextmanager
async def open_deps(
    settings: Settings,
    redis_url: str,
    clock: Callable[[], float] = time.time,
    metrics: Metrics | None = None,
    span: Span = nullcontext,
    timeouts: Timeouts = Timeouts(),
) -> AsyncIterator[Deps]:
    """Connect the parts of the service to a store, and close them at the end.

    metrics: the numbers in which the parts count. Without them, the parts count in numbers of their own.
    span: makes a context manager for each wait for the store. timeouts: how long to wait for the store.
    """
    metrics = metrics or Metrics(CALLS)
    durability = Durability(settings.durability, settings.durability_timeout_ms, settings.durability_replicas)
    embedded = is_embedded(redis_url, settings.data_dir)
    connection = Connection(redis_url, durability, metrics, span, timeouts, embedded=embedded)
    store = Store(
        connection,
        audit_retention_s=settings.audit_retention_s,
        audit_max_events=settings.audit_max_events,
    )
    rights = needed(PATTERNS, settings.durability, clustered=connection.clustered, numbered=connection.numbered)
    hasher = Hasher(settings.argon2_profile, threads=settings.threads, metrics=metrics)
    try:
        memory = Memory(settings.answer_memory_mb * 1_000_000)
        yield Deps(store, hasher, clock, settings, metrics, Fitness(connection, rights), memory)
    finally:
        hasher.close()
        await store.close()
