"""The introspector for programs that use threads: Django, Flask, scripts."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar, Unpack

from authsvc_sdk import config, forks
from authsvc_sdk.answers import Active, Inactive
from authsvc_sdk.async_introspector import AsyncIntrospector
from authsvc_sdk.errors import Unavailable
from authsvc_sdk.exchange import Exchanged

T = TypeVar("T")
# How much longer than the time limit a thread waits for its answer.
_HANDOVER_S = 1.0


class Introspector:
    """Tells whom a token speaks for. Make one per process, with the settings of `Config`, and share it among threads.

    An AsyncIntrospector does the work in a background thread, which starts with the first question. Concurrent
    threads share requests. The calling thread reads cached answers itself. A fork is safe before and after.
    """

    def __init__(self, url: str, client_id: str, client_secret: str, **settings: Unpack[config.Settings]) -> None:
        self._inner = AsyncIntrospector(url, client_id, client_secret, **settings)
        self._timeout_s = self._inner._config.timeout_s + _HANDOVER_S
        self._lock = threading.Lock()
        self._thread: _LoopThread | None = None
        forks.watch(self)

    def after_fork(self) -> None:
        """In a forked child: the background thread does not exist here, and the lock may have been held."""
        forks.abandoned.append(self._thread)
        self._lock = threading.Lock()
        self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Open the feed of changes, so that the cache works from the first requests on. Call this after forking."""
        self._running().loop.call_soon_threadsafe(self._inner.start)

    def close(self) -> None:
        """Close all connections and end the thread. The next use starts both anew."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            asyncio.run_coroutine_threadsafe(self._inner.aclose(), thread.loop).result(self._timeout_s)
            thread.stop()

    def cached(self, token: str) -> Active | Inactive | None:
        """The answer if it is known at this moment without asking the service. None: call `introspect`."""
        return self._inner.cached(token)

    def introspect(self, token: str) -> Active | Inactive:
        """Tell whether an access token or a key is active right now, and for whom.

        Raises Unavailable if the service can't tell, which is neither a yes nor a no.
        """
        answer = self._inner.cached(token)
        return answer if answer is not None else self._wait_for(self._inner.introspect(token))

    def exchange(self, token: str | None, *, audience: str = "", scope: str = "") -> Exchanged:
        """Exchange a token, as `AsyncIntrospector.exchange` does."""
        return self._wait_for(self._inner.exchange(token, audience=audience, scope=scope))

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._running().loop)
        try:
            return future.result(self._timeout_s)
        except (TimeoutError, concurrent.futures.CancelledError) as error:
            future.cancel()
            raise Unavailable("no answer from the background thread") from error

    def _running(self) -> "_LoopThread":
        with self._lock:
            if self._thread is None:
                self._thread = _LoopThread()
            return self._thread


class _LoopThread:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="authsvc-sdk", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
