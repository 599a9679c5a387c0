"""Each error of redis-py becomes StoreUnavailable, and is counted by its kind."""

import logging

import pytest
from redis import exceptions

from authsvc.driver.errors import NotPrimary
from authsvc.driver.failures import driver_errors
from authsvc.errors import StoreUnavailable
from authsvc.metrics import Metrics


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NotPrimary("REPLICA"), "not_primary"),
        (exceptions.ReadOnlyError("READONLY"), "read_only"),
        (exceptions.MasterDownError("MASTERDOWN"), "read_only"),
        (exceptions.OutOfMemoryError("OOM"), "full"),
        (exceptions.BusyLoadingError("LOADING"), "loading"),
        (exceptions.AuthenticationError("WRONGPASS"), "denied"),
        (exceptions.NoPermissionError("NOPERM"), "denied"),
        (exceptions.TimeoutError(), "timeout"),
        (TimeoutError(), "timeout"),
        (exceptions.ConnectionError(), "connection"),
        (OSError(), "connection"),
        (exceptions.ResponseError("ERR"), "refused"),
        (exceptions.InvalidResponse(), "other"),
    ],
)
def test_every_error_has_a_kind(error: Exception, kind: str) -> None:
    """The caller sees StoreUnavailable, and the metric of this kind rises."""
    metrics = Metrics()
    with pytest.raises(StoreUnavailable) as raised, driver_errors(metrics):
        raise error
    assert raised.value.__cause__ is error
    assert metrics._values[metrics.store_errors.cell(kind)] == 1
    assert sum(metrics._values) == 1


def test_other_errors_pass() -> None:
    """An error that is not the store's is not taken for an outage."""
    with pytest.raises(KeyError), driver_errors(Metrics()):
        raise KeyError


def test_a_log_quotes_no_command(caplog: pytest.LogCaptureFixture) -> None:
    """The text of a server's error may quote a command, so the log and the error have its first word only."""
    with caplog.at_level(logging.WARNING), pytest.raises(StoreUnavailable) as raised, driver_errors(Metrics()):
        raise exceptions.ResponseError("ERR unknown command, with args beginning with: 's3cret'")
    assert "ERR" in caplog.text
    assert "s3cret" not in caplog.text + str(raised.value)
