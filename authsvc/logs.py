"""The log: one JSON object a line on stderr, with the id of the request that the service was answering."""

import json
import logging
import re
import sys
import time
from contextvars import ContextVar
from datetime import UTC, datetime

# The id of the request that the current task answers. Tasks that it starts inherit the id.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

# After this time the log repeats what the driver still sees. _MAX_TEXTS: different texts that are remembered.
REPEAT_S = 60.0
_MAX_TEXTS = 1000

# The secret part of a token, and the credentials of an Authorization field.
_SECRET = re.compile(r"(?:(?<=[a-z]{3}_[0-9A-Za-z]{12})[0-9A-Za-z]{33}|(?<=basic )[0-9A-Za-z+/=]{12,})", re.IGNORECASE)


class RequestId(logging.Filter):
    """Notes the request on each record at once. When the record is formatted, the task may answer another request."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True


class Repeats(logging.Filter):
    """Drops a warning of the driver that was written within the last minute: an outage would repeat it all the time."""

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("authsvc.driver."):
            return True
        text, now = record.getMessage(), time.monotonic()
        if now - self._written.get(text, -REPEAT_S) < REPEAT_S:
            return False
        if len(self._written) >= _MAX_TEXTS:
            self._written.clear()
        self._written[text] = now
        return True


class JsonLines(logging.Formatter):
    """One JSON object a line, so that text from a client cannot look like a line of the service."""

    def format(self, record: logging.LogRecord) -> str:
        happened_at: float = getattr(record, "happened_at", record.created)
        at = datetime.fromtimestamp(happened_at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {
            "at": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _masked(record.getMessage()),
        }
        during = getattr(record, "request_id", None)
        if during is not None:
            line["request_id"] = during
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = _masked(self.formatException(record.exc_info))
        return json.dumps(line)


def _masked(text: str) -> str:
    """The text without credentials. Our own messages have none, but the text of an unexpected exception may."""
    return _SECRET.sub("…", text)


def log_to_stderr() -> None:
    """Start logging: the service from level `info`, uvicorn from level `warning`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RequestId())
    handler.addFilter(Repeats())
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
