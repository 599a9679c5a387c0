"""A question before a change, with its consequences in numbers; and the result after it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from authsvc.api.statuses import STATUSES
from authsvc.console.context import PageContext
from authsvc.console.flash import Message, redirect
from authsvc.console.rendering import render
from authsvc.console.words import sentence
from authsvc.errors import (
    AccessDenied,
    InvalidRequest,
    InvalidScope,
    LastAdmin,
    NotDurable,
    UsernameTaken,
    WeakPassword,
)

# What is done, and its result in words; or a page of its own, which shows a secret once.
Do = Callable[[], Awaitable[str | Response]]
# Errors that a person can mend in the dialog, or that say why the change is not possible.
_TOLD = (AccessDenied, InvalidRequest, InvalidScope, LastAdmin, UsernameTaken, WeakPassword)

_NOT_DURABLE = (
    "The change was made, but too few copies of the data have it: a crash could undo it now. Do it again until this "
    "page says that it is done."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialog:
    """title: the question. consequences: what happens, each a sentence. button: what the button says.

    back: the page to return to. danger: whether this takes something away from somebody.
    fields: the template of more fields; context: what it shows.
    """

    title: str
    consequences: Sequence[str]
    button: str
    back: str
    danger: bool = False
    fields: str | None = None
    context: dict[str, Any]

    def ask(self, ctx: PageContext, status: int = 200, fault: str | None = None, *, again: bool = False) -> Response:
        return render(ctx, "admin/dialog.html", status, dialog=self, fault=fault, again=again, **self.context)

    async def do(self, ctx: PageContext, do: Do, *, then: str | None = None) -> Response:
        """Do it and say what came of it. A change that may not last says so, and can be done again.

        then: the page that follows; None: the one to return to.
        """
        try:
            done = await do()
        except NotDurable:
            return self.ask(ctx, 503, _NOT_DURABLE, again=True)
        except _TOLD as error:
            return self.ask(ctx, STATUSES[type(error)][0], sentence(str(error)))
        return done if isinstance(done, Response) else redirect(ctx, then or self.back, Message(done))
