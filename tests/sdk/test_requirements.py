"""What a program gives to the parts for frameworks is checked when it is given, and not at the first request."""

from collections.abc import Callable
from typing import Any

import pytest
from authsvc_sdk import Active, AsyncIntrospector, AuthMiddleware, Introspector, authorized, demand
from authsvc_sdk.asgi import RefusalMiddleware
from authsvc_sdk.fastapi import BearerAuth
from authsvc_sdk.starlette import require
from django.test import Client, override_settings
from starlette.applications import Starlette

import tests.django_project  # noqa: F401 - before anything that reads the settings

ASYNC = AsyncIntrospector("http://127.0.0.1:9", "a", "b")
THREADS = Introspector("http://127.0.0.1:9", "a", "b")
USER = Active(sub="ada", client_id="app", session_id="7Hk2pQ9xV3bN", exp=20, iat=10)


def of_mcp(introspector: Any) -> object:
    pytest.importorskip("mcp", reason="the package mcp is missing: the extra sdk-tests")
    from authsvc_sdk.mcp import BearerVerifier

    return BearerVerifier(introspector)


def of_fastmcp(introspector: Any, **options: Any) -> object:
    pytest.importorskip("fastmcp", reason="the package fastmcp is missing: the extra sdk-tests")
    from authsvc_sdk.fastmcp import BearerAuth

    return BearerAuth(introspector, issuer_url="https://auth.example.org", base_url="http://127.0.0.1:9000", **options)


def of_flask(introspector: Any) -> object:
    flask = pytest.importorskip("flask", reason="Flask is missing: the extra sdk-tests")
    from authsvc_sdk.flask import Auth

    return Auth(flask.Flask(__name__), introspector)


PARTS: list[tuple[Callable[[Any], object], Any, Any]] = [
    (BearerAuth, ASYNC, THREADS),
    (lambda one: AuthMiddleware(Starlette(), one), ASYNC, THREADS),
    (lambda one: RefusalMiddleware(Starlette(), one), ASYNC, THREADS),
    (of_mcp, ASYNC, THREADS),
    (of_fastmcp, ASYNC, THREADS),
    (of_flask, THREADS, ASYNC),
]


@pytest.mark.parametrize(("part", "right", "wrong"), PARTS)
def test_the_introspector(part: Callable[[Any], object], right: Any, wrong: Any) -> None:
    """A part for asyncio refuses an introspector for threads, and the reverse. The message names the right class."""
    part(right)
    needed = type(right).__name__
    for given, shown in ((wrong, type(wrong).__name__), ("http://auth", "str"), (type(right), f"the class {needed}")):
        with pytest.raises(TypeError) as caught:
            part(given)
        told = f"introspector: has to be an {needed}(url, client_id, client_secret, ...) here, not {shown}"
        assert str(caught.value) == told


def test_an_introspector_of_a_test() -> None:
    """An object of the program's own that has `introspect` passes."""

    class Double:
        async def introspect(self, token: str) -> Active:
            return USER

    BearerAuth(Double())  # type: ignore[arg-type]  # that is the point


def of_flask_views(**demands: Any) -> object:
    pytest.importorskip("flask", reason="Flask is missing: the extra sdk-tests")
    from authsvc_sdk.flask import require

    return require(**demands)


def of_django(**demands: Any) -> object:
    from authsvc_sdk.django import require

    return require(**demands)


def of_rest_framework(**demands: Any) -> object:
    pytest.importorskip("rest_framework", reason="Django REST framework is missing: the extra sdk-tests")
    from authsvc_sdk.drf import require

    return require(**demands)


MAKERS: list[Callable[..., object]] = [
    BearerAuth(ASYNC).require,
    require,
    of_flask_views,
    of_django,
    of_rest_framework,
    lambda **demands: demand(USER, **demands),
    lambda **demands: authorized({"user": USER}, **demands),
]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"max_age_s": "3"}, "TypeError max_age_s: has to be a whole number of seconds, not '3'"),
    ({"max_age_s": 1.5}, "TypeError max_age_s: has to be a whole number of seconds, not 1.5"),
    ({"max_age_s": True}, "TypeError max_age_s: has to be a whole number of seconds, not True"),
    ({"max_age_s": -1}, "ValueError max_age_s: has to be 0 or more, not -1"),
    ({"role": ["editor"]}, "TypeError role: has to be the name of one role, not ['editor']"),
    ({"role": "editor admin"}, "ValueError role: has to be the name of one role, not 'editor admin'"),
    ({"role": ""}, "ValueError role: has to be the name of one role, not ''"),
    ({"scope": ["a"]}, "TypeError scope: has to be one text, with spaces between the scopes, not ['a']"),
    ({"scope": None}, "TypeError scope: has to be one text, with spaces between the scopes, not None"),
    ({"scope": 'a"b'}, "ValueError scope: has to be one text, with spaces between the scopes, not 'a\"b'"),
    ({"acr": "aal9"}, "ValueError acr: there is no level 'aal9'; the service gives 'aal1' and 'aal2'"),
    ({"acr": "AAL2"}, "ValueError acr: there is no level 'AAL2'; the service gives 'aal1' and 'aal2'"),
    ({"acr": 2}, "TypeError acr: has to be one level, such as 'aal2', not 2"),
    ({"acr": "aal1 aal2"}, "ValueError acr: has to be one level, such as 'aal2', not 'aal1 aal2'"),
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(("demands", "told"), WRONG, ids=[str(demands) for demands, _ in WRONG])
def test_demands_that_make_no_sense(make: Callable[..., object], demands: dict[str, Any], told: str) -> None:
    """A demand of a wrong type, and one that nobody can meet, is refused when it is made, with its value."""
    with pytest.raises((TypeError, ValueError)) as caught:
        make(**demands)
    assert f"{type(caught.value).__name__} {caught.value}" == told


@pytest.mark.parametrize("make", MAKERS[:5])
@pytest.mark.parametrize(
    "demands",
    [
        {},
        {"scope": "notes:read notes:write", "role": "editor", "acr": "aal2", "max_age_s": 0},
        {"scope": "", "role": None, "acr": None, "max_age_s": None},
        {"acr": "phr"},
        {"acr": "aal3"},
        {"acr": "urn:mace:incommon:iap:silver"},
    ],
    ids=str,
)
def test_demands(make: Callable[..., object], demands: dict[str, Any]) -> None:
    """All other demands are fine, those for a level of another vocabulary among them: a client may vouch for it."""
    make(**demands)


@pytest.mark.parametrize("make", [of_fastmcp, lambda introspector, **options: settings_of_mcp(introspector, **options)])
def test_scopes_of_an_mcp_server(make: Callable[..., object]) -> None:
    """The scopes of an MCP server are a list. Of a text, each letter would be a scope."""
    make(ASYNC, required_scopes=["notes"])
    with pytest.raises(TypeError, match="required_scopes: has to be a list of scopes, not 'notes'"):
        make(ASYNC, required_scopes="notes")


def settings_of_mcp(introspector: AsyncIntrospector, **options: Any) -> object:
    verifier: Any = of_mcp(introspector)
    return verifier.settings(issuer_url="https://auth.example.org", resource_url="http://127.0.0.1:9000/mcp", **options)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (ASYNC, "AUTHSVC: has to be a dict with url, client_id and client_secret, not AsyncIntrospector"),
        ({"url": "http://auth", "client_id": "a", "client_secret": "b", "optinal": True}, "optinal: not a setting"),
        ({"url": "http://auth", "client_id": "a"}, "client_secret"),
    ],
)
def test_settings_of_django(given: object, told: str) -> None:
    """Django's middleware refuses wrong settings when the project starts."""
    from authsvc_sdk.django import AuthMiddleware as DjangoMiddleware
    from authsvc_sdk.django import introspector

    with override_settings(AUTHSVC=given):
        introspector.cache_clear()
        with pytest.raises(TypeError, match=told):
            DjangoMiddleware(lambda request: pytest.fail("no request"))
        with pytest.raises(TypeError, match=told):
            Client().get("/notes")
