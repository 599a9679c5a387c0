"""Routes of a login with more than one step, and of a step-up."""

from typing import Any

from starlette.responses import JSONResponse, Response

from authsvc.api.schemas import answers, requests
from authsvc.core.client import Client
from authsvc.flows import factors, revoke, step_up, steps, totp
from authsvc.flows.steps import Completed, InProgress, Prove
from authsvc.web import callers, cookies
from authsvc.web.context import RequestContext
from authsvc.web.reading import json_body, refuse_query
from authsvc.web.tokens import granted


async def login_totp(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    body = await json_body(ctx.request, requests.StepCode)
    done = await _proven(ctx, body, steps.TOTP, totp.proof_by_code(ctx.deps, body.code), trust=body.trust_device)
    return await completed(ctx, done)


async def login_recovery(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    body = await json_body(ctx.request, requests.StepCode)
    proof = factors.ProofByRecoveryCode(ctx.deps, body.code)
    done = await _proven(ctx, body, steps.RECOVERY, proof, trust=body.trust_device)
    return await completed(ctx, done, recovery_codes_left=proof.left)


async def login_password(ctx: RequestContext) -> Response:
    ctx.deps.hasher.refuse_if_full()
    refuse_query(ctx.request)
    body = await json_body(ctx.request, requests.StepPassword)
    done = await _proven(ctx, body, steps.PASSWORD, step_up.proof_by_password(ctx.deps, ctx.caller, body.password))
    return await completed(ctx, done)


async def begin_step_up(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    me = await callers.user_of(ctx)
    begun = await step_up.step_up(ctx.deps, me.caller, me.active, cookie=me.by_cookie)
    view = answers.StepUp(
        auth_session=begun.auth_session or "", methods=list(begun.methods), expires_in=begun.expires_in
    )
    return JSONResponse(view.model_dump())


async def in_progress(ctx: RequestContext, auth_session: str) -> tuple[InProgress, Client]:
    """The login in progress, and its client. A confidential client authenticates at each step.

    Raises InvalidSession, InvalidClient, CrossSite, TooManyAttempts.
    """
    progress = await steps.find(ctx.deps, auth_session)
    if progress.step.cookie:
        cookies.refuse_cross_site(ctx.request, ctx.deps)
    return progress, (await callers.login_client(ctx, None, progress.step.client_id)).client


async def _proven(
    ctx: RequestContext, body: requests.Step, method: str, prove: Prove, *, trust: bool = False
) -> Completed:
    progress, client = await in_progress(ctx, body.auth_session)
    return await steps.answer(ctx.deps, ctx.caller, client, progress, method, prove, trust_device=trust)


async def completed(ctx: RequestContext, done: Completed, **more: Any) -> Response:
    """The answer of a completed login, as `POST /login` gives it. more: members of the body besides the tokens."""
    if done.cookie and done.begins:  # a browser has one session, as at a login in one step
        for old in cookies.session_tokens(ctx.request):
            await revoke.revoke_token(ctx.deps, ctx.caller, None, old)
    if done.device_token is not None and not done.cookie:
        more["device_token"] = done.device_token
    if done.recovery_codes_left is not None:
        more.setdefault("recovery_codes_left", done.recovery_codes_left)
    response = granted(done.grant, by_cookie=done.cookie, **more)
    if done.device_token is not None and done.cookie:
        cookies.set_device(response, done.device_token)
    return response
