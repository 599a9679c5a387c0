"""Vectors of refusals: what a user needs, and the answer to a request that lacks it."""

import json
import time
from dataclasses import replace
from typing import Any
from unittest import mock

from authsvc_sdk.answers import INACTIVE, Active
from authsvc_sdk.bearer import demand
from authsvc_sdk.errors import Misconfigured, Unavailable
from authsvc_sdk.refused import Refused, accepted

from tools.sdk_vectors.credentials import described

NOW = 1_800_000_000
_ADA = Active(
    sub="ada",
    client_id="app",
    session_id="7Hk2pQ9xV3bN",
    exp=NOW + 900,
    iat=NOW,
    auth_time=NOW - 300,
    scope="notes:read notes:write",
    scopes=frozenset({"notes:read", "notes:write"}),
    roles=frozenset({"editor"}),
    acr="aal1",
)
_STRONG = replace(_ADA, acr="aal2")
_NO_LOGIN = replace(_ADA, auth_time=None, acr=None)
_OTHER_ACR = replace(_ADA, acr="phr")

_DEMANDS: list[tuple[str, Active | None, dict[str, Any]]] = [
    ("nothing", _ADA, {}),
    ("no token", None, {}),
    ("no token comes first", None, {"scope": "notes:read", "acr": "aal2", "max_age_s": 0}),
    ("a scope", _ADA, {"scope": "notes:read"}),
    ("two scopes", _ADA, {"scope": "notes:write notes:read"}),
    ("two spaces between scopes", _ADA, {"scope": "notes:write  notes:read"}),
    ("a scope that is missing", _ADA, {"scope": "notes:delete"}),
    ("one of two scopes", _ADA, {"scope": "notes:read notes:delete"}),
    ("the beginning of a scope", _ADA, {"scope": "notes"}),
    ("a role", _ADA, {"role": "editor"}),
    ("a role that is missing", _ADA, {"role": "admin"}),
    ("scope comes before role", _ADA, {"scope": "notes:delete", "role": "admin"}),
    ("role comes before acr", _ADA, {"role": "admin", "acr": "aal2"}),
    ("the level", _ADA, {"acr": "aal1"}),
    ("a higher level than needed", _STRONG, {"acr": "aal1"}),
    ("a level that is too low", _ADA, {"acr": "aal2"}),
    ("a level that nobody has", _STRONG, {"acr": "aal3"}),
    ("another vocabulary", _OTHER_ACR, {"acr": "phr"}),
    ("another vocabulary has no order", _OTHER_ACR, {"acr": "aal1"}),
    ("no level", _NO_LOGIN, {"acr": "aal1"}),
    ("a login of this age", _ADA, {"max_age_s": 300}),
    ("a login that is too old", _ADA, {"max_age_s": 299}),
    ("max_age_s of zero", _ADA, {"max_age_s": 0}),
    ("no login", _NO_LOGIN, {"max_age_s": 10**10}),
    ("too weak and recent", _ADA, {"acr": "aal2", "max_age_s": 300}),
    ("strong and too old", _STRONG, {"acr": "aal2", "max_age_s": 60}),
    ("too weak and too old", _ADA, {"acr": "aal2", "max_age_s": 60}),
    ("strong and recent", _STRONG, {"acr": "aal2", "max_age_s": 300}),
]


def challenges() -> dict[str, Any]:
    """Demands with their outcome, and the refusals of requests whose token is inactive or can't be checked."""
    with mock.patch.object(time, "time", return_value=float(NOW)):
        demands = [
            {"name": name, "user": _fields(user), "demand": demanded, "refused": _outcome(user, demanded)}
            for name, user, demanded in _DEMANDS
        ]
    return {
        "now": NOW,
        "demands": demands,
        "inactive": described(_inactive()),
        "unavailable": [
            {"retry_after_s": after, "refused": described(Refused.unavailable(Unavailable("", after)))}
            for after in (None, 0, 1, 30)
        ],
        "refused_client": described(Refused.unavailable(Misconfigured(""))),
    }


def _fields(user: Active | None) -> dict[str, Any] | None:
    if user is None:
        return None
    fields = {"scope": user.scope, "roles": sorted(user.roles), "auth_time": user.auth_time, "acr": user.acr}
    loaded: dict[str, Any] = json.loads(json.dumps({"sub": user.sub, **fields}))
    return loaded


def _outcome(user: Active | None, demanded: dict[str, Any]) -> dict[str, Any] | None:
    try:
        demand(user, **demanded)
    except Refused as refused:
        return described(refused)
    return None


def _inactive() -> Refused:
    try:
        accepted(INACTIVE)
    except Refused as refused:
        return refused
    raise AssertionError("an inactive token was accepted")
