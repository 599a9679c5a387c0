"""The rest of tests/web/test_contract.py: callers who may do less, and requests that the contract forbids."""

from typing import Any

import pytest
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection

from authsvc.api import openapi
from tests.web.test_contract import FEW, SCHEMA, Running, against, checks_for, running, schema_of

__all__ = ["running"]

pytestmark = pytest.mark.slow


def _without_security() -> dict[str, Any]:
    # It is we who authenticate, so leaving the credentials out is not one of the ways to be wrong.
    document = openapi.document()
    for operations in document["paths"].values():
        for operation in operations.values():
            del operation["security"]
    # Where a call takes nothing, nothing can be wrong.
    document["paths"] = {
        path: {
            method: operation
            for method, operation in operations.items()
            if operation.get("requestBody") or operation.get("parameters")
        }
        for path, operations in document["paths"].items()
    }
    return document


INVALID = schema_of(_without_security(), GenerationMode.NEGATIVE)


@against(SCHEMA)
@FEW
def test_anonymous(case: "Case[Any]", running: Running) -> None:
    """Without credentials, the contract has every answer of this call."""
    case.validate_response(running.send(case), checks=checks_for(case))


@against(SCHEMA)
@FEW
def test_as_a_user(case: "Case[Any]", running: Running) -> None:
    """With a user's token, which some of the calls end, too."""
    case.validate_response(running.send(case, headers=running.headers), checks=checks_for(case))


@against(INVALID)
@FEW
def test_what_the_contract_forbids_is_refused(case: "Case[Any]", running: Running) -> None:
    """A request that breaks the contract's schemas is refused."""
    answer = running.send(case, as_admin=True)
    more = [] if _leaves_out(case) else [negative_data_rejection]
    case.validate_response(answer, checks=checks_for(case, *more))


def _leaves_out(case: "Case[Any]") -> bool:
    """Whether a field of a form or of the query is empty, which counts as absent. No schema can say that."""
    form = case.body if case.media_type == "application/x-www-form-urlencoded" else None
    return "" in (*(case.query or {}).values(), *(form.values() if isinstance(form, dict) else ()))
