"""Introspection as RFC 7662 and section B of the security list ask for it."""

import httpx
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from tests.conftest import Clock, Service, bearer
from tests.selection import examples
from tests.web.conftest import StoreCalls, assert_problem

INACTIVE = b'{"active":false}'


@pytest.fixture
async def mine(service: Service) -> dict[str, str]:
    await service.user(roles=("editor",))
    return await service.login(scope="orders:read")


async def introspect(service: Service, token: str, auth: tuple[str, str] | None = None) -> httpx.Response:
    return await service.http.post(
        "/introspect", data={"token": token}, auth=auth or httpx.USE_CLIENT_DEFAULT, headers={"X-Request-ID": "same"}
    )


async def test_authorization(service: Service, mine: dict[str, str]) -> None:
    """No credentials or wrong ones are 401, a client without `introspect` is 403; for a dead token too."""
    for token in (mine["access_token"], "x"):
        assert_problem(await introspect(service, token), 401, "invalid_client")
        assert_problem(await introspect(service, token, ("nobody", "x")), 401, "invalid_client")
        for permissions in ((), ("revoke", "issue", "reset"), ("admin",)):
            _, auth = await service.client(*permissions)
            assert_problem(await introspect(service, token, auth), 403, "unauthorized_client")
        answer = await service.http.post("/introspect", data={"token": token, "client_id": "app"})
        assert_problem(answer, 403, "unauthorized_client")
        answer = await service.http.post("/introspect", data={"token": token}, headers=bearer(mine["access_token"]))
        assert_problem(answer, 401, "invalid_client")


async def test_inactive_says_nothing_else(service: Service, mine: dict[str, str], clock: Clock) -> None:
    """Every reason to be inactive is one answer: the same bytes and headers, 200."""
    _, elsewhere = await service.client("introspect", audience=("elsewhere",))
    revoked = await service.login()
    await service.http.post("/logout", headers=bearer(revoked["access_token"]))
    spent = await service.login()
    await service.refresh(spent["refresh_token"])
    answers = [await introspect(service, mine["access_token"], elsewhere)]
    answers.append(await introspect(service, mine["refresh_token"], service.admin))
    clock.forward(15 * 60)
    dead = [
        mine["access_token"],
        revoked["access_token"],
        revoked["refresh_token"],
        spent["access_token"],
        spent["refresh_token"],
        tokens.new(Kind.ACCESS).text,
        tokens.new(Kind.REFRESH, mine["session_id"]).text,
        service.admin[1],
        mine["session_id"],
        "x",
        "x" * 16384,
        "tok_é",
    ]
    answers += [await introspect(service, token, service.admin) for token in dead]
    clock.forward(31 * 86400)
    answers.append(await introspect(service, mine["refresh_token"], service.admin))
    for answer in answers:
        assert (answer.status_code, answer.content) == (200, INACTIVE)
        assert answer.headers == answers[0].headers
    assert answers[0].headers["cache-control"] == "no-store"


async def test_live_state(service: Service, mine: dict[str, str]) -> None:
    """Suspending, deleting and cutting off show in the very next answer; so does a new role."""
    sub = (await service.introspect(mine["access_token"]))["sub"]
    path = f"/admin/users/{sub}"
    await service.http.patch(path, json={"roles": ["owner"]}, auth=service.admin)
    assert (await service.introspect(mine["access_token"]))["roles"] == ["owner"]
    await service.http.patch(path, json={"status": "suspended"}, auth=service.admin)
    assert (await introspect(service, mine["access_token"], service.admin)).content == INACTIVE
    await service.http.patch(path, json={"status": "active"}, auth=service.admin)
    assert (await introspect(service, mine["access_token"], service.admin)).content == INACTIVE
    later = await service.login()
    assert await service.active(later["access_token"])
    await service.http.delete(path, auth=service.admin)
    assert (await introspect(service, later["access_token"], service.admin)).content == INACTIVE


async def test_active_has_the_fields_of_the_rfc(service: Service, mine: dict[str, str], clock: Clock) -> None:
    """An active token tells who, through which client, for what and until when, in the RFC's names and types."""
    told = await service.introspect(mine["access_token"])
    now = int(clock())
    assert told == {
        "active": True,
        "sub": told["sub"],
        "username": "ada",
        "client_id": "app",
        "scope": "orders:read",
        "token_type": "Bearer",
        "exp": now + 900,
        "iat": now,
        "iss": "http://127.0.0.1:8000",
        "roles": ["editor"],
        "session_id": mine["session_id"],
        "auth_time": now,
        "amr": ["pwd"],
        "acr": "aal1",
        "version": 1,
        "recheck_at": now + 900,
    }


async def test_how_to_ask(service: Service) -> None:
    """POST with a form that has a token; anything else is refused in the documented way."""
    for method in ("GET", "PUT", "DELETE", "PATCH", "HEAD"):
        answer = await service.http.request(method, "/introspect?token=x", auth=service.admin)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    answer = await service.http.post("/introspect", json={"token": "x"}, auth=service.admin)
    assert_problem(answer, 415, "unsupported_media_type")
    for form in ({}, {"token": ""}, {"token_type_hint": "access_token"}):
        answer = await service.http.post(
            "/introspect",
            content="&".join(f"{name}={value}" for name, value in form.items()),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            auth=service.admin,
        )
        assert_problem(answer, 400, "invalid_request")
    answer = await service.http.post("/introspect?token=x", data={"token": "x"}, auth=service.admin)
    assert_problem(answer, 400, "invalid_request")


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "x", "é", "a" * 300])
async def test_the_hint_is_only_a_hint(service: Service, mine: dict[str, str], hint: str) -> None:
    """An access token is found whatever the hint says, and no hint makes a refresh token active."""
    for token, active in ((mine["access_token"], True), (mine["refresh_token"], False)):
        form = {"token": token, "token_type_hint": hint}
        answer = await service.http.post("/introspect", data=form, auth=service.admin)
        assert answer.json()["active"] is active


async def test_a_client_hears_about_its_audience_only(service: Service) -> None:
    """A token for others is inactive to this client (CVE-2024-47077), in a batch too; without audience: all."""
    _, issuer = await service.client("issue", audience=("orders", "stock"))
    token = (await service.http.post("/tokens", json={"sub": "x"}, auth=issuer)).json()["access_token"]
    plain = (await service.http.post("/tokens", json={"sub": "x"}, auth=service.admin)).json()["access_token"]
    for audience, hears in (
        (("stock",), True),
        (("orders", "x"), True),
        ((), True),
        (("stoc",), False),
        (("x",), False),
    ):
        _, auth = await service.client("introspect", audience=audience)
        assert (await service.introspect(token, auth))["active"] is hears
        assert (await service.introspect(plain, auth))["active"] is (audience == ())
        batch = await service.http.post("/introspect/batch", json={"tokens": [plain, token, "x"]}, auth=auth)
        assert [one["active"] for one in batch.json()] == [audience == (), hears, False]


async def test_it_says_the_same_the_short_way_and_the_general_way(service: Service, mine: dict[str, str]) -> None:
    """A plain request and an unusual one, secret in the form or in the header, get the same bytes and headers."""
    for token in (mine["access_token"], mine["refresh_token"], "x", mine["access_token"][:-1]):
        short = await introspect(service, token, service.admin)
        odd = await service.http.post(
            "/introspect",
            content=f"token={token}&foo=bar",
            headers={"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8", "X-Request-ID": "same"},
            auth=service.admin,
        )
        in_form = {"token": token, "client_id": service.admin[0], "client_secret": service.admin[1]}
        posted = await service.http.post("/introspect", data=in_form, headers={"X-Request-ID": "same"})
        for other in (odd, posted):
            assert (other.status_code, other.content) == (200, short.content)
            assert dict(other.headers) == dict(short.headers)


async def test_an_outage_is_no_answer(service: Service, mine: dict[str, str], valkey: "redis.Redis") -> None:
    """Without the service record nobody can know: 503 with Retry-After, never active: false."""
    valkey.delete("service")
    for token in (mine["access_token"], tokens.new(Kind.ACCESS).text):
        answer = await introspect(service, token, service.admin)
        assert_problem(answer, 503, "temporarily_unavailable")
        assert int(answer.headers["retry-after"]) >= 1


@settings(
    max_examples=examples(80),
    deadline=None,
    derandomize=True,
    # The service stays the same from example to example on purpose: nothing that is asked changes it.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    text=st.one_of(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=80),
        st.text("0123456789ABCxyz", min_size=45, max_size=45).map(lambda tail: f"tok_{tail}"),
        st.integers(0, 48).map(lambda at: tokens.new(Kind.ACCESS).text[:at] + "/" + tokens.new(Kind.ACCESS).text[at:]),
    )
)
def test_any_string_introspects_as_inactive(text: str) -> None:
    """Any text that is no token is inactive without an error, and the store is not asked."""
    assert tokens.parse(text) is None


async def test_what_is_no_token_costs_one_read(service: Service, store_calls: StoreCalls) -> None:
    """For a string that is no token, the store is asked about the caller alone, once."""
    for text in ("x", "tok_" + "0" * 45, "x" * 16384, "é", "tok_{user}", "session:*"):
        store_calls.reset()
        answer = await introspect(service, text, service.admin)
        assert (answer.status_code, answer.content) == (200, INACTIVE)
        assert store_calls.made() == {"mget": 1}
