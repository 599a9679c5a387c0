"""Token exchange (RFC 8693): what is sent to the service, and what its answer means."""

from dataclasses import dataclass, field

from authsvc_sdk.errors import Misconfigured, Unavailable
from authsvc_sdk.refused import Refused

_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_KIND = "urn:ietf:params:oauth:token-type:access_token"
# The command replaces the list of audiences.
_REMEDIES = {"invalid_target": ", {0!r}: `authsvc client update ID --exchange-audience NAME`, with its other audiences"}


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A token with which to call another resource server for the same user. expires_in: seconds."""

    token: str = field(repr=False)
    expires_in: int
    scope: str = ""


def form(token: str | None, audience: str, scope: str) -> dict[str, str]:
    """The fields of the request. The service takes an empty field for none."""
    subject = {"subject_token": token or "", "subject_token_type": _KIND}
    return {"grant_type": _GRANT, **subject, "audience": audience, "scope": scope}


def read(body: object, scope: str, audience: str = "") -> Exchanged:
    """Read the answer of the service. scope, audience: as asked for. Raises Refused, Misconfigured, Unavailable."""
    match body:
        case {"access_token": str(token), "token_type": "Bearer", "expires_in": int(expires_in), **more}:
            return Exchanged(token, expires_in, str(more.get("scope", "")))
        case {"error": "invalid_request"}:
            raise Refused.challenged(401, "invalid_token", "the access token is not active")
        case {"error": "invalid_scope"}:
            raise Refused.challenged(403, "insufficient_scope", "the token does not allow this", scope=scope)
        case {"error": str(error)}:
            raise Misconfigured(f"the service refused the exchange: {error}{_REMEDIES.get(error, '').format(audience)}")
    raise Unavailable("the service's answer is not a token")
