"""Tests an installation with the standard library only: start it, log in, revoke the token."""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

START_WITHIN_S = 60
PASSWORD = "a walk by the river"  # noqa: S105  # of a user of this test


class Failed(Exception):
    """The installation does not work, for the reason in the text."""


@dataclass(frozen=True)
class Service:
    """A running service. admin: the client_id and secret that its first start printed."""

    url: str
    admin: tuple[str, str]

    def post(self, path: str, *, form: Mapping[str, str] | None = None, body: Any = None, admin: bool = True) -> Any:
        data = urlencode(form).encode() if form else json.dumps(body).encode()
        kind = "application/x-www-form-urlencoded" if form else "application/json"
        headers = {"Content-Type": kind}
        if admin:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(self.admin).encode()).decode()
        with urlopen(Request(self.url + path, data, headers), timeout=10) as answer:  # noqa: S310  # our own address
            return json.loads(answer.read() or "null")


@contextmanager
def running(program: Path, directory: Path, **settings: str) -> Iterator[Service]:
    """`authsvc serve` on an empty store in this directory. Raises Failed."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AUTHSVC_", "PYTHON"))}
    environment = inherited | {"AUTHSVC_PORT": str(port)} | settings
    output = directory / "output"
    with output.open("wb") as file:
        process = subprocess.Popen([program, "serve"], cwd=directory, env=environment, stdout=file, stderr=file)  # noqa: S603  # what was installed
    url = f"http://127.0.0.1:{port}"
    try:
        give_up_at = time.monotonic() + START_WITHIN_S
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise Failed(f"it does not start: {output.read_text()}")
            time.sleep(0.1)
        printed = re.search(r"client_id +(\S+)\n +client_secret +(\S+)", output.read_text())
        if printed is None:
            raise Failed("no admin client was printed")
        yield Service(url, (printed[1], printed[2]))
        process.send_signal(signal.SIGTERM)
        if process.wait(15) != 0:
            raise Failed(f"it ended with {process.returncode}")
    finally:
        process.kill()
        process.wait()


def walk(service: Service) -> None:
    """Check that a login opens a session and a revocation ends it. Raises Failed."""
    ada = {"username": "ada", "password": PASSWORD}
    service.post("/admin/users", body=ada)
    token = service.post("/login", body=ada, admin=False)["access_token"]
    if service.post("/introspect", form={"token": token})["active"] is not True:
        raise Failed("a token that was just issued is not active")
    service.post("/revoke", form={"token": token})
    if service.post("/introspect", form={"token": token}) != {"active": False}:
        raise Failed("a revoked token is active")


def _answers(url: str) -> bool:
    try:
        with urlopen(f"{url}/readyz", timeout=5) as answer:  # noqa: S310  # our own address
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
