"""Requirements of routes in FastAPI and Starlette. Only this module of the SDK imports Starlette."""

from collections.abc import Awaitable, Callable

from starlette.requests import HTTPConnection

from authsvc_sdk.answers import Active
from authsvc_sdk.asgi import authorized
from authsvc_sdk.requirements import check_demands


def require(
    *, scope: str = "", role: str | None = None, acr: str | None = None, max_age_s: int | None = None
) -> Callable[[HTTPConnection], Awaitable[Active]]:
    """Make a dependency for FastAPI that returns the user: `user: Annotated[Active, Depends(require(scope="a b"))]`.

    In Starlette: `user = await require(role="admin")(request)`. The arguments are those of `demand`. The application
    needs the AuthMiddleware, which answers for the dependency when it refuses a request.
    """
    check_demands(scope=scope, role=role, acr=acr, max_age_s=max_age_s)

    async def dependency(connection: HTTPConnection) -> Active:
        return authorized(connection, scope=scope, role=role, acr=acr, max_age_s=max_age_s)

    return dependency
