"""Routes of admins: users, clients, the audit trail."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authsvc.errors import InvalidRequest
from authsvc.flows import clients, password, revoke, sessions, users
from authsvc.flows.deps import Deps
from authsvc.store import audit, listing
from authsvc.web import bodies, callers
from authsvc.web.input import json_body, query, refuse_query


async def create_user(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    admin = await callers.admin_of(deps, request)
    body = await json_body(request, bodies.NewUser)
    user, code = await users.create(
        deps,
        admin.caller,
        username=body.username,
        password=body.password,
        roles=tuple(body.roles),
        claims=body.claims,
    )
    view = bodies.UserView.of(user).model_dump() | ({} if code is None else {"reset_code": code})
    return JSONResponse(view, status_code=201)


async def list_users(deps: Deps, request: Request) -> Response:
    page = query(request, bodies.Page)
    await callers.admin_of(deps, request)
    found, following = await deps.store.listing.users(_scan_cursor(page), page.limit)
    return JSONResponse({"items": [bodies.UserView.of(user).model_dump() for user in found], "next": following})


async def get_user(deps: Deps, request: Request) -> Response:
    await callers.admin_of(deps, request)
    return JSONResponse(bodies.UserView.of(await deps.store.users.get(request.path_params["sub"])).model_dump())


async def change_user(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    admin = await callers.admin_of(deps, request)
    body = await json_body(request, bodies.UserChange)
    given = {name: getattr(body, name) for name in body.model_fields_set}
    if "roles" in given:
        given["roles"] = tuple(given["roles"])
    user = await users.update(deps, admin.caller, request.path_params["sub"], **given)
    return JSONResponse(bodies.UserView.of(user).model_dump())


async def delete_user(deps: Deps, request: Request) -> Response:
    admin = await callers.admin_of(deps, request)
    await users.delete(deps, admin.caller, request.path_params["sub"])
    return Response(status_code=204)


async def list_user_sessions(deps: Deps, request: Request) -> Response:
    await callers.admin_of(deps, request)
    user = await deps.store.users.get(request.path_params["sub"])
    listed = await sessions.alive(deps, user.sub)
    return JSONResponse({"items": [bodies.SessionView.of(one).model_dump() for one in listed], "next": None})


async def end_user_sessions(deps: Deps, request: Request) -> Response:
    admin = await callers.admin_of(deps, request)
    await revoke.revoke_user(deps, admin.caller, request.path_params["sub"])
    return Response(status_code=204)


async def create_reset_code(deps: Deps, request: Request) -> Response:
    by = await callers.admin_of(deps, request, "reset")
    user = await users.get_for_reset(deps, request.path_params["sub"], by_admin=by.may("admin"))
    code, life_s = await password.new_reset_code(deps, by.caller, user.sub)
    return JSONResponse({"reset_code": code, "expires_in": life_s}, status_code=201)


async def create_client(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    admin = await callers.admin_of(deps, request)
    body = await json_body(request, bodies.NewClient)
    client, secret = await clients.create(
        deps, admin.caller, **_client_fields(body, set(bodies.NewClient.model_fields))
    )
    view = bodies.ClientView.of(client).model_dump() | ({} if secret is None else {"client_secret": secret})
    return JSONResponse(view, status_code=201)


async def list_clients(deps: Deps, request: Request) -> Response:
    page = query(request, bodies.Page)
    await callers.admin_of(deps, request)
    found, following = await deps.store.listing.clients(_scan_cursor(page), page.limit)
    return JSONResponse({"items": [bodies.ClientView.of(client).model_dump() for client in found], "next": following})


async def get_client(deps: Deps, request: Request) -> Response:
    await callers.admin_of(deps, request)
    return JSONResponse(
        bodies.ClientView.of(await deps.store.clients.get(request.path_params["client_id"])).model_dump()
    )


async def change_client(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    admin = await callers.admin_of(deps, request)
    body = await json_body(request, bodies.ClientChange)
    fields = _client_fields(body, body.model_fields_set)
    client = await clients.update(deps, admin.caller, request.path_params["client_id"], **fields)
    return JSONResponse(bodies.ClientView.of(client).model_dump())


async def delete_client(deps: Deps, request: Request) -> Response:
    admin = await callers.admin_of(deps, request)
    await clients.delete(deps, admin.caller, request.path_params["client_id"])
    return Response(status_code=204)


async def rotate_secret(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    admin = await callers.admin_of(deps, request)
    has_body = request.headers.get("content-type") is not None
    body = await json_body(request, bodies.SecretRotation) if has_body else bodies.SecretRotation(overlap_s=None)
    client, secret = await clients.rotate_secret(deps, admin.caller, request.path_params["client_id"], body.overlap_s)
    return JSONResponse(bodies.ClientView.of(client).model_dump() | {"client_secret": secret})


async def audit_trail(deps: Deps, request: Request) -> Response:
    page = query(request, bodies.Page)
    await callers.admin_of(deps, request)
    if page.cursor is not None and not audit.is_cursor(page.cursor):
        raise InvalidRequest("cursor: not one of ours")
    entries, following = await deps.store.audit.page(before=page.cursor, limit=page.limit)
    items = [bodies.AuditView.of(entry).model_dump(exclude_none=True) for entry in entries]
    return JSONResponse({"items": items, "next": following})


def _client_fields(body: bodies.ClientFields, names: set[str]) -> dict[str, Any]:
    fields = {name: getattr(body, name) for name in names}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _scan_cursor(page: bodies.Page) -> str | None:
    if page.cursor is not None and not listing.is_cursor(page.cursor):
        raise InvalidRequest("cursor: not one of ours")
    return page.cursor
