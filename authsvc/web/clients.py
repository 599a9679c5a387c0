"""Routes of admins: clients and their secrets."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authsvc.api.schemas import answers, requests
from authsvc.core.client import CLIENT_ID
from authsvc.errors import NotFound
from authsvc.flows import clients
from authsvc.store import listing
from authsvc.web import callers
from authsvc.web.context import RequestContext
from authsvc.web.pages import cursor_of, page_of
from authsvc.web.reading import json_body, optional_json_body, query, refuse_query


async def create_client(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    admin = await callers.admin_of(ctx)
    body = await json_body(ctx.request, requests.NewClient)
    client, secret = await clients.create(ctx.deps, admin.because(body), **body.fields())
    view = answers.ClientView.of(client).model_dump() | ({} if secret is None else {"client_secret": secret})
    return JSONResponse(view, status_code=201)


async def list_clients(ctx: RequestContext) -> Response:
    page = query(ctx.request, requests.Page)
    await callers.admin_of(ctx)
    found, following = await ctx.deps.store.listing.clients(cursor_of(page, listing.is_cursor), page.limit)
    return page_of((answers.ClientView.of(client).model_dump() for client in found), following)


async def get_client(ctx: RequestContext) -> Response:
    await callers.admin_of(ctx)
    client = await ctx.deps.store.clients.get(_client_id(ctx.request))
    return JSONResponse(answers.ClientView.of(client).model_dump())


async def change_client(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    admin = await callers.admin_of(ctx)
    body = await json_body(ctx.request, requests.ClientChange)
    caller = admin.because(body)
    client = await clients.update(ctx.deps, caller, _client_id(ctx.request), **body.given())
    return JSONResponse(answers.ClientView.of(client).model_dump())


async def delete_client(ctx: RequestContext) -> Response:
    why = query(ctx.request, requests.Deletion)
    admin = await callers.admin_of(ctx)
    await clients.delete(ctx.deps, admin.because(why), _client_id(ctx.request))
    return Response(status_code=204)


async def rotate_secret(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    admin = await callers.admin_of(ctx)
    body = await optional_json_body(ctx.request, requests.SecretRotation)
    overlap_s = None if body is None else body.overlap_s
    caller = admin.because(body)
    client, secret = await clients.rotate_secret(ctx.deps, caller, _client_id(ctx.request), overlap_s)
    return JSONResponse(answers.ClientView.of(client).model_dump() | {"client_secret": secret})


def _client_id(request: Request) -> str:
    """The client's id in the path. Raises NotFound for text that no id can be: it would name other keys."""
    client_id: str = request.path_params["client_id"]
    if not CLIENT_ID.fullmatch(client_id):
        raise NotFound("no such client")
    return client_id
