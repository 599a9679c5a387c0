"""Django's middleware and the classes for Django REST framework, with the real frameworks and a real service."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from authsvc_sdk.django import introspector
from django.http import HttpResponse
from django.test import Client, override_settings

import tests.django_project  # noqa: F401 - before anything that reads the settings
from tests.conftest import bearer
from tests.e2e.conftest import free_port
from tests.processes import until
from tests.sdk.conftest import World

pytestmark = pytest.mark.slow

COOKIE = "__Host-session"


class Project:
    """The project with these settings for the SDK, and with these of Django."""

    def __init__(self, world: World, django: dict[str, Any] | None = None, **options: Any) -> None:
        client_id, secret = world.client
        given = {"url": world.server.url, "client_id": client_id, "client_secret": secret, "cache": False, **options}
        self._settings = override_settings(AUTHSVC=given, **django or {})

    def __enter__(self) -> Client:
        self._settings.enable()
        introspector.cache_clear()
        return Client(enforce_csrf_checks=True)

    def __exit__(self, *_: object) -> None:
        introspector().close()
        introspector.cache_clear()
        self._settings.disable()


@pytest.fixture
def client(world: World) -> Iterator[Client]:
    with Project(world) as made:
        yield made


def headers(token: str) -> dict[str, str]:
    return bearer(token)


def error(answer: HttpResponse) -> tuple[int, str]:
    return answer.status_code, json.loads(answer.content)["error"]


def test_requests_need_an_active_token(world: World, client: Client) -> None:
    """A request without an active token gets the challenge of the SDK, and others get their user."""
    world.user(roles=["editor"])
    token = world.token()
    without = client.get("/notes")
    assert (without.status_code, without.headers["WWW-Authenticate"]) == (401, 'Bearer realm="api"')
    assert client.get("/notes", headers=headers(token)).json() == {"owner": "ada"}
    assert client.get("/editors", headers=headers(token)).status_code == 200
    assert client.get("/async", headers=headers(token)).status_code == 200
    assert error(client.get("/admins", headers=headers(token))) == (403, "insufficient_scope")
    assert error(client.get("/strong", headers=headers(token))) == (401, "insufficient_user_authentication")
    assert error(client.get("/notes", headers={"Authorization": "Bearer a b"})) == (400, "invalid_request")
    world.revoke(token=token)
    assert error(client.get("/notes", headers=headers(token))) == (401, "invalid_token")


def test_an_outage_is_503(world: World) -> None:
    """Without the service the answer is 503 with `Retry-After`."""
    world.user()
    token = world.token()
    with Project(world, url=f"http://127.0.0.1:{free_port()}") as client:
        answer = client.get("/notes", headers=headers(token))
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_a_view_that_asks_by_itself(world: World, client: Client) -> None:
    """A view whose own exchange gets no answer is a 503 too."""
    world.user()
    answer = client.get("/exchange", headers=headers(world.token()))
    assert (answer.headers["Retry-After"], *error(answer)) == ("1", 503, "temporarily_unavailable")


def test_optional(world: World) -> None:
    """With `optional`, requests without a token pass, and a view that demands a user refuses them."""
    with Project(world, optional=True) as client:
        assert client.get("/notes").json() == {"owner": None}
        assert client.get("/editors").status_code == 401
        assert error(client.get("/notes", headers={"Authorization": "Bearer tok_x"})) == (401, "invalid_token")


def test_a_preflight_passes(client: Client) -> None:
    """A CORS preflight never carries a token, so it reaches the application."""
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "GET"}
    assert client.options("/notes", headers=asked).json() == {"owner": None}
    assert client.options("/notes", headers={"Origin": "https://shop.example"}).status_code == 401


def test_cross_site_requests(world: World) -> None:
    """Django checks a POST with the cookie for its CSRF token, and not one with a bearer token."""
    world.user()
    token = world.token()
    with Project(world, cookie=COOKIE) as client:
        assert client.post("/notes", headers=headers(token)).status_code == 200
        client.cookies[COOKIE] = token
        assert client.get("/notes").json() == {"owner": "ada"}
        assert client.post("/notes").status_code == 403
        assert error(client.get("/notes", headers=headers(token))) == (400, "invalid_request")
        assert error(client.get("/notes", headers={"Cookie": f"{COOKIE}=a; {COOKIE}=b"})) == (400, "invalid_request")


@pytest.fixture
def rest() -> dict[str, Any]:
    """Settings of a project that uses the authentication class and no middleware."""
    pytest.importorskip("rest_framework", reason="Django REST framework is missing: the extra sdk-tests")
    return {"MIDDLEWARE": []}


def test_an_outage_is_503_in_rest_framework(world: World, rest: dict[str, Any]) -> None:
    """Without the service the authentication class answers 503 with `Retry-After`."""
    world.user()
    token = world.token()
    with Project(world, rest, url=f"http://127.0.0.1:{free_port()}") as client:
        answer = client.get("/rest/notes", headers=headers(token))
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_rest_framework(world: World, rest: dict[str, Any]) -> None:
    """The authentication class sets user and auth, answers like the middleware, and permissions demand more."""
    sub = world.user(roles=["editor"])
    token = world.token()
    with Project(world, rest) as client:
        without = client.get("/rest/notes")
        assert (without.status_code, without.headers["WWW-Authenticate"]) == (401, 'Bearer realm="api"')
        assert client.get("/rest/notes", headers=headers(token)).json() == {"owner": "ada", "pk": sub, "acr": "aal1"}
        assert error(client.get("/rest/notes", headers={"Authorization": "Bearer a b"})) == (400, "invalid_request")
        assert client.get("/rest/editors", headers=headers(token)).status_code == 200
        strong = client.get("/rest/strong", headers=headers(token))
        assert error(strong) == (401, "insufficient_user_authentication")
        assert 'acr_values="aal2", max_age="300"' in strong.headers["WWW-Authenticate"]
        world.revoke(token=token)
        assert error(client.get("/rest/notes", headers=headers(token))) == (401, "invalid_token")


def test_a_cached_check(world: World) -> None:
    """The cache is on unless the settings say otherwise, and a revocation reaches it."""
    world.user()
    token = world.token()
    with Project(world, cache=True) as client:
        assert client.get("/notes", headers=headers(token)).status_code == 200
        world.revoke(token=token)
        until(lambda: client.get("/notes", headers=headers(token)).status_code == 401, 3)
