"""The table from errors to HTTP: it is complete, and it holds nothing else."""

import inspect

import pytest

from authsvc import errors
from authsvc.api.statuses import STATUSES
from tests.conftest import Service


def concrete_errors() -> set[type[errors.AuthError]]:
    found = {thing for _, thing in inspect.getmembers(errors, inspect.isclass) if issubclass(thing, errors.AuthError)}
    return found - {errors.AuthError}


def test_every_error_has_an_answer() -> None:
    """Each error of the tree is in the table to HTTP, and nothing else is; only StartupError never gets there."""
    assert set(STATUSES) == concrete_errors() - {errors.StartupError}


def test_answers_are_from_the_closed_set() -> None:
    """Every error becomes one of the documented statuses, with a code in lower case."""
    assert {status for status, _ in STATUSES.values()} <= {400, 401, 403, 404, 405, 409, 413, 415, 429, 431, 503}
    assert all(code.replace("_", "").isalpha() and code.islower() for _, code in STATUSES.values())


async def test_a_startup_error_is_no_answer(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a StartupError get to HTTP after all, its text for operators does not."""

    async def refuse(*_: object) -> None:
        raise errors.StartupError("look into /etc/secret")

    monkeypatch.setattr("authsvc.web.meta.ready", refuse)
    answer = await service.http.get("/readyz")
    assert answer.status_code == 500
    assert answer.json() == {"error": "server_error", "error_description": "something went wrong here"}
