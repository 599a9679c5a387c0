"""A message about what was just done, which the next page shows once."""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Literal, NamedTuple

from starlette.responses import RedirectResponse, Response

from authsvc.console import cookies
from authsvc.console.context import PageContext

Tone = Literal["done", "warning"]
# The next page comes at once.
_LIVES_S = 60
_MOST_CHARACTERS = 400


class Message(NamedTuple):
    """text: what happened. tone: `warning` if something is left to do."""

    text: str
    tone: Tone = "done"


def redirect(ctx: PageContext, path: str, message: Message | None = None) -> Response:
    """The answer to a form: the browser gets another page. path: of this site, never from the request unchecked."""
    response = RedirectResponse(path, status_code=303)
    if message is not None:
        text = message.text[:_MOST_CHARACTERS]
        value = urlsafe_b64encode(json.dumps([text, message.tone]).encode()).decode().rstrip("=")
        cookies.write(ctx.request, response, ctx.flash_cookie, f"{value}.{ctx.signed(value)}", _LIVES_S)
        keep_form_key(ctx, response)
    return response


def read(ctx: PageContext) -> Message | None:
    """The message for this page. None also for one that no page left in this browser."""
    value, _, code = (cookies.read(ctx.request, ctx.flash_cookie) or "").partition(".")
    if not value or not hmac.compare_digest(code.encode(), ctx.signed(value).encode()):
        return None
    text, tone = json.loads(urlsafe_b64decode(value + "=" * (-len(value) % 4)))
    return Message(text, tone)


def keep_form_key(ctx: PageContext, response: Response) -> None:
    """Give the browser the key of its forms, if it has none."""
    if ctx.known_form_key is None:
        cookies.write(ctx.request, response, ctx.form_cookie, ctx.form_key)
