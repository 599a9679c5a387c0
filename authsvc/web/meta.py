"""Routes about the service itself: metadata, health, the contract."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authsvc.api import schemas as bodies
from authsvc.flows.deps import Deps
from authsvc.flows.ready import ready


async def metadata(deps: Deps, request: Request) -> Response:
    base = deps.settings.base_url
    confidential = ["client_secret_basic", "client_secret_post"]
    view = bodies.Metadata(
        issuer=base,
        token_endpoint=f"{base}/token",
        introspection_endpoint=f"{base}/introspect",
        revocation_endpoint=f"{base}/revoke",
        # Required by the RFC, though there is no authorization endpoint that could respond.
        response_types_supported=[],
        grant_types_supported=["refresh_token"],
        token_endpoint_auth_methods_supported=[*confidential, "none"],
        introspection_endpoint_auth_methods_supported=confidential,
        revocation_endpoint_auth_methods_supported=[*confidential, "none"],
    )
    return JSONResponse(view.model_dump())


async def healthz(deps: Deps, request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def readyz(deps: Deps, request: Request) -> Response:
    await ready(deps)
    return JSONResponse({"status": "ready"})


async def contract(deps: Deps, request: Request) -> Response:
    return Response(request.app.state.contract, media_type="application/yaml")
