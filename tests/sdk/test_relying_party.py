"""A relying party of an OpenID provider: it checks ID tokens, and vouches for the login that they tell of."""

import time
from typing import Any

import pytest
from authsvc_sdk import Active
from authsvc_sdk.answers import read
from authsvc_sdk.bearer import demand
from authsvc_sdk.refused import Refused
from joserfc import jwk, jwt

from tests.conftest import Clock, Service

ISSUER, RELYING_PARTY, LIMIT_S = "https://login.example", "web-app", 300


class Provider:
    """An OpenID provider: it signs ID tokens."""

    def __init__(self) -> None:
        self.key = jwk.ECKey.generate_key("P-256")

    def id_token(self, now: float, auth_time: float | None, **claims: Any) -> str:
        told: dict[str, Any] = {"iss": ISSUER, "aud": RELYING_PARTY, "sub": "1093"}
        told |= {"iat": int(now), "exp": int(now) + 60}
        if auth_time is not None:
            told["auth_time"] = int(auth_time)
        return jwt.encode({"alg": "ES256"}, told | claims, self.key)


class RelyingParty:
    """Checks an ID token and exchanges it for a session (OpenID Connect Core section 3.1.3.7)."""

    def __init__(self, service: Service, auth: tuple[str, str], provider: Provider) -> None:
        self._service, self._auth, self._provider = service, auth, provider

    async def log_in(self, id_token: str) -> str:
        told = jwt.decode(id_token, self._provider.key, algorithms=["ES256"]).claims
        assert (told["iss"], told["aud"]) == (ISSUER, RELYING_PARTY)
        body = {"sub": f"example|{told['sub']}", "expires_in": 3600}
        body |= {name: told[name] for name in ("auth_time", "amr", "acr") if name in told}
        answer = await self._service.http.post("/tokens", json=body, auth=self._auth)
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["access_token"]
        return token


@pytest.fixture
async def relying_party(service: Service) -> tuple[RelyingParty, Provider]:
    _, auth = await service.client("issue", "vouch")
    provider = Provider()
    return RelyingParty(service, auth, provider), provider


async def active(service: Service, token: str) -> Active:
    """The answer of the service as a resource server reads it."""
    answer = read(await service.introspect(token), token).answer
    assert isinstance(answer, Active)
    return answer


async def test_a_vouched_login_grows_old(
    service: Service,
    relying_party: tuple[RelyingParty, Provider],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A login at the provider satisfies `max_age_s` up to the limit, and fails one second after it.

    The session began later than the login. Its own beginning and each introspection count for nothing.
    """
    party, provider = relying_party
    monkeypatch.setattr(time, "time", clock)
    logged_in = clock()
    clock.forward(100)
    token = await party.log_in(provider.id_token(clock(), logged_in, amr=["pwd", "otp", "mfa"]))
    for _ in range(3):
        user = await active(service, token)
        assert (user.auth_time, user.amr, user.acr) == (int(logged_in), ("pwd", "otp", "mfa"), "aal2")
        assert user.vouched_by == user.client_id
        assert demand(user, max_age_s=LIMIT_S) is user
        clock.forward((logged_in + LIMIT_S - clock()) / 2)
    clock.now = logged_in + LIMIT_S
    assert demand(await active(service, token), max_age_s=LIMIT_S)
    clock.forward(1)
    with pytest.raises(Refused) as caught:
        demand(await active(service, token), max_age_s=LIMIT_S)
    assert 'error="insufficient_user_authentication"' in caught.value.headers["WWW-Authenticate"]
    again = await party.log_in(provider.id_token(clock(), clock()))
    assert demand(await active(service, again), max_age_s=LIMIT_S)


async def test_a_session_without_a_time_never_satisfies_a_limit(
    service: Service,
    relying_party: tuple[RelyingParty, Provider],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If the provider tells no `auth_time`, no limit is met, however large; without a limit the session is good."""
    party, provider = relying_party
    monkeypatch.setattr(time, "time", clock)
    user = await active(service, await party.log_in(provider.id_token(clock(), None, amr=["pwd"])))
    assert (user.auth_time, user.acr) == (None, "aal1")
    assert demand(user) is user
    with pytest.raises(Refused):
        demand(user, max_age_s=10**9)
