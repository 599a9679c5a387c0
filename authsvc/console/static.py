"""The static files of all sites: one stylesheet and the scripts. A page works without any script."""

from functools import cache
from hashlib import sha256
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
# A changed file has another URL, so that browsers need not ask whether it changed.
HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def url(prefix: str, name: str) -> str:
    """The URL of a static file, which changes with the file."""
    return f"{prefix}/{name}?v={sha256(_contents()[name]).hexdigest()[:12]}"


async def serve(request: Request) -> Response:
    """The file that the path names."""
    name: str = request.path_params["name"]
    found = _contents().get(name)
    if found is None:
        return PlainTextResponse("there is no such file\n", status_code=404)
    return Response(found, media_type=TYPES[name.rpartition(".")[2]])


@cache
def _contents() -> dict[str, bytes]:
    """All files by their names. They are read once, so that no path of a request reaches the disk."""
    folder = files("authsvc.console") / "static"
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.name.rpartition(".")[2] in TYPES}
