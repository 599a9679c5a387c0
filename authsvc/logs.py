"""The log: one JSON object a line on stderr, each with the id of the request during which it was written."""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

# The request that is being answered, in the task that answers it and in what that task begins.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


class RequestId(logging.Filter):
    """Notes the request on each record while it is known: by the time that it is formatted it may be another."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True


class JsonLines(logging.Formatter):
    """One JSON object a line, so that nothing somebody typed can pass for a line of ours."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"at": at, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        during = getattr(record, "request_id", None)
        if during is not None:
            line["request_id"] = during
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_to_stderr() -> None:
    """Log so from now on: all of ours from `info`, of the server what is a warning."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RequestId())
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
