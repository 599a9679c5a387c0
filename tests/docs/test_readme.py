"""The README is short, its figures are the measured ones, and no page installs the package by its name."""

import re

import pytest

from authsvc.serve.banner import first_steps
from tests.docs.blocks import ROOT, documented

README = (ROOT / "README.md").read_text()
MEASURED = (ROOT / "docs" / "performance.md").read_text()


def said(words: str) -> float:
    """The first figure of the README that stands before or after these words."""
    found = re.search(words, README)
    assert found, words
    return float(found[1].replace(",", ""))


def measured(row: str, figure: str = r"([\d,.]+)") -> float:
    """The figure in the line of docs/performance.md that begins with this text."""
    found = re.search(rf"^\| {row}.*?{figure}", MEASURED, re.MULTILINE)
    assert found, row
    return float(found[1].replace(",", ""))


@pytest.mark.parametrize(
    ("claim", "found"),
    [
        (r"HTTP \| ([\d,]+) a second", measured(r"2 \| authsvc /introspect .*?\| ", r"([\d,]+) \(")),
        (r"oidc-provider \| ([\d.]+) times slower", measured(r"4 \|", r"row 2 is ([\d.]+) times")),
        (r"django-oauth-toolkit \| (\d+) times slower", measured(r"5 \|", r"row 2 is ([\d.]+) times")),
    ],
)
def test_rates_are_not_above_the_measured_ones(claim: str, found: float) -> None:
    """A rate or a ratio of the README is at most the measured one, and at least nine tenths of it."""
    assert 0.9 * found <= said(claim) <= found * 1.001


@pytest.mark.parametrize(
    ("claim", "found"),
    [
        (r"99 % within ([\d.]+) ms", measured(r"2 \| authsvc /introspect", r"/ ([\d.]+) ms")),
        (r"less than (\d) µs", measured(r"12 \| a check .* threads \|.*\|", r"([\d.]+) /")),
        (r"everybody \| ([\d.]+) ms", measured(r"10 \| revoke one session.*?\|.*?\|", r"([\d.]+) \(")),
        (r"Valkey \| (\d+) bytes", measured(r"9 \| memory, Valkey.*?\|.*?\|", r"(\d+) bytes")),
    ],
)
def test_costs_are_not_below_the_measured_ones(claim: str, found: float) -> None:
    """A duration or a size of the README is at least the measured one, as rounded there, and not much more."""
    assert found <= said(claim) <= found * 1.25


@pytest.mark.parametrize("page", ["README.md", "docs/start.md"])
def test_the_start_prints_the_line_from_which_a_page_takes_a_value(page: str) -> None:
    """The pages take one value from the lines that the first start prints, and set all other variables themselves."""
    (name,) = re.findall(r"printed line `(\w+)=…`", " ".join((ROOT / page).read_text().split()))
    assert f"\n  {name}=an_id:a_secret\n" in first_steps("http://127.0.0.1:8000", "an_id", "a_secret")


def test_the_readme_is_short() -> None:
    """The README has 750 words at most, with its commands."""
    assert len(README.split()) <= 750


def test_no_page_installs_the_package_by_its_name() -> None:
    """An index may have a package of this name that is not ours, so pages install a clone or a wheel by its path."""
    by_name = re.compile(r"pip install (?:-\S+ )*['\"]?authsvc\b(?!/)")
    for page in [*documented(), *sorted((ROOT / "authsvc").rglob("*.py")), *sorted((ROOT / "deploy").rglob("*"))]:
        if page.is_file():
            found = [line for line in page.read_text().splitlines() if by_name.search(line)]
            assert found == [] or page.name == "install.md", f"{page.name}: {found}"
