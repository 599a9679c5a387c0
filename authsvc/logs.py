"""The log on stderr, with the id of the request that the service was answering.

It is one JSON object a line, or text for a person at a terminal.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["json", "text"]

# The id of the request that the current task answers. Tasks that it starts inherit the id.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

# After this time the log repeats what the driver still sees. _MAX_TEXTS: different texts that are remembered.
REPEAT_S = 60.0
_MAX_TEXTS = 1000

# The secret part of a token, and the credentials of an Authorization field, each after what stays readable. A key may
# have a word in front.
_SECRET = re.compile(r"([a-z]{3}_[0-9A-Za-z]{12})[0-9A-Za-z]{33}|(basic[ \t]+)[0-9A-Za-z+/=]{12,}", re.IGNORECASE)


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


class _Masking(logging.Formatter):
    """A formatter without credentials. Our own messages have none, but the text of an unexpected exception may.

    foreign: the prefixes of foreign keys.
    """

    def __init__(self, foreign: Sequence[str] = ()) -> None:
        super().__init__()
        prefixes = "|".join(map(re.escape, foreign))
        self._foreign = re.compile(rf"({prefixes})[A-Za-z0-9._~+/=-]+") if foreign else None

    def masked(self, text: str) -> str:
        shown = _SECRET.sub(r"\1\2…", text)
        return shown if self._foreign is None else self._foreign.sub(r"\1…", shown)


class JsonLines(_Masking):
    """One JSON object a line, so that text from a client cannot look like a line of the service."""

    def format(self, record: logging.LogRecord) -> str:
        happened_at: float = getattr(record, "happened_at", record.created)
        at = datetime.fromtimestamp(happened_at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {
            "at": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.masked(record.getMessage()),
        }
        line |= _fields(record)
        if record.exc_info:
            line["traceback"] = self.masked(self.formatException(record.exc_info))
        return json.dumps(line)


class TextLines(_Masking):
    """The local time, the level, the message and the fields as `name=value`. A traceback follows, indented.

    Only the service begins a line without indentation. Text from a client cannot steer the terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        message = self.masked(record.getMessage())
        fields = [f"{name}={_value(value)}" for name, value in _fields(record).items() if value not in (None, message)]
        lines = ["  ".join([f"{at} {record.levelname.lower():<7} {_printable(message)}", *fields])]
        if record.exc_info:
            lines += [
                f"  {_printable(line)}" for line in self.masked(self.formatException(record.exc_info)).split("\n")
            ]
        return "\n".join(lines)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    during = getattr(record, "request_id", None)
    given: dict[str, Any] = getattr(record, "fields", {})
    return given if during is None else {"request_id": during} | given


def _value(value: object) -> str:
    """The value in printable ASCII. A text that is not one word is quoted."""
    return value if isinstance(value, str) and re.fullmatch("[!#-<>-~]+", value) else json.dumps(value)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def log_to_stderr(log_format: LogFormat | None = None, foreign: Sequence[str] = ()) -> None:
    """Start logging: the service from level `info`, uvicorn from level `warning`.

    log_format: None for text if stderr is a terminal, and for JSON otherwise. foreign: the prefixes of foreign keys.
    """
    if log_format is None:
        log_format = "text" if sys.stderr.isatty() else "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RequestId())
    handler.addFilter(Repeats())
    handler.setFormatter(TextLines(foreign) if log_format == "text" else JsonLines(foreign))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
