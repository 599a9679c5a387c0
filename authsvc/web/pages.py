"""Pages of a list: the cursor that a request brings, and the answer with the cursor of the next page."""

from collections.abc import Callable, Iterable
from typing import Any

from starlette.responses import JSONResponse

from authsvc.api.schemas.requests import Page
from authsvc.errors import InvalidRequest


def cursor_of(page: Page, is_cursor: Callable[[str], bool]) -> str | None:
    """The cursor of the page. Raises InvalidRequest if no answer of this service can have named it."""
    if page.cursor is not None and not is_cursor(page.cursor):
        raise InvalidRequest("cursor: not one of ours")
    return page.cursor


def page_of(items: Iterable[dict[str, Any]], following: str | None = None, **more: Any) -> JSONResponse:
    """One page of a list. `following`: the cursor of the next page, None at the end. more: other members."""
    return JSONResponse({"items": list(items), "next": following} | more)
