"""The table from errors to HTTP: which status and which code each error of the tree becomes."""

from authsvc import errors as e

STATUSES: dict[type[e.AuthError], tuple[int, str]] = {
    e.InvalidRequest: (400, "invalid_request"),  # RFC 6749 section 5.2, like most of these
    e.InvalidGrant: (400, "invalid_grant"),
    e.InvalidScope: (400, "invalid_scope"),
    e.InvalidTarget: (400, "invalid_target"),  # RFC 8693 section 2.2.2
    e.UnsupportedGrantType: (400, "unsupported_grant_type"),
    e.InvalidSession: (400, "invalid_session"),  # draft-ietf-oauth-first-party-apps section 5.2
    e.WrongPassword: (400, "invalid_grant"),
    e.WeakPassword: (400, "weak_password"),
    e.InvalidClient: (401, "invalid_client"),
    e.InvalidCredentials: (401, "invalid_grant"),
    e.WrongFactor: (401, "invalid_grant"),
    e.InsufficientUserAuthentication: (401, "insufficient_user_authentication"),  # RFC 9470 section 3
    e.MissingToken: (401, "invalid_token"),
    e.InvalidToken: (401, "invalid_token"),  # RFC 6750 section 3.1
    e.WrongAudience: (401, "invalid_token"),  # RFC 9068 section 4
    e.InsufficientAuthorization: (403, "insufficient_authorization"),
    e.InsufficientRole: (403, "insufficient_scope"),
    e.InsufficientScope: (403, "insufficient_scope"),
    e.UnauthorizedClient: (403, "unauthorized_client"),
    e.AccessDenied: (403, "access_denied"),
    e.CrossSite: (403, "access_denied"),
    e.NotFound: (404, "not_found"),
    e.UsernameTaken: (409, "username_taken"),
    e.LastAdmin: (409, "last_admin"),
    e.TooLarge: (413, "too_large"),
    e.UnsupportedMediaType: (415, "unsupported_media_type"),
    e.TooManyAttempts: (429, "too_many_attempts"),
    e.TooManyChanges: (429, "too_many_changes"),
    e.TooManyTokens: (429, "too_many_tokens"),
    e.HeadTooLarge: (431, "head_too_large"),  # RFC 6585 section 5
    e.Busy: (503, "temporarily_unavailable"),
    e.Overloaded: (503, "temporarily_unavailable"),
    e.StoreUnavailable: (503, "temporarily_unavailable"),  # RFC 7009 section 2.2.1
    e.NotReady: (503, "temporarily_unavailable"),
    e.NotDurable: (503, "temporarily_unavailable"),
    e.AdminsUnknown: (503, "temporarily_unavailable"),
    e.CorruptRecord: (503, "temporarily_unavailable"),
    e.NewerFormat: (503, "temporarily_unavailable"),
    e.FormatNotAllowed: (503, "temporarily_unavailable"),
}
