"""Every key in the store: pattern, type, lifetime, and who deletes it.

Keys of one user share a hash slot (`{sub}`). A session and its grace share one too, because the tag of `grace:` is the
whole key of the session. No operation needs two slots at once.

| key                        | type        | lives                   | deleted by                         |
| -------------------------- | ----------- | ----------------------- | ---------------------------------- |
| `session:<handle>`         | JSON        | until the session's end | logout, revocation, reuse, the cap |
| `grace:{session:<handle>}…`| JSON        | the grace of a refresh  | nobody                             |
| `user:{<sub>}`             | JSON        | the user's life         | deleting the user                  |
| `credentials:{<sub>}`      | JSON        | the user's life         | deleting the user                  |
| `factors:{<sub>}`          | JSON        | the user's life         | deleting the user                  |
| `sessions:{<sub>}`         | sorted set  | 400 days after a login  | drops its dead on every use        |
| `keys:{<sub>}`             | sorted set  | its last key's end      | drops its dead on every use        |
| `login:<canonical name>`   | sub [nonce] | the user's life         | deleting or renaming the user      |
| `client:<client_id>`       | JSON        | the client's life       | deleting the client                |
| `service`                  | JSON        | for ever                | nobody                             |
| `audit`                    | stream      | its retention           | trims itself by age                |
| `admins:index`             | sorted set  | for ever                | readers drop entries without power |
| `admins:filled`            | time        | for ever                | nobody                             |
| `admins:filling`           | a lease     | seconds                 | the worker that fills the index    |
| `admins:logged`            | id in audit | for ever                | nobody                             |
| `admins:logging`           | a lease     | seconds                 | the worker that logs for commands  |
| `index:users`              | sorted set  | for ever                | deleting or renaming a user, a fill |
| `index:locked`             | sorted set  | its last lock           | drops its dead on every use        |
| `index:sessions`           | sorted set  | its last session's end  | drops all but the newest           |
| `index:sessions:<client_id>` | sorted set | its last session's end | drops all but the newest           |
| `index:filled`             | time        | for ever                | nobody                             |
| `index:filling`            | a lease     | seconds                 | the worker that fills the indexes  |
| `code:<handle>`            | JSON        | minutes                 | its use                            |
| `passkey:<user handle>`    | sub         | the last passkey's life | removing the last passkey          |
| `device:<handle>`          | sub         | the trust of a device   | nobody                             |
| `challenge:<handle>`       | JSON        | minutes                 | its answer                         |
| `step:<handle>`            | JSON        | minutes                 | the end of the login               |
| `throttle:<what>`          | JSON        | 90 days at most         | a success, giving up the name      |

The contract of `GET /events` includes the names of the keys that an introspection depends on: `session:`, `user:`,
`client:` and `service`. A program that caches answers computes the digests of these names (docs/events.md).
"""

from base64 import urlsafe_b64encode
from hashlib import sha256

ADMINS = "admins:index"
ADMINS_FILLED = "admins:filled"
ADMINS_FILLING = "admins:filling"
ADMINS_REMOVING = "admins:removing"
ADMINS_LOGGED = "admins:logged"
ADMINS_LOGGING = "admins:logging"
USERS_INDEX = "index:users"
LOCKED_INDEX = "index:locked"
INDEX_FILLED = "index:filled"
INDEX_FILLING = "index:filling"
SERVICE = "service"
AUDIT = "audit"
SESSION_PREFIX = "session:"
USER_PREFIX = "user:"
CREDENTIALS_PREFIX = "credentials:"
CLIENT_PREFIX = "client:"
# The names of all keys that an introspection depends on begin with one of these.
TRACKED = (SESSION_PREFIX, USER_PREFIX, CLIENT_PREFIX, SERVICE)
# The patterns of all keys, as deploy/valkey/users.acl grants them.
PATTERNS = (
    "session:*",
    "sessions:*",
    "keys:*",
    "grace:*",
    "user:*",
    "credentials:*",
    "factors:*",
    "login:*",
    "client:*",
    SERVICE,
    AUDIT,
    "admins:*",
    "index:*",
    "code:*",
    "passkey:*",
    "device:*",
    "challenge:*",
    "step:*",
    "throttle:*",
)


def session(handle: str) -> str:
    return f"{SESSION_PREFIX}{handle}"


def grace(handle: str, refresh: str) -> str:
    """Each refresh has a grace of its own. refresh: the digest of the refresh token that it issued."""
    return f"grace:{{{session(handle)}}}:{refresh[:8]}"


def nothing_beside(key: str) -> str:
    """A key that never holds anything, on the slot of `key`. To delete either takes the same time."""
    return f"grace:{{{key}}}:none"


def user(sub: str) -> str:
    return f"{USER_PREFIX}{{{sub}}}"


def credentials(sub: str) -> str:
    return f"{CREDENTIALS_PREFIX}{{{sub}}}"


def factors(sub: str) -> str:
    return f"factors:{{{sub}}}"


def sessions(sub: str) -> str:
    return f"sessions:{{{sub}}}"


def api_keys(sub: str) -> str:
    return f"keys:{{{sub}}}"


def newest(client_id: str | None = None) -> str:
    """The newest sessions of a client, or of all. No client has an empty id."""
    return "index:sessions" if client_id is None else f"index:sessions:{client_id}"


def login(canonical_name: str) -> str:
    return f"login:{canonical_name}"


def named_by(entry: bytes) -> str:
    """The sub in an entry at `login`: its first word. A second word only makes the entry differ from earlier ones."""
    return entry.partition(b" ")[0].decode()


def client(client_id: str) -> str:
    return f"{CLIENT_PREFIX}{client_id}"


def code(handle: str) -> str:
    return f"code:{handle}"


def passkey(user_handle: str) -> str:
    return f"passkey:{user_handle}"


def device(handle: str) -> str:
    return f"device:{handle}"


def challenge(handle: str) -> str:
    return f"challenge:{handle}"


def step(handle: str) -> str:
    return f"step:{handle}"


def throttle(what: str, of: str) -> str:
    """The key of an attempt window. `of` is hashed, because it may be whatever a person typed as a name."""
    return f"throttle:{what}:{sha256(of.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def digest(name: bytes) -> str:
    """How `GET /events` names a key: the first 16 bytes of SHA-256 of its name, as 22 characters of base64url."""
    return urlsafe_b64encode(sha256(name).digest()[:16])[:22].decode()
