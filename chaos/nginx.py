"""nginx in front of the workers, configured as an operator would configure it."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from chaos.processes import ExperimentError, Process, free_port, listens

# The error code of nginx itself when no worker answers.
NO_WORKER = "no_worker"
NGINX = """\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log warn;
{user}
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {directory}/nginx-body;
    proxy_temp_path {directory}/nginx-proxy;
    fastcgi_temp_path {directory}/nginx-fastcgi;
    uwsgi_temp_path {directory}/nginx-uwsgi;
    scgi_temp_path {directory}/nginx-scgi;
    client_max_body_size 64k;
    client_header_timeout 10s;
    client_body_timeout 10s;
    keepalive_requests 1000000;
    upstream authsvc {{
{servers}
        keepalive 64;
        keepalive_timeout 3s;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_connect_timeout 1s;
        proxy_read_timeout 10s;
        error_page 502 504 =503 @away;
        location / {{
            proxy_pass http://authsvc;
        }}
        # These calls are harmless when repeated, so nginx asks another worker when one dies during the call.
        location ~ ^/(introspect|introspect/batch|revoke|token)$ {{
            proxy_pass http://authsvc;
            proxy_next_upstream error timeout non_idempotent;
        }}
        location @away {{
            internal;
            default_type application/json;
            add_header Retry-After 1 always;
            return 503 '{{"error": "{no_worker}"}}';
        }}
    }}
}}
"""


def found() -> str:
    """The path of nginx. Raises ExperimentError."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        raise ExperimentError("nginx is missing (Debian and Ubuntu: apt install nginx)")
    return binary


class Nginx(Process):
    """nginx in front of several `authsvc serve`."""

    def __init__(self, directory: Path, upstreams: Sequence[int]) -> None:
        binary = found()
        self.port = free_port()
        servers = "\n".join(f"        server 127.0.0.1:{port} max_fails=0;" for port in upstreams)
        user = "user root;" if os.geteuid() == 0 else ""
        file = directory / "nginx.conf"
        file.write_text(
            NGINX.format(directory=directory, user=user, servers=servers, port=self.port, no_worker=NO_WORKER)
        )
        command = [binary, "-p", str(directory), "-e", str(directory / "nginx.log"), "-c", str(file)]
        super().__init__("nginx", directory, command, {})

    def start(self) -> None:
        super().start()
        self.wait_until(lambda: listens(self.port))
