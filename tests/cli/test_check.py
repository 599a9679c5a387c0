"""`authsvc check`: every row on facts of its own, and the whole of it on real stores that are configured badly."""

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from authsvc.checks.facts import Address, Facts, Records
from authsvc.checks.table import CHECKS, judge
from authsvc.core.client import BUILT_IN, Client, Secret
from authsvc.errors import StartupError
from authsvc.ops import fitness
from authsvc.ops.data_dir import Foreign
from authsvc.ops.inspection import Denied, Inspection
from authsvc.settings import Settings
from tests.cli.test_cli import Cli
from tests.e2e.conftest import PASSWORD, Server, free_port, run
from tests.selection import slow
from tests.stores import StoreProcess, debian_redis, is_redis_7_0, rights_of_the_service, running_store

NOW = 1_800_000_000.0
SOUND = {
    "issuer": "https://auth.example.org",
    "trusted_proxies": "10.0.0.5",
    "require_factor_for": "admin",
    "factor_key": "k" * 32,
}
INFO = {
    "redis_version": "7.2.4", "valkey_version": "9.1.2", "role": "master", "loading": "0", "maxmemory": "1073741824",
    "maxmemory_policy": "noeviction", "aof_enabled": "1", "aof_last_write_status": "ok", "connected_slaves": "1",
    "slave0": "ip=10.0.0.2,port=6379,state=online,offset=28,lag=1",
}  # fmt: skip
CONFIG = {
    "appendfsync": "always", "aof-load-truncated": "yes", "save": "", "min-replicas-to-write": "1",
    "min-replicas-max-lag": "10",
}  # fmt: skip
REMOTE = Address(tls=True, local=False, socket=False, password=True)


def client(client_id: str, **fields: Any) -> Client:
    return Client(client_id=client_id, name=client_id, epoch=1, created_at=1, **fields)


RECORDS = Records(
    used=True,
    clients=(
        client(BUILT_IN, public=True),
        client("root", permissions=("admin",), secrets=(Secret(digest="d"),)),
        client("orders", permissions=("introspect",), audience=("orders",), secrets=(Secret(digest="e"),)),
    ),
    admins=("ada",),
)
FIT = Inspection(server=fitness.Server(INFO, CONFIG), allowed=(), door_open=False, default_writes=True, ahead_s=0.1)
GOOD = Facts(
    settings=Settings.model_validate(SOUND),
    now=NOW,
    hash_ms=30,
    in_files=frozenset({"redis_url"}),
    address=REMOTE,
    servers=(FIT,),
    records=RECORDS,
    denied=Denied((), ()),
)


def results(facts: Facts) -> dict[str, str]:
    return {check.name: verdict.result for check, verdict in judge(facts)}


def configured(**settings: Any) -> Facts:
    return replace(GOOD, settings=Settings.model_validate(SOUND | settings))


def store(
    info: Mapping[str, str] | None = None,
    config: Mapping[str, str] | None = None,
    durability: str = "local",
    **more: Any,
) -> Facts:
    server = fitness.Server(INFO | dict(info or {}), CONFIG | dict(config or {}))
    return replace(configured(durability=durability), servers=(replace(FIT, server=server, **more),))


def locked_redis(version: str) -> Facts:
    """A Redis whose user `default` has no rights."""
    info = {name: text for name, text in INFO.items() if name != "valkey_version"} | {"redis_version": version}
    return replace(GOOD, servers=(replace(FIT, server=fitness.Server(info, CONFIG), default_writes=False),))


def reached(**address: bool) -> Facts:
    return replace(GOOD, address=replace(REMOTE, **address))


def with_clients(*clients: Client) -> Facts:
    return replace(GOOD, records=replace(RECORDS, clients=(*RECORDS.clients, *clients)))


def test_a_sound_installation_has_nothing_to_say() -> None:
    """Where all is well no row warns or fails, and nothing is unknown."""
    found = results(GOOD)
    assert not {name for name, result in found.items() if result in ("unknown", "warn", "fail")}


def rotating(seconds: int) -> Client:
    """A client whose former secret is good for so long."""
    secrets = (Secret(digest="new"), Secret(digest="old", until=int(NOW) + seconds))
    return client("rotating", audience=("a",), secrets=secrets)


TOO_NEW = StartupError("format 9", todo="run the newer version")
NO_KEY = StartupError("codes need a key", todo="add it")

CASES: list[tuple[str, str, Facts]] = [
    ("issuer", "warn", configured(issuer=None)),
    ("issuer", "fail", configured(issuer=None, host="0.0.0.0")),  # noqa: S104 - that it is all interfaces is the case
    ("issuer", "fail", configured(issuer="http://auth.example.org")),
    ("issuer", "warn", configured(issuer="http://localhost:8000")),
    ("issuer", "fail", configured(issuer="https://auth.example.org/?a=b")),
    ("issuer", "fail", configured(issuer="https://auth.example.org/#a")),
    ("cookie", "warn", configured(issuer="http://localhost:8000")),
    ("HSTS", "n/a", configured(issuer="http://localhost:8000")),
    ("trusted proxies", "warn", configured(trusted_proxies="")),
    ("trusted proxies", "pass", configured(trusted_proxies="", issuer="http://localhost:8000")),
    ("trusted proxies", "fail", configured(trusted_proxies="10.0.0.0/8 0.0.0.0/0")),
    ("trusted proxies", "fail", configured(trusted_proxies="::/0")),
    ("trusted proxies", "warn", configured(trusted_proxies="0.0.0.0/4")),
    ("trusted proxies", "warn", configured(trusted_proxies="8.8.0.0/16")),
    ("trusted proxies", "pass", configured(trusted_proxies="10.1.0.0/16 192.0.2.7 fd00::/64")),
    ("allowed origins", "fail", configured(allowed_origins="http://app.example.org")),
    ("allowed origins", "warn", configured(allowed_origins="http://localhost:3000")),
    ("allowed origins", "pass", configured(allowed_origins="https://app.example.org")),
    ("password hash", "fail", configured(argon2_time_cost=1, argon2_memory_kib=47103)),
    ("password hash", "pass", configured(argon2_time_cost=1, argon2_memory_kib=47104)),
    ("password hash", "fail", configured(argon2_time_cost=2, argon2_memory_kib=19455)),
    ("password hash", "fail", configured(argon2_time_cost=5, argon2_memory_kib=12287)),
    ("password hash", "pass", configured(argon2_time_cost=5, argon2_memory_kib=12288)),
    ("hashing time", "warn", replace(GOOD, hash_ms=1500)),
    ("hashing time", "warn", replace(GOOD, hash_ms=2)),
    ("password length", "warn", configured(password_min_length=8)),
    ("password blocklist", "warn", configured(password_context=())),
    ("refresh grace", "warn", configured(refresh_grace_s=300)),
    ("secrets", "warn", replace(GOOD, in_files=frozenset())),
    ("secrets", "n/a", reached(password=False)),
    ("store", "fail", replace(GOOD, problem="the store does not answer", servers=(), records=None)),
    ("service record", "fail", replace(GOOD, records=Records(used=False))),
    ("service record", "fail", replace(GOOD, records=replace(RECORDS, newer_format=TOO_NEW))),
    ("rights denied", "fail", replace(GOOD, denied=Denied(("eval",), ()))),
    ("rights denied", "warn", replace(GOOD, denied=Denied((), ("info",)))),
    ("store role", "fail", store({"role": "slave"})),
    ("store role", "fail", store({"loading": "1"})),
    ("store version", "fail", store({"valkey_version": "7.1.0"})),
    ("store version", "fail", store({"valkey_version": "", "redis_version": "6.2.23"})),
    ("store version", "warn", store({"valkey_version": "8.1.8"})),
    ("store version", "pass", store({"valkey_version": "8.1.9"})),
    ("store version", "pass", store({"valkey_version": "9.2.0"})),
    ("eviction", "fail", store({"maxmemory_policy": "allkeys-lru"})),
    ("memory", "warn", store({"maxmemory": "0"})),
    ("memory", "pass", store({"used_memory": str(2**29)})),
    ("memory", "pass", store({"used_memory": str(2**30), "mem_not_counted_for_evict": str(2**29)})),
    ("memory", "warn", store({"used_memory": str(2**30 * 9 // 10 + 1)})),
    ("memory", "fail", store({"used_memory": str(2**30)})),
    ("memory", "fail", store({"used_memory": str(2**31)}, {"maxmemory": "2000000000"})),
    ("persistence", "fail", store({"aof_enabled": "0"})),
    ("persistence", "warn", store({"aof_enabled": "0"}, {"save": "3600 1"})),
    ("persistence", "fail", store({"aof_enabled": "0"}, {"save": "3600 1"}, durability="disk")),
    ("persistence", "fail", store({"aof_last_write_status": "err"})),
    ("sync to disk", "warn", store(config={"appendfsync": "everysec"})),
    ("sync to disk", "fail", store(config={"appendfsync": "everysec"}, durability="disk")),
    ("file cut short", "warn", store(config={"appendfsync": "everysec"})),
    ("file cut short", "pass", store(config={"appendfsync": "everysec", "aof-load-truncated": "no"})),
    ("file loaded whole", "fail", store({"valkey_version": "9.1.1"}, default_writes=False)),
    ("file loaded whole", "pass", store({"valkey_version": "9.1.2"}, default_writes=False)),
    ("file loaded whole", "fail", locked_redis("8.4.3")),
    ("file loaded whole", "pass", locked_redis("8.4.4")),
    ("file loaded whole", "pass", store({"valkey_version": "7.2.0"})),
    ("file loaded whole", "unknown", store({"valkey_version": "7.2.0"}, default_writes=None)),
    ("file loaded whole", "n/a", store({"aof_enabled": "0"}, default_writes=False)),
    ("durability", "pass", store(durability="disk")),
    ("durability", "fail", store({"valkey_version": "", "redis_version": "7.0.15"}, durability="disk")),
    ("replicas", "pass", store(durability="replica")),
    ("replicas", "fail", store({"slave0": "state=online,lag=60"}, durability="replica")),
    ("replicas", "n/a", store({"connected_slaves": "0"})),
    ("split brain", "pass", store(durability="replica")),
    ("split brain", "warn", store(config={"min-replicas-to-write": "0"}, durability="replica")),
    ("TLS to the store", "fail", reached(tls=False)),
    ("TLS to the store", "fail", reached(unverified=True)),
    ("TLS to the store", "n/a", reached(tls=False, local=True)),
    ("user `default`", "fail", store(door_open=True)),
    ("user `default`", "warn", replace(store(door_open=True), address=replace(REMOTE, local=True))),
    ("user `default`", "fail", replace(store(door_open=None), address=replace(REMOTE, password=False))),
    ("user `default`", "unknown", store(door_open=None)),
    ("TLS to the store", "warn", reached(open_sentinels=True)),
    ("rights in the store", "warn", store(allowed=("FLUSHALL",))),
    ("rights in the store", "unknown", store(allowed=None)),
    ("clocks", "warn", store(ahead_s=-3.0)),
    ("clocks", "fail", store(ahead_s=61.0)),
    ("clocks", "unknown", store(ahead_s=None)),
    ("data directory", "fail", replace(GOOD, address=None, data_mode=0o750)),
    ("data directory", "fail", replace(GOOD, address=None, data_mode=0o700, data_fault=Foreign("open", "chmod"))),
    ("disk space", "pass", replace(GOOD, address=None, free_bytes=2**30)),
    ("disk space", "fail", replace(GOOD, address=None, free_bytes=2**20)),
    ("persistence", "fail", store({"aof_enabled": "0", "rdb_last_bgsave_status": "err"})),
    ("data directory", "pass", replace(GOOD, address=None, data_mode=0o700)),
    ("keys", "n/a", GOOD),
    ("keys", "pass", replace(GOOD, records=replace(RECORDS, key_users=1))),
    ("keys", "warn", replace(GOOD, records=replace(RECORDS, key_users=2, expiring=("nightly",)))),
    ("access lifetimes", "warn", with_clients(client("slow", audience=("a",), access_ttl_s=3601))),
    ("access lifetimes", "pass", with_clients(client("fine", audience=("a",), access_ttl_s=3600))),
    ("session lifetimes", "warn", with_clients(client("slow", audience=("a",), session_ttl_s=31 * 86400))),
    ("session lifetimes", "warn", with_clients(client("web", audience=("a",), refresh=False, session_ttl_s=86401))),
    ("session lifetimes", "warn", with_clients(client("idle", audience=("a",), idle_ttl_s=15 * 86400))),
    ("audiences", "warn", with_clients(client("everywhere", permissions=("introspect",)))),
    ("audiences", "pass", with_clients(client("desk", permissions=("reset",)), client("phones", public=True))),
    ("audiences", "pass", with_clients(client("root", permissions=("admin", "introspect")))),
    ("audiences", "n/a", replace(GOOD, records=Records(used=True, clients=(client("desk", permissions=("reset",)),)))),
    ("scopes", "warn", with_clients(client("phones", public=True))),
    ("scopes", "warn", with_clients(client("logins", permissions=("issue",)))),
    ("scopes", "pass", with_clients(client("phones", public=True, scope="read"))),
    ("scopes", "warn", with_clients(client("nightly", permissions=("token",), audience=("orders",)))),
    ("scopes", "pass", with_clients(client("nightly", permissions=("token",), audience=("orders",), scope="read"))),
    ("scopes", "pass", with_clients(client("phones", public=True, scope=""))),
    ("issued roles", "warn", with_clients(client("logins", permissions=("issue",)))),
    ("issued roles", "pass", with_clients(client("logins", permissions=("issue",), issue_roles=()))),
    ("account calls", "warn", with_clients(client("phones", public=True, audience=("orders",)))),
    ("account calls", "warn", with_clients(client("web", audience=("orders",)))),
    ("account calls", "warn", with_clients(client("i", permissions=("introspect", "issue"), audience=("orders",)))),
    ("account calls", "warn", with_clients(client("web", permissions=("client_ip",), audience=("orders",)))),
    ("account calls", "pass", with_clients(client("phones", public=True, audience=("orders", SOUND["issuer"])))),
    ("account calls", "warn", with_clients(client("all", permissions=("introspect",), audience=(SOUND["issuer"],)))),
    ("admin clients", "warn", with_clients(*(client(f"c{n}", permissions=("admin",)) for n in range(3)))),
    ("admin clients", "fail", replace(GOOD, records=Records(used=True, admins=("ada",), locked_out=("ada",)))),
    ("admin clients", "pass", replace(GOOD, records=Records(used=True, admins=("ada",)))),
    ("public clients", "fail", with_clients(client("open", public=True, permissions=("issue",)))),
    ("client secrets", "pass", with_clients(rotating(60))),
    ("client secrets", "warn", with_clients(rotating(8 * 86400))),
    ("admin users", "warn", replace(GOOD, records=replace(RECORDS, locked_out=("ada",)))),
    ("second factors", "warn", replace(configured(require_factor_for=""), records=RECORDS)),
    ("second factors", "pass", GOOD),
    ("second factors", "fail", replace(GOOD, records=replace(RECORDS, wrong_key=NO_KEY))),
    ("second factors", "fail", configured(factor_key="", issuer="https://192.0.2.1")),
    ("second factors", "pass", configured(factor_key="")),
        ("password hashes", "warn", replace(GOOD, records=replace(RECORDS, uncheckable=2))),
    ("password hashes", "warn", replace(GOOD, records=replace(RECORDS, weak_forms=("salted-sha1",)))),
    ("password hashes", "warn", replace(GOOD, records=replace(RECORDS, unfit_forms=("scrypt n=2: too slow",)))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "result", "facts"), CASES, ids=[f"{n}-{r}-{i}" for i, (n, r, _) in enumerate(CASES)])
def test_each_row(name: str, result: str, facts: Facts) -> None:
    """A row says what its facts mean, and what to do where that is not `pass`."""
    ((_, verdict),) = [(check, verdict) for check, verdict in judge(facts) if check.name == name]
    assert verdict.result == result, verdict.why
    assert (verdict.todo is not None) == (result in ("warn", "fail")) or result == "unknown"


def test_every_row_can_pass_and_can_object() -> None:
    """Each check has a case here in which it objects, except checks that only report."""
    told = {"version", "HSTS"}
    objecting = {name for name, result, _ in CASES if result in ("warn", "fail")}
    assert {check.name for check in CHECKS} - told == objecting
    assert all(check.rule for check in CHECKS)
    assert len({check.name for check in CHECKS}) == len(CHECKS)


def test_what_a_store_does_not_say_is_unknown_and_fails_nothing() -> None:
    """A managed store forbids CONFIG, INFO and ACL: those rows say so, and that is no failure."""
    for durability in ("local", "replica", "disk"):
        facts = replace(configured(durability=durability), servers=(Inspection(),))
        found = results(facts)
        assert "fail" not in found.values()
        for name in ("store role", "store version", "eviction", "persistence", "rights in the store", "clocks"):
            assert found[name] == "unknown"


def test_of_several_primaries_the_worst_counts() -> None:
    """A single primary that evicts fails the check."""
    evicting = replace(FIT, server=fitness.Server(INFO | {"maxmemory_policy": "allkeys-lru"}, CONFIG))
    for servers in ((FIT, evicting), (evicting, FIT)):
        assert results(replace(GOOD, servers=servers))["eviction"] == "fail"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://127.0.0.1:6379/0", Address(False, True, False, False)),
        ("redis://localhost", Address(False, True, False, False)),
        ("rediss://:pw@store.internal:6380/0", Address(True, False, False, True)),
        ("redis://svc@10.0.0.7", Address(False, False, False, False)),
        ("redis://[::1]:6379", Address(False, True, False, False)),
        ("redis://[fd00::1]:6379", Address(False, False, False, False)),
        ("unix:///run/valkey.sock", Address(False, True, True, False)),
        ("unix://svc:pw@/run/valkey.sock", Address(False, True, True, True)),
        ("redis://10.0.0.1?password=pw", Address(False, False, False, True)),
        ("rediss://10.0.0.1?ssl_cert_reqs=none", Address(True, False, False, False, unverified=True)),
        ("rediss://10.0.0.1?ssl_check_hostname=False", Address(True, False, False, False, unverified=True)),
        ("rediss://10.0.0.1?ssl_cert_reqs=required&ssl_ca_certs=/ca", Address(True, False, False, False)),
        (
            "rediss+sentinel://10.0.0.1/main?sentinel_tls=no",
            Address(True, False, False, False, open_sentinels=True),
        ),
        ("redis+sentinel://10.0.0.1/main?sentinel_tls=yes", Address(False, False, False, False)),
        ("redis+sentinel://127.0.0.1:26379,10.0.0.2:26379/main", Address(False, False, False, False)),
    ],
)
def test_where_a_store_is(url: str, address: Address) -> None:
    """Local is a socket or the loopback interface, of every host that is named."""
    assert Address.of(url) == address


@pytest.mark.parametrize(
    "origin", ["*", "null", "app.example.org", "https://*.example.org", "https://app.example.org/"]
)
def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    """With credentials a wildcard would let in every site, so the service does not even start."""
    with pytest.raises(StartupError, match="AUTHSVC_ALLOWED_ORIGINS"):
        Settings.from_environment({"AUTHSVC_ALLOWED_ORIGINS": origin})


# The command on real stores, in this process or as a program of its own.


def checked(url: str, *options: str, **environment: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The status of the command in this process, and its rows by name."""
    done = Cli(url)("check", "--json", *options, **environment)
    document = json.loads(done.stdout)
    assert document["ok"] == (done.exit_code == 0)
    return done.exit_code, {row["check"]: row for row in document["checks"]}


SOUNDLY = {
    "AUTHSVC_TRUSTED_PROXIES": "10.0.0.5",
    "AUTHSVC_ISSUER": "https://auth.example.org",
    "AUTHSVC_ARGON2_MEMORY_KIB": "19456",
    "AUTHSVC_ARGON2_TIME_COST": "2",
}
SYNCED = ("--appendonly", "yes", "--appendfsync", "always", "--maxmemory", "100mb")


def use(store: StoreProcess) -> None:
    """Set the store up as a start of the service does."""
    with store.connect() as operator:
        operator.set("service", json.dumps({"epoch": int(time.time() * 1000)}))
    Cli(store.url).ok("client", "create", "root", "--permission", "admin")


def test_a_sound_store_passes() -> None:
    """0 where nothing failed; with --strict 5, as a store that lets us do anything is a warning."""
    with running_store(*SYNCED) as store:
        use(store)
        status, rows = checked(store.url, **SOUNDLY)
        assert status == 0, [row for row in rows.values() if row["result"] == "fail"]
        assert rows["rights in the store"]["result"] == "warn"
        assert checked(store.url, "--strict", **SOUNDLY)[0] == 5
        for name in ("store", "service record", "store role", "store version", "eviction", "persistence", "clocks"):
            assert rows[name]["result"] == "pass", rows[name]


def test_a_full_store_fails() -> None:
    """A login is a 503 then: the row has the figures and the remedy, and `status` says it too."""
    with running_store(*SYNCED) as store, store.connect() as operator:
        use(store)
        operator.config_set("maxmemory", 2**19)
        with pytest.raises(redis.OutOfMemoryError):
            operator.set("one", "more")
        status, rows = checked(store.url, **SOUNDLY)
        shown = Cli(store.url)("status", **SOUNDLY)
    assert status == 5
    assert [row["check"] for row in rows.values() if row["result"] == "fail"] == ["memory"]
    assert re.match(r"full: [0-9.]+ of 0\.5 MiB; nothing is issued", rows["memory"]["why"])
    assert "raise maxmemory" in rows["memory"]["todo"]
    assert re.search(r"^store .* full: [0-9.]+ of 0\.5 MiB", shown.stdout, re.MULTILINE)


def test_the_store_is_named() -> None:
    """Its socket or address, and the number of its database, without the password: `check` and `status` have them."""
    with running_store(*SYNCED) as store, store.connect() as operator:
        use(store)
        operator.config_set("requirepass", "s3cret-pw")
        for number, row in ((0, "store"), (1, "service record")):
            url = f"unix://:s3cret-pw@{store.socket}?db={number}"
            _, rows = checked(url, **SOUNDLY)
            assert f"{store.socket}, database {number}" in rows[row]["why"]
            shown = Cli(url)("status", **SOUNDLY)
            assert f"; {store.socket}, database {number}\n" in shown.stdout
            assert "s3cret" not in shown.output + json.dumps(rows)
            told = json.loads(Cli(url)("status", "--json", **SOUNDLY).stdout)
            assert told["store"]["where"] == f"{store.socket}, database {number}"


@pytest.mark.slow
def test_a_replica_is_told_once(tmp_path: Path) -> None:
    """The row `store` names it, with the remedy. No other line does."""
    port = free_port()
    with running_store(port=port) as store, running_store("--replicaof", f"127.0.0.1 {port}") as replica:
        use(store)
        done = run("check", cwd=tmp_path, AUTHSVC_REDIS_URL=replica.url)
    assert done.returncode != 0
    assert (done.stdout + done.stderr).count("is a replica") == 1, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("mode", [0o777, 0o700])
def test_a_remedy_for_the_embedded_store(tmp_path: Path, mode: int) -> None:
    """A row about an embedded store that does not run has one remedy, and not that of a configured store."""
    data_dir = tmp_path / "data"
    parts = data_dir / "appendonlydir"
    parts.mkdir(parents=True)
    (parts / "appendonly.aof.1.incr.aof").write_text("a write")  # without its manifest
    os.chmod(data_dir, mode)
    done = run("check", "--json", cwd=tmp_path, AUTHSVC_DATA_DIR=str(data_dir))
    assert done.returncode != 0
    (row,) = [row for row in json.loads(done.stdout)["checks"] if row["check"] == "store"]
    assert row["result"] == "fail"
    remedy = "chmod go-w it" if mode == 0o777 else "restore the data directory from a backup"
    assert row["todo"].startswith(remedy), row
    assert remedy not in row["why"]
    assert "AUTHSVC_REDIS_URL" not in row["why"] + row["todo"]


def test_an_embedded_store_without_a_known_remedy() -> None:
    """The row names its log."""
    ((_, verdict),) = [
        (check, verdict)
        for check, verdict in judge(replace(GOOD, problem="it ended", address=None, servers=(), records=None))
        if check.name == "store"
    ]
    assert verdict.todo is not None
    assert "valkey.log" in verdict.todo
    assert "AUTHSVC_REDIS_URL" not in verdict.todo


@pytest.mark.parametrize(
    ("options", "durability", "name"),
    [
        (["--maxmemory-policy", "allkeys-lru"], "local", "eviction"),
        (["--appendonly", "no"], "disk", "persistence"),
        slow(["--appendonly", "no"], "local", "persistence"),
        slow(["--appendfsync", "everysec"], "disk", "sync to disk"),
        slow([], "replica", "replicas"),
    ],
)
def test_a_badly_configured_store_fails(options: list[str], durability: str, name: str) -> None:
    """5, and exactly the row that it is about."""
    with running_store(*SYNCED, *options) as store:
        use(store)
        status, rows = checked(store.url, AUTHSVC_DURABILITY=durability, **SOUNDLY)
    assert status == 5
    assert [row["check"] for row in rows.values() if row["result"] == "fail"] == [name]
    assert rows[name]["todo"]
    assert rows[name]["rule"]


def test_a_user_of_least_privilege() -> None:
    """With the rights of deploy/valkey/users.acl all works, and the check can still see most."""
    with running_store(*SYNCED) as store, store.connect() as operator:
        use(store)
        operator.execute_command("ACL", "SETUSER", "authsvc", "on", ">pw", *rights_of_the_service())
        url = f"unix://authsvc:pw@{store.socket}"
        status, rows = checked(url, **SOUNDLY)
        assert status == 0
        assert rows["rights in the store"]["result"] == "pass", rows["rights in the store"]
        assert rows["eviction"]["result"] == "pass"
        assert rows["sync to disk"]["result"] == "unknown"  # CONFIG is forbidden


@pytest.mark.parametrize("right", ["+eval", slow("+client|tracking"), slow("+scan"), slow("~code:*")])
def test_a_user_without_a_needed_right(right: str) -> None:
    """5, and the row names the right."""
    with running_store(*SYNCED) as store, store.connect() as operator:
        use(store)
        rights = [granted for granted in rights_of_the_service() if granted != right]
        operator.execute_command("ACL", "SETUSER", "authsvc", "on", ">pw", *rights)
        status, rows = checked(f"unix://authsvc:pw@{store.socket}", **SOUNDLY)
    assert status != 0
    assert rows["rights denied"]["result"] == "fail"
    assert f" {right.removeprefix('+')}:" in rows["rights denied"]["why"]


@pytest.mark.parametrize("right", ["get", "role"])
def test_a_user_without_a_right_that_every_command_takes(right: str) -> None:
    """The row that says that the store can't be asked names the right."""
    with running_store(*SYNCED) as store, store.connect() as operator:
        use(store)
        operator.execute_command("ACL", "SETUSER", "authsvc", "on", ">pw", *rights_of_the_service(), f"-{right}")
        status, rows = checked(f"unix://authsvc:pw@{store.socket}", **SOUNDLY)
    assert status != 0
    assert f"its ACL forbids {right}" in rows["store"]["why"]


def test_a_user_who_may_ask_for_nothing() -> None:
    """INFO, CONFIG and ACL forbidden: unknown, and not failed."""
    with running_store(*SYNCED) as store, store.connect() as operator:
        use(store)
        operator.execute_command("ACL", "SETUSER", "svc", "on", ">pw", "~*", "+@all", "-info", "-config", "-acl")
        status, rows = checked(f"unix://svc:pw@{store.socket}", **SOUNDLY)
    assert status == 0
    for name in ("store version", "eviction", "persistence", "rights in the store"):
        assert rows[name]["result"] == "unknown"


def test_debian_s_redis_is_old_and_works() -> None:
    """Redis 7.0 is the floor: a warning for the fixes that only its distributor can have put in."""
    debian = debian_redis()
    if debian is None:
        pytest.skip("no redis-server on the PATH")
    with running_store(*SYNCED, binary=debian) as store:
        use(store)
        status, rows = checked(store.url, **SOUNDLY)
        disk, at_disk = checked(store.url, AUTHSVC_DURABILITY="disk", **SOUNDLY)
    assert status == 0
    assert rows["store version"]["result"] == "warn"
    if is_redis_7_0(debian):
        assert disk == 5
        assert at_disk["durability"]["result"] == "fail"
        assert "Redis 7.2" in at_disk["durability"]["todo"]


def test_a_redis_that_would_lose_transactions_at_a_restart() -> None:
    """5 where the user `default` has no rights, as Redis 7.0 would skip transactions. Off with all rights passes."""
    debian = debian_redis()
    if debian is None or not is_redis_7_0(debian):
        pytest.skip("no Redis 7.0 on the PATH")
    with running_store(*SYNCED, binary=debian) as store, store.connect() as operator:
        use(store)
        rights = [right for right in rights_of_the_service() if right not in ("+waitaof", "+client|setinfo")]
        operator.execute_command("ACL", "SETUSER", "authsvc", "on", ">pw", *rights)
        operator.execute_command("ACL", "SETUSER", "operator", "on", ">pw", "~*", "&*", "+@all")
        operator.execute_command("AUTH", "operator", "pw")
        url = f"unix://authsvc:pw@{store.socket}"
        operator.execute_command("ACL", "SETUSER", "default", "off", "resetpass", "resetkeys", "-@all")
        status, rows = checked(url, **SOUNDLY)
        assert (status, rows["file loaded whole"]["result"]) == (5, "fail")
        todo = rows["file loaded whole"]["todo"].partition(": ")[2].partition(",")[0]
        operator.execute_command(*todo.split())
        assert checked(url, **SOUNDLY)[1]["file loaded whole"]["result"] == "pass"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("record", "name", "why"),
    [
        ({"factor_keys": ["abcd1234"]}, "second factors", "the ids abcd1234"),
        ({"store_format": 99}, "service record", "format 99"),
    ],
)
def test_a_store_on_which_no_service_starts(record: dict[str, Any], name: str, why: str, tmp_path: Path) -> None:
    """5, and the row says what the refused start says."""
    with running_store(*SYNCED) as store, store.connect() as operator:
        use(store)
        operator.set("service", json.dumps({"epoch": int(time.time() * 1000)} | record))
        status, rows = checked(store.url, **SOUNDLY)
        start = run("serve", cwd=tmp_path, AUTHSVC_REDIS_URL=store.url, AUTHSVC_PORT="0")
    assert status == 5
    assert [row["check"] for row in rows.values() if row["result"] == "fail"] == [name]
    assert why in rows[name]["why"]
    assert f"{rows[name]['why']}: {rows[name]['todo']}" in start.stderr


def test_a_store_never_used() -> None:
    """It can be asked, and has no service record: that fails, and is not an outage."""
    with running_store(*SYNCED) as store:
        status, rows = checked(store.url, **SOUNDLY)
    assert status == 5
    assert rows["service record"]["result"] == "fail"


def test_a_store_that_is_gone(tmp_path: Path) -> None:
    """4, and still every row: those of the settings are judged, those of the store unknown."""
    status, rows = checked(f"unix://{tmp_path}/nothing.sock", **SOUNDLY)
    assert status == 4
    assert len(rows) == len(CHECKS)
    assert rows["store"]["result"] == "fail"
    assert "nothing.sock: no such socket" in rows["store"]["why"]
    assert "correct the path in AUTHSVC_REDIS_URL" in rows["store"]["todo"]
    assert rows["eviction"]["result"] == "unknown"
    assert rows["issuer"]["result"] == "pass"
    shown = Cli(f"unix://{tmp_path}/nothing.sock")("check", **SOUNDLY)
    assert "unknown" not in shown.stdout  # rows of it: the row `store` says why, once
    assert "unknown, " in shown.stderr
    assert "the store could not be asked" in Cli(f"unix://{tmp_path}/nothing.sock")("check", "--all", **SOUNDLY).stdout


@pytest.mark.slow
def test_the_embedded_store(tmp_path: Path) -> None:
    """On the data directory of a service that is not running: its store is started for the check, and passes."""
    environment = {"AUTHSVC_DATA_DIR": str(tmp_path / "data"), **SOUNDLY}

    server = Server(tmp_path, free_port(), environment).start()
    with server.http() as http:
        body = {"username": "ada", "password": PASSWORD, "roles": ["admin"]}
        assert http.post("/admin/users", json=body, auth=server.admin).status_code == 201
    assert server.stop() == 0
    done = run("check", "--json", cwd=tmp_path, **environment)
    rows = {row["check"]: row["result"] for row in json.loads(done.stdout)["checks"]}
    assert done.returncode == 0, done.stdout
    assert {rows[name] for name in ("persistence", "sync to disk", "data directory", "admin clients")} == {"pass"}
    os.chmod(tmp_path / "data", 0o755)  # noqa: S103 - what is to be found
    assert run("check", cwd=tmp_path, **environment).returncode == 5


@pytest.mark.slow
def test_a_secret_of_the_url_is_not_shown(tmp_path: Path) -> None:
    """The password of the store is in no output, whether it lets us in or not."""
    with running_store(*SYNCED) as store, store.connect() as operator:
        operator.config_set("requirepass", "s3cret-pw")
        for password in ("s3cret-pw", "s3cret-wrong"):
            for options in ([], ["--json"]):
                url = f"unix://:{password}@{store.socket}"
                done = run("check", *options, cwd=tmp_path, AUTHSVC_REDIS_URL=url)
                assert "s3cret" not in done.stdout + done.stderr


def test_a_wrong_setting_is_a_wrong_setting(tmp_path: Path) -> None:
    """2, as for every command: nothing can be checked then."""
    assert run("check", cwd=tmp_path, AUTHSVC_WORKERS="many").returncode == 2


@pytest.mark.slow
def test_a_password_in_a_file(tmp_path: Path) -> None:
    """AUTHSVC_REDIS_URL_FILE is read, and the check sees that the password is not in the environment."""
    with running_store(*SYNCED) as store, store.connect() as operator:
        use(store)
        operator.config_set("requirepass", "s3cret-pw")
        (tmp_path / "url").write_text(f"unix://:s3cret-pw@{store.socket}\n")
        done = run("check", "--json", cwd=tmp_path, AUTHSVC_REDIS_URL_FILE=str(tmp_path / "url"), **SOUNDLY)
        assert done.returncode == 0, done.stderr
        rows = {row["check"]: row["result"] for row in json.loads(done.stdout)["checks"]}
        assert rows["secrets"] == "pass"
        assert checked(f"unix://:s3cret-pw@{store.socket}", **SOUNDLY)[1]["secrets"]["result"] == "warn"
