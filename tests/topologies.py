"""Real stores of every topology, as plain processes on loopback, and what tests do to them.

    with replicated(tmp_path, replicas=2) as store:   # sentinels(...), cluster(...), tls(...) likewise
        service_on(store.url)
        store.freeze_replication()
        store.primary().kill()
        store.fail_over()

Each node is a `ServerProcess`: `kill()` (-9), `stop()`, `start()` again with its data, `pause()` and `resume()`
(SIGSTOP, SIGCONT), `call("CONFIG", "GET", "*")`, `redis()`, `log`. To cut replication off use `freeze_replication`, not
`pause`: the socket of a paused replica keeps later writes, and the replica reads them when it resumes.
"""

import random
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import redis
import trustme
from redis.crc import key_slot

from authsvc.ops.binary import find_binary
from tests.processes import until

SERVICE = "authsvc"
# The user by which replicas log in to their primary. Turning this user off freezes replication.
REPLICATION = "replication"
DOWN_AFTER_MS = 500
NODE_TIMEOUT_MS = 1000

# Below the ports of outgoing connections, so that no such connection takes a port between our look and its use.
_PORTS = range(20_000, 29_000)
_SLOTS = 16_384
_HOST = "127.0.0.1"


def free_port() -> int:
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((_HOST, port))
            return port


@dataclass
class ServerProcess:
    """One process: a server, or with `sentinel` a sentinel. Its files are in `directory`, its log too.

    options: lines of its configuration. The process may rewrite them, and keeps them when it is started again.
    clustered: with a port for the bus of a cluster, `bus_port`.
    """

    directory: Path
    options: Sequence[str] = ()
    password: str | None = None
    binary: str = field(default_factory=find_binary)
    sentinel: bool = False
    ca: Path | None = None
    clustered: bool = False
    port: int = 0
    bus_port: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def address(self) -> str:
        return f"{_HOST}:{self.port}"

    @property
    def url(self) -> str:
        user = f":{self.password}@" if self.password else ""
        tls = f"?ssl_ca_certs={self.ca}" if self.ca else ""
        return f"{'rediss' if self.ca else 'redis'}://{user}{self.address}/0{tls}"

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def start(self) -> Self:
        """Start the process, or start it again on its data. Returns when it answers, also while it loads."""
        first = self.port == 0
        for _ in range(5):
            if first:
                self.port, self.bus_port = free_port(), free_port() if self.clustered else 0
                self._configure()
            command = [self.binary, str(self.directory / "conf"), *(["--sentinel"] if self.sentinel else [])]
            with (self.directory / "log").open("ab") as log:
                self.process = subprocess.Popen(command, cwd=self.directory, stdout=log, stderr=log)
            until(lambda: self._ended() or self.answers())
            if not self._ended() or not first:  # another process may have taken the port
                break
        assert not self._ended(), self.log
        return self

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def redis(self, **options: Any) -> "redis.Redis":
        """A client that tries once and takes replies as text."""
        return redis.Redis.from_url(self.url, retry=None, socket_timeout=5, decode_responses=True, **options)

    def call(self, *command: str | int) -> Any:
        with self.redis() as client:
            client.response_callbacks.clear()
            return client.execute_command(*command)

    def answers(self) -> bool:
        """Whether this process answers. Another process may have taken its port."""
        try:
            with self.redis() as client:
                info = client.info("server")
        except redis.RedisError:
            return False
        return self.process is not None and int(info["process_id"]) == self.process.pid

    def is_primary(self) -> bool:
        try:
            return bool(self.call("ROLE")[0] == "master")
        except redis.RedisError:
            return False

    def replicas_online(self) -> int:
        with self.redis() as client:
            info = client.info("replication")
        return sum(info[f"slave{n}"]["state"] == "online" for n in range(info["connected_slaves"]))

    def follows(self) -> bool:
        """Whether the replica has loaded its primary's data. A replica that still loads them is "online" as well."""
        with self.redis() as client:
            return bool(client.info("replication").get("master_link_status") == "up")

    def _configure(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        port = ["port 0", f"tls-port {self.port}"] if self.ca else [f"port {self.port}"]
        password = [f"requirepass {self.password}"] if self.password else []
        bus = ["cluster-enabled yes", f"cluster-port {self.bus_port}"] if self.clustered else []
        lines = [*port, f"bind {_HOST}", f"dir {self.directory}", *password, *bus, *self.options]
        (self.directory / "conf").write_text("\n".join(lines) + "\n")

    def _ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def _end(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.send_signal(signal.SIGCONT)  # a paused process ends only when it resumes
            self.process.wait(60)


@dataclass
class Replicated:
    """A primary and its replicas. Without sentinels, only `fail_over` fails over."""

    nodes: list[ServerProcess]

    @property
    def url(self) -> str:
        return self.primary().url

    def primary(self) -> ServerProcess:
        """The primary. When several servers claim the role, the last one to get it."""
        claimants = [node for node in self.nodes if not node._ended() and node.is_primary()]
        assert claimants, "no primary"
        return max(claimants, key=_promoted)

    def replicas(self) -> list[ServerProcess]:
        primary = self.primary()
        return [node for node in self.nodes if node is not primary and not node._ended()]

    def freeze_replication(self) -> None:
        """Keep all later writes from the replicas. No write waits in a socket either."""
        _freeze(self.nodes)

    def thaw_replication(self) -> None:
        _thaw(self.nodes)
        until(lambda: all(replica.follows() for replica in self.replicas()))

    def fail_over(self) -> ServerProcess:
        """Make a replica the primary, whatever data it has, and return it. A living primary becomes its replica."""
        chosen = next(node for node in self.nodes if not node._ended() and not node.is_primary())
        chosen.call("REPLICAOF", "NO", "ONE")
        for node in self.nodes:
            if node is not chosen and not node._ended():
                node.call("REPLICAOF", _HOST, chosen.port)
        return chosen


@dataclass
class Sentinels(Replicated):
    """A primary and its replicas under sentinels, which fail over when the primary does not answer."""

    sentinels: list[ServerProcess] = field(default_factory=list)

    @property
    def url(self) -> str:
        password = self.nodes[0].password
        user = f":{password}@" if password else ""
        own = self.sentinels[0].password
        query = f"?sentinel_password={own}" if own else ""
        return f"redis+sentinel://{user}{','.join(s.address for s in self.sentinels)}/{SERVICE}/0{query}"

    def primary(self) -> ServerProcess:
        """The server that the sentinels name."""
        for sentinel in self.sentinels:
            if not sentinel._ended():
                _, port = sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                return next(node for node in self.nodes if node.port == int(port))
        raise AssertionError("no sentinel lives")

    def fail_over(self) -> ServerProcess:
        """Let the sentinels fail over. Returns when another server has become the primary."""
        sentinel = next(sentinel for sentinel in self.sentinels if not sentinel._ended())
        before = self.primary()
        until(lambda: _accepted(sentinel))
        return self.await_failover(before)

    def await_failover(self, before: ServerProcess, seconds: float = 20) -> ServerProcess:
        """Wait until the sentinels have replaced this primary."""
        until(lambda: self.primary() is not before and self.primary().is_primary(), seconds)
        return self.primary()


@dataclass
class Cluster:
    """Primaries, which share the slots, and their replicas."""

    nodes: list[ServerProcess]

    @property
    def url(self) -> str:
        password = self.nodes[0].password
        user = f":{password}@" if password else ""
        return f"redis+cluster://{user}{','.join(node.address for node in self.nodes)}"

    def primaries(self) -> list[ServerProcess]:
        return [node for node in self.nodes if not node._ended() and node.is_primary() and _slots_of(node)]

    def primary_of(self, key: str) -> ServerProcess:
        slot = key_slot(key.encode())
        return next(node for node in self.primaries() if any(low <= slot <= high for low, high in _slots_of(node)))

    def replicas_of(self, primary: ServerProcess) -> list[ServerProcess]:
        return [
            node
            for node in self.nodes
            if not node._ended() and (role := node.call("ROLE"))[0] == "slave" and int(role[2]) == primary.port
        ]

    def freeze_replication(self) -> None:
        _freeze(self.nodes)

    def thaw_replication(self) -> None:
        _thaw(self.nodes)
        until(lambda: all(replica.follows() for node in self.primaries() for replica in self.replicas_of(node)))

    def fail_over(self, primary: ServerProcess) -> ServerProcess:
        """Let a replica of this primary take over, by agreement if the primary lives."""
        replica = self.replicas_of(primary)[0]
        replica.call("CLUSTER", "FAILOVER", *([] if not primary._ended() else ["TAKEOVER"]))
        until(lambda: _slots_of(replica) and (primary._ended() or not primary.is_primary()))
        return replica

    def move(self, key: str, target: ServerProcess, *, finish: bool = True, only: Sequence[str] | None = None) -> None:
        """Move the slot of this key to another primary, with its keys.

        finish: False leaves the slot half-moved, so that servers answer with ASK. only: the keys to move. The others
        stay behind, so that a command for keys of both kinds is answered with TRYAGAIN.
        """
        slot, source = key_slot(key.encode()), self.primary_of(key)
        source_id, target_id = source.call("CLUSTER", "MYID"), target.call("CLUSTER", "MYID")
        target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        names = source.call("CLUSTER", "GETKEYSINSLOT", slot, 1000) if only is None else only
        if names:
            password = ["AUTH", target.password] if target.password else []
            source.call("MIGRATE", _HOST, target.port, "", 0, 5000, *password, "KEYS", *names)
        if finish:
            for node in (target, source, *self.primaries()):
                node.call("CLUSTER", "SETSLOT", slot, "NODE", target_id)

    def add(self) -> ServerProcess:
        """Add a primary without slots. Returns when all nodes know each other."""
        first, number = self.nodes[0], len(self.nodes)
        place = first.directory.parent / f"node-{number}"
        node = ServerProcess(place, first.options, first.password, first.binary, clustered=True).start()
        self.nodes.append(node)
        first.call("CLUSTER", "MEET", _HOST, node.port, node.bus_port)
        until(
            lambda: all(len(_known(one)) == number + 1 for one in self.nodes if not one._ended()) and self.whole(), 20
        )
        return node

    def whole(self) -> bool:
        """Whether every node knows that every slot is served."""
        return all("cluster_state:ok" in str(node.call("CLUSTER", "INFO")) for node in self.nodes if not node._ended())


@contextmanager
def standalone(directory: Path, *options: str, **more: Any) -> Iterator[ServerProcess]:
    """One server, without persistence unless the options turn it on."""
    with _ending([ServerProcess(directory, _KEEPING_NOTHING + options, **more)]) as (server,):
        yield server.start()


@contextmanager
def tls(directory: Path, *options: str, **more: Any) -> Iterator[ServerProcess]:
    """One server that speaks TLS only. A new authority has signed its certificate for 127.0.0.1."""
    with standalone(directory, *_certified(directory), *options, ca=directory / "ca.pem", **more) as server:
        yield server


@contextmanager
def half_encrypted(directory: Path, binary: str, *, store_by_tls: bool) -> Iterator[str]:
    """A server under one sentinel, with TLS to one of the two only; the URL."""
    files = (*_certified(directory), f"tls-ca-cert-file {directory}/ca.pem")
    ca = directory / "ca.pem"
    with standalone(directory / "node", *files, binary=binary, ca=ca if store_by_tls else None) as server:
        watching = (f"sentinel monitor {SERVICE} {_HOST} {server.port} 1", *files)
        outgoing = f"tls-replication {'yes' if store_by_tls else 'no'}"
        watcher = ServerProcess(
            directory / "sentinel",
            (*watching, outgoing),
            binary=binary,
            sentinel=True,
            ca=None if store_by_tls else ca,
        )
        with _ending([watcher]):
            watcher.start()
            until(lambda: _flags(watcher) == "master", 20)
            scheme, sentinels = ("rediss", "no") if store_by_tls else ("redis", "yes")
            yield f"{scheme}+sentinel://{watcher.address}/{SERVICE}?ssl_ca_certs={ca}&sentinel_tls={sentinels}"


def _certified(directory: Path) -> tuple[str, ...]:
    """Write a key, and a certificate for 127.0.0.1 that a new authority has signed; the lines of a configuration."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    certificate = authority.issue_cert(_HOST)
    authority.cert_pem.write_to_path(directory / "ca.pem")
    certificate.private_key_pem.write_to_path(directory / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(directory / "cert.pem")
    return (f"tls-cert-file {directory}/cert.pem", f"tls-key-file {directory}/key.pem", "tls-auth-clients no")


@contextmanager
def replicated(directory: Path, *options: str, replicas: int = 1, **more: Any) -> Iterator[Replicated]:
    """A primary and its replicas, all of them online."""
    with _ending(_nodes(directory, 1 + replicas, options, **more)) as nodes:
        _replicate(nodes)
        yield Replicated(nodes)


@contextmanager
def sentinels(
    directory: Path, *options: str, replicas: int = 2, sentinel_password: str | None = None, **more: Any
) -> Iterator[Sentinels]:
    """A primary, its replicas and three sentinels (quorum 2), all of which know each other."""
    with ExitStack() as stack:
        nodes = stack.enter_context(_ending(_nodes(directory, 1 + replicas, options, **more)))
        _replicate(nodes)
        own = [f"sentinel sentinel-pass {sentinel_password}"] if sentinel_password else []
        theirs = [f"sentinel auth-pass {SERVICE} {nodes[0].password}"] if nodes[0].password else []
        watching = [
            f"sentinel monitor {SERVICE} {_HOST} {nodes[0].port} 2",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} 3000",
            *theirs,
            *own,
        ]
        watchers = [
            ServerProcess(directory / f"sentinel-{n}", watching, sentinel_password, nodes[0].binary, sentinel=True)
            for n in range(3)
        ]
        stack.enter_context(_ending(watchers))
        for watcher in watchers:
            # Sentinels ask four times a second instead of every ten, or a test would take a minute.
            watcher.start().call("SENTINEL", "DEBUG", "INFO-PERIOD", 250, "PUBLISH-PERIOD", 250)
        until(lambda: all(_watches(watcher, 2, replicas) for watcher in watchers), 20)
        yield Sentinels(nodes, watchers)


@contextmanager
def cluster(directory: Path, *options: str, primaries: int = 3, replicas: int = 0, **more: Any) -> Iterator[Cluster]:
    """A cluster of primaries with equal shares of the slots, and `replicas` of each."""
    timeout = f"cluster-node-timeout {NODE_TIMEOUT_MS}"
    nodes = _nodes(directory, primaries * (1 + replicas), (timeout, *options), clustered=True, **more)
    with _ending(nodes):
        for node in nodes:
            node.start()
        for n, node in enumerate(nodes[:primaries]):
            low, high = _SLOTS * n // primaries, _SLOTS * (n + 1) // primaries - 1
            node.call("CLUSTER", "ADDSLOTSRANGE", low, high)
            node.call("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        for node in nodes[1:]:
            nodes[0].call("CLUSTER", "MEET", _HOST, node.port, node.bus_port)
        until(lambda: all(len(_known(node)) == len(nodes) for node in nodes), 20)
        for n, node in enumerate(nodes[primaries:]):
            node.call("CLUSTER", "REPLICATE", nodes[n % primaries].call("CLUSTER", "MYID"))
        made = Cluster(nodes)
        until(lambda: made.whole() and all(node.follows() for node in nodes[primaries:]), 20)
        yield made


_KEEPING_NOTHING = ('save ""', "enable-debug-command local")


def _nodes(
    directory: Path, number: int, options: Sequence[str], *, password: str | None = None, **more: Any
) -> list[ServerProcess]:
    replication = (
        f"user {REPLICATION} on >{REPLICATION} +psync +replconf +ping",
        f"masteruser {REPLICATION}",
        f"masterauth {REPLICATION}",
        "repl-diskless-sync-delay 0",
        "repl-ping-replica-period 1",
    )
    everything = _KEEPING_NOTHING + replication + tuple(options)
    return [ServerProcess(directory / f"node-{n}", everything, password, **more) for n in range(number)]


def _replicate(nodes: Sequence[ServerProcess]) -> None:
    primary, *replicas = [node.start() for node in nodes]
    for replica in replicas:
        replica.call("REPLICAOF", _HOST, primary.port)
    until(lambda: all(replica.follows() for replica in replicas), 20)


@contextmanager
def _ending(servers: list[ServerProcess]) -> Iterator[list[ServerProcess]]:
    try:
        yield servers
    finally:
        for server in servers:
            server.kill()


def _freeze(nodes: Sequence[ServerProcess]) -> None:
    living = [node for node in nodes if not node._ended()]
    for node in living:
        node.call("ACL", "SETUSER", REPLICATION, "off")
    for node in living:
        node.call("CLIENT", "KILL", "TYPE", "replica")
    until(lambda: all(node.replicas_online() == 0 for node in living))


def _thaw(nodes: Sequence[ServerProcess]) -> None:
    for node in nodes:
        if not node._ended():
            node.call("ACL", "SETUSER", REPLICATION, "on")


def _promoted(node: ServerProcess) -> int:
    """A number that rises with every promotion."""
    with node.redis() as client:
        return int(client.info("replication")["second_repl_offset"])


def _accepted(sentinel: ServerProcess) -> bool:
    try:
        sentinel.call("SENTINEL", "FAILOVER", SERVICE)
    except redis.ResponseError:  # INPROG, or NOGOODSLAVE as long as it has not asked them
        return False
    return True


@contextmanager
def disagreeing_sentinels(directory: Path) -> Iterator[tuple[str, int]]:
    """A server whose three sentinels call it 127.0.0.1, 127.0.0.1 and localhost; the URL, and the server's port."""
    with standalone(directory / "node") as server:
        naming = ("sentinel resolve-hostnames yes", "sentinel announce-hostnames yes")
        watchers = [
            ServerProcess(
                directory / f"sentinel-{n}",
                (*naming, f"sentinel monitor {SERVICE} {host} {server.port} 2"),
                sentinel=True,
            )
            for n, host in enumerate((_HOST, _HOST, "localhost"))
        ]
        with _ending(watchers):
            for watcher in watchers:
                watcher.start()
                until(lambda one=watcher: _flags(one) == "master", 20)  # type: ignore[misc]  # bound in each round
            yield Sentinels([server], watchers).url, server.port


def _flags(sentinel: ServerProcess) -> str:
    """What the sentinel thinks of the primary."""
    told = sentinel.call("SENTINEL", "MASTER", SERVICE)
    return str(told["flags"] if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))["flags"])


def _watches(sentinel: ServerProcess, sentinels: int, replicas: int) -> bool:
    with sentinel.redis() as client:
        state = client.sentinel_master(SERVICE)
    return (int(state["num-other-sentinels"]), int(state["num-slaves"])) == (sentinels, replicas)


def _known(node: ServerProcess) -> list[str]:
    return [line for line in str(node.call("CLUSTER", "NODES")).splitlines() if "handshake" not in line]


def _slots_of(node: ServerProcess) -> list[tuple[int, int]]:
    """The ranges that the node says it serves."""
    mine = next(line for line in str(node.call("CLUSTER", "NODES")).splitlines() if "myself" in line)
    ranges = [word.split("-") for word in mine.split()[8:] if not word.startswith("[")]
    return [(int(low), int((high or [low])[0])) for low, *high in ranges]
