"""A token verifier for servers of the Model Context Protocol. This module and `fastmcp` import the package `mcp`."""

from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl

from authsvc_sdk.answers import Active
from authsvc_sdk.async_introspector import AsyncIntrospector
from authsvc_sdk.errors import Unavailable
from authsvc_sdk.refused import Refused
from authsvc_sdk.requirements import check_introspector, check_scopes


class BearerVerifier:
    """Verifies the tokens of an MCP server: `MCPServer(name, token_verifier=verifier, auth=verifier.settings(…))`.

    The application also needs the RefusalMiddleware of `authsvc_sdk.asgi`, which answers 503 when the service can't
    tell: `app.add_middleware(RefusalMiddleware, introspector=introspector)`.
    """

    def __init__(self, introspector: AsyncIntrospector) -> None:
        check_introspector(introspector, AsyncIntrospector)
        self._introspector = introspector

    async def verify_token(self, token: str) -> AccessToken | None:
        """The token and its user. None: the token is not active. Raises Refused if the service can't tell."""
        user = await user_or_none(self._introspector, token)
        return None if user is None else AccessToken(token=token, **fields_of(user))

    def settings(self, *, issuer_url: str, resource_url: str, required_scopes: list[str] | None = None) -> AuthSettings:
        """The settings with which the server describes itself (RFC 9728).

        issuer_url: the service, as MCP clients reach it. resource_url: the server, as MCP clients reach it. To refuse
        tokens for other servers, give the introspector an `audience`.
        """
        check_scopes(required_scopes)
        return AuthSettings(
            issuer_url=AnyHttpUrl(issuer_url),
            resource_server_url=AnyHttpUrl(resource_url),
            required_scopes=required_scopes,
            validate_token_resource=False,  # the introspector checks the audience
        )


async def user_or_none(introspector: AsyncIntrospector, token: str) -> Active | None:
    """The user of a token. None: the token is not active. Raises Refused (503) if the service can't tell."""
    try:
        answer = await introspector.introspect(token)
    except Unavailable as error:
        raise Refused.unavailable(error) from error
    return answer if isinstance(answer, Active) else None


def fields_of(user: Active) -> dict[str, object]:
    """What an AccessToken says about a user.

    It has no `expires_at`. The service has compared the deadline already, and the clock of this machine may be wrong.
    """
    claims = {"username": user.username, "roles": sorted(user.roles), "acr": user.acr, "auth_time": user.auth_time}
    return {
        "client_id": user.client_id,
        "scopes": sorted(user.scopes),
        "subject": user.sub,
        "claims": {name: value for name, value in claims.items() if value is not None},
    }
