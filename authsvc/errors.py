"""The exception tree: one sentence per class on what happened; `web/errors.py` alone knows HTTP."""


class AuthError(Exception):
    """Base of everything this service raises on purpose. The text helps developers and holds no secret."""


class InvalidRequest(AuthError):
    """The request is malformed: missing, repeated, unknown or ill-typed input."""


class UnsupportedMediaType(AuthError):
    """The body is of a type, charset or encoding that this call does not take."""


class TooLarge(AuthError):
    """The body is larger than we read."""


class HeadTooLarge(AuthError):
    """Request line and header fields are larger, or more, than we read."""


class NotFound(AuthError):
    """There is no such thing, or it is none of the caller's business."""


class InvalidCredentials(AuthError):
    """The username and password do not open an active account; never says which of the three."""


class WrongPassword(AuthError):
    """The current password given with a change is not the account's; the session goes on."""


class AccessDenied(AuthError):
    """The request is well-formed and authenticated, and its subject may not have what it asks for."""


class MissingToken(AuthError):
    """A user call came without any credentials (RFC 6750 section 3: no error code then)."""


class InvalidToken(AuthError):
    """The presented access token is not active."""


class InsufficientRole(AuthError):
    """The user is known and lacks the role that the call demands."""


class InsufficientScope(AuthError):
    """The token is active and lacks a scope that the gateway demands. `scope`: all that it demands."""

    def __init__(self, scope: str) -> None:
        super().__init__("this takes more scope than the token has")
        self.scope = scope


class CrossSite(AuthError):
    """A cookie-authenticated change came from another site, or did not say where it came from."""


class InvalidClient(AuthError):
    """The calling client is unknown or its secret is wrong."""

    def __init__(self, message: str = "client authentication failed") -> None:
        super().__init__(message)


class UnauthorizedClient(AuthError):
    """The client is authenticated and lacks the permission, or the token is not its own."""


class InvalidGrant(AuthError):
    """The refresh token or one-time code is unknown, expired, spent or another client's."""


class InvalidScope(AuthError):
    """The scope is malformed or exceeds what may be granted."""


class UnsupportedGrantType(AuthError):
    """The token endpoint does not know this grant type."""


class WeakPassword(AuthError):
    """The new password is refused by the policy; the text says by which rule."""


class UsernameTaken(AuthError):
    """Another account has this name, or one that looks like it."""


class LastAdmin(AuthError):
    """The change would leave nobody who can administer the service."""


class TooManyAttempts(AuthError):
    """Attempts at a secret are throttled. `retry_after_s`: whole seconds until the next one is heard."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("too many attempts, try again later")
        self.retry_after_s = retry_after_s


class Overloaded(AuthError):
    """The queue of password hashes is full; nothing was checked."""


class Busy(AuthError):
    """More is asked at the same time than this worker takes; nothing was done."""

    def __init__(self) -> None:
        super().__init__("too much is asked at the same time, try again")


class StoreUnavailable(AuthError):
    """The store could not be asked, or gave an answer we cannot trust: neither active nor inactive."""


class NotDurable(StoreUnavailable):
    """The change was made, and not kept by as many as it has to be: it may be lost again. Repeating it is safe."""


class CorruptRecord(StoreUnavailable):
    """A record in the store does not parse; whoever needs it gets no decision."""


class NewerFormat(StoreUnavailable):
    """A newer version wrote this record, in the format `found`. This version understands formats up to `understood`."""

    def __init__(self, found: int, understood: int) -> None:
        super().__init__(f"a record of format {found}; this version understands formats up to {understood}")
        self.found = found
        self.understood = understood


class FormatNotAllowed(StoreUnavailable):
    """A record needs the format `needed`, and an operator has raised the store's format only to `allowed`."""

    def __init__(self, needed: int, allowed: int) -> None:
        super().__init__(f"this needs format {needed}, and the store's format is {allowed}")
        self.needed = needed
        self.allowed = allowed


class NotReady(AuthError):
    """The store answers and is not fit for this service. `reasons`: codes that name neither versions nor hosts."""

    def __init__(self, reasons: tuple[str, ...]) -> None:
        super().__init__(f"not ready: {', '.join(reasons)}")
        self.reasons = reasons


class StartupError(AuthError):
    """The service cannot start; the text tells the operator what to do."""
