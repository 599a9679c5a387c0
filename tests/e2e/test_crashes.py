"""After kill -9 in the middle of a thousand logins, every acknowledged login is there."""

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pytest

from tests.e2e.conftest import PASSWORD, Server
from tests.processes import in_time, processes_on, until

log = logging.getLogger(__name__)

USERS, CLIENTS = 10, 8


@dataclass
class Run:
    """The answers that a crowd of clients got. logins: how many the crowd wants."""

    logins: int
    tokens: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    longest_call_s: float = 0
    last_failure: float = 0


async def _log_in_until_done(server: Server, run: Run, http: httpx.AsyncClient, number: int) -> None:
    while len(run.tokens) < run.logins:
        user = f"user{(number + len(run.tokens)) % USERS}"
        began = time.monotonic()
        try:
            answer = await http.post("/login", json={"username": user, "password": PASSWORD})
        except httpx.TransportError as error:
            run.failures.append(type(error).__name__)
            run.last_failure = time.monotonic()
            await asyncio.sleep(0.02)
            continue
        finally:
            run.longest_call_s = max(run.longest_call_s, time.monotonic() - began)
        if answer.status_code == 200:
            run.tokens.append(answer.json()["access_token"])
        elif answer.status_code == 503 and answer.headers.get("Retry-After") == "1":
            run.failures.append("503")
            run.last_failure = time.monotonic()
            await asyncio.sleep(0.02)
        else:
            run.unexpected.append(f"{answer.status_code} {answer.text}")
            return


@pytest.mark.parametrize(("victim", "logins"), [("valkey", 150), ("valkey", 1000), ("server", 1000)])
@pytest.mark.slow
async def test_kill_in_the_middle_of_many_logins(new_server: Callable[..., Server], victim: str, logins: int) -> None:
    """Every acknowledged token is active after the recovery. All other logins got 503 or no answer."""
    server = new_server(AUTHSVC_MAX_SESSIONS="10000").start()
    run = Run(logins)
    async with httpx.AsyncClient(base_url=server.url, timeout=10) as http:
        for number in range(USERS):
            body = {"username": f"user{number}", "password": PASSWORD}
            assert (await http.post("/admin/users", json=body, auth=server.admin)).status_code == 201
        crowd = [asyncio.create_task(_log_in_until_done(server, run, http, number)) for number in range(CLIENTS)]
        (valkey,) = processes_on(server.data_dir)
        began = time.monotonic()
        killed = 0.0
        while not all(task.done() for task in crowd):
            assert time.monotonic() - began < 60, f"{len(run.tokens)} logins, {run.failures[-3:]}"
            if not killed and len(run.tokens) >= logins // 3:
                killed = time.monotonic()
                if victim == "valkey":
                    os.kill(valkey, signal.SIGKILL)
                else:
                    server.kill()
                    await asyncio.to_thread(server.start)
            await asyncio.sleep(0.005)
        await asyncio.gather(*crowd)
        assert run.unexpected == []
        assert run.failures, "the kill was noticed"
        assert set(run.failures) <= {"503", "ConnectError", "ReadError", "RemoteProtocolError", "WriteError"}
        (successor,) = processes_on(server.data_dir)
        assert successor != valkey
        limit = asyncio.Semaphore(CLIENTS)

        async def is_active(token: str) -> bool:
            async with limit:
                answer = await http.post("/introspect", data={"token": token}, auth=server.admin)
            assert answer.status_code == 200, answer.text
            return bool(answer.json()["active"])

        assert len(run.tokens) >= logins
        assert len(set(run.tokens)) == len(run.tokens)
        assert all(await asyncio.gather(*map(is_active, run.tokens)))
    outage_s = run.last_failure - killed
    log.info(
        "kill -9 of the %s: %d logins, %d calls failed, for %.3f s; longest call %.3f s",
        victim,
        len(run.tokens),
        len(run.failures),
        outage_s,
        run.longest_call_s,
    )
    if victim == "valkey":
        in_time(run.longest_call_s, 1.5, "one call")
        in_time(outage_s, 2, "the outage")


@pytest.mark.slow
def test_workers_end_with_their_parent(new_server: Callable[..., Server]) -> None:
    """After a kill -9 of the parent its workers go too, so that the next start gets the port and keeps everything."""
    server = new_server(AUTHSVC_WORKERS="2").start()
    with server.http() as http:
        assert http.post("/admin/users", json={"username": "ada", "password": PASSWORD}, auth=server.admin).is_success
        token = http.post("/login", json={"username": "ada", "password": PASSWORD}).json()["access_token"]
    server.kill()

    def port_is_free() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", server.port)) != 0

    until(port_is_free)
    server.start()
    with server.http() as http:
        assert http.post("/introspect", data={"token": token}, auth=server.admin).json()["active"] is True
