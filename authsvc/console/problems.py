"""An error as a page: what happened, and what to do now."""

from typing import NamedTuple

from starlette.responses import Response

from authsvc import errors as e
from authsvc.console.context import PageContext
from authsvc.console.rendering import render

RETRY_AFTER_S = 1


class Words(NamedTuple):
    """title: what happened. text: what to do; None: the text of the error says it."""

    title: str
    text: str | None = None


_UNAVAILABLE = Words(
    "The store does not answer",
    "Nothing can be said or changed right now. This page does not guess. Try again in a moment.",
)
_WORDS: dict[type[e.AuthError], Words] = {
    e.NotFound: Words("There is no such thing", "It may have been deleted. Go back to the list."),
    e.CrossSite: Words("This form is too old", "Go back, load the page again, and repeat what you did."),
    e.TooManyChanges: Words("Too many changes at once", "Somebody else changes the same thing. Try again in a moment."),
    e.Overloaded: Words("Too many logins at once", "Try again in a moment."),
    e.StoreUnavailable: _UNAVAILABLE,
    e.CorruptRecord: Words("A record is damaged", "Ask an operator to run: authsvc check"),
    e.NewerFormat: Words("A newer version wrote this", "Update this service, or its other workers."),
    e.NotDurable: Words(
        "The change may not last",
        "It was made, but too few copies have it yet. Do it again until the page says that it is done.",
    ),
    e.AdminsUnknown: Words("Wait a minute", "The list of admins is still being made."),
    e.LastAdmin: Words(
        "This is the last admin", "Nobody could administer the service any more. Make another admin first."
    ),
    e.InsufficientRole: Words("You may not do this"),
    e.AccessDenied: Words("You may not do this"),
    e.InvalidRequest: Words("That does not fit"),
}


def problem_page(ctx: PageContext, error: e.AuthError, status: int, *, back: str | None = None) -> Response:
    """The page of an error. back: where to go from here; by default the first page."""
    title, text = _words(error)
    response = render(ctx, "problem.html", status, title=title, text=text, back=back or ctx.site.home)
    if isinstance(error, e.TooManyAttempts | e.TooManyChanges):
        response.headers["Retry-After"] = str(error.retry_after_s)
    elif status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _words(error: e.AuthError) -> tuple[str, str]:
    if isinstance(error, e.TooManyAttempts):
        return "Too many attempts", f"Wait {error.retry_after_s} seconds, then try again."
    found = _WORDS.get(type(error))
    if found is None and isinstance(error, e.StoreUnavailable):
        found = _UNAVAILABLE
    title, text = found or Words("That did not work")
    return title, text or str(error)
