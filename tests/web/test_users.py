"""Finding a user by name, how long a reset code lives, and labels of issued tokens."""

from typing import Any

import pytest

from tests.conftest import PASSWORD, Clock, Service
from tests.web.conftest import assert_problem

WEEK_S = 7 * 86400


@pytest.mark.parametrize("asked", ["Ada", "ADA", "ada", "\uff21da"])
async def test_a_user_is_found_by_name(service: Service, asked: str) -> None:
    """`?username=` finds the user whose canonical name it is, and nobody whose name only begins with it."""
    ada = await service.user("Ada")
    await service.user("adam")
    answer = await service.http.get("/admin/users", params={"username": asked}, auth=service.admin)
    assert answer.status_code == 200
    assert answer.json()["next"] is None
    (found,) = answer.json()["items"]
    assert (found["sub"], found["username"]) == (ada.sub, "Ada")


@pytest.mark.parametrize("asked", ["ad", "ada*", "grace", "a b", "x" * 500, "login:ada", "*"])
async def test_a_name_that_nobody_has(service: Service, asked: str) -> None:
    """A name that nobody has, or can have, finds nobody."""
    await service.user("ada")
    answer = await service.http.get("/admin/users", params={"username": asked}, auth=service.admin)
    assert (answer.status_code, answer.json()) == (200, {"items": [], "next": None})


async def test_a_renamed_user_is_found_by_the_new_name_only(service: Service) -> None:
    """The name that counts is the present one."""
    ada = await service.user("ada")
    await service.http.patch(f"/admin/users/{ada.sub}", json={"username": "grace"}, auth=service.admin)
    for name, subs in (("ada", []), ("grace", [ada.sub])):
        answer = await service.http.get("/admin/users", params={"username": name}, auth=service.admin)
        assert [user["sub"] for user in answer.json()["items"]] == subs


@pytest.mark.parametrize("query", ["username=", "username=ada&username=bea", "username=ada&cursor=x", "user=ada"])
async def test_a_filter_that_is_no_filter_is_refused(service: Service, query: str) -> None:
    """A filter is never ignored: all users are listed only for a query without one."""
    await service.user("ada")
    answer = await service.http.get(f"/admin/users?{query}", auth=service.admin)
    assert_problem(answer, 400, "invalid_request")


async def test_a_help_desk_finds_users(service: Service) -> None:
    """A client with `reset` finds a user by name and makes a code. It lists nobody, and no admin exists for it."""
    ada = await service.user("ada")
    await service.user("root", roles=("admin",))
    _, desk = await service.client("reset")
    found = await service.http.get("/admin/users", params={"username": "ada"}, auth=desk)
    (user,) = found.json()["items"]
    made = await service.http.post(f"/admin/users/{user['sub']}/reset-code", auth=desk)
    assert (user["sub"], made.status_code) == (ada.sub, 201)
    hidden = await service.http.get("/admin/users", params={"username": "root"}, auth=desk)
    assert hidden.json() == {"items": [], "next": None}
    assert_problem(await service.http.get("/admin/users", auth=desk), 403, "unauthorized_client")
    _, other = await service.client("introspect", "issue", "revoke")
    refused = await service.http.get("/admin/users", params={"username": "ada"}, auth=other)
    assert_problem(refused, 403, "unauthorized_client")


async def reset(service: Service, code: str) -> int:
    body = {"reset_code": code, "new_password": "four herons at dawn"}
    return (await service.http.post("/password/reset", json=body)).status_code


@pytest.mark.parametrize("life_s", [60, 3600, WEEK_S])
@pytest.mark.parametrize("invited", [True, False])
async def test_a_code_lives_as_long_as_asked(service: Service, clock: Clock, life_s: int, invited: bool) -> None:
    """`expires_in` is how long a code works, for an invitation and for a reset. The answer repeats it."""
    codes = []
    for name in ("ada", "bea"):
        body: dict[str, Any] = {"username": name, "expires_in": life_s}
        if not invited:
            body |= {"password": PASSWORD}
            del body["expires_in"]
        made = (await service.http.post("/admin/users", json=body, auth=service.admin)).json()
        if not invited:
            path = f"/admin/users/{made['sub']}/reset-code"
            made = (await service.http.post(path, json={"expires_in": life_s}, auth=service.admin)).json()
        assert made["expires_in"] == life_s
        codes.append(made["reset_code"])
    clock.forward(life_s - 1)
    assert await reset(service, codes[0]) == 204
    clock.forward(1)
    assert await reset(service, codes[1]) == 400


async def test_a_code_without_a_wish(service: Service) -> None:
    """Without `expires_in` the setting counts, with a body and without one."""
    ada = await service.user("ada")
    path = f"/admin/users/{ada.sub}/reset-code"
    for body in (None, {}, {"expires_in": None}):
        made = await service.http.post(path, json=body, auth=service.admin)
        assert made.json()["expires_in"] == service.deps.settings.reset_code_ttl_s
    invited = await service.http.post("/admin/users", json={"username": "bea"}, auth=service.admin)
    assert invited.json()["expires_in"] == service.deps.settings.reset_code_ttl_s


@pytest.mark.parametrize("life_s", [0, 59, -1, WEEK_S + 1, "3600", 60.5, True])
async def test_a_life_that_is_refused(service: Service, life_s: object) -> None:
    """A lifetime out of bounds is refused, and never ignored."""
    ada = await service.user("ada")
    for path, body in ((f"/admin/users/{ada.sub}/reset-code", {}), ("/admin/users", {"username": "bea"})):
        answer = await service.http.post(path, json={**body, "expires_in": life_s}, auth=service.admin)
        assert_problem(answer, 400, "invalid_request")


async def test_a_life_of_no_code_is_refused(service: Service) -> None:
    """With a password there is no code, so `expires_in` is refused; so are an unlisted field and another type."""
    body = {"username": "bea", "password": PASSWORD, "expires_in": 3600}
    assert_problem(await service.http.post("/admin/users", json=body, auth=service.admin), 400, "invalid_request")
    ada = await service.user("ada")
    path = f"/admin/users/{ada.sub}/reset-code"
    assert_problem(await service.http.post(path, json={"ttl": 60}, auth=service.admin), 400, "invalid_request")
    sent = await service.http.post(path, data={"expires_in": "60"}, auth=service.admin)
    assert sent.status_code in (400, 415)


async def test_an_issued_token_has_a_label(service: Service) -> None:
    """`device` of `POST /tokens` is in the list of sessions, as that of a login is."""
    _, issuer = await service.client("issue")
    for label in ("nightly report", None):
        body = {"sub": "ext-1"} | ({} if label is None else {"device": label})
        assert (await service.http.post("/tokens", json=body, auth=issuer)).status_code == 200
    listed = await service.http.get("/admin/users/ext-1/sessions", auth=service.admin)
    assert {one["device"] for one in listed.json()["items"]} == {"nightly report", None}
    refused = await service.http.post("/tokens", json={"sub": "ext-1", "device": "two\nlines"}, auth=issuer)
    assert_problem(refused, 400, "invalid_request")
