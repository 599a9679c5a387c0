"""The exceptions of the service. `web/errors.py` turns them into HTTP answers, `cli/statuses.py` into exit statuses.

AuthError
├── InvalidRequest
├── UnsupportedMediaType
├── TooLarge
├── HeadTooLarge
├── NotFound
├── InvalidCredentials
├── InsufficientAuthorization   auth_session, methods, expires_in
├── InsufficientUserAuthentication   acr_values, max_age
├── InvalidSession
├── WrongFactor
├── WrongPassword
├── AccessDenied
├── MissingToken
├── InvalidToken
├── WrongAudience
├── InsufficientRole
├── InsufficientScope      scope
├── CrossSite
├── InvalidClient
├── UnauthorizedClient
├── InvalidGrant
├── InvalidScope
├── InvalidTarget
├── UnsupportedGrantType
├── WeakPassword
├── UsernameTaken
├── LastAdmin
├── TooManyAttempts        retry_after_s
├── TooManyChanges         retry_after_s
├── TooManyTokens          retry_after_s
├── Overloaded
├── Busy
├── StoreUnavailable       todo
│   ├── NotDurable
│   ├── AdminsUnknown
│   ├── CorruptRecord
│   ├── NewerFormat        found, understood
│   └── FormatNotAllowed   needed, allowed
├── NotReady               reasons
└── StartupError           setting, todo
"""


class AuthError(Exception):
    """The base of all exceptions that the service raises on purpose. The text helps developers and holds no secret."""


class InvalidRequest(AuthError):
    """The request is malformed: missing, repeated, unknown or ill-typed input."""


class UnsupportedMediaType(AuthError):
    """The call does not take a body of this type, charset or encoding."""


class TooLarge(AuthError):
    """The body is larger than the limit."""


class HeadTooLarge(AuthError):
    """The request line and the header fields are larger than the limit, or there are too many fields."""


class NotFound(AuthError):
    """The object does not exist, or the caller may not know of it."""


class InvalidCredentials(AuthError):
    """Username and password do not open an active account. The text never says what is wrong."""


class InsufficientAuthorization(AuthError):
    """What was proven is right, and more is needed. The names are those of draft-ietf-oauth-first-party-apps.

    auth_session: the token of the login in progress; None if nothing can continue it here. expires_in: seconds.
    """

    def __init__(self, auth_session: str | None = None, methods: tuple[str, ...] = (), expires_in: int = 0) -> None:
        super().__init__("a second factor is needed")
        self.auth_session = auth_session
        self.methods = methods
        self.expires_in = expires_in


class InsufficientUserAuthentication(AuthError):
    """The session is not strong or not recent enough for this (RFC 9470). The session goes on.

    acr_values: the strength that is needed, None for any. max_age: seconds since the login, None for any time.
    """

    def __init__(self, acr_values: str | None = None, max_age: int | None = None) -> None:
        super().__init__("this takes a more recent or stronger login: POST /step-up")
        self.acr_values = acr_values
        self.max_age = max_age


class InvalidSession(AuthError):
    """The login in progress is unknown, expired, finished, or has ended."""

    def __init__(self) -> None:
        super().__init__("the login in progress has ended: begin again")


class WrongFactor(AuthError):
    """The code or the answer to a challenge is wrong, or was used before."""

    def __init__(self) -> None:
        super().__init__("the code is wrong, or was used before")


class WrongPassword(AuthError):
    """A change of password came with a wrong current password. The session goes on."""


class AccessDenied(AuthError):
    """The request is well-formed and authenticated, and its subject has no right to this."""


class MissingToken(AuthError):
    """A call of a user came without credentials, so the answer has no error code (RFC 6750 section 3)."""


class InvalidToken(AuthError):
    """The presented access token is not active."""


class WrongAudience(AuthError):
    """The access token is active, and not for the resource server that it was sent to. The session goes on."""


class InsufficientRole(AuthError):
    """The user lacks the role that the call demands."""


class InsufficientScope(AuthError):
    """The token is active and lacks a scope that the gateway demands. `scope`: the whole demand."""

    def __init__(self, scope: str) -> None:
        super().__init__("this takes more scope than the token has")
        self.scope = scope


class CrossSite(AuthError):
    """A change with the cookie came from another site, or did not say where it came from."""


class InvalidClient(AuthError):
    """The calling client is unknown or its secret is wrong."""

    def __init__(
        self, message: str = "no client has this id and secret: check both; a rotated secret ends after its overlap"
    ) -> None:
        super().__init__(message)


class UnauthorizedClient(AuthError):
    """The client is authenticated and lacks the permission, or the token is not its own."""


class InvalidGrant(AuthError):
    """The refresh token or one-time code is unknown, expired, spent or another client's."""


class InvalidScope(AuthError):
    """The scope is malformed or exceeds what may be granted."""


class InvalidTarget(AuthError):
    """An exchanged token may not be for this resource server (RFC 8693 section 2.2.2)."""

    def __init__(
        self, message: str = "audience: neither in that of the token nor in the exchange_audience of this client"
    ) -> None:
        super().__init__(message)


class UnsupportedGrantType(AuthError):
    """The token endpoint does not know this grant type."""


class WeakPassword(AuthError):
    """The policy refuses the new password."""


class UsernameTaken(AuthError):
    """Another account has this name, or a name that looks the same."""


class LastAdmin(AuthError):
    """After the change, the service would have no admin."""


class TooManyAttempts(AuthError):
    """There were too many attempts at a secret. `retry_after_s`: whole seconds until the next attempt counts."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("too many attempts, try again later")
        self.retry_after_s = retry_after_s


class TooManyChanges(AuthError):
    """Too many changes of one record wait in this worker; nothing was changed. `retry_after_s`: whole seconds."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("too many changes of the same thing at once, try again later")
        self.retry_after_s = retry_after_s


class TooManyTokens(AuthError):
    """The session has as many exchanged tokens as it may have. `retry_after_s`: whole seconds until one expires."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("this session has too many exchanged tokens, try again when one has expired")
        self.retry_after_s = retry_after_s


class Overloaded(AuthError):
    """The queue of password hashes is full; nothing was checked."""


class Busy(AuthError):
    """The worker has too many requests in progress; nothing was done."""

    def __init__(self) -> None:
        super().__init__("too much is asked at the same time, try again")


class StoreUnavailable(AuthError):
    """The store did not answer, or its answer cannot be trusted: neither active nor inactive.

    todo: what an operator can do about it, as a sentence. None: the text says all that is known.
    """

    def __init__(self, message: str = "", todo: str | None = None) -> None:
        super().__init__(message)
        self.todo = todo


class NotDurable(StoreUnavailable):
    """The store made the change, and too few replicas or disks have it, so it may be lost. Repeating it is safe."""


class AdminsUnknown(StoreUnavailable):
    """The index of admins is still being filled, so nobody can say whether another admin would be left."""


class CorruptRecord(StoreUnavailable):
    """A record in the store does not parse, so no decision can be based on it."""


class NewerFormat(StoreUnavailable):
    """A newer version wrote this record, in the format `found`. This version understands formats up to `understood`."""

    def __init__(self, found: int, understood: int) -> None:
        super().__init__(f"a record of format {found}; this version understands formats up to {understood}")
        self.found = found
        self.understood = understood


class FormatNotAllowed(StoreUnavailable):
    """A record needs the format `needed`, and an operator has raised the store's format only to `allowed`."""

    def __init__(self, needed: int, allowed: int) -> None:
        super().__init__(
            f"this needs format {needed}, and the store's format is {allowed}: authsvc service raise-format"
        )
        self.needed = needed
        self.allowed = allowed


class NotReady(AuthError):
    """The store answers and is not fit for this service. `reasons`: public codes, without versions and hosts."""

    def __init__(self, reasons: tuple[str, ...]) -> None:
        super().__init__(f"not ready: {', '.join(reasons)}")
        self.reasons = reasons


class StartupError(AuthError):
    """The service cannot start; the text tells the operator what to do.

    setting: the variable whose value is the reason, if it is one. The text then begins with the variable.
    what, todo: the text without the remedy, and the remedy. Without `todo`, `what` says all that is known.
    """

    def __init__(self, message: str, setting: str | None = None, todo: str | None = None) -> None:
        self.what = message if setting is None else f"{setting}: {message}"
        self.todo = todo
        super().__init__(self.what if todo is None else f"{self.what}: {todo}")
        self.setting = setting
