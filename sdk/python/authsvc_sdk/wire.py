"""HTTP with the service: introspection with a time limit and one retry, and the stream of changes."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar

import httpx

from authsvc_sdk import clock
from authsvc_sdk.errors import Misconfigured, Unavailable

T = TypeVar("T")
_CONNECT_TIMEOUT_S = 1.0
# Bytes of one response. An answer about one token has at most 18 KiB, and one request asks about at most 50 tokens.
MAX_RESPONSE = 1 << 20
_IDENTITY = "wrong client_id or secret (`authsvc client rotate-secret ID` makes a new one): "
# The command replaces the list of permissions.
_PERMISSION = "our client may not {0} (`authsvc client update ID --permission {0}`, with its other permissions): "
_ADDRESS = "this is not the address of authsvc, which has a path only if a proxy adds one: "
_REMEDIES = {401: _IDENTITY, 403: _PERMISSION, 404: _ADDRESS, 405: _ADDRESS}


class IntrospectionResponse(NamedTuple):
    """The service's answers, in the order of the tokens.

    date: the service's clock when it answered, in epoch seconds. None: the response had no `Date`.
    sent_at, received_at: our clock before the request and after the response.
    """

    answers: list[Any]
    date: float | None
    sent_at: float
    received_at: float


class Wire:
    """The HTTP connections to one service. Belongs to one event loop."""

    def __init__(self, url: str, auth: tuple[str, str], timeout_s: float, tls: ssl.SSLContext | None) -> None:
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(
            base_url=url,
            auth=httpx.BasicAuth(*auth),
            verify=True if tls is None else tls,
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S)),
            follow_redirects=False,  # a redirect would take our secret and the token to another place
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def introspect(self, tokens: Sequence[str]) -> IntrospectionResponse:
        """Ask the service about these tokens. Raises Unavailable within the time limit."""
        return await self._repeated(lambda: self._introspect_once(tokens))

    async def exchange(self, form: dict[str, str]) -> Any:
        """Exchange a token; the service's answer, or its error. Raises Unavailable within the time limit."""

        async def once() -> Any:
            async with self._http.stream("POST", "/token", data=form) as response:
                _raise_for_status(response, "exchange", also=400)
                return _json(await _read(response, MAX_RESPONSE))

        return await self._repeated(once)

    async def _repeated(self, once: Callable[[], Awaitable[T]]) -> T:
        """Send a request that is safe to repeat: any error on the way leads to one retry on another connection.

        A 503 with `Retry-After` is passed on at once: the service has already retried.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                try:
                    async with asyncio.timeout(self._timeout_s / 2):  # a dead connection leaves time for the retry
                        return await once()
                except (TimeoutError, httpx.HTTPError):
                    return await once()
        except TimeoutError as error:
            raise Unavailable(f"no answer within {self._timeout_s:g} s") from error
        except httpx.HTTPError as error:
            raise Unavailable(f"the service can't be reached: {type(error).__name__} {error}") from error

    async def _introspect_once(self, tokens: Sequence[str]) -> IntrospectionResponse:
        one = len(tokens) == 1
        path = "/introspect" if one else "/introspect/batch"
        body: dict[str, Any] = {"data": {"token": tokens[0]}} if one else {"json": {"tokens": list(tokens)}}
        sent_at = clock.now()
        async with self._http.stream("POST", path, **body) as response:
            _raise_for_status(response)
            text = await _read(response, MAX_RESPONSE)
        received_at = clock.now()
        answers = [_json(text)] if one else _json(text)
        if not isinstance(answers, list) or len(answers) != len(tokens):
            raise Unavailable("the service's response has not one answer for each token")
        return IntrospectionResponse(answers, _date(response), sent_at, received_at)

    @asynccontextmanager
    async def events(self, silence_s: float) -> AsyncIterator[tuple[float, AsyncIterator[bytes]]]:
        """Open the stream of changes. Returns when the request was sent, by our clock, and the chunks.

        The time to connect does not count. Raises an httpx.HTTPError after `silence_s` without a chunk.
        """
        requested_at = clock.now()

        async def trace(step: str, _: object) -> None:
            nonlocal requested_at
            if step.endswith("send_request_headers.started"):
                requested_at = clock.now()

        timeout, extensions = httpx.Timeout(silence_s, connect=_CONNECT_TIMEOUT_S), {"trace": trace}
        options: dict[str, Any] = {"headers": {"Accept": "text/event-stream"}, "extensions": extensions}
        async with self._http.stream("GET", "/events", timeout=timeout, **options) as response:
            _raise_for_status(response)
            yield requested_at, response.aiter_raw()


def _raise_for_status(response: httpx.Response, permission: str = "introspect", also: int = 200) -> None:
    """Raise Unavailable unless the status is 200 or `also`, and HTTPStatusError if a retry is worth it.

    permission: the one that the request takes.
    """
    status = response.status_code
    if status in (200, also):
        return
    if status in (502, 504):
        response.raise_for_status()  # from a gateway that did not reach the service: worth a retry
    if status in (408, 425, 429) or status >= 500:
        after = response.headers.get("Retry-After", "")
        raise Unavailable(f"the service answered {status}", int(after) if after.isascii() and after.isdigit() else None)
    remedy = _REMEDIES.get(status, "").format(permission) + "check its URL, our client_id, secret and permissions"
    raise Misconfigured(f"the service refused us with {status}: {remedy}")


async def _read(response: httpx.Response, most: int) -> bytes:
    """The body, of at most so many bytes. Raises Unavailable for a longer or a compressed body.

    A small compressed body can become a very large one, so the SDK asks for none.
    """
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise Unavailable("the service's answer is compressed, though the SDK asked for plain JSON")
    text = b""
    async for chunk in response.aiter_raw():
        text += chunk
        if len(text) > most:
            raise Unavailable(f"the service's answer is over {most} bytes")
    return text


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # the latter for a document that is nested too deeply
        raise Unavailable("the service's answer is not JSON") from error


def _date(response: httpx.Response) -> float | None:
    try:
        return parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return None
