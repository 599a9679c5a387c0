"""Tells the application's log why the service can't be asked."""

import logging
from math import inf

import httpx

from authsvc_sdk import clock
from authsvc_sdk.errors import Misconfigured, Unavailable

_log = logging.getLogger("authsvc_sdk")
_PAUSE_S = 60
_REMEDY = "Check that the service runs (GET /readyz), that its address is right and that this machine reaches it"
_TLS = "Check that the service speaks https at this address, and not http, and that this machine trusts its certificate"


class Outages:
    """Logs why checks, exchanges and the feed fail, and what to do, and when the service answers again.

    It logs at most one outage and one refusal in a minute.
    """

    def __init__(self, url: str, client_id: str) -> None:
        self._names = httpx.URL(url).copy_with(userinfo=b""), client_id
        self._logged_at: dict[bool, float] = {}
        self._lasting = False

    def log(self, error: Unavailable, effect: str = "requests with a token get a 503") -> None:
        refused, now = isinstance(error, Misconfigured), clock.now()
        if now - self._logged_at.get(refused, -inf) < _PAUSE_S:
            return
        self._logged_at[refused] = now
        if refused:  # the reason of the error says what to do
            _log.error("authsvc at %s, client %r: %s; until then %s", *self._names, error.reason, effect)
        else:
            self._lasting = True
            remedy = _TLS if "[SSL: " in error.reason else _REMEDY
            _log.warning("authsvc at %s: %s; %s. %s", self._names[0], error.reason, effect, remedy)

    def over(self) -> None:
        """The service has answered. A program that configures no logging shows warnings only, so this is one too."""
        if self._lasting:
            self._lasting = False
            _log.warning("authsvc at %s answers again", self._names[0])
