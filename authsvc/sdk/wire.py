"""Speaking HTTP with the service: questions with a bound on their time and one retry, and the stream of changes."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import httpx

from authsvc.sdk import clock
from authsvc.sdk.errors import Misconfigured, Unavailable

_CONNECT_TIMEOUT_S = 1.0


class Said(NamedTuple):
    """Answers in the order of the questions. date: the service's clock when it answered, in epoch seconds, if known.

    asked_at, heard_at: our clock before the question and after the answer.
    """

    answers: list[Any]
    date: float | None
    asked_at: float
    heard_at: float


class Wire:
    """Connections to one service. Belongs to one event loop."""

    def __init__(self, url: str, auth: tuple[str, str], timeout_s: float, tls: ssl.SSLContext | None) -> None:
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(
            base_url=url,
            auth=httpx.BasicAuth(*auth),
            verify=True if tls is None else tls,
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S)),
            headers={"Accept": "application/json"},
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def ask(self, tokens: Sequence[str]) -> Said:
        """Introspect them; raises Unavailable within the time bound.

        Asking is a read, so whatever went wrong on the way it is tried once more, on another connection. An answer that
        says when to come back is passed on instead: the service has tried already.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                try:
                    async with asyncio.timeout(self._timeout_s / 2):  # a dead connection leaves time for another one
                        return await self._once(tokens)
                except (TimeoutError, httpx.HTTPError):
                    return await self._once(tokens)
        except TimeoutError as error:
            raise Unavailable(f"no answer within {self._timeout_s:g} s") from error
        except httpx.HTTPError as error:
            raise Unavailable(f"the service can't be reached: {type(error).__name__}") from error

    async def _once(self, tokens: Sequence[str]) -> Said:
        asked_at = clock.now()
        if len(tokens) == 1:
            response = await self._http.post("/introspect", data={"token": tokens[0]})
        else:
            response = await self._http.post("/introspect/batch", json={"tokens": list(tokens)})
        heard_at = clock.now()
        if response.status_code in (502, 504):
            response.raise_for_status()  # a gateway's: the service itself was not reached, so it is worth another try
        _refuse(response)
        answers = _json(response)
        if len(tokens) == 1:
            answers = [answers]
        if not isinstance(answers, list) or len(answers) != len(tokens):
            raise Unavailable("the service's answer is not what was asked for")
        return Said(answers, _date(response), asked_at, heard_at)

    @asynccontextmanager
    async def events(self, silence_s: float) -> AsyncIterator[tuple[float, AsyncIterator[bytes]]]:
        """The stream of changes as it comes, and when it was asked for, by our clock: not before we were connected.

        It ends with an httpx.HTTPError where nothing comes for `silence_s`.
        """
        asked_at = clock.now()

        async def note(step: str, _: object) -> None:
            nonlocal asked_at
            if step.endswith("send_request_headers.started"):
                asked_at = clock.now()

        timeout = httpx.Timeout(silence_s, connect=_CONNECT_TIMEOUT_S)
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        options: dict[str, Any] = {"headers": headers, "timeout": timeout, "extensions": {"trace": note}}
        async with self._http.stream("GET", "/events", **options) as response:
            _refuse(response)
            yield asked_at, response.aiter_raw()


def _refuse(response: httpx.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    if status in (408, 425, 429) or status >= 500:
        after = response.headers.get("Retry-After", "")
        raise Unavailable(f"the service answered {status}", int(after) if after.isascii() and after.isdigit() else None)
    raise Misconfigured(f"the service refused us with {status}: check its URL, our client_id, secret and permission")


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise Unavailable("the service's answer is not JSON") from error


def _date(response: httpx.Response) -> float | None:
    try:
        return parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return None
