"""Tells the application's log why the service can't be asked."""

import logging
from math import inf

import httpx

from authsvc_sdk import clock
from authsvc_sdk.errors import Misconfigured, Unavailable

_log = logging.getLogger("authsvc_sdk")
_PAUSE_S = 60
_REMEDY = "Check that the service runs (GET /readyz), that its address is right and that this machine reaches it"


class Outages:
    """Logs why checks and exchanges fail, and what to do, at most once a minute for each of both kinds of failure."""

    def __init__(self, url: str) -> None:
        self._address = httpx.URL(url).copy_with(userinfo=b"")
        self._logged_at: dict[bool, float] = {}

    def log(self, error: Unavailable, requests: str = "requests with a token") -> None:
        """requests: those that get a 503 for it."""
        refused, now = isinstance(error, Misconfigured), clock.now()
        if now - self._logged_at.get(refused, -inf) < _PAUSE_S:
            return
        self._logged_at[refused] = now
        if refused:  # the reason of the error says what to do
            _log.error("authsvc at %s: %s; until then %s get a 503", self._address, error.reason, requests)
        else:
            _log.warning("authsvc at %s: %s; %s get a 503. %s", self._address, error.reason, requests, _REMEDY)
