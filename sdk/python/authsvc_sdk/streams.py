"""Ending a stream or a WebSocket with its token.

A stream asks about its token whenever the cached answer stops to hold: after an announced change at once, and without
confirmations of the feed after their bound. The body of the stream is cancelled as `asyncio.timeout` does it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from authsvc_sdk.answers import Active, Inactive
from authsvc_sdk.errors import Unavailable
from authsvc_sdk.refused import Refused, accepted

_FIRST_PAUSE_S = 0.05

Introspect = Callable[[str], Awaitable[Active | Inactive]]
# Given a token and its user, waits while the cached answer holds. Returns at once False if there is none.
Held = Callable[[str, Active], Awaitable[bool]]


async def user_of(introspect: Introspect, token: str) -> Active:
    """The user of an active token. Raises Refused."""
    try:
        return accepted(await introspect(token))
    except Unavailable as error:
        raise Refused.unavailable(error) from error


async def refusal(introspect: Introspect, held: Held, token: str, longest_pause_s: float) -> Refused:
    """Return when the token is active no more, or when nobody can tell: why a request would be refused now."""
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            user = await user_of(introspect, token)
        except Refused as refused:
            return refused
        if await held(token, user):
            pause_s = _FIRST_PAUSE_S
        else:  # no feed, or a change came while the answer was on its way
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, longest_pause_s)


@asynccontextmanager
async def ended_by(refusal: Coroutine[Any, Any, Refused]) -> AsyncIterator[None]:
    """Cancel the body when the coroutine returns, and raise what it returned."""
    body = asyncio.current_task()
    if body is None:
        raise RuntimeError("watching a token takes a task of asyncio")
    before, ended = body.cancelling(), False

    def end(_: object) -> None:
        nonlocal ended
        ended = body.cancel()

    watching = asyncio.create_task(refusal)
    watching.add_done_callback(end)
    try:
        yield
    except asyncio.CancelledError as cancelled:
        if ended and body.cancelling() <= before + 1:  # else somebody else cancels the body too
            raise watching.result() from cancelled
        raise
    finally:
        if ended:
            body.uncancel()
        watching.remove_done_callback(end)
        watching.cancel()
