"""Tokens for users who were authenticated elsewhere."""

from typing import Any

import httpx
import pytest

from authsvc.flows import clients, revoke, users
from authsvc.flows.deps import OPERATOR
from authsvc.flows.explain import explain
from tests.conftest import PASSWORD, Clock, Service, bearer
from tests.selection import one_in

SUB = "google-oauth2|1234"


async def issue(service: Service, auth: tuple[str, str], **body: Any) -> httpx.Response:
    return await service.http.post("/tokens", json={"sub": SUB} | body, auth=auth)


async def granted(service: Service, auth: tuple[str, str], **body: Any) -> dict[str, Any]:
    answer = await issue(service, auth, **body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
async def issuer(service: Service) -> tuple[str, str]:
    _, auth = await service.client("issue")
    return auth


async def test_an_unknown_subject_gets_a_user(service: Service, issuer: tuple[str, str], clock: Clock) -> None:
    """A new user has no name and no credentials. The token has the wanted scope and no refresh token."""
    token = await granted(service, issuer, scope="read", expires_in=300, roles=["ops"])
    assert token.keys() == {"access_token", "token_type", "expires_in", "scope", "session_id"}
    assert (token["expires_in"], token["scope"]) == (300, "read")
    told = await service.introspect(token["access_token"])
    assert (told["sub"], told["roles"], told["client_id"]) == (SUB, ["ops"], issuer[0])
    assert "username" not in told
    assert "amr" not in told
    assert await service.deps.store.credentials.find(SUB) is None
    clock.forward(300)
    assert not await service.active(token["access_token"])


async def test_the_default_life_is_the_clients_access_ttl(service: Service) -> None:
    """Without expires_in the token lives for the access lifetime of the client."""
    _, auth = await service.client("issue", access_ttl_s=77)
    assert (await granted(service, auth))["expires_in"] == 77


async def test_the_user_can_be_governed_like_any_other(service: Service, issuer: tuple[str, str]) -> None:
    """Suspension, roles and cut-offs work without credentials."""
    first = await granted(service, issuer, roles=["ops"])
    await users.update(service.deps, OPERATOR, SUB, roles=("dev",))
    assert (await service.introspect(first["access_token"]))["roles"] == ["dev"]
    await revoke.revoke_user(service.deps, OPERATOR, SUB)
    assert not await service.active(first["access_token"])
    second = await granted(service, issuer)
    await users.update(service.deps, OPERATOR, SUB, status="suspended")
    assert not await service.active(second["access_token"])
    refused = await issue(service, issuer)
    assert (refused.status_code, refused.json()["error"]) == (403, "access_denied")
    await users.update(service.deps, OPERATOR, SUB, status="active")
    assert not await service.active(second["access_token"])
    assert await service.active((await granted(service, issuer))["access_token"])


async def test_roles_become_the_users_in_every_session(service: Service, issuer: tuple[str, str]) -> None:
    """Roles apply to every session of the user. Without roles nothing changes."""
    first = await granted(service, issuer, roles=["ops"])
    second = await granted(service, issuer, roles=["dev"])
    third = await granted(service, issuer)
    for token in (first, second, third):
        assert (await service.introspect(token["access_token"]))["roles"] == ["dev"]


async def test_roles_of_an_account_here_are_not_the_issuers(service: Service, issuer: tuple[str, str]) -> None:
    """Only an admin sets the roles of a user with an account here. Tokens without roles can be issued."""
    user = await service.user(roles=("dev",))
    refused = await issue(service, issuer, sub=user.sub, roles=["ops"])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
    assert (await granted(service, issuer, sub=user.sub))["access_token"]
    assert (await service.deps.store.users.get(user.sub)).roles == ("dev",)


async def test_no_admin_is_made_or_impersonated(service: Service, issuer: tuple[str, str]) -> None:
    """Only an admin client can give the role `admin` or issue a token for an admin."""
    root = await service.user("root", roles=("admin",))
    for body in ({"roles": ["admin"]}, {"roles": ["ops", "admin"]}, {"sub": root.sub}):
        refused = await issue(service, issuer, **body)
        assert (refused.status_code, refused.json()["error"]) == (403, "unauthorized_client"), body
    assert await service.deps.store.users.find(SUB) is None
    token = await granted(service, service.admin, sub=root.sub)
    assert (await service.introspect(token["access_token"]))["roles"] == ["admin"]


async def test_who_may_issue(service: Service) -> None:
    """Only a client with the permission may issue tokens."""
    _, auth = await service.client("introspect", "revoke", "reset")
    refused = await issue(service, auth)
    assert (refused.status_code, refused.json()["error"]) == (403, "unauthorized_client")
    assert (await service.http.post("/tokens", json={"sub": SUB})).status_code == 401
    assert await service.deps.store.users.find(SUB) is None


@pytest.mark.parametrize(
    "body",
    one_in(
        3,
        [
            {"sub": ""},
            {"sub": "a b"},
            {"sub": "{x}"},
            {"sub": "x" * 256},
            {"expires_in": 0},
            {"expires_in": -1},
            {"expires_in": "60"},
            {"expires_in": True},
            {"expires_in": 1.5},
            {"expires_in": 2**63},
            {"expires_in": 30 * 86400 + 1},
            {"roles": ["a b"]},
            {"roles": "ops"},
            {"roles": ["r"] * 65},
            {"role": ["ops"]},
            {"scope": "admin"},
            {"scope": "a  b"},
        ],
    ),
)
async def test_what_is_refused(service: Service, issuer: tuple[str, str], body: dict[str, Any]) -> None:
    """Ill-formed input is a 400 that makes no user."""
    answer = await issue(service, issuer, **body)
    assert (answer.status_code, answer.json()["error"]) in ((400, "invalid_request"), (400, "invalid_scope"))
    assert await service.deps.store.users.find(SUB) is None


async def test_the_clients_own_limits(service: Service) -> None:
    """The scope and the session_ttl_s of the client bound its tokens."""
    _, auth = await service.client("issue", scope="read", session_ttl_s=100)
    assert (await issue(service, auth, scope="write")).status_code == 400
    assert (await issue(service, auth, expires_in=101)).status_code == 400
    assert (await granted(service, auth, scope="read", expires_in=100))["expires_in"] == 100


async def test_a_deleted_issuers_tokens_are_dead(service: Service, issuer: tuple[str, str]) -> None:
    """Tokens end with the client that issued them."""
    token = await granted(service, issuer)
    await clients.delete(service.deps, OPERATOR, issuer[0])
    assert not await service.active(token["access_token"])


async def test_an_issued_token_has_no_auth_time(service: Service, issuer: tuple[str, str], clock: Clock) -> None:
    """No answer about an issued token has a time of authentication: its user proved nothing here."""
    token = await granted(service, issuer)
    clock.forward(5)
    told = await service.introspect(token["access_token"])
    assert told["active"]
    assert not {"auth_time", "amr"} & told.keys()
    me = await service.http.get("/me", headers=bearer(token["access_token"]))
    assert me.status_code == 200
    assert "auth_time" not in me.text
    assert "auth_time" not in ((await explain(service.deps, token["access_token"])).session or {})


async def test_proving_the_password_gives_an_issued_session_an_auth_time(
    service: Service, issuer: tuple[str, str], clock: Clock
) -> None:
    """A password change in an issued session proves the password, at that time."""
    user = await service.user()
    token = await granted(service, issuer, sub=user.sub)
    clock.forward(5)
    body = {"current_password": PASSWORD, "new_password": "seven quiet herons wading"}
    answer = await service.http.post("/password", json=body, headers=bearer(token["access_token"]))
    assert answer.status_code == 200
    assert (await service.introspect(answer.json()["access_token"]))["auth_time"] == int(clock())


async def test_the_backends_address_is_not_the_users(service: Service, issuer: tuple[str, str]) -> None:
    """The session does not show where the issuing client runs."""
    token = await granted(service, issuer)
    session = await service.deps.store.sessions.get(token["session_id"])
    assert (session.ip, session.user_agent) == (None, None)
