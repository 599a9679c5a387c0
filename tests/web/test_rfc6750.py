"""Bearer tokens as RFC 6750 and section B of the security list ask for them."""

import httpx
import pytest

from tests.conftest import Clock, Service, bearer
from tests.selection import one_in
from tests.web.conftest import StoreCalls, assert_problem, cookie

USER_CALLS = [
    ("GET", "/me"),
    ("GET", "/sessions"),
    ("DELETE", "/sessions"),
    ("DELETE", "/sessions/4fQ0kzPq1LxA"),
    ("POST", "/logout"),
    ("POST", "/password"),
]
ADMIN_CALLS = [
    ("GET", "/admin/users"),
    ("POST", "/admin/clients"),
    ("GET", "/admin/audit"),
    ("DELETE", "/admin/users/x"),
]


@pytest.fixture
async def token(service: Service) -> str:
    await service.user()
    return str((await service.login())["access_token"])


async def test_header_and_body(service: Service, token: str) -> None:
    """Only the header carries a token: one in a body is a field that no call takes, one in the URL is refused."""
    answer = await service.http.post("/password", json={"access_token": token})
    assert_problem(answer, 401, "invalid_token")
    answer = await service.http.post("/password", json={"access_token": token}, headers=bearer(token))
    assert_problem(answer, 400, "invalid_request")


@pytest.mark.parametrize(("method", "path"), USER_CALLS)
async def test_no_token_in_the_url(service: Service, token: str, method: str, path: str) -> None:
    """A token in the query is refused, also beside one in the header, and does nothing."""
    for headers in ({}, bearer(token)):
        answer = await service.http.request(method, path, params={"access_token": token}, headers=headers)
        assert_problem(answer, 400, "invalid_request")
    assert await service.active(token)


async def test_two_headers_or_two_ways(service: Service, token: str) -> None:
    """Two Authorization headers, or a bearer token and the cookie, are invalid_request, even if equal."""
    twice = [("Authorization", f"Bearer {token}")] * 2
    for method, path in USER_CALLS + ADMIN_CALLS:
        assert_problem(await service.http.request(method, path, headers=twice), 400, "invalid_request")
        both = bearer(token) | cookie(token)
        assert_problem(await service.http.request(method, path, headers=both), 400, "invalid_request")
    form = {"token": token}
    basic_and_bearer = httpx.Headers([*twice[:1], ("Authorization", "Basic YTpi")])
    answer = await service.http.post("/introspect", data=form, headers=basic_and_bearer)
    assert_problem(answer, 400, "invalid_request")
    assert await service.active(token)


@pytest.mark.parametrize(("method", "path"), USER_CALLS + ADMIN_CALLS)
async def test_without_credentials(service: Service, method: str, path: str) -> None:
    """A call without credentials gets 401 and a challenge that names no error."""
    answer = await service.http.request(method, path)
    assert_problem(answer, 401, "invalid_token")
    assert answer.headers["www-authenticate"] == 'Bearer realm="authsvc"'


@pytest.mark.parametrize(("method", "path"), USER_CALLS + ADMIN_CALLS)
async def test_a_dead_token(service: Service, token: str, clock: Clock, method: str, path: str) -> None:
    """Unknown, foreign, expired: one answer, 401 with error="invalid_token"."""
    refresh = (await service.login())["refresh_token"]
    clock.forward(15 * 60)
    answers = [
        await service.http.request(method, path, headers=bearer(wrong) | {"X-Request-ID": "same"})
        for wrong in (token, refresh, "x", "tok_" + "0" * 45, service.admin[1], token[:-1])
    ]
    for answer in answers:
        assert_problem(answer, 401, "invalid_token")
        assert answer.headers["www-authenticate"].startswith('Bearer realm="authsvc", error="invalid_token"')
    assert len({(answer.content, str(answer.headers)) for answer in answers}) == 1


@pytest.mark.parametrize(("method", "path"), ADMIN_CALLS)
async def test_too_little_power(service: Service, token: str, method: str, path: str) -> None:
    """A user who is no admin gets 403 insufficient_scope, with a challenge."""
    answer = await service.http.request(method, path, headers=bearer(token))
    assert_problem(answer, 403, "insufficient_scope")
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
async def test_the_scheme_is_case_insensitive(service: Service, token: str, scheme: str) -> None:
    """The name of the scheme may be in any case."""
    answer = await service.http.get("/me", headers={"Authorization": f"{scheme} {token}"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "template",
    one_in(
        3,
        [
            "Bearer\t%s",
            "Bearer %s,",
            "Bearer %s, Bearer %s",
            "Bearer %s %s",
            'Bearer "%s"',
            "Bearer",
            "Bearer ",
            "%s",
            "Token %s",
            "Bearer=%s",
            "Bearer %sé",
            "Bearer %s\u00a0",
            "Bearerx %s",
            "Bearer token=%s",
            "Bearer =",
        ],
    ),
)
async def test_what_is_no_bearer_token(service: Service, token: str, store_calls: StoreCalls, template: str) -> None:
    """Other spacing, quotes, commas, other characters: 400, without asking the store."""
    header = template.replace("%s", token).encode("latin-1")
    store_calls.reset()
    for path in ("/me", "/admin/users"):
        answer = await service.http.get(path, headers=[(b"Authorization", header)])
        assert_problem(answer, 400, "invalid_request")
    assert store_calls.made() == {}


@pytest.mark.parametrize("template", ["Bearer %s", "bearer   %s", "BEARER  %s ", " Bearer %s\t"])
async def test_spaces_of_a_bearer_token(service: Service, token: str, template: str) -> None:
    """One or more spaces follow the scheme (RFC 9110 section 11.4); white space around the value is no part of it."""
    answer = await service.http.get("/me", headers={"Authorization": template.replace("%s", token)})
    assert answer.status_code == 200


async def test_a_token_of_16_kib(service: Service, store_calls: StoreCalls) -> None:
    """A token that is far too long is invalid, and the store is not asked."""
    for text in ("x" * 16384, "tok_" + "0" * 16384, "/" * 16384 + "==="):
        assert_problem(await service.http.get("/me", headers=bearer(text)), 401, "invalid_token")
    assert store_calls.made() == {}


async def test_the_access_token_is_no_client_secret(service: Service, token: str) -> None:
    """A user's token opens no call that is for clients."""
    for path in ("/introspect", "/token"):
        answer = await service.http.post(path, data={"token": token, "grant_type": "x"}, headers=bearer(token))
        assert_problem(answer, 401, "invalid_client")
    assert_problem(await service.http.post("/tokens", json={"sub": "x"}, headers=bearer(token)), 401, "invalid_client")
    assert_problem(
        await service.http.post("/revoke", data={"token": token}, headers=bearer(token)), 403, "insufficient_scope"
    )
