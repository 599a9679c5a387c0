"""The table of routes: every call there is, who may make it, what it takes and gives."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from authsvc import errors as e
from authsvc.api import schemas as bodies
from authsvc.flows.deps import Deps
from authsvc.metrics import Call
from authsvc.web import account, admin, events, meta, tokens, verify

Who = Literal["anyone", "client", "user", "admin", "gateway"]


@dataclass(frozen=True, slots=True)
class Verb:
    """One call. `who` decides which errors every such call shares; `errors` are those of its own.

    also: other methods that are the same call.
    """

    method: str
    path: str
    endpoint: Callable[[Deps, Request], Awaitable[Response]]
    summary: str
    who: tuple[Who, ...] = ("anyone",)
    takes: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    gives: type[BaseModel] | None = None
    status: int = 200
    errors: tuple[type[e.AuthError], ...] = ()
    optional_body: bool = False
    also: tuple[str, ...] = ()


_SECRET = (e.TooManyAttempts,)
_NEW_PASSWORD = (e.WeakPassword, e.TooManyAttempts, e.Overloaded)
_ADMIN_CHANGE = (e.NotFound, e.LastAdmin)

ROUTES: tuple[Verb, ...] = (
    Verb("POST", "/login", tokens.login, "Log in", takes=bodies.Login, gives=bodies.Tokens,
         errors=(e.InvalidCredentials, e.InvalidScope, e.InvalidClient, e.CrossSite, e.Overloaded, *_SECRET)),
    Verb("POST", "/token", tokens.token, "Refresh (RFC 6749)", ("client",), takes=bodies.TokenForm, gives=bodies.Tokens,
         errors=(e.InvalidGrant, e.InvalidScope, e.UnsupportedGrantType)),
    Verb("POST", "/introspect", tokens.introspect, "Who is this, right now? (RFC 7662)", ("client",),
         takes=bodies.IntrospectForm, gives=bodies.Introspection, errors=(e.UnauthorizedClient,)),
    Verb("POST", "/introspect/batch", tokens.introspect_batch, "The same for up to 1,000 tokens", ("client",),
         takes=bodies.IntrospectBatch, gives=bodies.Introspections, errors=(e.UnauthorizedClient,)),
    Verb("POST", "/revoke", tokens.revoke, "Take back a token (RFC 7009), or what an admin names", ("client", "admin"),
         takes=bodies.RevokeForm, errors=(e.NotFound,)),
    Verb("POST", "/tokens", tokens.issue, "Issue a token for a user authenticated elsewhere", ("client",),
         takes=bodies.Issue, gives=bodies.Tokens, errors=(e.UnauthorizedClient, e.AccessDenied, e.InvalidScope)),
    Verb("GET", "/verify", verify.verify, "May this request pass, and whose is it?", ("gateway",),
         query=bodies.Requirements, also=verify.METHODS),
    Verb("GET", "/events", events.events, "What to forget, for those who cache", ("client",),
         errors=(e.UnauthorizedClient,)),
    Verb("POST", "/logout", account.logout, "End this session", ("user",), status=204),
    Verb("GET", "/me", account.who_am_i, "Who am I?", ("user",), gives=bodies.MeView),
    Verb("GET", "/sessions", account.list_sessions, "My sessions", ("user",), gives=bodies.Sessions),
    Verb("DELETE", "/sessions", account.end_sessions, "End all others", ("user",), query=bodies.Which, status=204),
    Verb("DELETE", "/sessions/{session_id}", account.end_session, "End one", ("user",), status=204,
         errors=(e.NotFound,)),
    Verb("POST", "/password", account.change_password, "Change my password", ("user",),
         takes=bodies.PasswordChange, gives=bodies.Tokens, errors=(e.WrongPassword, *_NEW_PASSWORD)),
    Verb("POST", "/password/reset", account.reset_password, "Set a password with a reset code",
         takes=bodies.PasswordReset, status=204, errors=(e.InvalidGrant, *_NEW_PASSWORD)),
    Verb("POST", "/admin/users", admin.create_user, "Register a user", ("admin",), takes=bodies.NewUser,
         gives=bodies.NewUserView, status=201, errors=(e.UsernameTaken, e.WeakPassword, e.Overloaded)),
    Verb("GET", "/admin/users", admin.list_users, "List users", ("admin",), query=bodies.Page, gives=bodies.Users),
    Verb("GET", "/admin/users/{sub}/sessions", admin.list_user_sessions, "A user's sessions", ("admin",),
         gives=bodies.Sessions, errors=(e.NotFound,)),
    Verb("DELETE", "/admin/users/{sub}/sessions", admin.end_user_sessions, "End a user's sessions", ("admin",),
         status=204, errors=(e.NotFound,)),
    Verb("POST", "/admin/users/{sub}/reset-code", admin.create_reset_code, "Make a reset code; also with `reset`",
         ("admin",), gives=bodies.ResetCodeView, status=201, errors=(e.NotFound,)),
    Verb("GET", "/admin/users/{sub}", admin.get_user, "Read a user", ("admin",), gives=bodies.UserView,
         errors=(e.NotFound,)),
    Verb("PATCH", "/admin/users/{sub}", admin.change_user, "Change, suspend, reinstate a user", ("admin",),
         takes=bodies.UserChange, gives=bodies.UserView, errors=(e.UsernameTaken, *_ADMIN_CHANGE)),
    Verb("DELETE", "/admin/users/{sub}", admin.delete_user, "Delete a user", ("admin",), status=204,
         errors=_ADMIN_CHANGE),
    Verb("POST", "/admin/clients", admin.create_client, "Register a client", ("admin",), takes=bodies.NewClient,
         gives=bodies.NewClientView, status=201, errors=(e.InvalidScope,)),
    Verb("GET", "/admin/clients", admin.list_clients, "List clients", ("admin",), query=bodies.Page,
         gives=bodies.Clients),
    Verb("GET", "/admin/clients/{client_id}", admin.get_client, "Read a client", ("admin",), gives=bodies.ClientView,
         errors=(e.NotFound,)),
    Verb("PATCH", "/admin/clients/{client_id}", admin.change_client, "Change a client", ("admin",),
         takes=bodies.ClientChange, gives=bodies.ClientView, errors=(e.InvalidScope, *_ADMIN_CHANGE)),
    Verb("DELETE", "/admin/clients/{client_id}", admin.delete_client, "Delete a client", ("admin",), status=204,
         errors=_ADMIN_CHANGE),
    Verb("POST", "/admin/clients/{client_id}/secret", admin.rotate_secret, "Rotate a client's secret", ("admin",),
         takes=bodies.SecretRotation, optional_body=True, gives=bodies.NewClientView, errors=(e.NotFound,)),
    Verb("GET", "/admin/audit", admin.audit_trail, "What happened, newest first", ("admin",), query=bodies.Page,
         gives=bodies.AuditTrail),
    Verb("GET", "/.well-known/oauth-authorization-server", meta.metadata, "Metadata (RFC 8414)", gives=bodies.Metadata),
    Verb("GET", "/healthz", meta.healthz, "Alive", gives=bodies.Health),
    Verb("GET", "/readyz", meta.readyz, "Fit for traffic", gives=bodies.Health,
         errors=(e.StoreUnavailable, e.NotReady)),
    Verb("GET", "/openapi.yaml", meta.contract, "This contract"),
)  # fmt: skip
# The labels by which requests are counted.
CALLS = tuple(Call(verb.method, verb.path) for verb in ROUTES)
