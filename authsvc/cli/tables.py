"""The columns of the lists that a command prints from the store and over HTTP."""

from collections.abc import Mapping
from typing import Any

from authsvc.cli.layout import Columns

USER_COLUMNS = Columns(("sub", "username", "status", "roles", "created_at"), spare=("created_at",), bare=("sub",))
# `sub` goes first: `user` stands beside it, and in its place if the user has no name.
SESSION_COLUMNS = Columns(
    ("session_id", "user", "sub", "client", "client_id", "device", "ip", "last_seen", "created_at", "expires_at"),
    spare=("sub", "client_id", "expires_at", "created_at", "ip", "device"),
    bare=("session_id",),
)
TRAIL_COLUMNS = Columns(
    (
        *("at", "event", "outcome", "user", "sub", "client", "client_id", "session_id"),
        *("actor", "reason", "comment", "ip", "details"),
    ),
    spare=("client_id", "sub"),
    bare=("at", "event", "details"),
)


def session_for_people(document: Mapping[str, Any]) -> dict[str, Any]:
    """A session whose device is the browser, unless the login named a device."""
    told = {name: value for name, value in document.items() if name != "user_agent"}
    return told | {"device": document.get("device") or document.get("user_agent")}
