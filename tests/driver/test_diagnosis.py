"""An error of the store tells where it happened, what is wrong and what to do. Real servers cause each of them."""

import asyncio
import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
import trustme

from authsvc.driver.connection import Connection
from authsvc.driver.reader import Value
from authsvc.driver.timeouts import Timeouts
from authsvc.errors import StoreUnavailable
from authsvc.logs import Repeats
from tests.conftest import PATIENT
from tests.selection import slow
from tests.stores import debian_redis, running_store
from tests.topologies import free_port


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What the URLs of the tests name: ports of servers of each kind, and files with certificates."""
    directory = tmp_path_factory.mktemp("tls")
    own, other = trustme.CA(), trustme.CA()
    own.cert_pem.write_to_path(str(directory / "own.pem"))
    other.cert_pem.write_to_path(str(directory / "other.pem"))
    (directory / "empty.pem").write_text("no certificate")
    issued = own.issue_cert("localhost")
    issued.private_key_pem.write_to_path(str(directory / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(directory / "cert.pem"))
    names = ("plain", "tls", "guarded", "clustered")
    ports = {name: free_port() for name in names}
    encrypted = [
        *("--tls-port", str(ports["tls"]), "--tls-cert-file", str(directory / "cert.pem")),
        *("--tls-key-file", str(directory / "key.pem"), "--tls-ca-cert-file", str(directory / "own.pem")),
        *("--tls-auth-clients", "no"),
    ]
    bus = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    if debian_redis() is None:
        pytest.skip("no redis-server (with TLS) on the PATH")
    with ExitStack() as stack:
        stack.enter_context(running_store(port=ports["plain"]))
        stack.enter_context(running_store(*encrypted, binary=debian_redis()))
        guarded = stack.enter_context(running_store(port=ports["guarded"]))
        with guarded.connect() as client:
            client.config_set("requirepass", "right")
        stack.enter_context(running_store(*bus, port=ports["clustered"]))
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        yield {name: str(port) for name, port in ports.items()} | {
            "files": str(directory),
            "silent": str(silent.getsockname()[1]),
        }


CAUSES = [
    ("redis://127.0.0.1:1", "127.0.0.1:1: connection refused", "Start the store"),
    ("redis://no-such-host.invalid:1", "no-such-host.invalid:1: no such host", "Correct the host"),
    ("unix:///nowhere/store.sock", "/nowhere/store.sock: no such socket", "correct the path"),
    ("redis://:s3cret@127.0.0.1:{guarded}", "127.0.0.1:{guarded}: wrong password, or no such user", "users.acl"),
    ("redis://nobody:right@127.0.0.1:{guarded}", "127.0.0.1:{guarded}: wrong password, or no such user", "users.acl"),
    ("redis://127.0.0.1:{guarded}", "127.0.0.1:{guarded}: it wants a password", "Put the user and the password"),
    ("redis://127.0.0.1:{plain}/99", "127.0.0.1:{plain}: no such database", "Correct the number"),
    (
        "rediss://localhost:{tls}?ssl_ca_certs={files}/other.pem",
        "localhost:{tls}: its certificate is not trusted",
        "ssl_ca_certs",
    ),
    ("rediss://localhost:{tls}", "localhost:{tls}: its certificate is not trusted", "ssl_ca_certs"),
    (
        "rediss://127.0.0.1:{tls}?ssl_ca_certs={files}/own.pem",
        "127.0.0.1:{tls}: its certificate is for another name",
        "Use the name of the certificate",
    ),
    (
        "rediss://localhost:{tls}?ssl_ca_certs={files}/none.pem",
        "localhost:{tls}: the file of ssl_ca_certs can't be read: {files}/none.pem: no such file or directory",
        "correct ssl_ca_certs",
    ),
    (
        "rediss://localhost:{tls}?ssl_ca_certs={files}/empty.pem",
        "localhost:{tls}: a file of the TLS options holds no certificate or key",
        "/empty.pem",
    ),
    ("redis://localhost:{tls}", "localhost:{tls}: it closes new connections", "use rediss://"),
    ("rediss://localhost:{plain}", "localhost:{plain}: no answer in time", "use redis://"),
    ("redis://127.0.0.1:{silent}", "127.0.0.1:{silent}: no answer in time", "whether the store runs"),
    ("redis://127.0.0.1:{clustered}", "127.0.0.1:{clustered}: some slots have no server", "redis+cluster://"),
    ("redis+cluster://127.0.0.1:{plain}", "127.0.0.1:{plain}: it is no cluster", "Use redis://"),
    ("redis+cluster://127.0.0.1:1", "127.0.0.1:1: connection refused", "Start the store"),
    (
        "redis+sentinel://127.0.0.1:1,127.0.0.1:2/main",
        "the sentinels 127.0.0.1:1, 127.0.0.1:2: no sentinel names a primary",
        "the name of the primary",
    ),
    ("redis+sentinel://127.0.0.1:{plain}/main", "the sentinels 127.0.0.1:{plain}: it is no sentinel", "redis://"),
]


@pytest.mark.parametrize(("url", "what", "todo"), CAUSES)
@pytest.mark.parametrize("by", ["call", slow("read"), slow("denied")])
async def test_an_error_tells_where_what_and_what_to_do(
    stores: dict[str, str], caplog: pytest.LogCaptureFixture, url: str, what: str, todo: str, by: str
) -> None:
    """Every way to the store tells the same: a call, a read of introspection, the trial of our rights."""
    late = "no answer in time" in what
    connection = Connection(url.format(**stores), timeouts=Timeouts() if late else PATIENT)
    try:
        with caplog.at_level(logging.WARNING):
            told = await failure_of(connection, by)
    finally:
        await connection.close()
    if by == "denied" and "slots" in what:
        assert told is None  # this asks no slot
        return
    assert told is not None
    assert str(told) == what.format(**stores)
    assert todo in (told.todo or "")
    assert f"store unavailable: {told}. {told.todo}" in caplog.messages
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("state", ["no socket", "nobody listens", "silent", "closing"])
async def test_the_embedded_store_starts_again_by_itself(tmp_path: Path, state: str) -> None:
    """The remedy for an embedded store names its log, and not the setting of another store."""
    path = tmp_path / "valkey.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        if state != "no socket":
            listening.bind(str(path))
        if state in ("silent", "closing"):
            listening.listen()
        timeouts = replace(PATIENT, reply_s=0.1, connect_s=0.1, call_s=0.5) if state == "silent" else PATIENT
        connection = Connection(f"unix://{path}", timeouts=timeouts, embedded=True)

        def close_each() -> None:
            with suppress(OSError):  # the end of the test
                while True:
                    listening.accept()[0].close()

        if state == "closing":
            Thread(target=close_each, daemon=True).start()
        try:
            told = await failure_of(connection, "call")
        finally:
            await connection.close()
    assert told is not None
    assert str(told).startswith(f"{path}: ")
    assert "valkey.log" in (told.todo or "")
    assert "AUTHSVC_REDIS_URL" not in (told.todo or "")


async def failure_of(connection: Connection, by: str) -> StoreUnavailable | None:
    if by == "read":
        return await failure_of_read(connection)
    try:
        if by == "call":
            await connection.call("GET", "session:none")
        else:
            await connection.denied({"get": ("GET", "session:none")}, {})
    except StoreUnavailable as error:
        return error
    return None


async def failure_of_read(connection: Connection) -> StoreUnavailable | None:
    loop = asyncio.get_running_loop()
    heard: asyncio.Future[Sequence[Value] | StoreUnavailable] = loop.create_future()
    reader = connection.reader()
    reader.read(["session:none"], loop.time() + 1, heard.set_result)
    try:
        told = await heard
    finally:
        await reader.close()
    value = told if isinstance(told, StoreUnavailable) else told[0]
    return value if isinstance(value, StoreUnavailable) else None


def test_a_cause_is_repeated_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log has a text of the driver once a minute; other texts, and other loggers, are written at once."""
    now = 1000.0
    monkeypatch.setattr("authsvc.logs.time.monotonic", lambda: now)
    repeats = Repeats()

    def passes(text: str, logger: str = "authsvc.driver.failures") -> bool:
        return repeats.filter(logging.LogRecord(logger, logging.WARNING, "", 0, "%s", (text,), None)) is True

    assert passes("refused")
    assert not passes("refused")
    assert passes("timeout")
    assert passes("refused", "authsvc.audit")
    assert passes("refused", "authsvc.audit")
    now += 59
    assert not passes("refused")
    now += 1
    assert passes("refused")
    assert not passes("refused")
