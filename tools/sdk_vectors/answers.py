"""Bodies of `/introspect`, complete and otherwise, for the vectors."""

import json
from dataclasses import dataclass, field
from typing import Any

from tools.sdk_vectors.shapes import HANDLE, OTHER

GOOD: dict[str, Any] = {
    "active": True,
    "token_type": "Bearer",
    "sub": "ada",
    "client_id": "app",
    "session_id": HANDLE,
    "scope": "notes:read notes:write",
    "exp": 1_800_000_900,
    "iat": 1_800_000_000,
    "auth_time": 1_799_999_000,
    "username": "ada",
    "roles": ["editor"],
    "amr": ["pwd", "otp", "mfa"],
    "acr": "aal2",
    "aud": ["orders"],
    "version": 3,
    "claims": {"desk": 7},
    "recheck_at": 1_800_000_060,
}
_LEAST = ["active", "token_type", "sub", "client_id", "session_id", "exp", "iat"]
_TEXTS, _NUMBERS, _LISTS = (
    ["sub", "client_id", "session_id", "scope"],
    ["exp", "iat", "version"],
    ["roles", "amr", "aud"],
)


@dataclass(frozen=True)
class Response:
    """A response of the service. do: `answer`, `hang`, `close` without an answer, or `cut` before its end."""

    do: str = "answer"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    padding: int = 0

    def described(self) -> dict[str, Any]:
        if self.do in ("hang", "close"):
            return {"do": self.do}
        # A lone surrogate stands for a byte that is no UTF-8.
        body = {"body": self.body} if self.body.isprintable() else {"body_latin1": self.raw().decode("latin-1")}
        return {"do": self.do, "status": self.status, "headers": self.headers, **body, "padding": self.padding}

    def raw(self) -> bytes:
        return self.body.encode("utf-8", "surrogateescape")


def plain(body: object) -> Response:
    """A usual response with this JSON body."""
    return Response(body=json.dumps(body))


def _without(name: str) -> dict[str, Any]:
    return {other: value for other, value in GOOD.items() if other != name}


# A token that the client `orders` got in exchange for one of the client `web`.
_EXCHANGED: dict[str, object] = {name: value for name, value in GOOD.items() if name != "recheck_at"} | {
    "client_id": "orders",
    "token_use": "exchanged",
    "act": {"sub": "orders"},
    "cache": {"clients": ["web"], "recheck_at": GOOD["recheck_at"]},
}
_NO_OBJECTS: dict[str, object] = {"null": None, "text": "orders", "a number": 7, "a list": ["orders"]}

# Bodies by name.
ANSWERS: dict[str, object] = {
    "the least": {name: GOOD[name] for name in _LEAST},
    **{f"without {name}": _without(name) for name in GOOD if name != "recheck_at"},
    **{f"{name} is null": GOOD | {name: None} for name in GOOD},
    **{
        f"{name} is a number": GOOD | {name: 7}
        for name in [*_TEXTS, *_LISTS, "active", "token_type", "username", "acr"]
    },
    **{
        f"{name} is text": GOOD | {name: "7"}
        for name in [*_NUMBERS, "active", "auth_time", "recheck_at", "roles", "claims"]
    },
    **{f"{name} is true": GOOD | {name: True} for name in [*_TEXTS, *_NUMBERS, "auth_time"]},
    **{f"{name} is a list of numbers": GOOD | {name: [1]} for name in [*_LISTS, *_TEXTS]},
    **{f"{name} is an object": GOOD | {name: {}} for name in [*_LISTS, *_TEXTS, "active", "exp"]},
    "vouched for": GOOD | {"vouched_by": "crm"},
    "a key": GOOD | {"token_use": "key"},
    "a token of a client": {name: GOOD[name] for name in _LEAST} | {"sub": "app", "token_use": "client"},
    "an exchanged token": _EXCHANGED,
    "exchanged twice": _EXCHANGED | {"act": {"sub": "stock", "act": {"sub": "orders"}}},
    **{f"act is {what}": _EXCHANGED | {"act": value} for what, value in _NO_OBJECTS.items()},
    **{f"cache is {what}": _EXCHANGED | {"cache": value} for what, value in _NO_OBJECTS.items()},
    **{
        f"clients in cache is {what}": _EXCHANGED | {"cache": {"clients": value, "recheck_at": GOOD["recheck_at"]}}
        for what, value in {"null": None, "text": "web", "a list of numbers": [1]}.items()
    },
    "cache without clients": _EXCHANGED | {"cache": {"recheck_at": GOOD["recheck_at"]}},
    "cache without recheck_at": _EXCHANGED | {"cache": {"clients": ["web"]}, "recheck_at": GOOD["recheck_at"]},
    **{
        f"{name} is {what}": GOOD | {name: value}
        for name in ("vouched_by", "token_use")
        for what, value in {"null": None, "a number": 7, "a list": ["crm"]}.items()
    },
    "exp has a fraction": GOOD | {"exp": 1_800_000_900.5},
    "claims is a list": GOOD | {"claims": [1]},
    "claims in claims": GOOD | {"claims": {"a": {"b": [1, "x", None, True]}}},
    "scope is empty": GOOD | {"scope": ""},
    "another kind of token": GOOD | {"token_type": "refresh_token"},
    "another case of Bearer": GOOD | {"token_type": "bearer"},
    "about another token": GOOD | {"session_id": OTHER[4:16]},
    "a list": [GOOD],
    "null": None,
    "true": True,
    "text": "active",
    "an empty object": {},
    "active is null": {"active": None},
    "active is one": {"active": 1},
}
