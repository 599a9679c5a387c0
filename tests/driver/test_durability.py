"""A change that is answered with success has reached the level of durability. Otherwise the answer is 503."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from authsvc.driver.durability import Durability
from authsvc.errors import NotDurable
from authsvc.store import keys
from tests import topologies
from tests.conftest import PASSWORD, PATIENT, Service, bearer
from tests.driver.test_topologies import eventually, service_on
from tests.processes import until
from tests.selection import slow
from tests.topologies import ServerProcess


@dataclass
class Someone:
    """A user with a session and a client with a session, for the acts below to revoke."""

    service: Service
    sub: str
    session: dict[str, Any]
    client: tuple[str, str]
    issued: dict[str, Any]

    @classmethod
    async def on(cls, service: Service) -> "Someone":
        user = await service.user()
        _, client = await service.client("issue", "introspect")
        issued = await service.http.post("/tokens", json={"sub": "elsewhere|1"}, auth=client)
        return cls(service, user.sub, await service.login(), client, issued.json())


Act = Callable[[Someone], Awaitable[httpx.Response]]


async def revoke_token(one: Someone) -> httpx.Response:
    form = {"token": one.session["access_token"]}
    return await one.service.http.post("/revoke", data=form, auth=one.service.admin)


async def revoke_session(one: Someone) -> httpx.Response:
    form = {"session_id": one.session["session_id"]}
    return await one.service.http.post("/revoke", data=form, auth=one.service.admin)


async def revoke_user(one: Someone) -> httpx.Response:
    return await one.service.http.post("/revoke", data={"sub": one.sub}, auth=one.service.admin)


async def revoke_all(one: Someone) -> httpx.Response:
    return await one.service.http.post("/revoke", data={"all": "true"}, auth=one.service.admin)


async def suspend(one: Someone) -> httpx.Response:
    url = f"/admin/users/{one.sub}"
    return await one.service.http.patch(url, json={"status": "suspended"}, auth=one.service.admin)


async def delete_user(one: Someone) -> httpx.Response:
    return await one.service.http.delete(f"/admin/users/{one.sub}", auth=one.service.admin)


async def log_out(one: Someone) -> httpx.Response:
    return await one.service.http.post("/logout", headers=bearer(one.session["access_token"]))


async def log_out_everywhere(one: Someone) -> httpx.Response:
    headers = bearer(one.session["access_token"])
    return await one.service.http.delete("/sessions", params={"all": "true"}, headers=headers)


async def end_the_session(one: Someone) -> httpx.Response:
    headers = bearer(one.session["access_token"])
    return await one.service.http.delete(f"/sessions/{one.session['session_id']}", headers=headers)


async def change_password(one: Someone) -> httpx.Response:
    body = {"current_password": PASSWORD, "new_password": "a swim across the lake"}
    return await one.service.http.post("/password", json=body, headers=bearer(one.session["access_token"]))


async def take_a_role(one: Someone) -> httpx.Response:
    return await one.service.http.patch(f"/admin/users/{one.sub}", json={"roles": []}, auth=one.service.admin)


async def rotate_secret(one: Someone) -> httpx.Response:
    return await one.service.http.post(f"/admin/clients/{one.client[0]}/secret", auth=one.service.admin)


async def delete_client(one: Someone) -> httpx.Response:
    return await one.service.http.delete(f"/admin/clients/{one.client[0]}", auth=one.service.admin)


async def new_reset_code(one: Someone) -> httpx.Response:
    return await one.service.http.post(f"/admin/users/{one.sub}/reset-code", auth=one.service.admin)


async def report_leaked(one: Someone) -> httpx.Response:
    texts = [one.session["refresh_token"], one.issued["access_token"]]
    return await one.service.http.post("/leaked", json={"tokens": texts})


ACTS: list[Act] = [
    revoke_token, revoke_session, revoke_user, revoke_all, suspend, delete_user, log_out, log_out_everywhere,
    end_the_session, change_password, take_a_role, rotate_secret, delete_client, new_reset_code, report_leaked,
]  # fmt: skip
# One of each kind is enough for `make test`: a deletion, a cut-off, and a swap of credentials.
QUICK = {revoke_token, suspend}
# These acts end the session of their own caller, so the caller cannot repeat them after a 503.
ONCE = {log_out, log_out_everywhere, end_the_session, change_password}

DOUBTED = {
    log_out: "session.ended",
    log_out_everywhere: "user.cut_off",
    end_the_session: "session.ended",
    change_password: "password.changed",
}


async def doubted(service: Service) -> list[str]:
    """The events in the audit trail whose changes may not last."""
    trail = await service.http.get("/admin/audit", auth=service.admin)
    assert trail.status_code == 200, trail.text
    return [entry["event"] for entry in trail.json()["items"] if entry["outcome"] == "unsure"]


def is_refusal(answer: httpx.Response) -> bool:
    told = "may not last" in answer.text and bool(answer.headers.get("Retry-After"))
    return answer.status_code == 503 and told


async def in_the_end(act: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """The answer once a change lasts. On a busy machine a replica may take longer than a change waits for it."""
    answers = []

    async def lasts() -> bool:
        answers.append(await act())
        return not is_refusal(answers[-1])

    await eventually(lasts, 60)
    return answers[-1]


@pytest.mark.parametrize("act", [act if act in QUICK else slow(act) for act in ACTS])
async def test_a_change_that_no_replica_has_is_503(tmp_path: Path, act: Act) -> None:
    """While the replica is stopped, each act is 503, also when it is repeated. Afterwards the act succeeds."""
    with topologies.replicated(tmp_path) as store:
        async with service_on(store.url, PATIENT, durability="replica", durability_timeout_ms=50) as service:
            someone = await Someone.on(service)
            # Paused, not disconnected: WAIT counts such a replica for a connection that wrote nothing.
            primary, [replica] = store.primary(), store.replicas()
            replica.pause()
            first = await act(someone)
            assert is_refusal(first), first.text
            # Repeat on a new connection, as another worker would. WAIT counts only writes of its own connection.
            primary.call("CLIENT", "KILL", "TYPE", "normal")
            if act not in ONCE:
                again = await act(someone)
                assert is_refusal(again), again.text
            else:  # only the audit trail can tell
                assert await doubted(service) == [DOUBTED[act]]
            replica.resume()
            if act not in ONCE:
                done = await in_the_end(lambda: act(someone))
                # 404: the record was already gone, and now its absence is durable.
                assert done.status_code in (200, 201, 202, 204, 404), done.text
                assert done.status_code != 404 or act in (delete_user, delete_client)


async def test_a_reuse_that_is_not_durable_is_in_the_trail(tmp_path: Path) -> None:
    """The end of a session by reuse is audited, because the same token finds no session the second time."""
    with topologies.replicated(tmp_path) as store:
        async with service_on(
            store.url, PATIENT, durability="replica", durability_timeout_ms=50, refresh_grace_s=0
        ) as service:
            someone = await Someone.on(service)
            spent = someone.session["refresh_token"]
            assert (await service.refresh(spent)).status_code == 200
            store.replicas()[0].pause()
            assert is_refusal(await service.refresh(spent))
            assert await doubted(service) == ["token.reused"]


async def test_a_change_that_is_already_there_becomes_durable(tmp_path: Path) -> None:
    """A record that needs no change is written again: its first writer may have been answered with 503."""
    with topologies.replicated(tmp_path) as store:
        async with service_on(store.url, PATIENT, durability="replica", durability_timeout_ms=50) as service:
            user = await service.user()
            await service.deps.store.users.change(user.sub, lambda user: user)
            store.replicas()[0].pause()
            with pytest.raises(NotDurable):
                await service.deps.store.users.change(user.sub, lambda user: user)
            await service.deps.store.users.change(user.sub, lambda user: user, durable=False)
            assert await service.deps.store.users.get(user.sub) == user


@pytest.mark.slow
async def test_a_revoked_token_stays_dead_through_a_failover(tmp_path: Path) -> None:
    """A revocation is 200 only once a replica has it, so the token is still dead when the primary is killed."""
    with topologies.sentinels(tmp_path) as store:
        async with service_on(store.url, PATIENT, durability="replica") as service:
            await service.user()
            told, promised = await service.login(), await service.login()
            form = {"token": promised["access_token"]}
            store.freeze_replication()
            for _ in range(2):
                assert is_refusal(await service.http.post("/revoke", data=form, auth=service.admin))
            store.thaw_replication()
            done = await in_the_end(lambda: service.http.post("/revoke", data=form, auth=service.admin))
            assert done.status_code == 200, done.text
            # A revocation on the primary alone is lost in the failover, so it must not be a success.
            store.freeze_replication()
            form = {"token": told["access_token"]}
            assert is_refusal(await service.http.post("/revoke", data=form, auth=service.admin))
            assert not await service.active(told["access_token"])
            dead = store.primary()
            dead.kill()
            store.await_failover(dead)

            async def answered() -> bool:
                answer = await service.http.post("/introspect", data=form, auth=service.admin)
                return answer.status_code == 200

            await eventually(answered, 60)
            assert not await service.active(promised["access_token"])
            assert await service.active(told["access_token"])


@pytest.mark.slow
async def test_several_replicas_can_be_required(tmp_path: Path) -> None:
    """When two replicas are required, a revocation that one of them has is 503."""
    with topologies.replicated(tmp_path, replicas=2) as store:
        async with service_on(store.url, PATIENT, durability="replica", durability_replicas=2) as service:
            await service.user()
            form = {"token": (await service.login())["access_token"]}
            store.replicas()[0].kill()
            assert is_refusal(await service.http.post("/revoke", data=form, auth=service.admin))
            assert (await service.http.get("/readyz")).status_code == 503
        async with service_on(store.url, PATIENT, durability="replica", durability_replicas=1) as service:
            done = await in_the_end(lambda: service.http.post("/revoke", data=form, auth=service.admin))
            assert done.status_code == 200, done.text


@pytest.mark.slow
async def test_on_a_cluster_only_replicas_of_the_key_count(tmp_path: Path) -> None:
    """Replicas of other nodes do not count for a change."""
    with topologies.cluster(tmp_path, replicas=1) as cluster:
        async with service_on(cluster.url, PATIENT, durability="replica", durability_timeout_ms=100) as service:
            await service.user()
            session = await service.login()
            name = keys.session(session["session_id"])
            primary = cluster.primary_of(name)
            form = {"token": session["access_token"]}
            primary.call("ACL", "SETUSER", topologies.REPLICATION, "off")
            primary.call("CLIENT", "KILL", "TYPE", "replica")
            until(lambda: primary.replicas_online() == 0)
            for _ in range(2):
                assert is_refusal(await service.http.post("/revoke", data=form, auth=service.admin))
            cluster.thaw_replication()
            done = await in_the_end(lambda: service.http.post("/revoke", data=form, auth=service.admin))
            assert done.status_code == 200, done.text
            until(lambda: primary.replicas_online() == 1)
            assert cluster.fail_over(primary).call("EXISTS", name) == 0


@pytest.mark.slow
async def test_on_a_cluster_each_node_with_a_change_is_waited_for(tmp_path: Path) -> None:
    """Changes of one call on all nodes: if the replica of one node lacks its change, the answer is 503."""
    with topologies.cluster(tmp_path, replicas=1) as cluster:
        async with service_on(cluster.url, PATIENT, durability="replica", durability_timeout_ms=100) as service:
            _, client = await service.client("issue")
            issued = [await service.http.post("/tokens", json={"sub": f"a|{n}"}, auth=client) for n in range(60)]
            grants = [answer.json() for answer in issued]
            primaries = [cluster.primary_of(keys.session(grant["session_id"])) for grant in grants]
            assert len({primary.port for primary in primaries}) == 3
            ends = {primaries[0].port, primaries[-1].port}
            lagging = next(primary for primary in primaries if primary.port not in ends)
            lagging.call("ACL", "SETUSER", topologies.REPLICATION, "off")
            lagging.call("CLIENT", "KILL", "TYPE", "replica")
            until(lambda: lagging.replicas_online() == 0)
            report = {"tokens": [grant["access_token"] for grant in grants]}
            for _ in range(2):
                assert is_refusal(await service.http.post("/leaked", json=report))
            assert await doubted(service) == ["token.leaked"] * 60
            cluster.thaw_replication()
            assert (await in_the_end(lambda: service.http.post("/leaked", json=report))).status_code == 202
            assert not any([await service.active(token) for token in report["tokens"]])


@contextmanager
def slow_disk(server: ServerProcess) -> Iterator[None]:
    """The log is fsynced once a second only."""
    server.call("CONFIG", "SET", "appendfsync", "everysec")
    yield
    server.call("CONFIG", "SET", "appendfsync", "always")


@contextmanager
def no_log(server: ServerProcess) -> Iterator[None]:
    """The server has no append-only file, so WAITAOF is an error."""
    server.call("CONFIG", "SET", "appendonly", "no")
    yield
    server.call("CONFIG", "SET", "appendonly", "yes")
    until(lambda: "aof_rewrite_in_progress:0" in str(server.call("INFO", "persistence")))


@pytest.mark.parametrize("trouble", [slow_disk, no_log])
async def test_a_change_that_is_not_on_disk_is_503(
    tmp_path: Path, trouble: Callable[[ServerProcess], AbstractContextManager[None]]
) -> None:
    """A change that is not fsynced in time is 503. A change that is fsynced survives a kill."""
    with topologies.standalone(tmp_path, "appendonly yes", "appendfsync always") as server:
        async with service_on(server.url, PATIENT, durability="disk", durability_timeout_ms=10) as service:
            someone = await Someone.on(service)
            with trouble(server):
                answers = [await revoke_user(someone) for _ in range(5)]
                assert any(is_refusal(answer) for answer in answers), [answer.text for answer in answers]
                assert all(is_refusal(answer) or answer.status_code == 200 for answer in answers)
            assert (await in_the_end(lambda: revoke_token(someone))).status_code == 200
            server.kill()
            server.start()
            assert not await service.active(someone.session["access_token"])


async def test_local_promises_the_primary_alone(tmp_path: Path) -> None:
    """At the default level the service does not wait for replicas."""
    with topologies.replicated(tmp_path) as store:
        async with service_on(store.url) as service:
            someone = await Someone.on(service)
            store.freeze_replication()
            assert (await revoke_token(someone)).status_code == 200


@pytest.mark.parametrize("level", ["replica", "disk"])
async def test_only_revocations_wait(tmp_path: Path, level: str) -> None:
    """Login, refresh, issuing and introspection work without a replica and without an append-only file."""
    with topologies.standalone(tmp_path) as server:
        async with service_on(server.url, PATIENT, durability=level) as service:
            someone = await Someone.on(service)
            assert (await service.refresh(someone.session["refresh_token"])).status_code == 200
            assert await service.active(someone.issued["access_token"])


@pytest.mark.slow
async def test_a_full_store_still_revokes(tmp_path: Path) -> None:
    """At its memory limit the store takes no new records, and every revocation works and is durable."""
    with topologies.replicated(tmp_path) as store:
        async with service_on(store.url, PATIENT, durability="replica") as service:
            someone = await Someone.on(service)
            other = await service.login()
            store.primary().call("CONFIG", "SET", "maxmemory", 1)
            body = {"username": "ada", "password": PASSWORD}
            assert (await service.http.post("/login", json=body)).status_code == 503
            for _ in range(2):
                assert (await revoke_token(someone)).status_code == 200
            headers = bearer(other["access_token"])
            assert (await service.http.post("/logout", headers=headers)).status_code == 204
            assert (await revoke_user(someone)).status_code == 200
            assert (await suspend(someone)).status_code == 200
            assert (await revoke_all(someone)).status_code == 200
            assert not await service.active(someone.issued["access_token"])


def test_wait_counts_writes_of_its_own_connection(tmp_path: Path) -> None:
    """WAIT counts a stopped replica for a connection that wrote nothing. That is why a durable no-op writes."""
    with topologies.replicated(tmp_path) as store:
        primary, [replica] = store.primary(), store.replicas()
        replica.pause()
        primary.call("SET", "a", 1)
        with primary.redis() as client:
            client.delete("nothing")
            assert client.wait(1, 50) == 1
            client.set("b", 2)
            assert client.wait(1, 50) == 0


def test_the_wait_fits_into_the_request() -> None:
    """The wait has an end and leaves time for its answer. A count below the level does not reach it."""
    replica, disk = Durability("replica", 500), Durability("disk", 500)
    assert replica.command(None) == ("WAIT", 1, 500)
    assert replica.command(0.3) == ("WAIT", 1, 250)
    assert replica.command(0.0) == ("WAIT", 1, 1)
    assert Durability("replica", replicas=2).command(None) == ("WAIT", 2, 500)
    assert disk.command(None) == ("WAITAOF", 1, 0, 500)
    assert [replica.reached(reply) for reply in (0, 1, 2, None, redis.ResponseError())] == [
        False, True, True, False, False,
    ]  # fmt: skip
    assert [disk.reached(reply) for reply in ([0, 1], [1, 0], [], redis.ResponseError())] == [False, True, False, False]
