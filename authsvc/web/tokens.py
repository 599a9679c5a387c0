"""Routes that give out tokens, tell about them and take them back."""

from typing import Any

from msgspec.json import encode
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authsvc.api import schemas as bodies
from authsvc.api.parsing import JSON, form_body, json_body, refuse_query
from authsvc.core.client import BUILT_IN
from authsvc.errors import InvalidRequest, UnauthorizedClient, UnsupportedGrantType
from authsvc.flows import clients
from authsvc.flows import introspect as introspection
from authsvc.flows import issue as issuing
from authsvc.flows import login as logins
from authsvc.flows import refresh as refreshing
from authsvc.flows import revoke as revocation
from authsvc.flows.deps import Deps
from authsvc.flows.grants import Grant
from authsvc.web import callers, cookies


async def login(deps: Deps, request: Request) -> Response:
    # A storm is thousands of logins a second. Refuse before their bodies are read and the store is asked.
    deps.hasher.refuse_if_full()
    refuse_query(request)
    body = await json_body(request, bodies.Login)
    if body.cookie:  # or another site logs its victim in as itself
        cookies.refuse_cross_site(request, deps.settings.allowed_origins)
    # A browser has one session: the new one replaces the old one, and does not leave it behind, alive (ASVS 7.2.4).
    replaced = cookies.session_token(request) if body.cookie else None
    client = await callers.login_client(deps, request, body.client_id, BUILT_IN)
    grant = await logins.login(
        deps,
        callers.source(request),
        client,
        username=body.username,
        password=body.password,
        scope=body.scope,
        device=body.device,
        cookie=body.cookie,
    )
    if replaced is not None:
        await revocation.revoke_token(deps, callers.source(request), None, replaced)
    return granted(grant, by_cookie=body.cookie)


async def token(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    form = await form_body(request, bodies.TokenForm)
    client = await callers.client_of(deps, request, form)
    if form.grant_type != "refresh_token":
        raise UnsupportedGrantType("grant_type: only refresh_token")
    if form.refresh_token is None:
        raise InvalidRequest("refresh_token: required")
    caller = callers.source(request, f"client:{client.client_id}")
    return granted(await refreshing.refresh(deps, caller, client, form.refresh_token, form.scope))


async def introspect(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    form = await form_body(request, bodies.IntrospectForm)
    (answer,) = await _introspected(deps, request, callers.presented(request, form), [form.token])
    return Response(encode(answer), media_type=JSON)


async def introspect_batch(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    credentials = callers.presented(request)
    # A thousand lookups are not made for somebody who only says to be a client.
    await clients.authenticate(deps, callers.source(request), *credentials)
    body = await json_body(request, bodies.IntrospectBatch)
    return Response(encode(await _introspected(deps, request, credentials, body.tokens)), media_type=JSON)


async def _introspected(
    deps: Deps, request: Request, credentials: callers.Presented, presented: list[str]
) -> list[dict[str, Any]]:
    answers = await introspection.introspect(deps, credentials.client_id, credentials.secret, presented)
    if answers is None:
        await clients.authenticate(deps, callers.source(request), *credentials)
        raise UnauthorizedClient("this client may not introspect")
    return answers


async def revoke(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    form = await form_body(request, bodies.RevokeForm)
    by = await callers.authority_of(deps, request, form)
    caller, admin = by.caller, by.may("admin")
    # A client_id without a token names whose sessions are to end, unless it is how the caller authenticates.
    target = form.client_id if form.token is None and form.client_secret is None else None
    given = [name for name in (form.token, form.session_id, form.sub, target, form.all) if name is not None]
    if len(given) != 1:
        raise InvalidRequest("give one of: token, and for admins session_id, sub, client_id or all")
    if form.token is not None:
        if by.client and form.client_id not in (None, by.client.client_id):
            raise InvalidRequest("client_id: not the client that is calling")
        await revocation.revoke_token(deps, caller, None if admin else by.client, form.token)
        return Response(status_code=200)
    if not admin:
        raise UnauthorizedClient("without a token, revoking takes an admin")
    if form.session_id is not None:
        await revocation.revoke_session(deps, caller, form.session_id)
    elif form.sub is not None:
        await revocation.revoke_user(deps, caller, form.sub)
    elif target is not None:
        await revocation.revoke_client(deps, caller, target)
    else:
        await revocation.revoke_all(deps, caller)
    return Response(status_code=200)


async def issue(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    client = await callers.client_of(deps, request)
    body = await json_body(request, bodies.Issue)
    grant = await issuing.issue(
        deps,
        callers.source(request, f"client:{client.client_id}"),
        client,
        sub=body.sub,
        scope=body.scope,
        expires_in=body.expires_in,
        roles=None if body.roles is None else tuple(body.roles),
    )
    return granted(grant)


def granted(grant: Grant, *, by_cookie: bool = False, status: int = 200) -> Response:
    """Tokens for the caller: in the body, or hidden in the cookie."""
    answer = bodies.Tokens.of(grant, hidden=by_cookie).model_dump(exclude_none=True)
    response = Response(status_code=204) if status == 204 else JSONResponse(answer, status_code=status)
    if by_cookie:
        cookies.set_session(response, grant.access_token, grant.session_ends_in)
    return response
