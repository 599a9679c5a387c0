"""uvicorn still has the private parts that the edge relies on."""

import inspect
import re

import pytest
from uvicorn import Server
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.supervisors.multiprocess import Process

from authsvc import edge
from tests.selection import one_in

OWNERS = {
    "HttpToolsProtocol": HttpToolsProtocol,
    "RequestResponseCycle": RequestResponseCycle,
    "Server": Server,
    "supervisors.multiprocess.Process": Process,
}


def listed() -> list[tuple[str, str]]:
    """Owner and part, from the list in the docstring of the package."""
    items = re.findall(r"^- `([A-Za-z.]+)`:(.+?)\.\s*$", edge.__doc__ or "", re.MULTILINE | re.DOTALL)
    return [(owner, part) for owner, parts in items for part in re.findall(r"`([a-z_0-9.]+)`", parts.split(". ")[0])]


@pytest.mark.parametrize(("owner", "part"), one_in(3, listed()))
def test_uvicorn_has_the_part(owner: str, part: str) -> None:
    """Each listed part occurs in the source of its class."""
    assert re.search(rf"\b{re.escape(part.split('.')[0])}\b", inspect.getsource(OWNERS[owner]))


def test_the_list_is_read() -> None:
    """The list has parts of every class."""
    assert {owner for owner, _ in listed()} == set(OWNERS)
    assert hasattr(FlowControl, "resume_reading")
