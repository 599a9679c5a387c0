"""The answer of an authenticator in a field of a form, where the script has put it as JSON."""

from typing import TypeVar

from authsvc.api.parsing import load_json, refuse_unfit, validated
from authsvc.api.schemas.passkeys import FromBrowser
from authsvc.console.context import PageContext
from authsvc.errors import InvalidRequest

C = TypeVar("C", bound=FromBrowser)


def of_form(ctx: PageContext, model: type[C]) -> C:
    """Parse the field `credential`. Raises InvalidRequest, also if no script has filled it."""
    text = ctx.form.get("credential")
    if text is None:
        raise InvalidRequest("credential: missing")
    body = text.encode()
    refuse_unfit(model, body)
    return validated(model, load_json(body))
