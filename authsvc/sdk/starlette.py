"""For FastAPI and Starlette: what a route demands. The only module of the SDK that needs them."""

from collections.abc import Awaitable, Callable

from starlette.requests import HTTPConnection

from authsvc.sdk.answers import Active
from authsvc.sdk.asgi import authorized


def require(
    *, scope: str = "", role: str | None = None, max_age_s: int | None = None
) -> Callable[[HTTPConnection], Awaitable[Active]]:
    """Make a dependency of FastAPI's, which is who calls: `user: Annotated[Active, Depends(require(scope="a b"))]`.

    Whoever lacks what is demanded is refused by the AuthMiddleware, which has to be added to the application. In
    Starlette: `user = await require(role="admin")(request)`.
    """

    async def dependency(connection: HTTPConnection) -> Active:
        return authorized(connection, scope=scope, role=role, max_age_s=max_age_s)

    return dependency
