"""TLS to the store (deploy/valkey/tls.conf): only a certificate of one's own authority, for that name, will do."""

import shutil
import subprocess
from pathlib import Path

import pytest

from authsvc.driver.connection import Connection
from authsvc.errors import StoreUnavailable
from tests.conftest import PATIENT
from tests.e2e.conftest import free_port
from tests.selection import slow
from tests.stores import SHIPPED, Secrets, debian_redis, running_store


def certificate(directory: Path, name: str, host: str) -> Path:
    """A certificate that signs itself, for one host; its key is beside it."""
    path = directory / f"{name}.crt"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "1", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"),
            *("-keyout", str(directory / f"{name}.key"), "-out", str(path)),
        ],
        check=True,
        capture_output=True,
    )
    return path


@pytest.mark.parametrize(
    ("trusted", "name", "accepted"),
    [
        ("own", "localhost", True),
        ("other", "localhost", False),
        slow(None, "localhost", False),
        slow("own", "elsewhere", False),
    ],
)
async def test_the_certificate_of_the_store_is_verified(
    tmp_path: Path, trusted: str | None, name: str, accepted: bool
) -> None:
    """The service sends data only to a server with a certificate for its name from the named authority."""
    if debian_redis() is None or shutil.which("openssl") is None:
        pytest.skip("no redis-server (with TLS) or no openssl on the PATH")
    own, _ = certificate(tmp_path, "own", name), certificate(tmp_path, "other", name)
    port = free_port()
    secrets = Secrets.made(tmp_path / "secrets", f"rediss://localhost:{port}/0", debian_redis())
    tls = [
        *("--include", str(SHIPPED / "tls.conf"), "--tls-port", str(port), "--tls-ca-cert-file", str(own)),
        *("--tls-cert-file", str(own), "--tls-key-file", str(tmp_path / "own.key")),
    ]
    with running_store(*tls, binary=debian_redis(), shipped=secrets):
        authority = f"?ssl_ca_certs={tmp_path / trusted}.crt" if trusted else ""
        connection = Connection(secrets.url + authority, timeouts=PATIENT)
        try:
            if accepted:
                assert await connection.call("GET", "session:none") is None
            else:
                with pytest.raises(StoreUnavailable):
                    await connection.call("GET", "session:none")
        finally:
            await connection.close()
