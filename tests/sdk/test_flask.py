"""The protection of a Flask application, with a real service."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from authsvc_sdk import Introspector

from tests.conftest import bearer
from tests.e2e.conftest import free_port
from tests.sdk.conftest import World

flask = pytest.importorskip("flask", reason="Flask is missing: the extra sdk-tests")


@contextmanager
def calling(url: str, client: tuple[str, str], **options: Any) -> Iterator[Any]:
    """An HTTP client of an application that asks the service at this URL."""
    from authsvc_sdk.flask import Auth, require

    app = flask.Flask(__name__)
    introspector = Introspector(url, *client)

    def exchange() -> str:
        return introspector.exchange("tok_").token

    def notes() -> dict[str, Any]:
        return {"owner": flask.g.active.display_name if flask.g.active else None}

    @require(role="editor")
    def editors() -> dict[str, Any]:
        return {"editor": flask.g.active.sub}

    @require(acr="aal2")
    def strong() -> str:
        return "strong"

    app.add_url_rule("/notes", view_func=notes, methods=["GET", "OPTIONS"])
    app.add_url_rule("/editors", view_func=editors)
    app.add_url_rule("/strong", view_func=strong)
    app.add_url_rule("/exchange", view_func=exchange)
    with introspector:
        Auth(app, introspector, **options)
        yield app.test_client(use_cookies=False)


def test_requests_need_an_active_token(world: World) -> None:
    """A request without an active token gets the challenge of the SDK, and others get their user."""
    world.user()
    token = world.token()
    with calling(world.server.url, world.client) as http:
        without = http.get("/notes")
        assert (without.status_code, without.headers["WWW-Authenticate"]) == (401, 'Bearer realm="api"')
        assert http.get("/nowhere").status_code == 401
        assert http.get("/notes", headers=bearer(token)).json == {"owner": "ada"}
        assert http.get("/editors", headers=bearer(token)).json["error"] == "insufficient_scope"
        assert http.get("/strong", headers=bearer(token)).json["error"] == "insufficient_user_authentication"
        asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "GET"}
        assert http.options("/notes", headers=asked).json == {"owner": None}
        world.revoke(token=token)
        assert http.get("/notes", headers=bearer(token)).json["error"] == "invalid_token"


def test_an_outage_is_503(world: World) -> None:
    """Without the service the answer is 503 with `Retry-After`."""
    world.user()
    with calling(f"http://127.0.0.1:{free_port()}", world.client) as http:
        answer = http.get("/notes", headers=bearer(world.token()))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_a_view_that_asks_by_itself(world: World) -> None:
    """A view whose own exchange gets no answer is a 503 too."""
    world.user()
    with calling(world.server.url, world.client) as http:
        answer = http.get("/exchange", headers=bearer(world.token()))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json["error"] == "temporarily_unavailable"


def test_optional_and_cookie(world: World) -> None:
    """With `optional` requests without a token pass. A second cookie of the name is refused."""
    world.user()
    token = world.token()
    with calling(world.server.url, world.client, optional=True, cookie="session") as http:
        assert http.get("/notes").json == {"owner": None}
        assert http.get("/editors").status_code == 401
        assert http.get("/notes", headers={"Cookie": f"session={token}"}).json == {"owner": "ada"}
        assert http.get("/notes", headers={"Cookie": f"session={token}; session=b"}).status_code == 400
