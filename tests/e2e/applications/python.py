"""Python applications. Usage: python.py PORT flask|starlette|tornado|raw|parameters

X-Area names the folder of the file, or the route, that was served.

flask: routes of a WSGI application, which gets the path decoded.
starlette: mounts of an ASGI application.
tornado: files, by Tornado's StaticFileHandler.
raw: compares the beginning of the target as it was sent.
parameters: drops path parameters (`;…`) from each segment before it decodes and normalises, as servlets do.
"""

import asyncio
import posixpath
import re
import socketserver
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote

AREAS = ("public", "edit", "orders")


def area(path: str) -> str:
    first = path.lstrip("/").lower().split("/")[0]
    return first if first in AREAS else "other"


def flask(port: int) -> None:
    from flask import Flask
    from werkzeug.serving import WSGIRequestHandler, run_simple

    app = Flask(__name__, static_folder=None)
    for name in AREAS:

        def serve(rest: str = "", name: str = name) -> Any:
            return "", {"X-Area": name}

        app.add_url_rule(f"/{name}/", name, serve)
        app.add_url_rule(f"/{name}/<path:rest>", name)

    @app.errorhandler(404)
    def other(_: Any) -> Any:
        return "", 404, {"X-Area": "other"}

    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    run_simple("127.0.0.1", port, app, threaded=True)


def starlette(port: int) -> None:
    import uvicorn
    from starlette.responses import Response
    from starlette.routing import Mount, Router

    paths = {f"/{name}": name for name in AREAS} | {"": "other"}
    app = Router([Mount(path, Response(headers={"X-Area": name})) for path, name in paths.items()])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


def tornado(port: int) -> None:
    from tornado.web import Application, StaticFileHandler

    site = Path("site").resolve()
    for name in AREAS:
        (site / name).mkdir(parents=True)
        (site / name / "a").write_text(name)
        (site / name / "index.html").write_text(name)

    class Files(StaticFileHandler):
        def set_extra_headers(self, path: str) -> None:
            self.set_header("X-Area", area(str(Path(str(self.absolute_path)).resolve().relative_to(site))))

    async def main() -> None:
        files = [("/(.*)", Files, {"path": str(site), "default_filename": "index.html"})]
        Application(files).listen(port, "127.0.0.1")
        await asyncio.Event().wait()

    asyncio.run(main())


def taken(kind: str, target: str) -> str:
    path = re.split("[?]", target, maxsplit=1)[0]
    if kind == "raw":
        return path
    return posixpath.normpath("/" + unquote(re.sub(";[^/]*", "", path)).replace("\\", "/").lstrip("/"))


def by_hand(port: int, kind: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("X-Area", area(taken(kind, self.path)))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    Server(("127.0.0.1", port), Handler).serve_forever()


PORT, KIND = int(sys.argv[1]), sys.argv[2]
LIBRARIES = {"flask": flask, "starlette": starlette, "tornado": tornado}
if KIND in LIBRARIES:
    LIBRARIES[KIND](PORT)
else:
    by_hand(PORT, KIND)
