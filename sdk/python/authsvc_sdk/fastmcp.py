"""Authentication for servers that use FastMCP: `FastMCP(name, auth=BearerAuth(…))`. Only this module imports it."""

from typing import Any

from fastmcp.server.auth import AccessToken, RemoteAuthProvider, TokenVerifier
from pydantic import AnyHttpUrl
from starlette.middleware import Middleware

from authsvc_sdk.asgi import RefusalMiddleware
from authsvc_sdk.async_introspector import AsyncIntrospector
from authsvc_sdk.mcp import fields_of, user_or_none
from authsvc_sdk.requirements import check_introspector, check_scopes


class BearerAuth(RemoteAuthProvider):
    """Requires an active token for every call, and describes the server (RFC 9728).

    issuer_url: the service, as MCP clients reach it. base_url: this server, as MCP clients reach it, without the path
    of the MCP endpoint. To refuse tokens for other servers, give the introspector an `audience`.
    """

    def __init__(
        self,
        introspector: AsyncIntrospector,
        *,
        issuer_url: str,
        base_url: str,
        required_scopes: list[str] | None = None,
    ) -> None:
        check_introspector(introspector, AsyncIntrospector)
        check_scopes(required_scopes)
        verifier = _Verifier(introspector, required_scopes)
        super().__init__(verifier, authorization_servers=[AnyHttpUrl(issuer_url)], base_url=base_url)
        self._introspector = introspector

    def get_middleware(self) -> list[Any]:
        """The middleware of the application. The first one answers 503 when the service can't tell."""
        return [Middleware(RefusalMiddleware, introspector=self._introspector), *super().get_middleware()]


class _Verifier(TokenVerifier):
    def __init__(self, introspector: AsyncIntrospector, required_scopes: list[str] | None) -> None:
        super().__init__(required_scopes=required_scopes)
        self._introspector = introspector

    async def verify_token(self, token: str) -> AccessToken | None:
        user = await user_or_none(self._introspector, token)
        return None if user is None else AccessToken(token=token, **fields_of(user))
