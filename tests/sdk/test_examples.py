"""The examples work as they are shipped, in processes of their own, with a real service."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from authsvc.core import token as tokens
from examples.mobile_client import LoggedOut, Session, main
from tests.conftest import bearer
from tests.e2e.conftest import PASSWORD, free_port
from tests.processes import until
from tests.sdk.conftest import World

ROOT = Path(__file__).parent.parent.parent
Start = Callable[..., httpx.Client]


@pytest.fixture
def start(world: World, tmp_path: Path) -> Iterator[Start]:
    """Runs an example until the end of the test and returns an HTTP client for it. `{port}` stands for its port."""
    running: list[subprocess.Popen[bytes]] = []
    clients: list[httpx.Client] = []

    def begin(*arguments: str) -> httpx.Client:
        port = str(free_port())
        environment = os.environ | {
            "AUTH_URL": world.server.url,
            "AUTH_CLIENT_ID": world.client[0],
            "AUTH_CLIENT_SECRET": world.client[1],
            "PYTHONWARNINGS": "ignore",  # warnings of the frameworks
        }
        command = [sys.executable, "-m", *(argument.format(port=port) for argument in arguments)]
        with (tmp_path / "example.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        running.append(process)
        http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10)
        clients.append(http)

        def answers() -> bool:
            assert process.poll() is None, (tmp_path / "example.log").read_text()
            try:
                return http.get("/").status_code in (401, 404)
            except httpx.TransportError:
                return False

        until(answers, 30)
        return http

    yield begin
    for http in clients:
        http.close()
    for process in running:
        process.terminate()
        process.wait(20)


def dies_within(api: httpx.Client, path: str, token: str, seconds: float) -> None:
    """Poll until the revoked token is refused, for at most the bound of the cache."""
    until(lambda: api.get(path, headers=bearer(token)).status_code == 401, seconds)


UVICORN = ("uvicorn", "--log-level", "warning", "--port", "{port}")


def test_fastapi(world: World, start: Start) -> None:
    """FastAPI: requests need a token, one route returns its user, another needs a role."""
    api = start(*UVICORN, "examples.fastapi_app:app")
    sub = world.user()
    token = world.token()
    assert api.get("/notes").status_code == 401
    assert api.get("/nowhere").status_code == 401
    assert api.get("/notes", headers=bearer(token)).json() == {"owner": "ada"}
    assert api.delete("/notes", headers=bearer(token)).status_code == 403
    path = f"/admin/users/{sub}"
    world.http.patch(path, json={"roles": ["editor"]}, auth=world.server.admin).raise_for_status()
    until(lambda: api.delete("/notes", headers=bearer(token)).status_code == 200, 2)
    world.revoke(token=token)
    dies_within(api, "/notes", token, 2)


def test_fastapi_takes_few_lines() -> None:
    """Protecting an existing application takes fewer than ten lines."""
    text = (ROOT / "examples" / "fastapi_app.py").read_text().partition('"""\n')[2].partition('"""\n')[2]
    marked = [line for line in text.splitlines() if "# (+)" in line]
    assert len(marked) + 2 < 10  # the call that makes the introspector has two more lines


@pytest.mark.slow
def test_plain_asgi(world: World, start: Start) -> None:
    """Plain ASGI: requests need a token, and one route needs a role."""
    api = start(*UVICORN, "examples.asgi_app:app")
    sub = world.user()
    token = world.token()
    assert api.get("/").status_code == 401
    assert api.get("/", headers=bearer(token)).json() == {"sub": sub, "roles": []}
    assert api.get("/editors", headers=bearer(token)).status_code == 403
    world.revoke(token=token)
    dies_within(api, "/", token, 2)


@pytest.mark.slow
def test_django(world: World, start: Start) -> None:
    """Django: requests need a token, one route needs a role, and an outage is a 503."""
    api = start("examples.django_app", "runserver", "--noreload", "{port}")
    world.user()
    token = world.token()
    assert api.get("/notes").status_code == 401
    assert api.get("/notes").headers["WWW-Authenticate"] == 'Bearer realm="api"'
    assert api.get("/notes", headers=bearer(token)).json() == {"owner": "ada"}
    refused = api.get("/editors", headers=bearer(token))
    assert (refused.status_code, refused.json()["error"]) == (403, "insufficient_scope")
    world.revoke(token=token)
    dies_within(api, "/notes", token, 2)
    world.server.kill()
    outage = api.get("/notes", headers=bearer(token))
    assert outage.status_code in (401, 503)  # 401 if the refusal is cached
    other = api.get("/notes", headers=bearer(tokens.new(tokens.Kind.ACCESS).text))
    assert (other.status_code, other.headers["Retry-After"]) == (503, "1")


class Lossy(httpx.HTTPTransport):
    """A network that loses the first `lost` answers of /token."""

    lost = 1

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        if request.url.path == "/token" and self.lost:
            self.lost -= 1
            response.close()
            raise httpx.ReadError("lost")
        return response


def test_the_mobile_client_survives_a_lost_answer(world: World) -> None:
    """The client repeats a refresh whose answer was lost, gets the same pair, and its session goes on."""
    world.user()
    with httpx.Client(base_url=world.server.url, transport=Lossy()) as http:
        session = Session.begin(http, "ada", PASSWORD)
        session.refresh()
        token = session.access_token()
        assert http.get("/me", headers=bearer(token)).json()["username"] == "ada"
        session.refresh()
        latest = session.access_token()
        assert latest != token
        session.end()
        assert http.get("/me", headers=bearer(latest)).status_code == 401
        session._refresh = "ref_x"
        with pytest.raises(LoggedOut):
            session.refresh()


def test_the_mobile_client_logs_out_with_an_expired_access_token(world: World) -> None:
    """Logging out ends the session on the server, also when the access token has expired."""
    sub = world.user()
    body = {"name": "a phone's", "public": True, "access_ttl_s": 1}
    made = world.http.post("/admin/clients", json=body, auth=world.server.admin).raise_for_status()
    client_id = made.json()["client_id"]
    with httpx.Client(base_url=world.server.url) as http:
        session = Session.begin(http, "ada", PASSWORD, client_id)
        until(lambda: http.get("/me", headers=bearer(session._access)).status_code == 401)
        kept = session._refresh
        session.end()
        listed = world.http.get(f"/admin/users/{sub}/sessions", auth=world.server.admin).raise_for_status()
        assert listed.json()["items"] == []
        session._refresh = kept
        with pytest.raises(LoggedOut):
            session.refresh()


def test_the_mobile_client_as_a_program(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """As a program, the client logs in, refreshes and logs out."""
    world.user()
    main(world.server.url, "ada", PASSWORD)
    assert capsys.readouterr().out.splitlines() == ["logged in as ada", "refreshed", "logged out"]
