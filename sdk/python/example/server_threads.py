"""The resource server of `server.py` with threads and nothing but the standard library and the SDK."""

import json
import os
import signal
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from authsvc_sdk import Introspector, Refused, Unavailable, accepted, token_in

introspector = Introspector(
    os.environ["AUTH_URL"],
    os.environ["AUTH_CLIENT_ID"],
    os.environ["AUTH_CLIENT_SECRET"],
    cache=True,
    timeout_s=float(os.environ.get("AUTH_TIMEOUT_S", "3")),
    serve_stale_for_s=float(os.environ.get("AUTH_SERVE_STALE_FOR_S", "0")),
)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections alive

    def do_GET(self) -> None:
        try:
            self._answer(200, {"Content-Type": "application/json"}, self._body())
        except Unavailable as error:
            self._refuse(Refused.unavailable(error))
        except Refused as refused:
            self._refuse(refused)

    def _body(self) -> bytes:
        token = token_in(self.headers.get_all("Authorization", []))
        if token is None:
            raise Refused.without_token()
        cached = introspector.cached(token) is not None
        user = accepted(introspector.introspect(token))
        return json.dumps({"sub": user.sub, "cached": cached}).encode()

    def _refuse(self, refused: Refused) -> None:
        self._answer(refused.status, refused.headers, refused.body)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write no line for each request."""


def move_clock(*_: object) -> None:
    """Move the wall clock of this process forward by a day."""
    real = time.time
    time.time = lambda: real() + 86_400


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, move_clock)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with introspector:
        print(json.dumps({"port": server.server_port, "moves_clock": True}), flush=True)
        server.serve_forever()
