"""Shared by the tests over HTTP: a count of calls to the store, and headers of a logged-in browser."""

import httpx
import pytest
import redis

from authsvc.web.cookies import NAME
from tests.conftest import PASSWORD, Service

ORIGIN = "http://auth.test"
# Commands of connecting and watching.
_NOT_ASKING = {
    "config|resetstat",
    "info",
    "hello",
    "client|setinfo",
    "client|setname",
    "client|tracking",
    "role",
    "select",
    "ping",
}


class StoreCalls:
    """Counts what the service asks of the store between `reset` and `made`."""

    def __init__(self, valkey: "redis.Redis") -> None:
        self._valkey = valkey

    def reset(self) -> None:
        self._valkey.config_resetstat()

    def made(self) -> dict[str, int]:
        """Command -> calls since the reset."""
        statistics = self._valkey.info("commandstats")
        counted = {name.removeprefix("cmdstat_"): figures["calls"] for name, figures in statistics.items()}
        return {name: calls for name, calls in counted.items() if name not in _NOT_ASKING}


@pytest.fixture
def store_calls(valkey: "redis.Redis") -> StoreCalls:
    calls = StoreCalls(valkey)
    calls.reset()
    return calls


def cookie(token: str) -> dict[str, str]:
    """The headers of a browser that sends the session cookie from our own pages."""
    return {"Cookie": f"{NAME}={token}", "Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}


def cookie_of(answer: httpx.Response) -> str:
    """The token in the one Set-Cookie header."""
    (header,) = answer.headers.get_list("set-cookie")
    name, _, value = header.split(";")[0].partition("=")
    assert name == NAME
    return str(value)


async def login_by_cookie(service: Service, username: str = "ada") -> str:
    """Log in in cookie mode; the token from the cookie."""
    body = {"username": username, "password": PASSWORD, "cookie": True}
    answer = await service.http.post("/login", json=body, headers={"Origin": ORIGIN})
    assert answer.status_code == 200, answer.text
    return cookie_of(answer)


def assert_problem(answer: httpx.Response, status: int, code: str) -> None:
    """The one shape that every error has."""
    asked = f"{answer.request.method} {answer.request.url.path}"
    assert answer.status_code == status, f"{asked}: {answer.text}"
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error", "error_description"}
    assert answer.json()["error"] == code, answer.text
