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
    assert {answer.json()["error_description"] for answer in wrong} == {"client authentication failed"}
