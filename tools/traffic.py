"""Sends a service a little of each kind of call all the time, so that the dashboard has data."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

PASSWORD = "a walk by the river"  # noqa: S105 - of users made up for this


class Traffic:
    """Threads that make calls until they are stopped. Calls that fail belong to the picture.

    admin: a client that may introspect, revoke and administer.
    """

    def __init__(self, url: str, admin: tuple[str, str]) -> None:
        self._url = url
        self._admin = admin
        self._stopping = threading.Event()
        self._tokens: list[str] = []
        # Logins a second: with right passwords and with guesses.
        self.logins, self.guesses = 4.0, 0.5

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Run the traffic during the block."""
        with self._client() as http:
            for name in ("ada", "grace", "mary"):
                http.post("/admin/users", json={"username": name, "password": PASSWORD}, auth=self._admin)
        jobs = [self._check, self._check, self._use, self._guess, self._listen, self._listen]
        threads = [threading.Thread(target=self._repeat, args=(job,), daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join(10)

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self._url, timeout=5)

    def _repeat(self, job: Callable[[httpx.Client, int], None]) -> None:
        with self._client() as http:
            for turn in itertools.count():
                if self._stopping.is_set():
                    return
                try:
                    job(http, turn)
                except (httpx.HTTPError, KeyError):
                    time.sleep(0.1)

    def _check(self, http: httpx.Client, turn: int) -> None:
        token = self._tokens[turn % len(self._tokens)] if self._tokens else "tok_none"
        if turn % 3:
            http.post("/introspect", data={"token": token}, auth=self._admin)
        else:
            http.get("/verify", headers={"Authorization": f"Bearer {token}"})
        time.sleep(0.01)

    def _use(self, http: httpx.Client, turn: int) -> None:
        """A user logs in, refreshes, sometimes twice with the same token, and logs out in one of several ways."""
        name = ("ada", "grace", "mary")[turn % 3]
        grant = _body(http.post("/login", json={"username": name, "password": PASSWORD}))
        form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": grant["refresh_token"]}
        pair = _body(http.post("/token", data=form))
        self._tokens = [*self._tokens[-20:], pair["access_token"]]
        bearer = {"Authorization": f"Bearer {pair['access_token']}"}
        me = _body(http.get("/me", headers=bearer))
        if turn % 4 == 1:
            http.post("/logout", headers=bearer)
        elif turn % 4 == 2:
            http.post("/revoke", data={"token": pair["access_token"]}, auth=self._admin)
        elif turn % 40 == 3:
            http.post("/revoke", data={"sub": me["sub"]}, auth=self._admin)
        self._pause(1 / self.logins)

    def _guess(self, http: httpx.Client, turn: int) -> None:
        # From many addresses: the rate limit of one address would also stop the right passwords.
        elsewhere = {"X-Forwarded-For": f"198.51.100.{turn % 250}"}
        http.post("/login", json={"username": f"user{turn % 3}", "password": "not this one either"}, headers=elsewhere)
        self._pause(1 / self.guesses)

    def _listen(self, http: httpx.Client, turn: int) -> None:
        with http.stream("GET", "/events", auth=self._admin) as stream:
            for _ in stream.iter_lines():
                if self._stopping.is_set():
                    return
        self._pause(0.5)

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)


def _body(answer: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = answer.raise_for_status().json()
    return body
