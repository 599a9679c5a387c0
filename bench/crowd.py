"""The rows about many sessions: their memory, the speed beside them, and the time of a revocation."""

import json
import random
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, partial
from http.client import HTTPConnection
from statistics import mean
from typing import Any

import httpx

from authsvc.store import keys
from bench import loads, servers, wrk
from bench.context import AUDIENCE, Bench, Parties, Turn, bodies_of, created, registered, say
from bench.servers import BenchError, Service, Store
from bench.wrk import Figures, Target

# The number of sessions of a user who is logged out everywhere.
HEAVY = 1000
# How long the row with a Zipf-like choice is asked before its first round, in seconds.
WARM_S = 20


@dataclass(frozen=True)
class Crowd:
    """The store with many sessions, for rows 9 and 10."""

    parties: Parties
    presented: list[str]  # of all but the other app's sessions
    other_app: str
    others: list[str]  # access tokens of the other app's sessions, a tenth of all


@cache
def crowd(bench: Bench) -> Crowd:
    """Fill a store with many sessions, and measure their memory. A second server is filled and measured, too."""
    store = bench.start(servers.store(bench.directory, "crowd"))
    service = bench.start(bench.serving("authsvc-crowd", store))
    parties = registered(store, service)
    with httpx.Client(base_url=service.url, auth=service.admin) as http:
        other_app = created(http, name="another app", audience=[AUDIENCE], access_ttl_s=86400)["client_id"]
    with ExitStack() as stack:
        stores = [store]
        if binary := servers.other_redis():
            stores.append(stack.enter_context(servers.store(bench.directory, "second", binary)))
        filled = _measured_fill(bench, stores, parties, other_app)
    presented, others = filled
    return Crowd(parties, presented, other_app, others)


def _heavy(bench: Bench, parties: Parties) -> list[tuple[str, str]]:
    """Users with HEAVY sessions each, and an access token of theirs."""
    subs = loads.fill_users([parties.store], bench.options.revocations, parties.now)
    by = loads.under(parties.store, parties.app[0])
    presented = loads.fill_sessions([parties.store], subs, by, parties.now, each=HEAVY)
    return list(zip(subs, presented[::HEAVY], strict=True))


def _measured_fill(bench: Bench, stores: list[Store], parties: Parties, other_app: str) -> tuple[list[str], list[str]]:
    count = bench.options.many
    empty = [_used(store) for store in stores]
    say(f"filling {len(stores)} stores with {count:,} users")
    subs = loads.fill_users(stores, count, parties.now)
    with_users = [_used(store) for store in stores]
    say(f"and with {count:,} sessions")
    split = count - count // 10
    first, second = loads.under(parties.store, parties.app[0]), loads.under(parties.store, other_app)
    presented = loads.fill_sessions(stores, subs[:split], first, parties.now)
    others = loads.fill_sessions(stores, subs[split:], second, parties.now)
    bench.facts["memory"] = [
        _memory(store, before, between, subs, presented, count)
        for store, before, between in zip(stores, empty, with_users, strict=True)
    ]
    return presented, others


def _memory(
    store: Store, empty: Figures, with_users: Figures, subs: list[str], presented: list[str], count: int
) -> dict[str, Any]:
    full = _used(store)
    some = random.sample(range(len(presented)), 200)
    session_keys = [keys.session(presented[at][4:16]) for at in some]
    with store.open() as client:
        info: dict[str, Any] = client.info("server") | client.info("memory")

        def taken(names: list[str]) -> float:
            return mean(int(client.memory_usage(name, samples=0)) for name in names)

        return {
            "server": " ".join(_product(info)),
            "allocator": info["mem_allocator"],
            "per_session": (full["used"] - with_users["used"]) / count,
            "per_session_rss": (full["rss"] - with_users["rss"]) / count,
            "per_user": (with_users["used"] - empty["used"]) / count,
            "record": mean(len(client.get(key) or b"") for key in session_keys),
            "record_key": taken(session_keys),
            "index_key": taken([keys.sessions(subs[at]) for at in some]),
        }


def _product(info: dict[str, Any]) -> tuple[str, str]:
    if "valkey_version" in info:
        return "Valkey", info["valkey_version"]
    return "Redis", info["redis_version"]


def _used(store: Store) -> Figures:
    """The memory of the server in bytes, once it has resized its tables and freed the buffers of the filling."""
    with store.open() as client:
        last, deadline = -1, time.monotonic() + 60
        while True:
            info: dict[str, Any] = client.info("memory")
            if abs(info["used_memory"] - last) < 65536 or time.monotonic() > deadline:
                return {"used": info["used_memory"], "rss": info["used_memory_rss"]}
            last = info["used_memory"]
            time.sleep(1.5)


def row_9(bench: Bench) -> list[Turn]:
    """The same introspection at 10k and at 1M live sessions. The requests ask about all sessions."""
    few = bench.introspection(bench.parties, bodies_of(bench.live), "few")
    return [bench.turn("few", few), bench.turn("many", _about_all(bench, "many"))]


def row_19(bench: Bench) -> list[Turn]:
    """The introspection of row 9 at 1M live sessions, with a choice that prefers some of them (Zipf).

    The server is asked before the first round, so that it remembers what is asked for often.
    """
    target = bench.prepared(replace(_about_all(bench, "zipf"), choice="zipf"))
    wrk.measure(target, WARM_S)
    return [Turn("zipf", partial(wrk.measure, target, bench.options.seconds))]


def _about_all(bench: Bench, name: str) -> Target:
    crowded = crowd(bench.host)
    parties = bench.joining(crowded.parties, f"authsvc-{name}")
    return bench.introspection(parties, bodies_of(crowded.presented + crowded.others), name)


def row_10(bench: Bench) -> dict[str, list[Figures]]:
    """Revoke one session, one user, one client and everybody, in turn."""
    crowded = crowd(bench)
    service, store = crowded.parties.service, crowded.parties.store
    singles = random.sample(crowded.presented, bench.options.revocations + 1)
    witness, found = singles.pop(), {"one": [], "user": [], "client": [], "everybody": []}  # type: ignore[var-annotated]
    connection = HTTPConnection("127.0.0.1", service.port)
    client_key = keys.client(crowded.other_app)
    with store.open() as client:
        held = {key: client.get(key) for key in (client_key, keys.SERVICE)}
        for single, (sub, heavy) in zip(singles, _heavy(bench, crowded.parties), strict=True):
            other = random.choice(crowded.others)
            cases = (
                ("one", f"token={single}", single, None),
                ("user", f"sub={sub}", heavy, None),
                ("client", f"client_id={crowded.other_app}", other, client_key),
                ("everybody", "all=true", witness, keys.SERVICE),
            )
            for name, body, token, key in cases:
                _expect(connection, crowded.parties, token, True)
                found[name].append({"ms": _revoked(connection, service, body)})
                _expect(connection, crowded.parties, token, False)
                if key is not None:  # restore the epoch, so that the next round ends the sessions again
                    client.set(key, held[key] or b"")
                time.sleep(0.3 if name == "user" else 0.05)  # deletion of a user's sessions goes on after the answer
    connection.close()
    return found


def revoked_at(connection: HTTPConnection, service: Service, body: str) -> float:
    """Revoke; returns the moment of the answer."""
    status, _ = _posted(connection, "/revoke", ":".join(service.admin or ()), body)
    acknowledged = time.perf_counter()
    if status != 200:
        raise BenchError(f"not revoked: {status}")
    return acknowledged


def _revoked(connection: HTTPConnection, service: Service, body: str) -> float:
    begun = time.perf_counter()
    return (revoked_at(connection, service, body) - begun) * 1000


def _expect(connection: HTTPConnection, parties: Parties, token: str, alive: bool) -> None:
    _, answer = _posted(connection, "/introspect", ":".join(parties.resource), f"token={token}")
    if json.loads(answer)["active"] is not alive:
        raise BenchError(f"a token is {'not ' if alive else ''}active, which is wrong")


def _posted(connection: HTTPConnection, path: str, credentials: str, body: str) -> tuple[int, bytes]:
    authorization = Target("", 0, "", credentials, (), wrk.active).authorization
    headers = {"Authorization": authorization, "Content-Type": wrk.FORM}
    connection.request("POST", path, body.encode(), headers)
    answer = connection.getresponse()
    return answer.status, answer.read()
