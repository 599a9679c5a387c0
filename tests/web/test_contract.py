"""The application against its own contract, by schemathesis: no 5xx, and no answer that the document doesn't know.

The requests are generated from the document, valid and invalid ones, the same in each run. They go through httpx to the
application, since schemathesis's own transport would start an event loop for each request and the store's connections
belong to one.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import pytest
import redis
import schemathesis
from hypothesis import HealthCheck, Phase, reject, settings
from schemathesis import Case, GenerationMode
from schemathesis.config import ChecksConfig, GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.config._checks import NegativeDataRejectionConfig
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from authsvc.api import openapi
from authsvc.app import build
from authsvc.composition import open_deps
from authsvc.flows import bootstrap, clients, users
from authsvc.flows.deps import OPERATOR
from authsvc.settings import Settings
from tests.conftest import CHEAP, PASSWORD, PATIENT, bearer, leaving_streams
from tests.selection import examples

pytestmark = pytest.mark.slow

CHECKS: list[Any] = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    allow_header_conformance,
]
EXAMPLES = examples(20)
BASE = "http://auth.test"
REFUSALS = ["400", "401", "403", "404", "405", "409", "413", "415", "429"]


def schema_of(document: dict[str, Any], *modes: GenerationMode) -> Any:
    project = ProjectConfig(
        generation=GenerationConfig(modes=list(modes)),
        checks=ChecksConfig(negative_data_rejection=NegativeDataRejectionConfig(expected_statuses=REFUSALS)),
    )
    config = SchemathesisConfig(projects=ProjectsConfig(default=project))
    return schemathesis.openapi.from_dict(document, config=config)


def checks_for(case: "Case[Any]", *more: Any) -> list[Any]:
    checks = [*CHECKS, *more]
    if negative_data_rejection in more:
        checks = [check for check in checks if check not in (allow_header_conformance, unsupported_method)]
    return checks


SCHEMA = schema_of(openapi.document(), GenerationMode.POSITIVE, GenerationMode.NEGATIVE)

FEW = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    # One request changes the store for the next, as in production.
    suppress_health_check=list(HealthCheck),
)


F = TypeVar("F", bound=Callable[..., Any])


def against(schema: Any) -> Callable[[F], F]:
    """A test for each operation of the schema."""
    decorate: Callable[[F], F] = schema.parametrize()
    return decorate


@dataclass
class Running:
    """The application with an admin client and a user, on an event loop of its own."""

    runner: asyncio.Runner
    http: httpx.AsyncClient
    admin: tuple[str, str]
    ids: dict[str, str]
    headers: dict[str, str] = field(default_factory=dict)
    calls: int = 0

    def send(
        self, case: "Case[Any]", *, as_admin: bool = False, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Send a case; every other one asks about what there is."""
        self.calls += 1
        if self.calls % 2 and case.path_parameters:
            case.path_parameters.update({name: self.ids[name] for name in case.path_parameters if name in self.ids})
        prepared = case.as_transport_kwargs(base_url=BASE)
        given = dict(prepared.get("headers") or {}) | (headers or {})
        for made_up in ("Authorization", "Cookie"):  # by schemathesis, for the document's security schemes
            if made_up not in (headers or {}):
                given.pop(made_up, None)
        try:
            request = httpx.Request(
                prepared["method"],
                prepared["url"],
                params=prepared.get("params"),
                json=prepared.get("json"),
                data=prepared.get("data") if isinstance(prepared.get("data"), dict) else None,
                content=prepared.get("data") if isinstance(prepared.get("data"), bytes | str) else None,
                headers=_plain(given),
            )
        except httpx.InvalidURL:  # over 64 KiB, which this client does not send
            reject()
        auth = httpx.BasicAuth(*self.admin) if as_admin else None
        return self.runner.run(self.http.send(request, auth=auth))


def _plain(headers: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    return [(str(name).encode("latin-1"), str(value).encode("latin-1", "replace")) for name, value in headers.items()]


@pytest.fixture
def running(valkey: "redis.Redis", valkey_url: str) -> Iterator[Running]:
    with asyncio.Runner() as runner:
        parts = open_deps(Settings(**CHEAP), valkey_url, timeouts=PATIENT)
        deps = runner.run(parts.__aenter__())
        try:
            runner.run(bootstrap.first_start(deps))
            permissions = ("admin", "introspect", "revoke", "issue", "vouch", "reset")
            client, secret = runner.run(clients.create(deps, OPERATOR, name="admin", permissions=permissions))
            other, _ = runner.run(clients.create(deps, OPERATOR, name="other", permissions=()))
            user, _ = runner.run(users.create(deps, OPERATOR, username="ada", password=PASSWORD))
            app = leaving_streams(build(deps))
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=("192.0.2.1", 50000))
            http = httpx.AsyncClient(transport=transport, base_url=BASE)
            login = runner.run(http.post("/login", json={"username": "ada", "password": PASSWORD})).json()
            ids = {"sub": user.sub, "client_id": other.client_id, "session_id": login["session_id"]}
            yield Running(runner, http, (client.client_id, secret or ""), ids, bearer(login["access_token"]))
            runner.run(http.aclose())
        finally:
            runner.run(parts.__aexit__(None, None, None))


@against(SCHEMA)
@FEW
def test_as_an_admin_client(case: "Case[Any]", running: Running) -> None:
    """And as a client that may do everything; a method that is not in the contract is 405 there."""
    answer = running.send(case, as_admin=True)
    case.validate_response(answer, checks=checks_for(case, unsupported_method))
