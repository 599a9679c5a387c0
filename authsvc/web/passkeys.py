"""Routes of passkeys: registering one, answering with one in a step, and logging in with one alone."""

from functools import partial

from starlette.responses import JSONResponse, Response

from authsvc.api.schemas import answers
from authsvc.api.schemas import passkeys as bodies
from authsvc.core.client import BUILT_IN
from authsvc.core.step import ENROL
from authsvc.errors import InvalidRequest
from authsvc.flows import factors, passkeys, steps
from authsvc.flows.grants import Asked
from authsvc.flows.steps import Completed
from authsvc.web import callers, cookies
from authsvc.web.context import RequestContext
from authsvc.web.factors import owner
from authsvc.web.reading import json_body, optional_json_body, refuse_query
from authsvc.web.steps import completed, in_progress


async def creation_options(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    callers.refuse_cookie_from_elsewhere(ctx)
    body = await optional_json_body(ctx.request, bodies.CreationRequest)
    if body is None or body.auth_session is None:
        me = await owner(ctx)
        guard, sub, of = factors.by_session(me.active), me.active.user.sub, me.active.handle
    else:
        progress, client = await in_progress(ctx, body.auth_session)
        await steps.alive(ctx.deps, client, progress, ENROL)
        guard, sub, of = factors.by_login(progress.step), progress.step.sub, progress.token.handle
    options = await passkeys.creation_options(ctx.deps, guard, of, sub)
    return JSONResponse({"publicKey": options})


async def register(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    callers.refuse_cookie_from_elsewhere(ctx)
    body = await json_body(ctx.request, bodies.NewPasskey)
    answer = passkeys.NewAnswer(body.credential.registration(), body.name, body.credential.transports)
    if body.auth_session is not None:
        return await _registered_at_login(ctx, body.auth_session, answer)
    me = await owner(ctx)
    guard, sub = factors.by_session(me.active), me.active.user.sub
    added = await passkeys.register(ctx.deps, me.caller, guard, me.active.handle, answer, sub)
    view = answers.ConfirmedFactor.with_codes(added.passkey, added.recovery_codes)
    return JSONResponse(view.model_dump(exclude_none=True), status_code=201)


async def _registered_at_login(ctx: RequestContext, auth_session: str, answer: passkeys.NewAnswer) -> Response:
    """Register the first factor of a user who has to have one. That completes the login."""
    progress, client = await in_progress(ctx, auth_session)
    guard = factors.by_login(progress.step)
    register = partial(passkeys.register, ctx.deps, ctx.caller, guard, progress.token.handle, answer)
    proof = passkeys.ProofByRegistration(register)
    done = await steps.answer(ctx.deps, ctx.caller, client, progress, ENROL, proof)
    return await completed(ctx, done, recovery_codes=proof.recovery_codes)


async def request_options(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    body = await json_body(ctx.request, bodies.PasskeyQuestion)
    if body.auth_session is None:
        client, _ = await callers.login_client(ctx, None, BUILT_IN)
        begun = await passkeys.begin_login(ctx.deps, callers.origin_of_user(ctx, client, body.ip))
        return JSONResponse({"auth_session": begun.auth_session, "publicKey": begun.options})
    if body.ip is not None:
        raise InvalidRequest("ip: comes from the first step")
    progress, client = await in_progress(ctx, body.auth_session)
    account = await steps.alive(ctx.deps, client, progress, steps.PASSKEY)
    options = await passkeys.step_options(ctx.deps, progress.token.handle, account)
    return JSONResponse({"auth_session": body.auth_session, "publicKey": options})


async def answer_options(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    body = await json_body(ctx.request, bodies.PasskeyAnswer)
    if await passkeys.is_alone(ctx.deps, body.auth_session):
        return await _logged_in_alone(ctx, body)
    if any(value is not None for value in (body.client_id, body.scope, body.device, body.cookie, body.ip)):
        raise InvalidRequest("client_id, scope, device, cookie, ip: come from the first step")
    progress, client = await in_progress(ctx, body.auth_session)
    proof = passkeys.proof_by_passkey(ctx.deps, progress.token.handle, body.credential.assertion())
    done = await steps.answer(
        ctx.deps, ctx.caller, client, progress, steps.PASSKEY, proof, trust_device=body.trust_device
    )
    return await completed(ctx, done)


async def _logged_in_alone(ctx: RequestContext, body: bodies.PasskeyAnswer) -> Response:
    cookie = bool(body.cookie)
    if cookie:
        cookies.refuse_cross_site(ctx.request, ctx.deps)
    client, service = await callers.login_client(ctx, body.client_id, BUILT_IN)
    caller = callers.origin_of_user(ctx, client, body.ip)
    asked = Asked(body.scope or "", body.device, cookie)
    assertion = body.credential.assertion()
    grant = await passkeys.login(ctx.deps, caller, client, service, body.auth_session, assertion, asked)
    return await completed(ctx, Completed(grant, cookie, begins=True))
