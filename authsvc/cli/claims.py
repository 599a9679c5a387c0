"""Claims as an argument: a JSON object."""

from typing import Any

import click

from authsvc.api.parsing import MAX_BODY, load_json
from authsvc.errors import InvalidRequest


def claims_of(text: str) -> dict[str, Any]:
    """The object in an argument. Raises BadParameter."""
    raw = text.encode(errors="replace")
    try:
        return load_json(raw if len(raw) <= MAX_BODY else b"")
    except InvalidRequest:
        raise click.BadParameter("not a JSON object, or too large", param_hint="--claims") from None
