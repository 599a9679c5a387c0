"""People, programs and logins for the pages of the console."""

import time
from collections.abc import Callable
from functools import partial

import httpx

from tests.e2e.conftest import PASSWORD

WINDOWS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 "
    "Mobile/15E148 Safari/604.1"
)
LINUX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
ROLES = {"ada": ["editor"], "grace": ["editor", "billing"], "hedy": [], "katherine": ["billing"], "linus": []}
LOGINS = (
    ("ada", WINDOWS), ("ada", IPHONE), ("ada", LINUX), ("grace", WINDOWS), ("hedy", IPHONE), ("katherine", LINUX),
    ("grace", "orders-app/2.1"),
)  # fmt: skip


def fill(http: httpx.Client, admin: tuple[str, str]) -> str:
    """Register people and a program, and log the people in. Returns the sub of `ada`."""
    subs = {}
    for name, roles in ROLES.items():
        body: dict[str, object] = {"username": name, "password": PASSWORD, "roles": roles}
        subs[name] = patiently(partial(http.post, "/admin/users", json=body, auth=admin)).json()["sub"]
    for name, agent in LOGINS:
        body = {"username": name, "password": PASSWORD}
        patiently(partial(http.post, "/login", json=body, headers={"User-Agent": agent}))
    for _ in range(3):
        http.post("/login", json={"username": "linus", "password": "a wrong password"})
    client = {"name": "orders", "permissions": ["introspect"], "audience": ["https://orders.example.org"]}
    patiently(partial(http.post, "/admin/clients", json=client, auth=admin))
    patiently(partial(http.patch, f"/admin/users/{subs['hedy']}", json={"status": "suspended"}, auth=admin))
    return str(subs["ada"])


def patiently(call: Callable[[], httpx.Response]) -> httpx.Response:
    """The answer to a call that works. On a busy machine the service may refuse it with 503, and made nothing then."""
    for _ in range(60):
        answer = call()
        if answer.status_code != 503:
            return answer.raise_for_status()
        time.sleep(1)
    raise AssertionError("the service refuses everything")
