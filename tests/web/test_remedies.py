"""Errors that developers meet first say what is wrong, with which field, and what to send instead."""

import pytest

from tests.conftest import Service
from tests.web.conftest import assert_problem

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"user_name": "ada"}, "user_name: an unknown field, did you mean username?; known are username, "),
        ({"colour": 1}, "colour: an unknown field; known are username, "),
        ({"Username": "ada"}, "an unknown field, did you mean username?; known are username, "),
        ({"hunter2": 1}, "an unknown field; known are username, "),
    ],
)
async def test_an_unknown_field(service: Service, body: dict[str, object], told: str) -> None:
    """It is named if its name looks like one, with the known field that is like it. Other texts are not repeated."""
    answer = await service.http.post("/login", json={"username": "ada", "password": "x"} | body)
    assert_problem(answer, 400, "invalid_request")
    assert answer.json()["error_description"].startswith(told)


@pytest.mark.parametrize("path", ["/login", "/admin/users"])
async def test_a_form_where_json_belongs(service: Service, path: str) -> None:
    """The description says so, by the content type and by the body."""
    by_type = await service.http.post(path, data={"username": "ada"}, auth=service.admin)
    assert_problem(by_type, 415, "unsupported_media_type")
    told = by_type.json()["error_description"]
    assert told == f"the body was sent as a form, and this call takes JSON: send it with Content-Type: {JSON}"
    headers = {"Content-Type": JSON}
    by_body = await service.http.post(path, content=b"username=ada", headers=headers, auth=service.admin)
    assert_problem(by_body, 400, "invalid_request")
    assert by_body.json()["error_description"] == "the body looks like a form, and this call takes a JSON object"


@pytest.mark.parametrize("path", ["/introspect", "/token", "/revoke"])
async def test_json_where_a_form_belongs(service: Service, path: str) -> None:
    """The description says so, by the content type and by the body."""
    by_type = await service.http.post(path, json={"token": "x"}, auth=service.admin)
    assert_problem(by_type, 415, "unsupported_media_type")
    told = by_type.json()["error_description"]
    assert told == f"the body was sent as JSON, and this call takes a form: send it with Content-Type: {FORM}"
    headers = {"Content-Type": FORM}
    by_body = await service.http.post(path, content=b'{"token": "x"}', headers=headers, auth=service.admin)
    assert_problem(by_body, 400, "invalid_request")
    told = "the body looks like JSON, and this call takes a form: name=value&name=value"
    assert by_body.json()["error_description"] == told


async def test_another_method(service: Service) -> None:
    """The description names the methods of the path, as `Allow` does."""
    answer = await service.http.put("/sessions")
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.json()["error_description"] == f"this path takes {answer.headers['allow']}"
    assert answer.headers["allow"] == "DELETE, GET, HEAD"


async def test_no_credentials(service: Service) -> None:
    """Who sent none is told how to send them. Wrong ones are not told apart from unknown ones."""
    introspect = await service.http.post("/introspect", data={"token": "x"})
    assert_problem(introspect, 401, "invalid_client")
    assert "no client credentials were sent: send client_id and client_secret" in introspect.text
    admin = await service.http.get("/admin/users")
    assert_problem(admin, 401, "invalid_token")
    assert "HTTP Basic" in admin.text
    me = await service.http.get("/me")
    assert_problem(me, 401, "invalid_token")
    assert "Authorization: Bearer" in me.text
    wrong = [
        await service.http.post("/introspect", data={"token": "x"}, auth=credentials)
        for credentials in ((service.admin[0], "wrong"), ("nobody", "wrong"))
    ]
    assert {answer.json()["error_description"] for answer in wrong} == {
        "no client has this id and secret: check both; a rotated secret ends after its overlap"
    }


async def test_a_client_that_sends_no_secret(service: Service) -> None:
    """An unknown id and the id of a client with a secret get one answer, which says to send the secret."""
    for client_id in (service.admin[0], "nobody"):
        answer = await service.http.post("/introspect", data={"token": "x", "client_id": client_id})
        assert_problem(answer, 401, "invalid_client")
        told = "no public client has this id, and no secret was sent: any other client sends its secret too"
        assert answer.json()["error_description"] == told


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            {"user": "ada", "password": "x"},
            "username: required; user: an unknown field, did you mean username?; known are",
        ),
        ({"username": "ada", "hunter2": 1}, "password: required; an unknown field; known are username, "),
        ({"username": "ada"}, "password: required"),
        ({"username": None, "password": "x"}, "username: must be a string"),
        ({"username": "ada", "password": "x", "cookie": "yes"}, "cookie: must be true or false"),
    ],
)
async def test_a_missing_field(service: Service, body: dict[str, object], told: str) -> None:
    """It is named, with an unknown field that may stand for it, in the words that the flows use too."""
    answer = await service.http.post("/login", json=body)
    assert_problem(answer, 400, "invalid_request")
    assert answer.json()["error_description"].startswith(told)
    refresh = await service.http.post("/token", data={"grant_type": "refresh_token", "client_id": "app"})
    assert refresh.json()["error_description"] == "refresh_token: required"


async def test_other_types(service: Service) -> None:
    """The types of JSON have the names that JSON gives them."""
    for body, told in (
        ({"username": "x", "roles": "editor"}, "roles: must be an array"),
        ({"username": "x", "claims": []}, "claims: must be an object"),
        ({"username": "x", "expires_in": "1h"}, "expires_in: must be a whole number"),
    ):
        answer = await service.http.post("/admin/users", json=body, auth=service.admin)
        assert_problem(answer, 400, "invalid_request")
        assert answer.json()["error_description"] == told
    answer = await service.http.post("/login", content=b"[]", headers={"Content-Type": JSON})
    assert_problem(answer, 400, "invalid_request")
    assert answer.json()["error_description"].startswith("the body: must be an object")


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("token=x&scope=a&scope=b", "scope is given twice"),
        ("token=x&tOk3n=a&tOk3n=b", "a field is given twice"),
        ("token=x&scope=%00", "scope contains NUL"),
    ],
)
async def test_a_field_of_a_form(service: Service, form: str, told: str) -> None:
    """A field that is given twice is named, if its name looks like one."""
    answer = await service.http.post("/introspect", content=form, headers={"Content-Type": FORM}, auth=service.admin)
    assert_problem(answer, 400, "invalid_request")
    assert answer.json()["error_description"] == told


async def test_a_token_without_its_scheme(service: Service) -> None:
    """The description says what to write before the token."""
    for header in ("tok_x", "Token tok_x", "Basic YTpi"):
        answer = await service.http.get("/me", headers={"Authorization": header})
        assert_problem(answer, 400, "invalid_request")
        told = "Authorization: not a bearer token: write Bearer and a space before the token, and nothing after it"
        assert answer.json()["error_description"] == told


@pytest.mark.parametrize("path", ["/login/", "/admin/users/", "/admin/users/ada/", "/introspect/batch/"])
async def test_a_slash_at_the_end(service: Service, path: str) -> None:
    """A path that exists without the slash is a 404 that says so. Other paths are not."""
    answer = await service.http.post(path, json={})
    assert_problem(answer, 404, "not_found")
    assert answer.json()["error_description"] == "there is no such path; leave out the slash at its end"
    for other in ("/nowhere", "/nowhere/", "/login//", "/login/x"):
        answer = await service.http.get(other)
        assert_problem(answer, 404, "not_found")
        assert answer.json()["error_description"] == "there is no such path; /openapi.yaml lists those there are"


async def test_a_permission_that_is_missing(service: Service) -> None:
    """The description names the permission that the call takes."""
    _, client = await service.client()
    code = "/admin/users/x/reset-code"
    for answer, told in (
        (await service.http.get("/admin/users", auth=client), "do that: it takes the permission admin"),
        (await service.http.post(code, auth=client), "do that: it takes the permission reset or admin"),
        (
            await service.http.post("/introspect", data={"token": "x"}, auth=client),
            "introspect: it takes the permission introspect",
        ),
        (
            await service.http.post("/tokens", json={"sub": "x"}, auth=client),
            "issue tokens: it takes the permission issue",
        ),
        (await service.http.get("/events", auth=client), "introspect: it takes the permission introspect"),
    ):
        assert_problem(answer, 403, "unauthorized_client")
        assert answer.json()["error_description"] == f"this client may not {told}"


async def test_too_much_scope(service: Service) -> None:
    """The description names the scopes that may not be granted, and a scope that is reserved."""
    _, client = await service.client("token", scope="b")
    for scope, told in (
        ("orders:read b", "the requested scope exceeds what may be granted: orders:read"),
        ("a orders:read a", "the requested scope exceeds what may be granted: a orders:read"),
        ("a admin", "this scope is reserved: admin"),
    ):
        form = {"grant_type": "client_credentials", "scope": scope}
        answer = await service.http.post("/token", data=form, auth=client)
        assert_problem(answer, 400, "invalid_scope")
        assert answer.json()["error_description"] == told
