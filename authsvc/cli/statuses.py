"""The exit statuses of the program, and the errors that only the command line raises."""

from authsvc.errors import AuthError, NotFound, StartupError, StoreUnavailable

OK, REFUSED, MISUSED, NOT_FOUND, UNAVAILABLE, INACTIVE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130


class WrongSettings(StartupError):
    """A variable in the environment is unknown or wrong."""


class NotReached(StoreUnavailable):
    """The store could not be asked at all, so nothing was done."""


# The status of an error is that of its class, or of the nearest base class in this table.
STATUSES: dict[type[AuthError], int] = {
    WrongSettings: MISUSED,
    NotFound: NOT_FOUND,
    StoreUnavailable: UNAVAILABLE,
    StartupError: UNAVAILABLE,
    AuthError: REFUSED,
}


def status_of(error: AuthError) -> int:
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
