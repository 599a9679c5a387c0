"""The client of a mobile app: it logs in, calls an API, refreshes its tokens, survives a lost answer and logs out.

python -m examples.mobile_client http://127.0.0.1:8000 ada 'a walk by the river'
"""

import sys
import time
from collections.abc import Callable
from typing import Any, Self

import httpx

_RETRIES = 3


class LoggedOut(Exception):
    """The session is over: show the login screen."""


class Session:
    """One login. An app keeps the tokens in the keychain; this example keeps them in memory."""

    def __init__(self, http: httpx.Client, client_id: str, tokens: dict[str, Any]) -> None:
        self._http = http
        self._client_id = client_id
        self._access = self._refresh = ""
        self._refresh_at = 0.0
        self._keep(tokens)

    @classmethod
    def begin(cls, http: httpx.Client, username: str, password: str, client_id: str = "app") -> Self:
        body = {"username": username, "password": password, "client_id": client_id, "device": "a phone"}
        answer = http.post("/login", json=body)
        answer.raise_for_status()
        return cls(http, client_id, answer.json())

    def access_token(self) -> str:
        """An access token that lives for another half minute at least. Refreshes if needed."""
        if time.monotonic() > self._refresh_at:
            self.refresh()
        return self._access

    def refresh(self) -> None:
        """Trade the refresh token for a new pair.

        If the answer gets lost, ask again with the same token: within ten seconds the service gives the same pair
        again. Only a 400 means that the session is over. An outage does not: keep the tokens, and try later.
        """
        form = {"grant_type": "refresh_token", "client_id": self._client_id, "refresh_token": self._refresh}
        answer = _retried(lambda: self._http.post("/token", data=form))
        if answer.status_code == 400:
            raise LoggedOut
        answer.raise_for_status()
        self._keep(answer.json())

    def end(self) -> None:
        """End the session on the server. An app that only forgets its tokens leaves the session alive.

        The refresh token lives as long as the session. The access token may have expired, and `POST /logout` with an
        expired token ends nothing.
        """
        form = {"token": self._refresh, "client_id": self._client_id}
        _retried(lambda: self._http.post("/revoke", data=form)).raise_for_status()
        self._access = self._refresh = ""

    def _keep(self, tokens: dict[str, Any]) -> None:
        self._access, self._refresh = tokens["access_token"], tokens["refresh_token"]
        self._refresh_at = time.monotonic() + tokens["expires_in"] - 30


def _retried(call: Callable[[], httpx.Response]) -> httpx.Response:
    """Try again if the answer was lost or is 503."""
    for attempt in range(_RETRIES):
        last = attempt == _RETRIES - 1
        try:
            answer = call()
        except httpx.TransportError:
            if last:
                raise
        else:
            if answer.status_code != 503 or last:
                return answer
        time.sleep(0.2 * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def main(url: str, username: str, password: str) -> None:
    with httpx.Client(base_url=url, timeout=5) as http:
        session = Session.begin(http, username, password)
        me = http.get("/me", headers={"Authorization": f"Bearer {session.access_token()}"}).json()
        print("logged in as", me["username"])
        session.refresh()
        print("refreshed")
        session.end()
        print("logged out")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, LoggedOut) as error:
        sys.exit(f"mobile_client: {error or 'the session is over'}")
