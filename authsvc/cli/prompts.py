"""Asks for secrets and confirmations, or reads them from stdin.

An argument would show in the history of the shell and in the list of processes.
"""

import sys
from collections.abc import Callable
from hmac import compare_digest

import click

from authsvc.cli.output import printable, say
from authsvc.core import token as tokens

_MAX_INPUT = 64 * 1024


def new_password(check: Callable[[str], None], *, stdin: bool) -> str:
    """A password to set: the line on stdin, or typed twice without echo.

    check: raises WeakPassword. It sees a typed password before the password has to be typed again.
    """
    if stdin:
        if sys.stdin.isatty():
            raise click.UsageError("stdin is a terminal: leave out --password-stdin to be asked without echo")
        return line_of_stdin()
    if not sys.stdin.isatty():
        raise click.UsageError("nobody to ask for a password: give --password-stdin or --reset-code")
    password = str(click.prompt("Password", hide_input=True, err=True))
    check(password)
    while not _same(str(click.prompt("Once more", hide_input=True, err=True)), password):
        say("that is another password")
    return password


def _same(one: str, other: str) -> bool:
    return compare_digest(one.encode(errors="surrogatepass"), other.encode(errors="surrogatepass"))


def token_or_session(argument: str | None) -> str:
    """The session id in the argument, or else what is on stdin or typed without echo."""
    if argument is not None:
        return session_id_of(argument)
    if sys.stdin.isatty():
        return str(click.prompt("Token or session id", hide_input=True, err=True)).strip()
    return line_of_stdin().strip()


def confirm(question: str, *, yes: bool) -> None:
    """Return if the answer is yes. Any other answer is an error, because the caller of the program expects a change."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody to ask whether it is meant: give --yes")
    if not click.confirm(printable(question), err=True):
        raise click.ClickException("nothing was changed")


def session_id_of(argument: str) -> str:
    """The argument, if it can be the id of a session. Raises UsageError, also for a token."""
    instead = "Leave it out to be asked for it without echo, or pipe it to stdin"
    return _id_of(argument, f"{instead}; a session's id (the {tokens.HANDLE_LENGTH} characters after `tok_`)")


def key_id_of(argument: str) -> str:
    """The argument, if it can be the id of a key. Raises UsageError, also for the text of a key."""
    instead = "`authsvc token revoke` reads a key from stdin and ends it"
    return _id_of(argument, f"{instead}; a key's id (the {tokens.HANDLE_LENGTH} characters after `key_`)")


def _id_of(argument: str, instead: str) -> str:
    """The argument, if it can be an id. instead: what to do with a token, and which id may be an argument."""
    if tokens.is_handle(argument):
        return argument
    # The message does not repeat the argument, which may be most of a token.
    if len(argument) > tokens.HANDLE_LENGTH:
        raise click.UsageError(
            "a token is a secret and not for the command line, where the shell's history keeps it and the process "
            f"list shows it to everybody on this machine. {instead} may be an argument. Consider this one exposed."
        )
    raise click.UsageError(f"an id has {tokens.HANDLE_LENGTH} letters and digits")


def line_of_stdin() -> str:
    """The one line on stdin. Raises UsageError."""
    raw = sys.stdin.buffer.read(_MAX_INPUT)
    try:
        lines = raw.decode().splitlines()
    except UnicodeDecodeError:
        raise click.UsageError("stdin is not UTF-8") from None
    if len(lines) != 1 or not lines[0]:
        raise click.UsageError("stdin has to be one line")
    return lines[0]
