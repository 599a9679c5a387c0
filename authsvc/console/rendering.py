"""Making HTML of templates: everything is escaped, and a name that a template misspells is an error."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from authsvc.console import cookies, flash, static, words
from authsvc.console.context import TOKEN_FIELD, PageContext


def render(ctx: PageContext, template: str, status: int = 200, **context: Any) -> Response:
    """The page of a template. It shows the message of the last form, and gives the browser the key of its forms."""
    message = flash.read(ctx)
    shared = {
        "site": ctx.site,
        "me": ctx.me,
        "now": ctx.deps.clock(),
        "path": ctx.request.url.path,
        "form_field": partial(_form_field, ctx),
        "static": partial(static.url, ctx.site.static),
        "message": message,
    }
    html = environment().get_template(template).render(shared | dict(ctx.site.context) | context)
    response = HTMLResponse(html, status_code=status)
    if message is not None:
        cookies.clear(ctx.request, response, ctx.flash_cookie)
    flash.keep_form_key(ctx, response)
    return response


@cache
def environment() -> Environment:
    """The one environment of all templates. Templates are compiled on first use, and never read again."""
    made = Environment(
        loader=PackageLoader("authsvc.console"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    made.filters |= _FILTERS
    made.globals["duration"] = words.duration
    return made


def _visible(value: Any) -> Any:
    # Markup comes from our own templates and filters.
    return words.visible(value) if type(value) is str else value


def _form_field(ctx: PageContext) -> Markup:
    """The hidden field that each form with method=post has."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(TOKEN_FIELD, ctx.form_token)


@pass_context
def _ago(context: Context, at: float | None, never: str = "never") -> Markup | str:
    """A time in words. The exact time is shown when the pointer rests on it."""
    if at is None:
        return never
    in_words = words.ago(at, context["now"])
    return Markup('<time datetime="{}" title="{}">{}</time>').format(words.iso(at), words.exact(at), in_words)


def _named(text: str | None, otherwise: str = "—") -> Markup:
    """A text that somebody else has chosen. Its direction does not reach the words around it."""
    return Markup('<bdi class="name">{}</bdi>').format(words.visible(text) if text else otherwise)


def _device(user_agent: str | None) -> Markup:
    """A browser in words. The whole text is shown when the pointer rests on it."""
    whole = words.visible(user_agent or "no user agent was sent")
    return Markup('<bdi class="name" title="{}">{}</bdi>').format(whole, words.visible(words.device_of(user_agent)))


_FILTERS: dict[str, Callable[..., Any]] = {
    "ago": _ago,
    "counted": words.counted,
    "detail": words.detail,
    "device": _device,
    "named": _named,
    "segment": partial(quote, safe=""),
}
