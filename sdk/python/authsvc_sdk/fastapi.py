"""A security scheme for FastAPI: the pages /docs and /openapi.json stay open, and their "Authorize" button works.

Only this module of the SDK imports FastAPI.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Response
from fastapi.openapi.models import HTTPBearer
from fastapi.requests import HTTPConnection
from fastapi.security.base import SecurityBase
from fastapi.websockets import WebSocket, WebSocketState

from authsvc_sdk.answers import Active
from authsvc_sdk.asgi import admit, refuse
from authsvc_sdk.async_introspector import AsyncIntrospector
from authsvc_sdk.bearer import demand, refusal_of, token_in
from authsvc_sdk.errors import Unavailable
from authsvc_sdk.refused import Refused
from authsvc_sdk.requirements import check_demands, check_introspector


class BearerAuth(SecurityBase):
    """The bearer tokens of an application. Routes that depend on it need an active token, and all others need none.

    Give `lifespan` and `exception_handlers` to `FastAPI`. An application without the handlers, such as a mounted one,
    gets them with the first request to a route that depends on this.
    """

    def __init__(self, introspector: AsyncIntrospector) -> None:
        check_introspector(introspector, AsyncIntrospector)
        self._introspector = introspector
        # The names that FastAPI reads for the contract of the application.
        self.model = HTTPBearer(description="An access token (`tok_…`).")
        self.scheme_name = "authsvc"
        self.exception_handlers: dict[int | type[Exception], Callable[[Any, Any], Any]] = {
            Refused: _answer,
            Unavailable: _answer,  # of a route that calls the introspector itself
        }

    async def __call__(self, connection: HTTPConnection) -> Active:
        """The user of a request: `Depends(auth)`. Raises Refused."""
        self._see_to_handlers(connection)
        token = token_in(connection.headers.getlist("authorization"))
        if token is None:
            raise Refused.without_token()
        return await admit(connection.scope, self._introspector, token)

    def require(
        self, *, scope: str = "", role: str | None = None, acr: str | None = None, max_age_s: int | None = None
    ) -> Callable[..., Awaitable[Active]]:
        """Make a dependency that returns the user and demands more. The arguments are those of `demand`."""
        check_demands(scope=scope, role=role, acr=acr, max_age_s=max_age_s)

        async def dependency(user: Annotated[Active, Depends(self)]) -> Active:
            return demand(user, scope=scope, role=role, acr=acr, max_age_s=max_age_s)

        return dependency

    def _see_to_handlers(self, connection: HTTPConnection) -> None:
        # Where Starlette looks for the handlers of this application. Without ours, a refusal would become a 500.
        handlers, _ = connection.scope.get("starlette.exception_handlers", ({}, {}))
        for error, handler in self.exception_handlers.items():
            handlers.setdefault(error, handler)

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Open the feed of changes at the start, and close the connections at the end."""
        async with self._introspector:
            yield


async def _answer(connection: HTTPConnection, error: Refused | Unavailable) -> Response | None:
    refused = refusal_of(error)
    if isinstance(connection, WebSocket):
        accepted = connection.application_state is WebSocketState.CONNECTED
        await refuse(connection.scope, connection.send, refused, accepted=accepted)
        return None
    return Response(refused.body, refused.status, headers=refused.headers)
