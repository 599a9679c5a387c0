"""The argument of every route function: the parts of the service, the request, and the request's origin."""

from dataclasses import replace
from functools import cached_property

from starlette.requests import Request

from authsvc.core.address import behind, of_peer
from authsvc.flows.deps import Caller, Deps


class RequestContext:
    """One request to a route."""

    def __init__(self, deps: Deps, request: Request) -> None:
        self.deps = deps
        self.request = request

    @cached_property
    def caller(self) -> Caller:
        """The origin of the request, for the audit trail; the actor is `anonymous`."""
        # Made on first use: most introspections and verifications need no address.
        client, headers = self.request.client, self.request.headers
        forwarded = headers.getlist("x-forwarded-for")
        return Caller(
            ip=behind(of_peer(client.host) if client else None, forwarded, self.deps.settings.trusted_proxies),
            user_agent=headers.get("user-agent"),
            request_id=self.request.scope["request_id"],
        )

    def caller_as(self, actor: str) -> Caller:
        """The same origin, with the actor who has authenticated: `user:<sub>` or `client:<client_id>`."""
        return replace(self.caller, actor=actor)
