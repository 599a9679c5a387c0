"""Requests and events raise the right counters, and no label holds data of a request or a user."""

import re

import pytest
import redis

from authsvc.flows.deps import Deps
from authsvc.metrics.families import OTHER
from authsvc.settings import Settings
from tests.canaries import Canaries, run_through_everything
from tests.conftest import CHEAP, Clock, Service, bearer
from tests.flows.test_client_token import issued as client_token
from tests.flows.test_exchange import exchanged
from tests.metrics.reading import Reading, scrape


class Since:
    """How much each metric has risen since this object was made."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._before = Reading(scrape(deps))

    def __call__(self, name: str, **labels: str) -> float:
        key = (name, *labels.items())
        try:
            before = self._before[key]
        except KeyError:
            before = 0
        return Reading(scrape(self._deps))[key] - before


@pytest.fixture
def since(deps: Deps) -> Since:
    return Since(deps)


async def test_requests_by_route_and_status(service: Service) -> None:
    """A request counts under its route's template, with its status and duration; one without a route as `other`."""
    await service.user()
    since = Since(service.deps)
    token = (await service.login())["access_token"]
    await service.http.delete("/sessions/nosuchhandle", headers=bearer(token))
    await service.http.get(f"/{token}")
    await service.http.put("/login")
    assert since("authsvc_requests_total", method="POST", route="/login", status="200") == 1
    assert since("authsvc_request_duration_seconds_count", method="POST", route="/login") == 1
    assert since("authsvc_requests_total", method="DELETE", route="/sessions/{session_id}", status="404") == 1
    assert since("authsvc_requests_total", route=OTHER, status="404") == 1
    assert since("authsvc_requests_total", route=OTHER, status="405") == 1
    assert since("authsvc_refusals_total", reason="not_found") == 1


async def test_a_sessions_life(service: Service, clock: Clock) -> None:
    """Sessions count when they begin, when they are refreshed, and when they end, each with its cause."""
    user = await service.user()
    since = Since(service.deps)
    first = await service.login()
    pair = (await service.refresh(first["refresh_token"])).json()
    clock.forward(service.deps.settings.refresh_grace_s + 1)
    assert (await service.refresh(first["refresh_token"])).status_code == 400
    assert not await service.active(pair["access_token"])
    await service.http.post("/logout", headers=bearer((await service.login())["access_token"]))
    await service.http.post("/revoke", data={"token": (await service.login())["access_token"]}, auth=service.admin)
    await service.http.post("/tokens", json={"sub": "elsewhere"}, auth=service.admin)
    await service.http.post("/revoke", data={"sub": user.sub}, auth=service.admin)
    await service.http.patch(f"/admin/users/{user.sub}", json={"status": "suspended"}, auth=service.admin)
    await service.http.delete(f"/admin/users/{user.sub}", auth=service.admin)
    await service.http.post("/revoke", data={"all": "true"}, auth=service.admin)
    assert since("authsvc_sessions_issued_total", by="login") == 3
    assert since("authsvc_sessions_issued_total", by="issue") == 1
    assert since("authsvc_sessions_refreshed_total") == 1
    assert since("authsvc_refresh_reuse_total") == 1
    assert since("authsvc_refusals_total", reason="invalid_grant") == 1
    for cause in ("reuse", "logout", "revoked"):
        assert since("authsvc_sessions_ended_total", cause=cause) == 1, cause
    for of, cause in (("user", "cut_off"), ("user", "suspended"), ("user", "deleted"), ("service", "cut_off")):
        assert since("authsvc_cut_offs_total", of=of, cause=cause) == 1, (of, cause)


async def test_tokens_of_programs(service: Service) -> None:
    """A client's own token and an exchanged token count apart from sessions of users. The same token again does not."""
    _, auth = await service.client("token", "exchange", "introspect", audience=("orders",))
    app, _ = await service.client(public=True, audience=("orders",))
    await service.user()
    since = Since(service.deps)
    token = (await service.login(client_id=app.client_id))["access_token"]
    await client_token(service, auth)
    for _ in range(2):
        await exchanged(service, auth, token)
    for by, number in (("login", 1), ("client", 1), ("issue", 0)):
        assert since("authsvc_sessions_issued_total", by=by) == number, by
    assert since("authsvc_tokens_exchanged_total") == 1


class TestWithFewSessions:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(**CHEAP, max_sessions=1)

    async def test_the_cap(self, service: Service) -> None:
        """A session that ends because the user has too many counts under that cause."""
        await service.user()
        since = Since(service.deps)
        await service.login()
        await service.login()
        assert since("authsvc_sessions_ended_total", cause="too_many_sessions") == 1


async def test_what_tokens_turn_out_to_be(service: Service, clock: Clock) -> None:
    """Each looked-up token counts once, with the reason if it is inactive."""
    await service.user()
    token = (await service.login())["access_token"]
    forged = (await service.login())["access_token"]
    since = Since(service.deps)
    assert await service.active(token)
    await service.introspect("nonsense")
    assert since("authsvc_tokens_checked_total", result="active") == 1
    assert since("authsvc_tokens_checked_total", result="malformed") == 1
    await service.http.post("/logout", headers=bearer(forged))
    assert not await service.active(forged)
    assert since("authsvc_tokens_checked_total", result="unknown") == 1
    clock.forward(16 * 60)
    assert not await service.active(token)
    assert since("authsvc_tokens_checked_total", result="expired") == 1
    assert since("authsvc_lookups_per_round_trip_count") >= 4
    assert since("authsvc_store_round_trip_duration_seconds_count", kind="lookup") >= 4


async def test_guesses(service: Service) -> None:
    """Wrong passwords, throttled attempts with their window, and computed hashes are counted."""
    await service.user()
    since = Since(service.deps)
    for _ in range(6):
        await service.http.post("/login", json={"username": "ada", "password": "not the one at all"})
    assert since("authsvc_passwords_checked_total", what="login", outcome="failed") == 5
    assert since("authsvc_passwords_checked_total", what="login", outcome="throttled") == 1
    assert since("authsvc_throttled_total", window="pair") == 1
    assert since("authsvc_throttled_total", window="account") == 0
    assert since("authsvc_refusals_total", reason="invalid_credentials") == 5
    assert since("authsvc_refusals_total", reason="too_many_attempts") == 1
    assert since("authsvc_hash_duration_seconds_count") == 5
    assert since("authsvc_hashes_in_flight") == 0


async def test_a_store_that_refuses(service: Service, valkey: "redis.Redis") -> None:
    """An error of the store counts by its kind, and its answer by its reason."""
    await service.user()
    since = Since(service.deps)
    valkey.config_set("maxmemory", 1)
    try:
        answer = await service.http.post("/login", json={"username": "ada", "password": "a walk by the river"})
        assert answer.status_code == 503
    finally:
        valkey.config_set("maxmemory", 0)
    assert since("authsvc_store_errors_total", kind="full") >= 1
    assert since("authsvc_refusals_total", reason="store_unavailable") == 1


async def test_no_canary_in_a_label(service: Service) -> None:
    """After a run through every flow no label holds a secret, a name, a subject, a client, a handle or an address."""
    canaries = Canaries()
    await run_through_everything(service, canaries)
    text = scrape(service.deps)
    assert canaries.in_text(text) == []
    reading = Reading(text)
    assert len([value for name, _, value in reading.samples if value and name.endswith("_total")]) > 40
    everybody = (await service.http.get("/admin/users", params={"limit": 1000}, auth=service.admin)).json()["items"]
    clients = (await service.http.get("/admin/clients", params={"limit": 1000}, auth=service.admin)).json()["items"]
    names = {value for _, value in reading.labels()}
    theirs = {one["sub"] for one in everybody} | {one["username"] for one in everybody}
    theirs |= {one["client_id"] for one in clients} | {"192.0.2.1"}
    assert names & theirs == set()
    # This also covers future labels: words, templates of paths, statuses and bounds are fine.
    shaped = re.compile(r"[a-z_]+|[A-Z]+|[0-9]{3}|[0-9.]+|\+Inf|/[a-z/._{}-]*")
    assert [name for name in names if not shaped.fullmatch(name)] == []
