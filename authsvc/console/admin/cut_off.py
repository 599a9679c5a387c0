"""The cut-off of everything: every session of every user ends. It is confirmed by typing the name of the service."""

from urllib.parse import urlsplit

from starlette.responses import Response

from authsvc.console.admin.access import Admin
from authsvc.console.admin.dialogs import Dialog
from authsvc.console.context import PageContext
from authsvc.console.words import counted
from authsvc.errors import InvalidRequest
from authsvc.flows import newest_sessions, revoke


async def cut_off_page(ctx: PageContext, me: Admin) -> Response:
    return (await _dialog(ctx))[0].ask(ctx)


async def cut_off(ctx: PageContext, me: Admin) -> Response:
    dialog, live = await _dialog(ctx)

    async def do() -> str:
        if ctx.form.get("typed", "").strip(" ") != name_of(ctx):
            raise InvalidRequest(f"nothing was ended: type {name_of(ctx)}")
        await revoke.revoke_all(ctx.deps, me.caller)
        return f"Ended {live}, yours too. Log in again."

    return await dialog.do(ctx, do, then="/login")


def name_of(ctx: PageContext) -> str:
    """The name to type: the host of the service."""
    return urlsplit(ctx.deps.settings.base_url).netloc


async def _dialog(ctx: PageContext) -> tuple[Dialog, str]:
    count = (await newest_sessions.page(ctx.deps, limit=1)).live
    live = counted(count.sessions, "session", at_least=not count.whole) if count else "every session"
    return Dialog(
        title="End every session of everybody?",
        consequences=[
            f"{live[:1].upper()}{live[1:]} will end at once, yours too. So do logins and refreshes under way.",
            "Everybody has to log in again. Expect many logins at the same time.",
            "Users, clients and passwords stay as they are. This can't be undone.",
        ],
        button="End everything",
        back="/",
        danger=True,
        fields="admin/fields/typed.html",
        context={"wanted": name_of(ctx)},
    ), live
