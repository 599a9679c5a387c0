"""Routes of second factors: those of the calling user, and those of any user for admins."""

from starlette.responses import JSONResponse, Response

from authsvc.api.schemas import answers, requests
from authsvc.core.step import ENROL
from authsvc.flows import factors, step_up, steps, totp
from authsvc.flows.factors import Guard
from authsvc.web import callers
from authsvc.web.callers import UserPrincipal
from authsvc.web.context import RequestContext
from authsvc.web.reading import json_body, optional_json_body, query, refuse_query
from authsvc.web.steps import completed, in_progress
from authsvc.web.users import sub_of


async def list_factors(ctx: RequestContext) -> Response:
    me = await callers.user_of(ctx)
    held = await factors.find(ctx.deps, me.active.user.sub)
    return JSONResponse(answers.Factors.of(held).model_dump(exclude_none=True))


async def remove_factor(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    me = await owner(ctx)
    await factors.remove(ctx.deps, me.caller, me.active, ctx.request.path_params["factor_id"])
    return Response(status_code=204)


async def replace_recovery_codes(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    me = await owner(ctx)
    codes = await factors.replace_codes(ctx.deps, me.caller, me.active)
    return JSONResponse({"recovery_codes": codes}, status_code=201)


async def enrol_totp(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    callers.refuse_cookie_from_elsewhere(ctx)
    body = await optional_json_body(ctx.request, requests.NewTotp)
    name = None if body is None else body.name
    if body is None or body.auth_session is None:
        me = await owner(ctx)
        guard, user = factors.by_session(me.active), me.active.user
    else:
        progress, client = await in_progress(ctx, body.auth_session)
        account = await steps.alive(ctx.deps, client, progress, ENROL)
        guard, user = factors.by_login(progress.step), account.user
    enrolment = await totp.enrol(ctx.deps, guard, user, name)
    view = answers.TotpEnrolment(id=enrolment.id, secret=enrolment.secret, uri=enrolment.uri)
    return JSONResponse(view.model_dump(), status_code=201)


async def confirm_totp(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    callers.refuse_cookie_from_elsewhere(ctx)
    body = await json_body(ctx.request, requests.FirstCode)
    id_ = ctx.request.path_params["factor_id"]
    if body.auth_session is not None:
        return await _confirmed_at_login(ctx, id_, body.auth_session, body.code)
    me = await owner(ctx)
    guard: Guard = factors.by_session(me.active)
    confirmed = await totp.confirm(ctx.deps, me.caller, guard, me.active.user.sub, id_, body.code)
    view = answers.ConfirmedFactor.with_codes(confirmed.app, confirmed.recovery_codes)
    return JSONResponse(view.model_dump(exclude_none=True))


async def _confirmed_at_login(ctx: RequestContext, id_: str, auth_session: str, code: str) -> Response:
    """Confirm the first factor of a user who has to have one. That completes the login."""
    progress, client = await in_progress(ctx, auth_session)
    proof = totp.ProofByFirstCode(ctx.deps, ctx.caller, factors.by_login(progress.step), id_, code)
    done = await steps.answer(ctx.deps, ctx.caller, client, progress, ENROL, proof)
    return await completed(ctx, done, recovery_codes=proof.recovery_codes)


async def list_user_factors(ctx: RequestContext) -> Response:
    await callers.admin_of(ctx)
    held = await factors.find(ctx.deps, sub_of(ctx.request))
    return JSONResponse(answers.Factors.of(held).model_dump(exclude_none=True))


async def remove_user_factors(ctx: RequestContext) -> Response:
    why = query(ctx.request, requests.Deletion)
    admin = await callers.admin_of(ctx)
    await factors.remove_all(ctx.deps, admin.because(why), sub_of(ctx.request))
    return Response(status_code=204)


async def owner(ctx: RequestContext) -> UserPrincipal:
    """The user, who has logged in a short time ago: a thief of a session must not change the factors."""
    me = await callers.user_of(ctx)
    await step_up.require_recent(ctx.deps, me.active, enrols=True)
    return me
