"""A token or a session: whose it is, whether it is alive, why not, and ending it."""

from collections.abc import Sequence

from starlette.responses import Response

from authsvc.console.admin.access import Admin
from authsvc.console.context import PageContext
from authsvc.console.rendering import render
from authsvc.console.words import sentence
from authsvc.core import token as tokens
from authsvc.core.api_key import last_used_at
from authsvc.errors import InvalidRequest
from authsvc.flows import trail
from authsvc.flows.explain import explain
from authsvc.store.audit import StoredEntry


async def token_page(ctx: PageContext, me: Admin) -> Response:
    """The form. A session's id is public, so it may stand in the URL; a token may not."""
    handle = ctx.request.query_params.get("session", "")
    return await _explained(ctx, handle) if tokens.is_handle(handle) else _form(ctx)


async def explain_token(ctx: PageContext, me: Admin) -> Response:
    """Explain what was pasted. The answer is no redirect, because the token must not stand in a URL."""
    return await explained(ctx, ctx.form.get("token", "").strip(" \r\n\t"))


async def explained(ctx: PageContext, presented: str) -> Response:
    """The page about a token or a session; the form with a message for anything else."""
    try:
        return await _explained(ctx, presented)
    except InvalidRequest as error:
        return _form(ctx, 400, sentence(str(error)))


def _form(ctx: PageContext, status: int = 200, fault: str | None = None) -> Response:
    return render(ctx, "admin/token.html", status, found=None, fault=fault)


async def _explained(ctx: PageContext, presented: str) -> Response:
    found = await explain(ctx.deps, presented)
    session = await ctx.deps.store.sessions.find(found.session_id)
    subs = [one.entry.sub for one in found.trail if one.entry.sub] + ([session.sub] if session else [])
    user = await ctx.deps.store.users.find(subs[-1]) if subs else None
    client = await ctx.deps.store.clients.find(session.client_id) if session else None
    names = await trail.names(ctx.deps, found.trail)
    return render(
        ctx, "admin/token.html", found=found, session=session, user=user, client=client, names=names, fault=None,
        reason=_with_names(found.reason, found.trail, names), sub=subs[-1] if subs else None,
        used_at=last_used_at(session) if session else None,
    )  # fmt: skip


def _with_names(reason: str, events: Sequence[StoredEntry], names: trail.Names) -> str:
    """The reason with the name of who did it, in the place of an id."""
    for actor in {one.entry.actor for one in events}:
        reason = reason.replace(f"by {actor}", f"by {names.actor(actor).replace(':', ' ', 1)}")
    return reason
