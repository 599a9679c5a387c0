"""Options and kinds of values that several commands share."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click
from click.shell_completion import CompletionItem

from authsvc.cli.completing import client_names, user_names
from authsvc.cli.layout import wrapped

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts; of a list, one object a line.")
exact_times = click.option("--exact-times", is_flag=True, help="At a terminal, too, print times with date and second.")
url = click.option("--url", metavar="URL", help="Work over HTTP at this service; see `authsvc login`.")
on_store = click.option(
    "--store", "on_store", is_flag=True, help="Work on the store, also when logged in to a service."
)
yes = click.option("--yes", "-y", is_flag=True, help="Don't ask.")
WHO = click.argument("who", metavar="SUB_OR_NAME", shell_complete=user_names)
CLIENT = click.argument("client_id", metavar="ID_OR_NAME", shell_complete=client_names)


# click ends in a traceback for a path with NUL.
_NUL = "a path holds no NUL"


class FilePath(click.Path):
    """The path of a file."""

    def __init__(self, *, allow_dash: bool = False, exists: bool = False) -> None:
        super().__init__(path_type=Path, dir_okay=False, allow_dash=allow_dash, exists=exists)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if "\0" in str(value):
            self.fail(_NUL, param, ctx)
        return super().convert(value, param, ctx)


class Number(click.IntRange):
    """A whole number within bounds, with one message for what is no number and for what is out of bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            to = f"from {self.min} to {self.max}" if self.max is not None else f"of {self.min} or more"
            self.fail(f"must be a whole number {to}, not {value!r}", param, ctx)


@contextmanager
def new_file(path: Path) -> Iterator[TextIO]:
    """Make a file that only its owner reads. Raises UsageError if it exists, and FileError.

    If the command fails before it writes anything, there is no file: the same command can be started again.
    """
    try:
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise click.UsageError(f"{path} exists already") from None
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from None
    with open(made, "w", encoding="utf-8") as file:
        try:
            yield file
        except BaseException:
            if file.tell() == 0:
                path.unlink(missing_ok=True)
            raise


# The width of a list in a message.
_LINE = 76
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    """90s, 15m, 24h, 7d: into seconds."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", value)
    if match is None:
        raise click.BadParameter("a number and one of s, m, h, d, such as 24h")
    return int(match[1]) * _UNITS[match[2]]


def event(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """An event of the audit trail, or the word before its dot."""
    from authsvc.core.event import KINDS, Event  # help needs no events

    if value is None or value in KINDS or value in set(Event):
        return value
    from authsvc.flows.finding import suggestion

    groups = (wrapped(" ".join(one for one in Event if one.startswith(f"{kind}.")), _LINE) for kind in KINDS)
    listed = "\n".join(f"  {line}" for group in groups for line in group)
    near = suggestion(value, (*KINDS, *Event))
    raise click.BadParameter(f"no such event{near}.\nGive one of these events, or the word before its dot:\n{listed}")


def events(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The kinds of events, and the events, that begin with what was typed."""
    from authsvc.core.event import KINDS, Event

    return [CompletionItem(name) for name in (*KINDS, *Event) if name.startswith(incomplete)]


def ttl(_context: click.Context, _option: click.Parameter, value: str | None) -> int | str | None:
    """Seconds, or `default`, which stays that word."""
    if value is None or value == "default":
        return value
    if not re.fullmatch(r"[0-9]{1,11}", value):
        raise click.BadParameter("a number of seconds, or `default`")
    return int(value)
