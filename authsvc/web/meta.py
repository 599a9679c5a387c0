"""Routes about the service itself: metadata, health, the contract."""

from asyncio import to_thread

from starlette.responses import JSONResponse, PlainTextResponse, Response

from authsvc.api import openapi
from authsvc.api.routes import YAML
from authsvc.api.schemas import answers
from authsvc.flows import steps
from authsvc.flows.ready import ready
from authsvc.web.context import RequestContext
from authsvc.web.tokens import GRANT_TYPES


async def what_this_is(ctx: RequestContext) -> Response:
    return PlainTextResponse(
        "This is authsvc, an auth service for opaque bearer tokens. "
        "/openapi.yaml describes its calls; README.md and docs/ of its sources explain them.\n"
    )


async def metadata(ctx: RequestContext) -> Response:
    base = ctx.deps.settings.base_url
    confidential = ["client_secret_basic", "client_secret_post"]
    view = answers.Metadata(
        issuer=base,
        token_endpoint=f"{base}/token",
        introspection_endpoint=f"{base}/introspect",
        revocation_endpoint=f"{base}/revoke",
        # The RFC requires this field. There is no authorization endpoint, so it is empty.
        response_types_supported=[],
        grant_types_supported=list(GRANT_TYPES),
        token_endpoint_auth_methods_supported=[*confidential, "none"],
        introspection_endpoint_auth_methods_supported=confidential,
        revocation_endpoint_auth_methods_supported=[*confidential, "none"],
        login_methods_supported=["password", *steps.offered(ctx.deps)],
    )
    return JSONResponse(view.model_dump())


async def healthz(ctx: RequestContext) -> Response:
    return JSONResponse({"status": "ok"})


async def readyz(ctx: RequestContext) -> Response:
    await ready(ctx.deps)
    return JSONResponse({"status": "ready"})


async def contract(ctx: RequestContext) -> Response:
    # In a thread: other requests are answered while the first call writes the document.
    return Response(await to_thread(openapi.text), media_type=YAML.type)
