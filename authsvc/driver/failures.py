"""Turns the errors of redis-py into StoreUnavailable, counts them by their kind, and logs their causes."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from authsvc.driver.diagnosis import diagnose, place_of
from authsvc.driver.errors import DRIVER_ERRORS, kind_of
from authsvc.errors import StoreUnavailable
from authsvc.metrics import Metrics

log = logging.getLogger(__name__)


@contextmanager
def driver_errors(metrics: Metrics) -> Iterator[None]:
    """Count an error of redis-py, and raise StoreUnavailable instead."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise unavailable(error, metrics) from error


def unavailable(error: Exception, metrics: Metrics) -> StoreUnavailable:
    """Count an error of redis-py; the error to raise instead. `logs.Repeats` bounds the lines of a long outage."""
    metrics.store_errors.add(kind_of(error))
    place, cause = place_of(error), diagnose(error)
    where = place.name if place else "the store"
    log.warning("store unavailable: %s: %s. %s", where, cause.what, cause.todo)
    return StoreUnavailable(f"{where}: {cause.what}", cause.todo)
