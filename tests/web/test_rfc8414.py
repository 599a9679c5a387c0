"""Authorization server metadata as RFC 8414 and section B of the security list ask for it."""

import pytest

from authsvc.api.routes import ROUTES
from authsvc.api.schemas.requests import TOKEN_EXCHANGE
from authsvc.settings import Settings
from tests.conftest import CHEAP, Service

PATH = "/.well-known/oauth-authorization-server"


class TestAsConfigured:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(**CHEAP, issuer="https://auth.example.org/")

    async def test_metadata(self, service: Service) -> None:
        """JSON with the configured issuer, and all that a client needs to find."""
        answer = await service.http.get(PATH)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        told = answer.json()
        assert told["issuer"] == "https://auth.example.org"
        endpoints = {name: value for name, value in told.items() if name.endswith("_endpoint")}
        assert endpoints == {
            "token_endpoint": "https://auth.example.org/token",
            "introspection_endpoint": "https://auth.example.org/introspect",
            "revocation_endpoint": "https://auth.example.org/revoke",
        }
        paths = {route.path for route in ROUTES}
        assert all(value.removeprefix(told["issuer"]) in paths for value in endpoints.values())

    async def test_tokens_name_the_same_issuer(self, service: Service) -> None:
        """Introspection names the issuer of the metadata."""
        await service.user()
        told = await service.introspect((await service.login())["access_token"])
        assert told["iss"] == (await service.http.get(PATH)).json()["issuer"]


class TestAnIssuerWithAPath:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(**CHEAP, issuer="https://example.org/auth/v1/")

    async def test_metadata(self, service: Service) -> None:
        """The path of the issuer follows the well-known path (section 3.1), and no other path does."""
        answer = await service.http.get(f"{PATH}/auth/v1")
        assert answer.status_code == 200
        assert answer.json()["issuer"] == "https://example.org/auth/v1"
        assert (await service.http.get(PATH)).json() == answer.json()
        for other in ("/auth", "/auth/v1/x", "/AUTH/v1", "/auth/v1/", "//auth/v1"):
            assert (await service.http.get(PATH + other)).status_code == 404


async def test_an_issuer_without_a_path_has_one_address(service: Service) -> None:
    """Behind the well-known path there is nothing for an issuer that has no path."""
    assert (await service.http.get(PATH)).status_code == 200
    assert (await service.http.get(f"{PATH}/auth")).status_code == 404


async def test_the_root_says_what_this_is(service: Service) -> None:
    """`/` names the product and the contract in one line."""
    answer = await service.http.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert answer.text.count("\n") == 1
    assert "authsvc" in answer.text
    assert (await service.http.get("/openapi.yaml")).status_code == 200


async def test_what_is_supported_is_said(service: Service) -> None:
    """The grants are listed, since leaving them out would claim others; empty lists are left out but one.

    `response_types_supported` is required, and there is no authorization endpoint: it is empty.
    """
    told = (await service.http.get(PATH)).json()
    assert told["grant_types_supported"] == ["refresh_token", "client_credentials", TOKEN_EXCHANGE]
    assert told["response_types_supported"] == []
    assert [name for name, value in told.items() if value in ([], None, "")] == ["response_types_supported"]
    assert told["introspection_endpoint_auth_methods_supported"] == ["client_secret_basic", "client_secret_post"]
    for name in ("token", "revocation"):
        methods = told[f"{name}_endpoint_auth_methods_supported"]
        assert methods == ["client_secret_basic", "client_secret_post", "none"]
    assert "authorization_endpoint" not in told


@pytest.mark.parametrize(
    "path",
    [
        "/authorize",
        "/oauth/authorize",
        "/register",
        "/.well-known/openid-configuration",
        "/docs",
        "/metrics",
        "/openapi.json",
    ],
)
async def test_what_is_not_there_is_404(service: Service, path: str) -> None:
    """Authorization endpoint, registration, OpenID Connect, debugging pages and public metrics are all 404."""
    for method in ("GET", "POST"):
        answer = await service.http.request(method, path)
        assert answer.status_code == 404
        assert answer.json()["error"] == "not_found"
