"""Routes of admins: users, clients, the audit trail."""

import re
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authsvc.api import schemas as bodies
from authsvc.api.parsing import json_body, optional_json_body, query, refuse_query
from authsvc.core.client import CLIENT_ID
from authsvc.core.user import check_sub
from authsvc.errors import InvalidRequest, NotFound
from authsvc.flows import clients, password, revoke, sessions, users
from authsvc.flows.deps import Deps
from authsvc.store import audit, listing
from authsvc.web import callers

_CURSORS = 2**64  # SCAN's own; beyond it the store complains, which is not the store being down


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
    return JSONResponse(bodies.UserView.of(await deps.store.users.get(_sub(request))).model_dump())


async def change_user(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    admin = await callers.admin_of(deps, request)
    body = await json_body(request, bodies.UserChange)
    given = {name: getattr(body, name) for name in body.model_fields_set}
    if "roles" in given:
        given["roles"] = tuple(given["roles"])
    user = await users.update(deps, admin.caller, _sub(request), **given)
    return JSONResponse(bodies.UserView.of(user).model_dump())


async def delete_user(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    admin = await callers.admin_of(deps, request)
    await users.delete(deps, admin.caller, _sub(request))
    return Response(status_code=204)


async def list_user_sessions(deps: Deps, request: Request) -> Response:
    await callers.admin_of(deps, request)
    user = await deps.store.users.get(_sub(request))
    listed = await sessions.list_active(deps, user.sub)
    return JSONResponse({"items": [bodies.SessionView.of(one).model_dump() for one in listed], "next": None})


async def end_user_sessions(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    admin = await callers.admin_of(deps, request)
    await revoke.revoke_user(deps, admin.caller, _sub(request))
    return Response(status_code=204)


async def create_reset_code(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    by = await callers.admin_of(deps, request, "reset")
    user = await users.get_for_reset(deps, _sub(request), by_admin=by.may("admin"))
    code, life_s = await password.new_reset_code(deps, by.caller, user.sub, by_admin=by.may("admin"))
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
    return JSONResponse(bodies.ClientView.of(await deps.store.clients.get(_client_id(request))).model_dump())


async def change_client(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    admin = await callers.admin_of(deps, request)
    body = await json_body(request, bodies.ClientChange)
    fields = _client_fields(body, body.model_fields_set)
    client = await clients.update(deps, admin.caller, _client_id(request), **fields)
    return JSONResponse(bodies.ClientView.of(client).model_dump())


async def delete_client(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    admin = await callers.admin_of(deps, request)
    await clients.delete(deps, admin.caller, _client_id(request))
    return Response(status_code=204)


async def rotate_secret(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    admin = await callers.admin_of(deps, request)
    body = await optional_json_body(request, bodies.SecretRotation)
    overlap_s = None if body is None else body.overlap_s
    client, secret = await clients.rotate_secret(deps, admin.caller, _client_id(request), overlap_s)
    return JSONResponse(bodies.ClientView.of(client).model_dump() | {"client_secret": secret})


async def audit_trail(deps: Deps, request: Request) -> Response:
    page = query(request, bodies.Page)
    await callers.admin_of(deps, request)
    if page.cursor is not None and not audit.is_cursor(page.cursor):
        raise InvalidRequest("cursor: not one of ours")
    entries, following = await deps.store.audit.page(before=page.cursor, limit=page.limit)
    items = [bodies.AuditView.of(entry).model_dump(exclude_none=True) for entry in entries]
    return JSONResponse({"items": items, "next": following})


def _sub(request: Request) -> str:
    """The subject in the path, decoded. One that no user can have is not looked for: subjects become parts of keys."""
    segment: str = request.path_params["sub"]
    try:
        if "/" in segment:  # it has to be written %2F, or `a/reset-code` could mean two things
            raise NotFound("no such user")
        return check_sub(unquote(segment, errors="strict"))
    except (InvalidRequest, UnicodeDecodeError):
        raise NotFound("no such user") from None


def _client_id(request: Request) -> str:
    client_id: str = request.path_params["client_id"]
    if not CLIENT_ID.fullmatch(client_id):
        raise NotFound("no such client")
    return client_id


def _client_fields(body: bodies.ClientFields, names: set[str]) -> dict[str, Any]:
    fields = {name: getattr(body, name) for name in names}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _scan_cursor(page: bodies.Page) -> str | None:
    if page.cursor is not None and not (
        listing.is_cursor(page.cursor) and int(re.split("[.!]", page.cursor)[0]) < _CURSORS
    ):
        raise InvalidRequest("cursor: not one of ours")
    return page.cursor
