"""Errors as people read them, by the texts of the account pages."""

from typing import Final, NamedTuple

from authsvc import errors as e
from authsvc.api.statuses import STATUSES
from authsvc.console.account.texts import Texts

_RETRY_AFTER_S: Final = 1


class Problem(NamedTuple):
    """An error as the page tells it. retry_after_s: 0 if waiting does not help."""

    text: str
    status: int
    retry_after_s: int = 0


# Errors that the user can correct in the form.
CORRECTABLE: Final = (
    e.InvalidCredentials,
    e.InvalidGrant,
    e.InvalidScope,
    e.InvalidRequest,
    e.WrongFactor,
    e.WrongPassword,
    e.WeakPassword,
    e.TooManyAttempts,
    e.TooManyChanges,
    e.Overloaded,
)
_NAMES: Final[dict[type[e.AuthError], str]] = {
    e.InvalidCredentials: "credentials",
    e.InvalidGrant: "reset_code",
    e.InvalidRequest: "fields",
    e.InvalidScope: "refused",
    e.WrongFactor: "code",
    e.WrongPassword: "current_password",
    e.TooManyChanges: "busy",
    e.Overloaded: "busy",
    e.Busy: "busy",
    e.CrossSite: "form",
    e.NotFound: "not_found",
    e.NotDurable: "unsure",
}


def problem_of(error: e.AuthError, t: Texts, *, password_length: int) -> Problem:
    """The problem that the page shows for an error."""
    status = _status(error)
    if isinstance(error, e.TooManyAttempts):
        return Problem(t("error.too_many", seconds=error.retry_after_s), status, error.retry_after_s)
    if isinstance(error, e.WeakPassword):
        return Problem(t("error.weak_password", length=password_length), status)
    name = _NAMES.get(type(error)) or ("unavailable" if status == 503 else "refused" if status < 500 else "unexpected")
    return Problem(t(f"error.{name}"), status, _RETRY_AFTER_S if status in (429, 503) else 0)


def _status(error: e.AuthError) -> int:
    status = STATUSES.get(type(error), (500, ""))[0]
    # A 401 has to name a way to authenticate in a header (RFC 9110 section 15.5.2), and a form is none.
    return 400 if status == 401 else status
