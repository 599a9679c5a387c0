"""Proving something again in the running session, before something that takes a recent login."""

from starlette.responses import Response

from authsvc.console.account.destination import HOME
from authsvc.console.account.frame import CONFIRM, me_of, show, wanted
from authsvc.console.account.problems import CORRECTABLE
from authsvc.console.account.session import begun, to_step
from authsvc.console.account.step import after, proof_of
from authsvc.console.context import PageContext
from authsvc.core.step import ENROL
from authsvc.errors import AuthError, InsufficientAuthorization, InvalidClient, InvalidRequest
from authsvc.flows import step_up, steps
from authsvc.flows.steps import PASSKEY
from authsvc.web.callers import UserPrincipal
from authsvc.web.steps import in_progress


async def confirm_form(ctx: PageContext) -> Response:
    """The ways to prove who one is. Nothing is stored before an answer comes."""
    return await _show(ctx, await me_of(ctx))


async def confirm(ctx: PageContext) -> Response:
    """Begin a step-up and answer it at once. With a passkey, the script of the page has begun the step-up."""
    me = await me_of(ctx)
    try:
        auth_session = ctx.form.get("auth_session")
        if ctx.form.get("method") != PASSKEY:
            step = await step_up.step_up(ctx.deps, me.caller, me.active, cookie=True)
            if step.methods == (ENROL,):
                return to_step(ctx, step)
            auth_session = step.auth_session
        progress, client = await in_progress(ctx, auth_session or "")
        if progress.step.session != me.active.handle:
            raise InvalidRequest("auth_session: of another session")
        method, prove = proof_of(ctx, progress)
        done = await steps.answer(ctx.deps, ctx.caller, client, progress, method, prove)
    except InsufficientAuthorization as more:  # the password was right, and the policy demands a factor
        return to_step(ctx, more)
    except (*CORRECTABLE, InvalidClient) as error:
        return await _show(ctx, me, error)
    return await begun(ctx, done, after(ctx, done, prove))


async def _show(ctx: PageContext, me: UserPrincipal, error: AuthError | None = None) -> Response:
    return show(
        ctx,
        "step.html",
        error=error,
        action=CONFIRM,
        # A confidential client proves its secret at each step, so this page cannot continue its sessions.
        methods=await step_up.methods_of(ctx.deps, me.active) if me.active.client.public else None,
        auth_session="",
        begin="/step-up",
        trust_days=None,
        cancel=HOME,
        next=wanted(ctx),
    )
