"""The first factor of a user who has to have one: adding it completes the login."""

from functools import partial

from starlette.responses import Response

from authsvc.console.account.apps import Frame, ask_again, begins, first_code, given_name, show_key
from authsvc.console.account.frame import LOGIN, STEP, show, wanted
from authsvc.console.account.passkeys import answer_of
from authsvc.console.account.problems import CORRECTABLE
from authsvc.console.account.session import begun, with_next
from authsvc.console.account.step import presented, show_step
from authsvc.console.context import PageContext
from authsvc.core.step import ENROL
from authsvc.flows import factors, passkeys, steps, totp
from authsvc.flows.passkeys import ProofByRegistration
from authsvc.flows.totp import ProofByFirstCode
from authsvc.web.steps import in_progress

_PATH = f"{LOGIN}/enrol"


async def enrol_again(ctx: PageContext) -> Response:
    """A page that was loaded again has no form any more: the step shows both ways."""
    progress = await steps.find(ctx.deps, presented(ctx))
    return await show_step(ctx, progress)


async def enrol(ctx: PageContext) -> Response:
    """Begin to set up an app, confirm it, or take the answer of a new passkey."""
    progress, client = await in_progress(ctx, presented(ctx))
    guard = factors.by_login(progress.step)
    frame = Frame(_PATH, with_next(STEP, wanted(ctx)), None)
    proof: ProofByFirstCode | ProofByRegistration
    try:
        if "credential" in ctx.form:
            register = partial(passkeys.register, ctx.deps, ctx.caller, guard, progress.token.handle, answer_of(ctx))
            proof = ProofByRegistration(register)
        elif not begins(ctx):
            proof = ProofByFirstCode(ctx.deps, ctx.caller, guard, ctx.form["factor"], first_code(ctx))
        else:
            account = await steps.alive(ctx.deps, client, progress, ENROL)
            return show_key(ctx, frame, await totp.enrol(ctx.deps, guard, account.user, given_name(ctx)))
        done = await steps.answer(ctx.deps, ctx.caller, client, progress, ENROL, proof)
    except CORRECTABLE as error:
        if not begins(ctx):
            return ask_again(ctx, frame, ctx.form["factor"], error)
        return await show_step(ctx, progress, error)
    return await begun(ctx, done, show(ctx, "codes.html", codes=proof.recovery_codes, replaced=False, to=wanted(ctx)))
