"""Python applications. Usage: python.py PORT wsgi|raw|parameters

wsgi: routes on the decoded and normalised path.
raw: routes on the target as it was sent, as applications with a catch-all route do.
parameters: drops path parameters (`;…`) from each segment before it decodes, as servlets do.
"""

import posixpath
import re
import socketserver
import sys
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote

PORT, KIND = int(sys.argv[1]), sys.argv[2]


def taken(target: str) -> str:
    path = re.split("[?]", target, maxsplit=1)[0]
    if KIND == "raw":
        return path
    if KIND == "parameters":
        path = re.sub(";[^/]*", "", path)
    return posixpath.normpath("/" + unquote(path).replace("\\", "/").lstrip("/"))


class Application(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        # A raw router compares the beginning, whatever follows.
        first = taken(self.path).lstrip("/").lower().split("/")[0]
        self.send_response(200)
        self.send_header("X-Area", first if first in ("edit", "public") else "other")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


Server(("127.0.0.1", PORT), Application).serve_forever()
