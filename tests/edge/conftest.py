"""Fixtures that the tests of the edge share with the tests over HTTP."""

from tests.web.conftest import store_calls

__all__ = ["store_calls"]
