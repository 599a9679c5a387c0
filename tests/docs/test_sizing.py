"""The figures of the sizing page are on the safe side of the measured ones."""

import re

from tests.docs.blocks import ROOT

SIZING = (ROOT / "docs" / "operations" / "sizing.md").read_text()
MEASURED = (ROOT / "docs" / "performance.md").read_text()


def promised(row: str) -> float:
    found = re.search(rf"^\| {row}.*\| ([\d,]+) ", SIZING, re.MULTILINE)
    assert found, row
    return float(found[1].replace(",", ""))


def measured(row: str) -> list[float]:
    """The medians of the rows of docs/performance.md that begin with this text."""
    found = re.findall(rf"^\| {row}.*?\|[^|]*\| ([\d,.]+)", MEASURED, re.MULTILINE)
    assert found, row
    return [float(one.replace(",", "")) for one in found]


def test_rates_are_not_above_the_measured() -> None:
    """The rates of the page are below the measured ones, and close enough to be useful."""
    for row, shown in {
        "introspections of one core": r"18 \| authsvc, tokens that are asked for once",
        "the same tokens again": r"2 \| authsvc /introspect",
        "in batches of 500, each token": r"6 \| authsvc, batches of 500, tokens",
        "in batches of 500, the same": r"6 \| authsvc, batches of 500(?= \|)",
        "logins of one core": r"7 \| logins, one core, one thread",
    }.items():
        (median,) = measured(shown)
        assert 0.5 * median <= promised(row) <= 0.9 * median, row


def test_bytes_are_not_below_the_measured() -> None:
    """The bytes of the page are above the measured ones, and close enough to be useful."""
    for row, shown in {"a session in the store": r"9 \| memory, "}.items():
        most = max(measured(shown))
        assert 1.05 * most <= promised(row) <= 2 * most, row
    account = max(float(found) for found in re.findall(r"user's record takes another (\d+)", MEASURED))
    assert account <= promised("an account in the store") <= 2 * account


def test_the_formula_uses_the_figures() -> None:
    """The program of the page computes the figures of its table."""
    code = SIZING.partition("```python")[2].partition("```")[0]
    assert f"sessions * {promised('a session in the store'):.0f} " in code
    assert f"accounts * {promised('an account in the store'):.0f})" in code
    assert f"/ {promised('introspections of one core'):_.0f} " in code
    assert f"/ {promised('logins of one core'):.0f})" in code
