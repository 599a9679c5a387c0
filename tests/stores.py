"""Real stores on sockets of their own, with any configuration, also with the one of `deploy/`."""

import re
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

from authsvc.ops.binary import find_binary
from tests.processes import until

# By default a server waits 5 s for more replicas before it serves the first.
_DEFAULTS = ("--save", "", "--repl-diskless-sync-delay", "0")


@dataclass
class StoreProcess:
    """A running server."""

    directory: Path
    process: "subprocess.Popen[bytes]"
    user: str | None = None
    password: str | None = None

    @property
    def socket(self) -> Path:
        return self.directory / "store.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def connect(self) -> "redis.Redis":
        return redis.Redis(
            unix_socket_path=str(self.socket), username=self.user, password=self.password,
            retry=Retry(NoBackoff(), 0), decode_responses=True,
        )  # fmt: skip

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
    *options: str,
    binary: str | None = None,
    port: int = 0,
    directory: Path | None = None,
    shipped: "Secrets | None" = None,
) -> Iterator[StoreProcess]:
    """A server with these command line options, without persistence unless they turn it on.

    shipped: use the configuration and the users of deploy/valkey, and connect as their operator.
    """
    with tempfile.TemporaryDirectory(prefix="authsvc-store-") as fresh:
        where = directory or Path(fresh)
        place = ["--unixsocket", str(where / "store.sock"), "--dir", str(where)]
        given = shipped.options if shipped else ()
        with (where / "log").open("wb") as log:
            process = subprocess.Popen(
                [binary or find_binary(), *given, "--port", str(port), *place, *_DEFAULTS, *options],
                stdout=log,
                stderr=log,
            )
        store = StoreProcess(where, process)
        if shipped:
            store.user, store.password = "operator", shipped.operator_password
        try:
            until(store.answers)
            yield store
        finally:
            process.kill()
            process.wait()


# As docs/deploy.md says.
UNKNOWN_TO_REDIS_7_0 = r" \+waitaof| \+client\|setinfo"
SHIPPED = Path(__file__).parent.parent / "deploy" / "valkey"


@dataclass(frozen=True)
class Secrets:
    """The files that make-secrets.sh writes: the users of the store, and their passwords."""

    directory: Path

    @classmethod
    def made(cls, directory: Path, url: str, binary: str | None = None) -> "Secrets":
        """Run make-secrets.sh as an operator does.

        binary: the server for these users. The rights that Redis 7.0 does not know are left out for it.
        """
        subprocess.run(["sh", str(SHIPPED / "make-secrets.sh"), str(directory), url], check=True)
        secrets = cls(directory)
        if binary is not None and is_redis_7_0(binary):
            secrets.rewrite(re.sub(UNKNOWN_TO_REDIS_7_0, "", secrets.users.read_text()))
        return secrets

    @property
    def users(self) -> Path:
        return self.directory / "users.acl"

    @property
    def url(self) -> str:
        """The URL of the store, with the service's user and password."""
        return (self.directory / "redis_url").read_text().strip()

    @property
    def operator_password(self) -> str:
        return (self.directory / "operator_password").read_text().strip()

    @property
    def options(self) -> tuple[str, ...]:
        """A server's command line with our configuration and these users."""
        return (str(SHIPPED / "valkey.conf"), "--aclfile", str(self.users))

    def rewrite(self, users: str) -> None:
        self.users.chmod(0o600)
        self.users.write_text(users)


def rights_of_the_service() -> list[str]:
    """The rights of the service's user in deploy/valkey/users.acl, as arguments of ACL SETUSER."""
    (line,) = (line for line in (SHIPPED / "users.acl").read_text().splitlines() if line.startswith("user authsvc "))
    return line.split()[4:]


def is_redis_7_0(binary: str) -> bool:
    """Whether it lacks WAITAOF, among other things."""
    return " v=7.0." in subprocess.run([binary, "-v"], capture_output=True, text=True).stdout


def debian_redis() -> str | None:
    """The redis-server on the PATH: another product than ours, and an older one."""
    return shutil.which("redis-server")
