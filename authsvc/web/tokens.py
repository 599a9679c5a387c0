"""Routes that issue, refresh, introspect and revoke tokens."""

from typing import Any

from starlette.responses import JSONResponse, Response

from authsvc.api.parsing import JSON
from authsvc.api.schemas import answers, requests
from authsvc.core.client import BUILT_IN
from authsvc.errors import InvalidRequest, InvalidTarget, UnauthorizedClient, UnsupportedGrantType
from authsvc.flows import client_token as client_tokens
from authsvc.flows import exchange as exchanging
from authsvc.flows import introspect as introspection
from authsvc.flows import issue as issuing
from authsvc.flows import login as logins
from authsvc.flows import refresh as refreshing
from authsvc.flows import revoke as revocation
from authsvc.flows.clients import Parties
from authsvc.flows.deps import Caller
from authsvc.flows.grants import Grant
from authsvc.web import callers, cookies
from authsvc.web.context import RequestContext
from authsvc.web.reading import form_body, json_body, refuse_query

_NOTHING_TO_REVOKE = "give one of: token, and for admins session_id, sub, client_id or all"


async def login(ctx: RequestContext) -> Response:
    # A storm is thousands of logins a second. Refuse before their bodies are read and the store is asked.
    ctx.deps.hasher.refuse_if_full()
    refuse_query(ctx.request)
    body = await json_body(ctx.request, requests.Login)
    if body.cookie:  # another site could log its victim in to its own account
        cookies.refuse_cross_site(ctx.request, ctx.deps)
    # A browser has one session: the new session replaces the old one, which ends (ASVS 7.2.4). Of two cookies one was
    # planted, and both sessions end.
    replaced = cookies.session_tokens(ctx.request) if body.cookie else []
    client, service = await callers.login_client(ctx, body.client_id, BUILT_IN)
    caller = callers.origin_of_user(ctx, client, body.ip)
    grant = await logins.login(
        ctx.deps,
        caller,
        client,
        service,
        username=body.username,
        password=body.password,
        scope=body.scope,
        device=body.device,
        cookie=body.cookie,
        device_token=body.device_token or (cookies.device_token(ctx.request) if body.cookie else None),
    )
    for old in replaced:
        await revocation.revoke_token(ctx.deps, caller, None, old)
    return granted(grant, by_cookie=body.cookie)


async def token(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    form = await form_body(ctx.request, requests.TokenForm)
    parties = await callers.parties_of(ctx, form)
    grant = _GRANTS.get(form.grant_type)
    if grant is None:
        raise UnsupportedGrantType(f"grant_type: one of {', '.join(_GRANTS)}")
    return await grant(ctx, parties, form)


async def _refreshed(ctx: RequestContext, parties: Parties, form: requests.TokenForm) -> Response:
    if form.refresh_token is None:
        raise InvalidRequest("refresh_token: required")
    caller, client = _caller(ctx, parties), parties.client
    return granted(await refreshing.refresh(ctx.deps, caller, client, form.refresh_token, form.scope))


async def _issued_to_client(ctx: RequestContext, parties: Parties, form: requests.TokenForm) -> Response:
    return granted(await client_tokens.issue_to_client(ctx.deps, _caller(ctx, parties), parties, form.scope or ""))


async def _exchanged(ctx: RequestContext, parties: Parties, form: requests.TokenForm) -> Response:
    if form.subject_token is None or form.subject_token_type != requests.ACCESS_TOKEN:
        raise InvalidRequest(f"subject_token, subject_token_type: required; the type is {requests.ACCESS_TOKEN}")
    if form.requested_token_type not in (None, requests.ACCESS_TOKEN):
        raise InvalidRequest(f"requested_token_type: only {requests.ACCESS_TOKEN}")
    if form.actor_token is not None or form.actor_token_type is not None:
        raise InvalidRequest("actor_token: the client that exchanges is the actor, and authenticates")
    if form.resource is not None:  # ignoring it would give a token for more than was asked for
        raise InvalidTarget("resource: not known here, name the resource server in audience")
    caller, subject = _caller(ctx, parties), form.subject_token
    grant = await exchanging.exchange(ctx.deps, caller, parties, subject, audience=form.audience, scope=form.scope)
    return granted(grant, issued_token_type=requests.ACCESS_TOKEN)


def _caller(ctx: RequestContext, parties: Parties) -> Caller:
    return ctx.caller_as(f"client:{parties.client.client_id}")


# By grant type (RFC 6749).
_GRANTS = {"refresh_token": _refreshed, "client_credentials": _issued_to_client, requests.TOKEN_EXCHANGE: _exchanged}
GRANT_TYPES = tuple(_GRANTS)


async def introspect(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    form = await form_body(ctx.request, requests.IntrospectForm)
    credentials = callers.client_credentials(ctx.request, form)
    (answer,) = await _introspected(ctx, credentials, [form.token], form.scope, form.ip)
    return Response(answer, media_type=JSON)


async def introspect_batch(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    credentials = callers.client_credentials(ctx.request)
    # Authenticate first: a batch costs a thousand lookups.
    await callers.authenticate(ctx, credentials)
    body = await json_body(ctx.request, requests.IntrospectBatch)
    answers = await _introspected(ctx, credentials, body.tokens, ip=body.ip)
    return Response(b"[%s]" % b",".join(answers), media_type=JSON)


async def _introspected(
    ctx: RequestContext,
    credentials: callers.ClientCredentials,
    presented: list[str],
    scope: str = "",
    ip: str | None = None,
) -> list[bytes]:
    client_id, secret = credentials.client_id, credentials.secret
    answered = await introspection.introspect(ctx.deps, client_id, secret, presented, scope, ip)
    if answered is None:
        await callers.authenticate(ctx, credentials)
        raise UnauthorizedClient("this client may not introspect: it takes the permission introspect")
    return answered


async def revoke(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    form = await form_body(ctx.request, requests.RevokeForm)
    # Without a token, client_id names the client whose sessions end, unless it names the caller.
    target = form.client_id if form.token is None and not callers.names_caller(ctx.request, form) else None
    given = [name for name in (form.token, form.session_id, form.sub, target, form.all) if name is not None]
    if len(given) != 1:  # whoever the caller is
        raise InvalidRequest(_NOTHING_TO_REVOKE)
    by = await callers.client_or_admin_of(ctx, form)
    caller, admin = by.because(form), by.caller.level == "admin"
    if form.token is not None:
        if by.client and form.client_id not in (None, by.client.client_id):
            raise InvalidRequest("client_id: not the client that is calling")
        await revocation.revoke_token(ctx.deps, caller, None if admin else by.client, form.token)
        return Response(status_code=200)
    if not admin and by.client and target == by.client.client_id:
        # The client has named itself once more, as many do beside HTTP Basic.
        raise InvalidRequest(_NOTHING_TO_REVOKE)
    if not admin:
        raise UnauthorizedClient("without a token, revoking takes an admin")
    if form.session_id is not None:
        await revocation.revoke_session(ctx.deps, caller, form.session_id)
    elif form.sub is not None:
        await revocation.revoke_user(ctx.deps, caller, form.sub)
    elif target is not None:
        await revocation.revoke_client(ctx.deps, caller, target)
    else:
        await revocation.revoke_all(ctx.deps, caller)
    return Response(status_code=200)


async def issue(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    client = await callers.client_of(ctx)
    body = await json_body(ctx.request, requests.Issue)
    grant = await issuing.issue(
        ctx.deps,
        ctx.caller_as(f"client:{client.client_id}"),
        client,
        sub=body.sub,
        scope=body.scope,
        expires_in=body.expires_in,
        roles=None if body.roles is None else tuple(body.roles),
        device=body.device,
        amr=tuple(body.amr or ()),
        acr=body.acr,
        auth_time=body.auth_time,
        ip=body.ip,
        user_agent=body.user_agent,
        refresh=body.refresh,
    )
    return granted(grant)


def granted(grant: Grant, *, by_cookie: bool = False, status: int = 200, **more: Any) -> Response:
    """The answer with new tokens: in the body, or in the cookie. more: other members of the body."""
    answer = answers.Tokens.of(grant, hidden=by_cookie).model_dump(exclude_none=True) | more
    response = Response(status_code=204) if status == 204 else JSONResponse(answer, status_code=status)
    if by_cookie:
        cookies.set_session(response, grant.access_token, grant.session_ends_in)
    return response
