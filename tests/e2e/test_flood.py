"""One user's parallel calls on the own account, at two workers: nobody else notices."""

from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.e2e.conftest import PASSWORD, Server
from tests.e2e.wire import Answer, Wire

CALLS = 600


@pytest.fixture
def workers(new_server: Callable[..., Server]) -> Server:
    """Two worker processes, and the users mallory and ada."""
    server = new_server(AUTHSVC_WORKERS="2").start()
    with server.http() as http:
        for name in ("mallory", "ada"):
            body = {"username": name, "password": PASSWORD}
            assert http.post("/admin/users", json=body, auth=server.admin).status_code == 201
    return server


def head(call: str, authorization: str, body: str = "", media: str = "application/json") -> bytes:
    return (
        f"{call} HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\nContent-Type: {media}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode()


def answered(wire: Wire) -> Answer:
    answer = wire.answer()
    assert answer is not None
    return answer


@pytest.mark.slow
def test_a_flood_of_one_user_delays_nobody_else(workers: Server) -> None:
    """While a user ends the own sessions 600 times at once, an admin suspends that user, and other tokens are active.

    The calls beyond the limit are 429 and say when to come again.
    """
    admin = "Basic " + b64encode(":".join(workers.admin).encode()).decode()
    refused = Counter[int]()
    with workers.http() as http:

        def login(name: str) -> dict[str, str]:
            return dict(http.post("/login", json={"username": name, "password": PASSWORD}).json())

        ada, (mallory,) = (
            login("ada"),
            [
                user["sub"]
                for user in http.get("/admin/users", auth=workers.admin).json()["items"]
                if user["username"] == "mallory"
            ],
        )
        introspection = head(
            "POST /introspect", admin, f"token={ada['access_token']}", "application/x-www-form-urlencoded"
        )
        for _ in range(5):
            call = head("DELETE /sessions", f"Bearer {login('mallory')['access_token']}")
            with ExitStack() as open_:
                flood = [open_.enter_context(Wire(workers.port)) for _ in range(CALLS)]
                others = [open_.enter_context(Wire(workers.port)) for _ in range(20)]
                admins = open_.enter_context(Wire(workers.port))
                for number, wire in enumerate(flood):
                    wire.send(call)
                    if number % 30 == 0:
                        others[number // 30].send(introspection)
                    if number == CALLS // 2:
                        admins.send(head(f"PATCH /admin/users/{mallory}", admin, '{"status": "suspended"}'))
                suspended = answered(admins)
                assert (suspended.status, suspended.json.get("status")) == (200, "suspended")
                assert [answered(wire).json["active"] for wire in others] == [True] * 20
                for answer in map(answered, flood):
                    refused[answer.status] += 1
                    assert answer.status != 429 or answer.all("retry-after") == ["1"]
            http.patch(f"/admin/users/{mallory}", json={"status": "active"}, auth=workers.admin).raise_for_status()
    assert set(refused) <= {204, 401, 429, 503}
    assert refused[429] > 0, refused
