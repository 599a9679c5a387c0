"""The one place where the edge turns an exception into an answer. Every exception has one."""

import logging

from starlette.responses import Response

from authsvc.errors import AuthError
from authsvc.metrics import Metrics, reason_of
from authsvc.web.errors import rendered

log = logging.getLogger(__name__)


def error_response(metrics: Metrics, error: Exception, *, by_cookie: bool = False) -> Response:
    """Count the error and render it. An error that is no AuthError is logged with its traceback and becomes a 500.

    by_cookie: whether the token was read from the session cookie.
    """
    if isinstance(error, AuthError):
        metrics.refusals.add(reason_of(error))
    else:
        metrics.unexpected_errors.add()
        log.error("unexpected error while a request was answered", exc_info=error)
    return rendered(error, by_cookie=by_cookie)
