"""The page that shows a secret. There is no second time."""

from collections.abc import Sequence

from starlette.responses import Response

from authsvc.console.context import PageContext
from authsvc.console.rendering import render

_NO_FORM = (
    "Your application asks for the code and passes it on: POST /password/reset. With AUTHSVC_ACCOUNT_PAGES=on, the "
    "service has a page that asks for it."
)


def show_secret(
    ctx: PageContext,
    *,
    title: str,
    text: str,
    secret: str,
    back: str,
    facts: Sequence[tuple[str, str]] = (),
    use: str | None = None,
    link: str | None = None,
) -> Response:
    """Show a secret in the answer to the form that made it.

    This is the one answer to a form that is no redirect: between two requests the secret would have to be stored.
    facts: what is not secret and belongs to it, such as an id. use: where the secret is entered. link: to that place,
    with the secret in it.
    """
    return render(
        ctx, "admin/secret.html", title=title, text=text, secret=secret, back=back, facts=facts, use=use, link=link
    )


def show_reset_code(
    ctx: PageContext, *, title: str, text: str, code: str, back: str, facts: Sequence[tuple[str, str]] = ()
) -> Response:
    """Show a reset code, and where its user enters it: on the account pages, or in the application."""
    settings = ctx.deps.settings
    # Behind `#`, because a browser sends that part of a link to nobody.
    link = f"{settings.browser_url}/account/reset#{code}" if settings.account_pages else None
    use = "Or send the link. It opens the form for the new password." if link else _NO_FORM
    return show_secret(ctx, title=title, text=text, secret=code, back=back, facts=facts, use=use, link=link)
