"""Following the feed of changes for as long as the introspector lives."""

import asyncio
import logging
import random

import httpx

from authsvc_sdk.cache import Cache
from authsvc_sdk.errors import Misconfigured, Unavailable
from authsvc_sdk.feed import BrokenFeed, Feed
from authsvc_sdk.outages import Outages
from authsvc_sdk.wire import Wire

_log = logging.getLogger("authsvc_sdk")
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0


async def follow(wire: Wire, cache: Cache, silence_s: float, outages: Outages) -> None:
    """Read one stream of changes after the other, until cancelled."""
    pause = _FIRST_PAUSE_S
    while True:
        received = False
        try:
            async with wire.events(silence_s) as (requested_at, chunks):
                feed = Feed(cache, requested_at, silence_s)
                async for chunk in chunks:
                    feed.receive(chunk)
                    received = True
        except Misconfigured as error:
            outages.log(error, "nothing is cached, and requests with a token may get a 503")
        except (httpx.HTTPError, Unavailable, BrokenFeed) as error:
            _log.debug("the feed of changes ended: %s", type(error).__name__)
        except Exception:  # whatever the cause, the next stream starts with an empty cache
            _log.exception("the feed of changes ended unexpectedly")
        finally:
            cache.disconnect()
        pause = _FIRST_PAUSE_S if received else min(pause * 2, _LONGEST_PAUSE_S)
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads the reconnecting clients, no secret
