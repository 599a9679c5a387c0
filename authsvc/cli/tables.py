"""The columns of the lists that a command prints from the store and over HTTP."""

from authsvc.cli.layout import Columns

USER_COLUMNS = Columns(("sub", "username", "status", "roles", "created_at"), spare=("created_at",), bare=("sub",))
SESSION_COLUMNS = Columns(
    ("session_id", "user", "sub", "client", "client_id", "device", "ip", "last_seen", "created_at", "expires_at"),
    spare=("expires_at", "client_id", "sub", "created_at", "ip", "device"),
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
