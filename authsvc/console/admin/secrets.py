"""The page that shows a secret. There is no second time."""

from collections.abc import Sequence

from starlette.responses import Response

from authsvc.console.context import PageContext
from authsvc.console.rendering import render


def show_secret(
    ctx: PageContext, *, title: str, text: str, secret: str, back: str, facts: Sequence[tuple[str, str]] = ()
) -> Response:
    """Show a secret in the answer to the form that made it.

    This is the one answer to a form that is no redirect: between two requests the secret would have to be stored.
    facts: what is not secret and belongs to it, such as an id.
    """
    return render(ctx, "admin/secret.html", title=title, text=text, secret=secret, back=back, facts=facts)
