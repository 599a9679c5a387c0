"""The names of users and clients that a shell offers after Tab. Completing needs a configured or running store."""

import logging
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:  # help waits for nothing that it does not need
    from authsvc.flows.deps import Deps

# The person at the shell waits no longer. Names that were found until then are offered.
_WAIT_S = 1.5
_MOST = 200
# The shell puts the name into the line as it is, and anybody may have chosen it. These characters mean nothing there.
_HARMLESS = re.compile(r"[\w@+=./][\w@+=./:-]*")

Offer = Callable[[str, str], None]


def user_names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Names of users, and subs of users without a name, that begin with what was typed."""

    async def work(deps: "Deps", offer: Offer) -> None:
        from authsvc.cli.finding import some_users

        async for user in some_users(deps):
            offer(user.username or user.sub, user.sub)

    return _offered(work, incomplete)


def client_names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Names of clients that begin with what was typed, and ids of clients whose name the shell would not take."""

    async def work(deps: "Deps", offer: Offer) -> None:
        async for client in deps.store.listing.every_client():
            offer(client.name if _HARMLESS.fullmatch(client.name) else client.client_id, client.client_id)

    return _offered(work, incomplete)


def _offered(work: Callable[["Deps", Offer], Awaitable[None]], incomplete: str) -> list[CompletionItem[str]]:
    from authsvc.cli.state import attached
    from authsvc.errors import AuthError

    found: dict[str, str] = {}

    def offer(name: str, id_: str) -> None:
        if len(found) < _MOST and name.startswith(incomplete) and _HARMLESS.fullmatch(name):
            found[name] = id_

    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # a message would stand in the middle of the line that is being typed
    try:
        attached(lambda deps: work(deps, offer), within_s=_WAIT_S)
    except (AuthError, TimeoutError):
        pass
    finally:
        logging.disable(before)
    return [CompletionItem(name, help=id_) for name, id_ in sorted(found.items())]
