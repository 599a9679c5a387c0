"""Real processes, as in tests/e2e."""

from tests.e2e.conftest import new_server

__all__ = ["new_server"]
