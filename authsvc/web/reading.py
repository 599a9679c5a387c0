"""Read the body or the query of a request into a model."""

from typing import TypeVar

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request

from authsvc.api.parsing import FORM, JSON, load_form, load_json, refuse_unfit, validated
from authsvc.core.address import OWS
from authsvc.errors import InvalidRequest, TooLarge, UnsupportedMediaType
from authsvc.web.scope import ROUTE

M = TypeVar("M", bound=BaseModel)

# The names of UTF-8 (WHATWG Encoding, section 4.2), and Python's.
_UTF_8 = ("utf-8", "utf8", "utf_8", "unicode-1-1-utf-8", "unicode11utf8", "unicode20utf8", "x-unicode20utf8")


_KINDS = {JSON: "JSON", FORM: "a form"}


async def json_body(request: Request, model: type[M]) -> M:
    """Parse a JSON object and refuse unlisted fields. Raises InvalidRequest, TooLarge, UnsupportedMediaType."""
    body = await _read(request, JSON)
    if "anyone" in request.scope[ROUTE].who:
        refuse_unfit(model, body)
    return validated(model, load_json(body))


async def optional_json_body(request: Request, model: type[M]) -> M | None:
    """Like json_body, but None if the request has no body. A body without a content type is refused."""
    if "content-type" not in request.headers and not await capped(request):
        return None
    return await json_body(request, model)


async def form_body(request: Request, model: type[M]) -> M:
    """Parse a form; unlisted fields are ignored and empty ones absent (RFC 6749 section 3.2)."""
    body = await _read(request, FORM)
    if body.startswith(b"{"):
        raise InvalidRequest("the body looks like JSON, and this call takes a form: name=value&name=value")
    return validated(model, load_form(body))


def query(request: Request, model: type[M]) -> M:
    """Parse the query string and refuse unlisted fields, so that a mistyped filter raises InvalidRequest."""
    return validated(model, load_form(request.scope["query_string"]))


def refuse_query(request: Request) -> None:
    """Raise InvalidRequest if there is a query: tokens and secrets do not belong there (RFC 6750 section 2.3)."""
    if request.scope["query_string"]:
        raise InvalidRequest("this call takes no query string")


async def json_bytes(request: Request) -> bytes:
    """The body of a call that takes JSON, as it was sent. Raises InvalidRequest, TooLarge, UnsupportedMediaType."""
    return await _read(request, JSON)


async def _read(request: Request, media_type: str) -> bytes:
    _check_type(request, media_type)
    return await capped(request)


async def capped(request: Request) -> bytes:
    """The body of a request. Raises TooLarge beyond the limit of the route, InvalidRequest if the body broke off."""
    length = request.headers.get("content-length", "0")
    most: int = request.scope[ROUTE].max_body
    if not (length.isascii() and length.isdecimal()) or int(length[:10]) > most:
        raise TooLarge(f"the body is over {most} bytes")
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise TooLarge(f"the body is over {most} bytes")
    except ClientDisconnect:
        raise InvalidRequest("the body broke off") from None  # the client is gone and reads no answer
    return body


def _check_type(request: Request, media_type: str) -> None:
    types = request.headers.getlist("content-type")
    if not types:
        raise InvalidRequest(f"Content-Type: missing; the body has to be {media_type}")
    essence, *parameters = [part.strip(OWS) for part in types[0].lower().split(";")]
    if len(types) == 1 and essence in _KINDS and essence != media_type:
        sent, todo = _KINDS[essence], f"send it with Content-Type: {media_type}"
        raise UnsupportedMediaType(f"the body was sent as {sent}, and this call takes {_KINDS[media_type]}: {todo}")
    if len(types) > 1 or essence != media_type or not all(_is_fit(parameter, media_type) for parameter in parameters):
        raise UnsupportedMediaType(f"the body has to be {media_type} in UTF-8")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaType("the body must not be compressed")


def _is_fit(parameter: str, media_type: str) -> bool:
    """Whether a parameter of the content type leaves its meaning as it is. Only `charset` could change it."""
    name, _, value = parameter.partition("=")
    # The octets of a form are ASCII, and its escapes are UTF-8 (RFC 6749 appendix B), whatever it says.
    return name.strip(OWS) != "charset" or media_type == FORM or value.strip(OWS).strip('"') in _UTF_8
