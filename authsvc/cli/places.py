"""Where a command works: on the store, or over HTTP at a service that the person has logged in to or named."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from authsvc.cli import options
from authsvc.cli.logins import read, remote_of
from authsvc.cli.remote import NotLoggedIn, Remote, base_url
from authsvc.core.event import check_comment
from authsvc.errors import InvalidRequest
from authsvc.flows.deps import OPERATOR, Caller

_META = "authsvc.comment"


def remote(url: str | None, *, on_store: bool) -> Remote | None:
    """The service to ask; None: work on the store. Raises NotLoggedIn, InvalidRequest, StartupError."""
    if on_store:
        if url is not None:
            raise click.UsageError("--url or --store, not both")
        return None
    login = read()
    if url is None:
        return None if login is None else remote_of(login)
    wanted = base_url(url)
    if login is None or login.url != wanted:
        raise NotLoggedIn(wanted)
    return remote_of(login)


def or_over_http(over_http: Callable[..., None]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command work over HTTP, too. over_http: gets the service, and the options of the command."""

    def decorated(on_store_: Callable[..., None]) -> Callable[..., None]:
        @options.url
        @options.on_store
        @wraps(on_store_)
        def command(url: str | None, on_store: bool, **given: Any) -> None:
            service = remote(url, on_store=on_store)
            if service is None:
                on_store_(**given)
            else:
                over_http(service, **given)

        return command

    return decorated


def _noted(context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        try:
            check_comment(value)
        except InvalidRequest as error:
            raise click.BadParameter(str(error).partition(": ")[2]) from None
    context.meta[_META] = value
    return value


comment = click.option(
    "--comment", metavar="TEXT", expose_value=False, callback=_noted, help="Why, for the audit trail."
)


def why() -> str | None:
    """The comment of this command."""
    given: str | None = click.get_current_context().meta.get(_META)
    return given


def operator() -> Caller:
    """The operator, who runs this command on the store, with the comment."""
    return OPERATOR if why() is None else Caller("operator", level="admin", comment=why())
