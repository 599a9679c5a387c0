"""Behind a real nginx, set up as docs/edge.md says: no probe gets the two out of step, and its own bounds are ours."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Server, free_port
from tests.e2e.wire import WITHIN_S, Wire, probes
from tests.processes import until

pytestmark = pytest.mark.slow

DOCUMENTED = Path(__file__).parents[2] / "docs" / "edge.md"
MAIN = """\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{recipe}
}}
"""


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int]]:
    """A server, and the port of the nginx before it."""
    nginx = shutil.which("nginx")
    if nginx is None:
        pytest.skip("no nginx here: apt-get install nginx-light")
    server = Server(tmp_path_factory.mktemp("behind"), free_port(), {"AUTHSVC_TRUSTED_PROXIES": "127.0.0.1"}).start()
    directory = tmp_path_factory.mktemp("nginx")
    port = free_port()
    configuration = directory / "nginx.conf"
    configuration.write_text(MAIN.format(directory=directory, recipe=recipe(port, server.port)))
    process = subprocess.Popen([nginx, "-c", str(configuration), "-e", str(directory / "error.log")])
    try:
        until(lambda: _answers(port))
        yield server, port
    finally:
        process.terminate()
        process.wait(60)
        server.clean_up()
    assert "Traceback" not in server.log
    assert "prematurely closed" not in (directory / "error.log").read_text()


def recipe(port: int, upstream: int) -> str:
    """The documented one, on other ports and without TLS."""
    (text,) = re.findall(r"```nginx\n(.*?)```", DOCUMENTED.read_text(), re.DOTALL)
    text = str(text).replace("127.0.0.1:8000", f"127.0.0.1:{upstream}")
    text, replaced = re.subn(r"listen 443 ssl;", f"listen 127.0.0.1:{port};", text)
    assert replaced == 1
    return re.sub(r"    ssl_certificate.*\n", "", text)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_probes_through_nginx(behind: tuple[Server, int]) -> None:
    """After each of a thousand probes, others on the same connections to the server get their own answers."""
    server, port = behind
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=WITHIN_S) as others:
        for number, probe in enumerate(probes(1000)):
            with Wire(port) as wire:
                wire.send(probe)
                wire.socket.shutdown(1)
                statuses = [answer.status for answer in wire.rest()]
            assert set(statuses) <= {400, 404, 405, 413, 501}, (statuses, probe)
            answer = others.get("/healthz", headers={"X-Request-ID": f"mine-{number}"})
            assert (answer.status_code, answer.headers["x-request-id"]) == (200, f"mine-{number}"), probe
    assert httpx.get(f"{server.url}/readyz").status_code == 200


def test_early_answers_reach_the_client(behind: tuple[Server, int]) -> None:
    """A 413 of ours, sent before all of the body was read, is no 502."""
    _, port = behind
    for _ in range(20):
        answer = httpx.post(f"http://127.0.0.1:{port}/login", json={"username": "a" * 70_000})
        assert answer.status_code == 413, answer.text


def test_the_address_of_the_client_is_nginxs_word(behind: tuple[Server, int]) -> None:
    """A client cannot choose its address by writing X-Forwarded-For itself."""
    server, port = behind
    login = {"username": "nobody", "password": "a walk by the river"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=WITHIN_S) as http:
        for number in range(5):
            http.post("/login", json=login, headers={"X-Forwarded-For": f"192.0.2.{number}"})
        trail = http.get("/admin/audit?limit=5", auth=server.admin).json()["items"]
    assert {event["ip"] for event in trail} == {"127.0.0.1"}
