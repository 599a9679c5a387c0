"""Which tests `make test` runs: all but the slow ones, and properties with a fifth of their examples.

`make test` passes `-m "not slow" --hypothesis-profile=quick`, and `make test-slow` passes `--hypothesis-profile=whole`.
Without these options, pytest runs all that it is told.
"""

from collections.abc import Iterable
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet
from hypothesis import settings

NOT_SLOW = "not slow"
# The line that makes all tests of a module slow.
ALL_OF_IT = "\npytestmark = pytest.mark.slow\n"

# On a busy machine an example may take any time.
settings.register_profile("quick", max_examples=20, deadline=None)
settings.register_profile("whole", deadline=None)


def quick() -> bool:
    """Whether this is `make test`, in which a property has a fifth of its examples."""
    return settings.default == settings.get_profile("quick")


def examples(number: int) -> int:
    """That many examples for a property that needs another number than hypothesis's 100. In `make test`, a fifth."""
    chosen = settings.default
    assert chosen is not None
    return max(number * chosen.max_examples // 100, 1)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out, without importing it, a module of which all tests would be deselected."""
    if config.option.markexpr != NOT_SLOW or not collection_path.name.startswith("test_"):
        return None
    return True if collection_path.is_file() and ALL_OF_IT in collection_path.read_text() else None


def slow(*values: object) -> ParameterSet:
    """Values of a parametrized test that `make test` leaves out."""
    return pytest.param(*values, marks=pytest.mark.slow)


def one_in(number: int, values: Iterable[object]) -> list[object]:
    """The values of a long table. `make test` takes the first of each `number` values, `make test-slow` the others."""
    return [value if place % number == 0 else _slow_row(value) for place, value in enumerate(values)]


def _slow_row(value: object) -> ParameterSet:
    if isinstance(value, ParameterSet):
        return pytest.param(*value.values, marks=[*value.marks, pytest.mark.slow], id=value.id)
    return slow(*value) if isinstance(value, tuple) else slow(value)
