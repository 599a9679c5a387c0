"""The page of errors has every error of the API, with its status and its code, and nothing else."""

import re

from authsvc.api.statuses import STATUSES
from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs" / "errors.md").read_text()
# Errors without a class of ours: an unknown method, and a fault.
OTHERS = {(405, "method_not_allowed", ""), (500, "server_error", "")}


def rows() -> list[tuple[int, str, str]]:
    """The status, the code and the class of each row. A section about one status names it in its heading."""
    found = []
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE):
        for line in section.splitlines():
            cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
            if len(cells) == 5 and cells[0].isdigit():
                found.append((int(cells[0]), cells[1], cells[4]))
            elif len(cells) == 4 and line.startswith("| `"):
                found.append((int(section[:3]), cells[0], cells[3]))
    return found


def test_the_page_has_every_error_once() -> None:
    """Each exception that becomes an answer has one row, with the status and the code of the answer."""
    expected = [(status, code, error.__name__) for error, (status, code) in STATUSES.items()]
    assert sorted(rows()) == sorted([*expected, *OTHERS])


def test_the_page_has_every_reason_of_a_denied_access() -> None:
    """The table of `access_denied` has the beginning of each description in the code, and no other."""
    section = PAGE.partition("### Why access is denied")[2].partition("\n## ")[0]
    known = re.findall(r"^\| `(.+?)` \|", section, re.MULTILINE)
    code = "".join(path.read_text() for path in sorted((ROOT / "authsvc").rglob("*.py")))
    said = re.findall(r'raise AccessDenied\(f?"([^"]+)"', code)
    assert said
    assert {next((one for one in known if text.startswith(one)), text) for text in said} == set(known)


def test_every_row_says_what_to_do() -> None:
    """Each row has a meaning and a remedy."""
    for line in PAGE.splitlines():
        if re.match(r"\| (`|\d)", line):
            assert all(cell.strip() for cell in line.strip().strip("|").split("|")[:-1]), line
