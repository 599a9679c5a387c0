"""The application's name, colour and logo on the account pages."""

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from starlette.responses import Response

from authsvc.console.account.colour import shades
from authsvc.console.account.destination import HOME
from authsvc.console.context import PageContext
from authsvc.errors import NotFound, StartupError

_SETTING = "AUTHSVC_APP_LOGO"
MAX_LOGO: Final = 256 * 1024
# The backgrounds of style.css with which a colour has the least contrast.
LIGHT: Final = "#f6f7f9"
DARK: Final = "#1c2129"
# How files of each type begin.
_TYPES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"RIFF", "image/webp"),
    (b"<svg", "image/svg+xml"),
    (b"<?xml", "image/svg+xml"),
)


@dataclass(frozen=True, slots=True)
class File:
    """A file that is served. path: it changes with the content, so that browsers need not ask whether it changed."""

    content: bytes = field(repr=False)
    media_type: str
    path: str

    @classmethod
    def of(cls, name: str, content: bytes, media_type: str) -> Self:
        return cls(content, media_type, f"{HOME}/{name}?v={sha256(content).hexdigest()[:12]}")


@dataclass(frozen=True, slots=True)
class Brand:
    """theme: a stylesheet with the colour. None: the settings name none."""

    name: str
    theme: File | None
    logo: File | None

    @classmethod
    def of(cls, name: str, colour: str | None = None, logo: Path | None = None) -> Self:
        """Raises StartupError if the logo cannot be read or is no picture."""
        theme = None if colour is None else File.of("theme.css", _css(colour), "text/css")
        return cls(name, theme, None if logo is None else _logo(logo))


async def theme(ctx: PageContext) -> Response:
    return _served(ctx.site.context["brand"].theme)


async def logo(ctx: PageContext) -> Response:
    return _served(ctx.site.context["brand"].logo)


def _served(file: File | None) -> Response:
    if file is None:
        raise NotFound("the settings name none")
    return Response(file.content, media_type=file.media_type)


def _css(colour: str) -> bytes:
    def rule(background: str) -> str:
        fill, on_fill, link = shades(colour, background)
        return f":root {{ --accent: {fill}; --on-accent: {on_fill}; --link: {link}; }}"

    return f"{rule(LIGHT)}\n@media (prefers-color-scheme: dark) {{ {rule(DARK)} }}\n".encode()


def _logo(path: Path) -> File:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_LOGO + 1)
    except OSError as error:
        raise StartupError(f"{_SETTING}: {error.strerror}: {path}") from None
    if len(content) > MAX_LOGO:
        raise StartupError(f"{_SETTING}: {path} is over {MAX_LOGO} bytes")
    media_type = next((kind for start, kind in _TYPES if content.startswith(start)), None)
    if media_type is None:
        raise StartupError(f"{_SETTING}: {path} is none of SVG, PNG, JPEG and WebP")
    return File.of("logo", content, media_type)
