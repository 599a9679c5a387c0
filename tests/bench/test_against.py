"""The comparison of two checkouts: what the figures of the rounds come to."""

from pathlib import Path

import pytest

from bench import servers
from bench.against import summary
from bench.servers import BenchError


def test_the_summary_is_the_median_of_the_rounds_ratios() -> None:
    """A ratio is taken within each round, so that a round in which the machine was slow counts like any other."""
    rounds = [({"rate": 110.0}, {"rate": 100.0}), ({"rate": 9.0}, {"rate": 10.0}), ({"rate": 102.0}, {"rate": 100.0})]
    (line,) = summary({"authsvc": rounds})
    ratio, _, medians = line.partition(": ")
    assert ratio.split() == ["authsvc", "rate", "this/other", "1.020", "(0.900-1.100)", "in", "3", "rounds"]
    assert medians == "102.00 here, 100.00 there"


def test_a_checkout_without_its_own_packages_is_refused(tmp_path: Path) -> None:
    """The other checkout runs under its own interpreter; without one there is nothing to compare."""
    with pytest.raises(BenchError, match=r"no \.venv"):
        servers.python(tmp_path)
