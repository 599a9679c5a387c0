"""The row about forward-auth: nginx with the shipped configuration asks `/verify`, or an application that says yes."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import servers, wrk
from bench.context import Bench, Turn
from bench.servers import OTHER_CORE, free_port, process
from bench.wrk import Target

# The ports of the gateway, the service and the application in deploy/nginx.
PORTS = ("8080", "8000", "9000")
# The application behind the gateway is nginx itself, which is cheap. It answers with the identity from its headers.
CONFIGURATION = """\
daemon off;
worker_processes 1;
pid nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include gateway.conf;
    server {{
        listen 127.0.0.1:{application};
        default_type application/json;
        location / {{ return 200 '{{"sub": "$http_x_auth_subject", "session": "$http_x_auth_session"}}'; }}
    }}
}}
"""


def row_14(bench: Bench) -> list[Turn]:
    """nginx with `/verify`, and the same nginx with an application that answers a constant."""
    constant = bench.start(servers.asgi(bench.directory, "yes", {}, checkout=bench.checkout))
    rights = {
        "gateway": (bench.parties.service.port, lambda answer, token: answer["session"] == token[4:16]),
        "gateway_ceiling": (constant, lambda answer, token: answer["session"] == "x" * 12),
    }
    turns = []
    for name, (port, right) in rights.items():
        gateway = bench.start(nginx(bench.directory / name, port, bench.checkout))
        turns.append(bench.turn(name, Target(name, gateway, "/", "", bench.live, right, wrk.BEARER)))
    return turns


@contextmanager
def nginx(directory: Path, service: int, checkout: Path) -> Iterator[int]:
    """The port of a gateway with the checkout's configuration of `deploy/nginx` and other ports."""
    shutil.copytree(checkout / "deploy" / "nginx", directory)
    gateway, application = free_port(), free_port()
    configuration = directory / "gateway.conf"
    text = configuration.read_text()
    for documented, port in zip(PORTS, (gateway, service, application), strict=True):
        text = text.replace(f":{documented}", f":{port}").replace(f"listen {documented}", f"listen {port}")
    configuration.write_text(text)
    (directory / "nginx.conf").write_text(CONFIGURATION.format(application=application))
    command = ["nginx", "-p", str(directory), "-c", "nginx.conf", "-e", "error.log"]
    log = directory.with_suffix(".log")
    with process("nginx", command, cores=OTHER_CORE, log=log, ready=lambda: servers.listens(gateway)):
        yield gateway
