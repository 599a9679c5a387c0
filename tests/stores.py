"""Stores that are configured in some way: real servers on a socket of their own."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from authsvc.store.embedded import _find_binary
from tests.processes import until

# A replica is served at once, where a server usually waits 5 s for more of them to come.
_DEFAULTS = ("--save", "", "--repl-diskless-sync-delay", "0")


@dataclass
class StoreProcess:
    """A running server; `port` is 0 unless it was given one."""

    directory: Path
    process: "subprocess.Popen[bytes]"

    @property
    def socket(self) -> Path:
        return self.directory / "store.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def connect(self) -> "redis.Redis":
        return redis.Redis(unix_socket_path=str(self.socket), retry=Retry(NoBackoff(), 0), decode_responses=True)

    def answers(self) -> bool:
        assert self.process.poll() is None, (self.directory / "log").read_text()
        try:
            with self.connect() as client:
                return bool(client.ping())
        except redis.BusyLoadingError:
            return True
        except redis.ConnectionError:
            return False


@contextmanager
def running_store(
    *options: str, binary: str | None = None, port: int = 0, directory: Path | None = None
) -> Iterator[StoreProcess]:
    """A server with these options of its command line, without persistence unless they say otherwise."""
    with tempfile.TemporaryDirectory(prefix="authsvc-store-") as fresh:
        where = directory or Path(fresh)
        place = ["--unixsocket", str(where / "store.sock"), "--dir", str(where)]
        with (where / "log").open("wb") as log:
            process = subprocess.Popen(
                [binary or _find_binary(), "--port", str(port), *place, *_DEFAULTS, *options], stdout=log, stderr=log
            )
        store = StoreProcess(where, process)
        try:
            until(store.answers)
            yield store
        finally:
            process.kill()
            process.wait()


def rights_of_the_docs() -> list[str]:
    """What docs/security.md lets the service's user of the store do, as arguments of ACL SETUSER."""
    text = (Path(__file__).parent.parent / "docs" / "security.md").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("ACL SETUSER authsvc on >PASSWORD "))
    return line.split()[5:]


def debian_redis() -> str | None:
    """The redis-server on the PATH, which is an older and another product than ours."""
    return shutil.which("redis-server")
