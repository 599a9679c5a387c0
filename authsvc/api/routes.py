"""The table of routes: every call there is, who may make it, what it takes and gives."""

from authsvc import errors as e
from authsvc.api.parsing import MAX_ANONYMOUS_BODY, MAX_FINDS_BODY
from authsvc.api.route import (
    ADMIN,
    ANYONE_OR_CLIENT,
    AUDITOR,
    CLIENT,
    CLIENT_BY_FORM,
    CLIENT_OR_ADMIN,
    GATEWAY,
    OWN_SESSION,
    SUPPORT,
    USER,
    USER_OR_LOGIN,
    USER_RECENTLY,
    Media,
    Route,
    SetsCookie,
)
from authsvc.api.schemas import answers, api_keys, leaks, passkeys, requests
from authsvc.metrics import Call

_NEW_PASSWORD = (e.WeakPassword, e.TooManyAttempts, e.TooManyChanges, e.Overloaded)
_ADMIN_CHANGE = (e.NotFound, e.LastAdmin, e.TooManyChanges)
_COOKIE = "`__Host-session`, HttpOnly, Secure, SameSite=Lax, Path=/; "
_COOKIE_OF_STEP = _COOKIE + "if the first step asked for cookie mode"
_STEP = (e.WrongFactor, e.InvalidSession, e.InvalidClient, e.CrossSite, e.TooManyAttempts, e.TooManyChanges)
_IDENTITY = {
    "X-Auth-Subject": "the user's subject",
    "X-Auth-Username": "percent-encoded UTF-8; empty if the user has no name",
    "X-Auth-Roles": "with single spaces between",
    "X-Auth-Scope": "with single spaces between",
    "X-Auth-Session": "the session's public id",
}
# Each event of the stream, as readers of server-sent events get it.
EVENT_STREAM = Media("text/event-stream", {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"enum": ["everything", "forget", "heartbeat"]},
        "data": {"type": "string", "contentMediaType": "application/json", "description": "of `forget`, a list"},
    },
})
TEXT = Media("text/plain", {"type": "string"})
YAML = Media("application/yaml", {"type": "object", "required": ["openapi", "paths"]})

# In a path template, `{sub}` is one segment. Servers decode a path before it is split, and a subject `a/sessions`
# would name the sessions of `a`: web/middleware/headers.py keeps `%2F` encoded, and web/users.py decodes the segment.
ROUTES: tuple[Route, ...] = (
    Route("POST", "/login", "tokens.login", "Log in", "tokens", ANYONE_OR_CLIENT,
          about="An unknown user, a suspended user and a wrong password get the same answer. With `cookie: true` the "
                "token is in the cookie only, and the call has to come from an allowed origin. A confidential client "
                "authenticates by HTTP Basic. A web server that logs its users in needs the permission `client_ip` and "
                "names the user's address in `ip`.",
          takes=requests.Login, max_body=MAX_ANONYMOUS_BODY, gives=answers.Tokens,
          sets_cookie=SetsCookie(200, _COOKIE + "in cookie mode; Max-Age is the session's end"),
          errors=(e.InvalidCredentials, e.InsufficientAuthorization, e.InvalidScope, e.InvalidClient,
                  e.UnauthorizedClient, e.CrossSite, e.Overloaded, e.TooManyAttempts)),
    Route("POST", "/login/totp", "steps.login_totp", "Log in: a code of an authenticator app", "tokens",
          ANYONE_OR_CLIENT,
          about="For `auth_session` of a 403 `insufficient_authorization` or of a step-up. A confidential client "
                "authenticates by HTTP Basic. After five wrong answers the login has to begin again.",
          takes=requests.StepCode, max_body=MAX_ANONYMOUS_BODY, gives=answers.Tokens, capability="totp",
          sets_cookie=SetsCookie(200, _COOKIE_OF_STEP), errors=_STEP),
    Route("POST", "/login/recovery", "steps.login_recovery", "Log in: a recovery code", "tokens", ANYONE_OR_CLIENT,
          about="Like `/login/totp`.",
          takes=requests.StepCode, max_body=MAX_ANONYMOUS_BODY, gives=answers.Tokens, capability="factors",
          sets_cookie=SetsCookie(200, _COOKIE_OF_STEP), errors=_STEP),
    Route("POST", "/login/passkey/options", "passkeys.request_options", "Log in: ask for a passkey", "tokens",
          ANYONE_OR_CLIENT,
          about="With `auth_session`: for a step of this login. Without it a login by passkey alone begins; each "
                "address may begin 300 in five minutes. The challenge is good for five minutes and for one answer.",
          takes=passkeys.PasskeyQuestion, max_body=MAX_ANONYMOUS_BODY, gives=passkeys.RequestOptions,
          capability="passkeys",
          errors=(e.InvalidSession, e.InvalidClient, e.UnauthorizedClient, e.CrossSite, e.TooManyAttempts)),
    Route("POST", "/login/passkey", "passkeys.answer_options", "Log in: a passkey", "tokens", ANYONE_OR_CLIENT,
          about="The answer to `/login/passkey/options`. In a login by passkey alone, the authenticator has to verify "
                "its user, and `client_id`, `scope`, `device`, `cookie` and `ip` mean what they mean at `/login`.",
          takes=passkeys.PasskeyAnswer, max_body=MAX_ANONYMOUS_BODY, gives=answers.Tokens, capability="passkeys",
          sets_cookie=SetsCookie(200, _COOKIE_OF_STEP),
          errors=(*_STEP, e.InvalidCredentials, e.InvalidScope, e.UnauthorizedClient)),
    Route("POST", "/login/password", "steps.login_password", "Step up: the password", "tokens", ANYONE_OR_CLIENT,
          about="For a step-up of an account without a second factor. 403 `insufficient_authorization`: the user has "
                "to enrol a factor, as at `/login`.",
          takes=requests.StepPassword, max_body=MAX_ANONYMOUS_BODY, gives=answers.Tokens,
          sets_cookie=SetsCookie(200, _COOKIE_OF_STEP), errors=(*_STEP, e.InsufficientAuthorization, e.Overloaded)),
    Route("POST", "/step-up", "steps.begin_step_up", "Prove something again in this session", "account", USER,
          about="The calls `/login/…` complete it. The same session gets new tokens, `acr` and `auth_time`; its old "
                "tokens stop working. Any of `methods` will do.",
          gives=answers.StepUp, errors=(e.AccessDenied,)),
    Route("POST", "/token", "tokens.token", "Refresh, exchange, or get a token for a client", "tokens",
          CLIENT_BY_FORM,
          about="`refresh_token`: each use replaces the refresh token. For some seconds the previous refresh token "
                "gets the same answer again; any older one ends the session. `client_credentials`: a token of 15 "
                "minutes that speaks for the client itself; it takes the permission `token`. "
                "`urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693): a token that speaks for the user of "
                "`subject_token`, with which the client calls another resource server; it takes the permission "
                "`exchange`. It ends after 15 minutes, and with the session of `subject_token`.",
          takes=requests.TokenForm, max_body=MAX_ANONYMOUS_BODY, gives=answers.Tokens,
          errors=(e.InvalidGrant, e.InvalidScope, e.InvalidTarget, e.InsufficientAuthorization, e.UnauthorizedClient,
                  e.UnsupportedGrantType, e.TooManyChanges, e.TooManyTokens)),
    Route("POST", "/introspect", "tokens.introspect", "Who is this, right now? (RFC 7662)", "tokens", CLIENT_BY_FORM,
          about="Unknown tokens, expired tokens, revoked tokens and tokens for other audiences get the same answer: "
                "`active: false` and nothing else. So does anything that is neither an access token nor a key, such as "
                "a refresh token, whatever `token_type_hint` says.",
          takes=requests.IntrospectForm, max_body=MAX_ANONYMOUS_BODY, gives=answers.Introspection,
          errors=(e.UnauthorizedClient,)),
    Route("POST", "/introspect/batch", "tokens.introspect_batch", "The same for up to 1,000 tokens", "tokens", CLIENT,
          about="One answer for each token, in the order of the request.",
          takes=requests.IntrospectBatch, gives=answers.Introspections, errors=(e.UnauthorizedClient,)),
    Route("POST", "/revoke", "tokens.revoke", "Revoke a token (RFC 7009), or what an admin names", "tokens",
          CLIENT_OR_ADMIN,
          about="With a `token`: its session ends; an exchanged token ends alone. 200 also if the token is unknown. "
                "Admins may name exactly one of `session_id`, `sub`, `client_id` or `all` instead.",
          takes=requests.RevokeForm, max_body=MAX_ANONYMOUS_BODY, errors=(e.NotFound,)),
    Route("POST", "/leaked", "leaked.report", "Report leaked tokens", "tokens",
          about="Ends what is alive of them: the session of `tok_` and `ref_`, the key, the login in progress of "
                "`aut_`, the code `rst_`, the trust of the device of `dev_`. The answer and its time are the same "
                "whatever the tokens were. It comes after a second, once the ends are durable. Each address may "
                "report 60 times in five minutes.",
          takes=leaks.LeakReport, gives=leaks.Accepted, status=202, errors=(e.TooManyAttempts,)),
    Route("POST", "/leaked/github", "leaked.report_of_github", "Report leaked tokens: GitHub's secret scanning",
          "tokens",
          about="The call of GitHub's partner program. `Github-Public-Key-Identifier` names a key of "
                "`AUTHSVC_GITHUB_KEYS_FILE`, and `Github-Public-Key-Signature` is the signature of the body by this "
                "key. It does what `/leaked` does. Served only if there is such a file.",
          takes=leaks.GithubFinds, max_body=MAX_FINDS_BODY, gives=leaks.GithubLabels, capability="github",
          errors=(e.AccessDenied,)),
    Route("POST", "/tokens", "tokens.issue", "Issue a token for a user authenticated elsewhere", "tokens", CLIENT,
          about="For a client with the permission `issue`. A new subject gets a user record. The answer has a refresh "
                "token only with `refresh: true`. `amr`, `acr` and `auth_time` take the permission `vouch`. A token "
                "for an admin takes the permissions `issue`, `vouch` and `admin`.",
          takes=requests.Issue, gives=answers.Tokens, errors=(e.UnauthorizedClient, e.AccessDenied, e.InvalidScope,
                                                                  e.InsufficientAuthorization,
                                                                  e.TooManyChanges)),
    Route("GET", "/verify", "verify.verify", "May this request pass, and whose is it?", "tokens", GATEWAY,
          about="Forward-auth: a gateway asks about each request before it passes the request on (`docs/gateways.md`). "
                "`X-Forwarded-Method` or `X-Original-Method` gives the method of that request; without them the "
                "request counts as a change, and so does the handshake of a WebSocket (`Sec-WebSocket-Key`). A change "
                "by cookie has to come from this origin or an allowed one. A malformed or repeated credential is 401. "
                "An unknown, empty or repeated requirement is 403.",
          query=requests.Requirements, answer_headers=_IDENTITY, also=("POST", "PUT", "PATCH", "DELETE")),
    Route("GET", "/events", "events.events", "Which cached answers to forget", "service", CLIENT,
          about="Server-sent events. The first event is `everything`. `forget` lists digests of the names of changed "
                "keys. `heartbeat` comes every second while the stream can have missed nothing. `docs/events.md` has "
                "the whole contract.",
          gives=EVENT_STREAM, errors=(e.UnauthorizedClient,)),
    Route("POST", "/logout", "account.logout", "End this session", "account", OWN_SESSION, status=204,
          about="With any active access token, whatever its audience.",
          sets_cookie=SetsCookie(204, _COOKIE + "expired, if the call was made with the cookie")),
    Route("GET", "/me", "account.who_am_i", "Who am I?", "account", USER, gives=answers.MeView),
    Route("GET", "/sessions", "account.list_sessions", "List my sessions", "account", USER, gives=answers.Sessions),
    Route("DELETE", "/sessions", "account.end_sessions", "End all my other sessions", "account", USER,
          about="Also ends logins and refreshes that are under way. The user's keys go on, but end with `?all=true`.",
          query=requests.Which, status=204, errors=(e.TooManyChanges, e.InsufficientUserAuthentication),
          sets_cookie=SetsCookie(204, _COOKIE + "expired, if the session of the cookie ended too")),
    Route("DELETE", "/sessions/{session_id}", "account.end_session", "End one of my sessions", "account", USER,
          status=204, errors=(e.NotFound, e.InsufficientUserAuthentication),
          sets_cookie=SetsCookie(204, _COOKIE + "expired, if the session of the cookie ended")),
    Route("POST", "/password", "account.change_password", "Change my password", "account", USER,
          about="Ends every other session. This session gets new tokens, or a new cookie and 204. The user's keys "
                "go on, unless `end_keys` is true.",
          takes=requests.PasswordChange, gives=answers.Tokens,
          errors=(e.WrongPassword, e.InsufficientUserAuthentication, *_NEW_PASSWORD),
          sets_cookie=SetsCookie(204, _COOKIE + "the new one")),
    Route("POST", "/password/reset", "account.reset_password", "Set a password with a reset code", "account",
          ANYONE_OR_CLIENT,
          about="The code works once. Every session and key of the user ends. Only with `ip` a client "
                "authenticates, by HTTP Basic, as at `/login`.",
          takes=requests.PasswordReset, max_body=MAX_ANONYMOUS_BODY, status=204,
          errors=(e.InvalidGrant, e.InvalidClient, e.UnauthorizedClient, *_NEW_PASSWORD)),
    Route("GET", "/factors", "factors.list_factors", "List my second factors", "account", USER, gives=answers.Factors,
          capability="factors"),
    Route("DELETE", "/factors/{factor_id}", "factors.remove_factor", "Remove one of my second factors", "account",
          USER_RECENTLY, status=204, errors=(e.NotFound, e.TooManyChanges), capability="factors",
          about="Logins in progress and trusted devices end. The last factor takes the recovery codes along."),
    Route("POST", "/factors/totp", "factors.enrol_totp", "Enrol an authenticator app", "account", USER_OR_LOGIN,
          about="The app counts once its first code has confirmed it. `auth_session` is for a login whose `methods` "
                "are `enrol`.",
          takes=requests.NewTotp, optional_body=True, max_body=MAX_ANONYMOUS_BODY, gives=answers.TotpEnrolment,
          status=201, errors=(e.TooManyChanges,), capability="totp"),
    Route("POST", "/factors/totp/{factor_id}/confirm", "factors.confirm_totp", "Confirm an app with its first code",
          "account", USER_OR_LOGIN,
          about="The first factor brings ten recovery codes. With `auth_session` the answer is that of `/login`.",
          takes=requests.FirstCode, max_body=MAX_ANONYMOUS_BODY, gives=answers.ConfirmedOrTokens,
          sets_cookie=SetsCookie(200, _COOKIE_OF_STEP), capability="totp",
          errors=(e.WrongFactor, e.NotFound, e.TooManyChanges)),
    Route("POST", "/factors/passkeys/options", "passkeys.creation_options", "Begin to register a passkey", "account",
          USER_OR_LOGIN,
          about="`auth_session` is for a login whose `methods` are `enrol`. The challenge is good for five minutes and "
                "for one answer.",
          takes=passkeys.CreationRequest, optional_body=True, max_body=MAX_ANONYMOUS_BODY,
          gives=passkeys.CreationOptions, errors=(e.TooManyChanges,), capability="passkeys"),
    Route("POST", "/factors/passkeys", "passkeys.register", "Register a passkey", "account", USER_OR_LOGIN,
          about="The first factor brings ten recovery codes. With `auth_session` the answer is that of `/login`.",
          takes=passkeys.NewPasskey, max_body=MAX_ANONYMOUS_BODY, gives=answers.ConfirmedFactor, status=201,
          sets_cookie=SetsCookie(200, _COOKIE_OF_STEP), capability="passkeys",
          errors=(e.WrongFactor, e.TooManyChanges)),
    Route("POST", "/factors/recovery-codes", "factors.replace_recovery_codes", "Make new recovery codes", "account",
          USER_RECENTLY, gives=answers.RecoveryCodes, status=201, errors=(e.TooManyChanges,), capability="factors",
          about="The old ones stop working."),
    Route("POST", "/keys", "api_keys.create_key", "Make a key for a program", "account", USER_RECENTLY,
          about="A key is a bearer token for resource servers that lives for 90 days by default and a year at most. It "
                "speaks for its user, within the scope and the audience of the session that makes it. It survives the "
                "logout and a change of the password, and opens no call of the account. A user has at most 10,000.",
          takes=api_keys.NewKey, gives=api_keys.NewKeyView, status=201, errors=(e.InvalidScope, e.TooManyChanges)),
    Route("GET", "/keys", "api_keys.list_keys", "List my keys", "account", USER,
          about="The keys that end first go first. A page may have fewer keys than `limit`; `next` tells whether there "
                "are more.",
          query=requests.Page, gives=api_keys.Keys),
    Route("POST", "/keys/{key_id}/rotate", "api_keys.rotate_key", "Give one of my keys another secret", "account",
          USER_RECENTLY,
          about="`key_id` and `exp` stay. The last secret stays valid for the overlap, a day by default; an earlier "
                "one stops working at once.",
          takes=api_keys.KeyRotation, optional_body=True, gives=api_keys.NewKeyView,
          errors=(e.NotFound, e.TooManyChanges)),
    Route("DELETE", "/keys/{key_id}", "api_keys.revoke_key", "Revoke one of my keys", "account", USER, status=204,
          errors=(e.NotFound, e.InsufficientUserAuthentication)),
    Route("POST", "/admin/users", "users.create_user", "Register a user", "users", ADMIN,
          takes=requests.NewUser, gives=answers.NewUserView, status=201,
          errors=(e.UsernameTaken, e.WeakPassword, e.Overloaded)),
    Route("GET", "/admin/users", "users.list_users", "List users", "users", AUDITOR,
          about="With `username`, for a client with the permission `reset` too, to whom users with power over others "
                "do not exist. With `q`, `status`, `role`, `locked` or `factor`, by name; all of them have to fit.",
          query=requests.UserPage, gives=answers.Users),
    Route("GET", "/admin/users/{sub}/sessions", "users.list_user_sessions", "List a user's sessions", "users",
          AUDITOR,
          gives=answers.Sessions, errors=(e.NotFound,)),
    Route("DELETE", "/admin/users/{sub}/sessions", "users.end_user_sessions", "End a user's sessions", "users",
          SUPPORT, about="And the user's keys.", query=requests.Deletion, status=204, errors=(e.NotFound,)),
    Route("GET", "/admin/users/{sub}/factors", "factors.list_user_factors", "List a user's second factors", "users",
          AUDITOR, gives=answers.Factors, errors=(e.NotFound,), capability="factors"),
    Route("DELETE", "/admin/users/{sub}/factors", "factors.remove_user_factors", "Remove a user's second factors",
          "users", ADMIN, query=requests.Deletion, status=204, errors=(e.NotFound,), capability="factors",
          about="Every session of the user ends."),
    Route("GET", "/admin/users/{sub}/keys", "api_keys.list_user_keys", "List a user's keys", "users", AUDITOR,
          query=requests.Page, gives=api_keys.Keys, errors=(e.NotFound,)),
    Route("POST", "/admin/users/{sub}/keys", "api_keys.create_user_key", "Make a key for a user", "users", ADMIN,
          about="Scope and audience stay within those of the client `client_id`. Its cut-off ends the key, too.",
          takes=api_keys.NewUserKey, gives=api_keys.NewKeyView, status=201, errors=(e.NotFound, e.InvalidScope)),
    Route("DELETE", "/admin/users/{sub}/keys", "api_keys.revoke_user_keys", "Revoke all keys of a user", "users",
          SUPPORT, about="One key: `POST /revoke` with its `key_id` as `session_id`.",
          query=requests.Deletion, status=204, errors=(e.NotFound,)),
    Route("POST", "/admin/users/{sub}/reset-code", "users.create_reset_code", "Make a password reset code", "users",
          SUPPORT,
          about="A client with the permission `reset` may make one, too. Only admins may make one for a user who has "
                "power over others.",
          takes=requests.ResetCodeRequest, optional_body=True, gives=answers.ResetCodeView, status=201,
          errors=(e.NotFound,)),
    Route("GET", "/admin/users/{sub}", "users.get_user", "Read a user", "users", AUDITOR,
          gives=answers.UserStateView, errors=(e.NotFound,)),
    Route("PATCH", "/admin/users/{sub}", "users.change_user", "Change, suspend, reinstate a user", "users", ADMIN,
          about="Fields that are left out are unchanged. Reinstating a user revives no session.",
          takes=requests.UserChange, gives=answers.UserView, errors=(e.UsernameTaken, *_ADMIN_CHANGE)),
    Route("POST", "/admin/users/{sub}/suspend", "users.suspend_user", "Suspend a user", "users", SUPPORT,
          about="Every session of the user ends.",
          takes=requests.UserAct, optional_body=True, gives=answers.UserView, errors=_ADMIN_CHANGE),
    Route("POST", "/admin/users/{sub}/reinstate", "users.reinstate_user", "Reinstate a user", "users", ADMIN,
          about="The user may log in again. No session comes back.",
          takes=requests.UserAct, optional_body=True, gives=answers.UserView, errors=(e.NotFound,)),
    Route("POST", "/admin/users/{sub}/unlock", "users.unlock_user", "Forget wrong passwords", "users", SUPPORT,
          about="Wrong passwords and codes lock an account for a while. Locks of single networks stay.",
          takes=requests.UserAct, optional_body=True, gives=answers.UserStateView, errors=(e.NotFound,)),
    Route("DELETE", "/admin/users/{sub}", "users.delete_user", "Delete a user", "users", ADMIN,
          query=requests.Deletion, status=204, errors=_ADMIN_CHANGE),
    Route("GET", "/admin/sessions", "sessions.list_newest_sessions", "List the newest sessions of all users",
          "users", AUDITOR,
          about="Live sessions, the newest login first: the newest 10,000 of all users, and of each client.",
          query=requests.SessionPage, gives=answers.UserSessions),
    Route("DELETE", "/admin/sessions/{session_id}", "sessions.end_session_of_user", "End a user's session",
          "users", SUPPORT, query=requests.Deletion, status=204, errors=(e.NotFound,)),
    Route("POST", "/admin/clients", "clients.create_client", "Register a client", "clients", ADMIN,
          takes=requests.NewClient, gives=answers.NewClientView, status=201, errors=(e.InvalidScope,)),
    Route("GET", "/admin/clients", "clients.list_clients", "List clients", "clients", AUDITOR,
          query=requests.Page, gives=answers.Clients),
    Route("GET", "/admin/clients/{client_id}", "clients.get_client", "Read a client", "clients", AUDITOR,
          gives=answers.ClientView, errors=(e.NotFound,)),
    Route("PATCH", "/admin/clients/{client_id}", "clients.change_client", "Change a client", "clients", ADMIN,
          about="Fields that are left out are unchanged.",
          takes=requests.ClientChange, gives=answers.ClientView, errors=(e.InvalidScope, *_ADMIN_CHANGE)),
    Route("DELETE", "/admin/clients/{client_id}", "clients.delete_client", "Delete a client", "clients", ADMIN,
          query=requests.Deletion, status=204, errors=_ADMIN_CHANGE),
    Route("POST", "/admin/clients/{client_id}/secret", "clients.rotate_secret", "Rotate a client's secret", "clients",
          ADMIN,
          about="The last secret stays valid for the overlap. Older secrets stop working at once.",
          takes=requests.SecretRotation, optional_body=True, gives=answers.NewClientView, errors=(e.NotFound,)),
    Route("GET", "/admin/audit", "audit.audit_trail", "Read the audit trail, newest first", "audit", AUDITOR,
          query=requests.AuditPage, gives=answers.AuditTrail),
    Route("GET", "/.well-known/oauth-authorization-server", "meta.metadata", "Metadata (RFC 8414)", "service",
          about="For an issuer with a path, also at this path followed by that of the issuer.",
          gives=answers.Metadata, well_known=True),
    Route("GET", "/", "meta.what_this_is", "What this is", "service", gives=TEXT),
    Route("GET", "/healthz", "meta.healthz", "Alive", "service", gives=answers.Health),
    Route("GET", "/readyz", "meta.readyz", "Fit for traffic", "service", gives=answers.Health,
          errors=(e.StoreUnavailable, e.NotReady)),
    Route("GET", "/openapi.yaml", "meta.contract", "This contract", "service", gives=YAML),
)

# The labels by which requests are counted.
CALLS = tuple(Call(route.method, route.path) for route in ROUTES)
