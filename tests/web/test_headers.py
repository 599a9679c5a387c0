"""Every answer has a request id and headers that keep it private, and every error has one shape."""

import re
from dataclasses import replace

import httpx
import pytest

from authsvc.api.routes import ROUTES
from authsvc.app import build
from authsvc.core.token import HANDLE_LENGTH
from authsvc.flows.deps import Deps
from tests.conftest import PASSWORD, Service, bearer
from tests.selection import one_in
from tests.web.conftest import assert_problem

PRIVATE = {
    "cache-control": "no-store",
    "pragma": "no-cache",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


@pytest.mark.parametrize("given", ["a", "A-1", "x" * 64, "0123456789abcdef", "-"])
async def test_a_fit_request_id_is_taken_over(service: Service, given: str) -> None:
    """An id of letters, digits and hyphens, up to 64, comes back and goes into the audit trail."""
    await service.user()
    headers = {"X-Request-ID": given}
    answer = await service.http.post("/login", json={"username": "ada", "password": PASSWORD}, headers=headers)
    assert answer.headers.get_list("x-request-id") == [given]
    trail = (await service.http.get("/admin/audit?limit=1", auth=service.admin)).json()["items"]
    assert trail[0]["event"] == "login.succeeded"
    assert trail[0]["request_id"] == given


@pytest.mark.parametrize(
    "given", [b"", b"x" * 65, b"a b", b"a_b", b"a\xff", b"a\tb", b"{}", b"a;b", b'a"', b"a.b", b"%0a"]
)
async def test_an_unfit_request_id_is_made_anew(service: Service, given: bytes) -> None:
    """Any other is replaced, so that nothing strange gets into headers and logs."""
    answer = await service.http.get("/healthz", headers=[(b"X-Request-ID", given)])
    (made,) = answer.headers.get_list("x-request-id")
    assert re.fullmatch(r"[A-Za-z0-9-]{8,64}", made)
    assert made.encode() != given


async def test_two_request_ids_are_none(service: Service) -> None:
    """Of two ids neither is taken."""
    answer = await service.http.get("/healthz", headers=[("X-Request-ID", "a1"), ("X-Request-ID", "b2")])
    (made,) = answer.headers.get_list("x-request-id")
    assert made not in ("a1", "b2")


async def test_made_request_ids_differ(service: Service) -> None:
    """Each request has an id of its own."""
    ids = {(await service.http.get("/healthz")).headers["x-request-id"] for _ in range(50)}
    assert len(ids) == 50


@pytest.mark.parametrize("method", one_in(4, ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"]))
async def test_every_answer_is_private(service: Service, method: str) -> None:
    """Success or error, found or not: every answer has the headers that keep it private, once each."""
    paths = [re.sub(r"\{\w+(:\w+)?\}", "x", route.path) for route in ROUTES]
    for path in [*paths, "/", "/nowhere", "/login/", "//", "/%00", "/%ff", "*"]:
        for auth in (("app", ""), service.admin):
            answer = await service.http.request(method, path, auth=auth)
            for name, value in PRIVATE.items():
                assert answer.headers.get_list(name) == [value]
            assert len(answer.headers.get_list("x-request-id")) == 1
            assert "server" not in answer.headers
            assert not any(name.startswith("access-control-") for name in answer.headers)


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT", "CONNECT", "BREW"])
async def test_other_methods(service: Service, method: str) -> None:
    """A path takes its own methods; any other is 405 in the one shape, and `Allow` names all that it takes."""
    methods: dict[str, set[str]] = {}
    for route in ROUTES:
        path = re.sub(r"\{\w+(:\w+)?\}", "x", route.path.replace("{factor_id}", "x" * HANDLE_LENGTH))
        head = {"HEAD"} if route.method == "GET" else set()
        methods.setdefault(path, set()).update({route.method, *route.also} | head)
    for path, allowed in methods.items():
        if method in allowed:
            continue
        answer = await service.http.request(method, path)
        assert_problem(answer, 405, "method_not_allowed")
        listed = set(answer.headers["allow"].split(", "))
        # Subjects in a path may have hidden another route behind them; none that is there is left out.
        assert allowed <= listed
        assert method not in listed


async def test_no_such_path(service: Service) -> None:
    """An unknown path is 404 in the one shape, for everybody."""
    for path in ("/nowhere", "/login/", "/admin", "/admin/", "/introspect/x", "/.env", "/%2e%2e/login", "/LOGIN"):
        for headers in ({}, bearer("x")):
            answer = await service.http.post(path, headers=headers)
            assert_problem(answer, 404, "not_found")


async def test_head_is_get_without_a_body(service: Service) -> None:
    """HEAD answers with the status and headers of GET."""
    await service.user()
    user = bearer((await service.login())["access_token"])
    for path in ("/healthz", "/readyz", "/openapi.yaml", "/.well-known/oauth-authorization-server", "/me", "/sessions"):
        headers = user | {"X-Request-ID": "same"}
        get, head = [await service.http.request(method, path, headers=headers) for method in ("GET", "HEAD")]
        assert (head.status_code, head.headers) == (200, get.headers)


async def test_the_contract_is_served(service: Service) -> None:
    """The service serves its own contract, as YAML."""
    answer = await service.http.get("/openapi.yaml")
    assert answer.headers["content-type"].startswith("application/yaml")
    assert answer.text.startswith("openapi: 3.1")


async def test_health(service: Service, valkey: object) -> None:
    """Alive says nothing about the store; ready does, without details."""
    assert (await service.http.get("/healthz")).json() == {"status": "ok"}
    assert (await service.http.get("/readyz")).json() == {"status": "ready"}
    valkey.delete("service")  # type: ignore[attr-defined]
    assert (await service.http.get("/healthz")).json() == {"status": "ok"}
    answer = await service.http.get("/readyz")
    assert_problem(answer, 503, "temporarily_unavailable")
    assert int(answer.headers["retry-after"]) >= 1


async def test_a_fault_of_ours_says_nothing(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault is 500 server_error in the one shape, without its reason, and the next call works."""

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the password was tok_secret in /srv/app.py line 7")

    monkeypatch.setattr("authsvc.web.account.sessions.list_active", broken)
    await service.user()
    headers = bearer((await service.login())["access_token"])
    answer = await service.http.get("/sessions", headers=headers)
    assert_problem(answer, 500, "server_error")
    assert answer.json()["error_description"] == "something went wrong here"
    assert "tok_secret" not in str(answer.headers)
    for name, value in PRIVATE.items():
        assert answer.headers.get_list(name) == [value]
    assert len(answer.headers.get_list("x-request-id")) == 1
    monkeypatch.undo()
    assert (await service.http.get("/sessions", headers=headers)).status_code == 200


async def test_a_route_has_its_own_header_policy(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of the table decides which header fields its answers have; other routes keep the private ones."""
    policy = {"Cache-Control": "max-age=60"}
    rows = [replace(row, headers=policy) if row.path == "/healthz" else row for row in ROUTES]
    monkeypatch.setattr("authsvc.app.ROUTES", tuple(rows))
    transport = httpx.ASGITransport(app=build(deps))
    async with httpx.AsyncClient(transport=transport, base_url="http://auth.test") as http:
        own, other = [await http.get(path) for path in ("/healthz", "/readyz")]
    assert own.headers["cache-control"] == "max-age=60"
    assert "pragma" not in own.headers
    assert len(own.headers.get_list("x-request-id")) == 1
    assert {name: other.headers[name] for name in PRIVATE} == PRIVATE
