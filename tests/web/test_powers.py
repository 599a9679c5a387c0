"""The roles of support and auditors: what they may not do to whom, and who may give these roles."""

import json
from typing import Any

import pytest

from authsvc.core.event import Entry, Event
from authsvc.errors import StartupError
from authsvc.settings import Settings
from tests.conftest import PASSWORD, Service, bearer
from tests.web.conftest import assert_problem

POWERFUL = ("admin", "support", "auditor")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.but(support_role="support", auditor_role="auditor")


async def newest_event(service: Service) -> Entry:
    (stored,), _ = await service.deps.store.audit.page(limit=1)
    return stored.entry


async def as_user(service: Service, name: str, *roles: str) -> dict[str, str]:
    await service.user(name, roles=roles)
    return bearer((await service.login(name))["access_token"])


@pytest.mark.parametrize("role", POWERFUL)
async def test_support_acts_on_nobody_with_power(service: Service, dump: Any, role: str) -> None:
    """Support may neither end sessions of a user with power over others, nor suspend, unlock or reset that user."""
    target = await service.user("boss", roles=(role,))
    session = (await service.login("boss"))["session_id"]
    headers = await as_user(service, "desk", "support")
    await service.deps.store.sessions.finish()
    before = dump()
    calls = [
        ("DELETE", f"/admin/users/{target.sub}/sessions"),
        ("DELETE", f"/admin/users/{target.sub}/keys"),
        ("DELETE", f"/admin/sessions/{session}"),
        *(("POST", f"/admin/users/{target.sub}/{act}") for act in ("suspend", "unlock", "reset-code")),
    ]
    for method, path in calls:
        assert_problem(await service.http.request(method, path, headers=headers), 403, "access_denied")
    assert dump() == before


async def test_support_helps_everybody_else(service: Service) -> None:
    """Support ends sessions of other users, makes reset codes, unlocks and suspends."""
    ada = await service.user()
    first, second = [await service.login() for _ in range(2)]
    headers = await as_user(service, "desk", "support")
    answer = await service.http.delete(f"/admin/sessions/{first['session_id']}", headers=headers)
    assert answer.status_code == 204
    assert not await service.active(first["access_token"])
    assert await service.active(second["access_token"])
    path = f"/admin/users/{ada.sub}"
    assert (await service.http.post(f"{path}/unlock", headers=headers)).status_code == 200
    code = (await service.http.post(f"{path}/reset-code", headers=headers)).json()["reset_code"]
    body = {"reset_code": code, "new_password": "four herons at dawn"}
    assert (await service.http.post("/password/reset", json=body)).status_code == 204
    suspended = await service.http.post(f"{path}/suspend", headers=headers)
    assert suspended.json()["status"] == "suspended"
    assert_problem(await service.http.post(f"{path}/reinstate", headers=headers), 403, "insufficient_scope")


async def test_a_code_of_support_is_void_once_the_user_has_power(service: Service) -> None:
    """A reset code that support made does not set the password of a user who got power over others since."""
    ada = await service.user()
    headers = await as_user(service, "desk", "support")
    code = (await service.http.post(f"/admin/users/{ada.sub}/reset-code", headers=headers)).json()["reset_code"]
    await service.http.patch(f"/admin/users/{ada.sub}", json={"roles": ["auditor"]}, auth=service.admin)
    body = {"reset_code": code, "new_password": "four herons at dawn"}
    assert_problem(await service.http.post("/password/reset", json=body), 400, "invalid_grant")


@pytest.mark.parametrize("role", POWERFUL)
async def test_an_issuing_client_gives_no_power(service: Service, role: str) -> None:
    """A client with `issue` can neither give a role with power nor speak for somebody who has it."""
    boss = await service.user("boss", roles=(role,))
    _, auth = await service.client("issue")
    for body in ({"sub": "x", "roles": [role]}, {"sub": boss.sub}):
        assert_problem(await service.http.post("/tokens", json=body, auth=auth), 403, "unauthorized_client")
    _, strong = await service.client("issue", "vouch", "admin")
    assert (await service.http.post("/tokens", json={"sub": boss.sub}, auth=strong)).status_code == 200


@pytest.mark.parametrize("role", POWERFUL)
async def test_a_help_desk_client_does_not_see_power(service: Service, role: str) -> None:
    """To a client with `reset`, users with power over others do not exist."""
    boss = await service.user("boss", roles=(role,))
    _, auth = await service.client("reset")
    found = await service.http.get("/admin/users?username=boss", auth=auth)
    assert found.json()["items"] == []
    assert_problem(await service.http.post(f"/admin/users/{boss.sub}/reset-code", auth=auth), 404, "not_found")


async def test_an_issued_token_of_support_has_no_power(service: Service) -> None:
    """A token that was issued before its user became support does not open calls of support."""
    _, auth = await service.client("issue")
    token = (await service.http.post("/tokens", json={"sub": "far|1"}, auth=auth)).json()["access_token"]
    await service.http.patch("/admin/users/far%7C1", json={"roles": ["support"]}, auth=service.admin)
    assert_problem(await service.http.get("/admin/users", headers=bearer(token)), 403, "insufficient_scope")


async def test_without_the_settings_the_roles_give_nothing(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of the roles mean nothing by themselves."""
    headers = await as_user(service, "desk", "support", "auditor")
    monkeypatch.setitem(service.deps.settings.__dict__, "support_role", None)
    monkeypatch.setitem(service.deps.settings.__dict__, "auditor_role", None)
    service.deps.settings.__dict__.pop("powers", None)
    assert_problem(await service.http.get("/admin/users", headers=headers), 403, "insufficient_scope")


@pytest.mark.parametrize(
    "roles", [{"support_role": "admin"}, {"support_role": "a", "auditor_role": "a"}, {"auditor_role": "two words"}]
)
def test_each_level_has_a_role_of_its_own(roles: dict[str, str]) -> None:
    """Settings that give one role two levels, or no role at all, stop the start."""
    with pytest.raises(StartupError):
        Settings().but(**roles)


COMMENT = "lost phone, ticket 4711"


async def test_each_act_takes_a_comment(service: Service) -> None:
    """The comment of an act stands in its event, and nowhere else."""
    ada = await service.user()
    session = (await service.login())["session_id"]
    client, _ = await service.client()
    user, of_client = f"/admin/users/{ada.sub}", f"/admin/clients/{client.client_id}"
    body = {"comment": COMMENT}
    calls: list[tuple[str, str, dict[str, Any] | None, Event]] = [
        ("POST", "/admin/users", {"username": "bob", "password": PASSWORD, **body}, Event.USER_CREATED),
        ("PATCH", user, {"roles": ["x"], **body}, Event.USER_CHANGED),
        ("POST", f"{user}/reset-code", body, Event.PASSWORD_RESET_CODE),
        ("DELETE", f"/admin/sessions/{session}", None, Event.SESSION_ENDED),
        ("DELETE", f"{user}/sessions", None, Event.USER_CUT_OFF),
        ("DELETE", f"{user}/factors", None, Event.USER_CUT_OFF),
        ("POST", f"{user}/suspend", body, Event.USER_SUSPENDED),
        ("POST", f"{user}/reinstate", body, Event.USER_REINSTATED),
        ("POST", f"{user}/unlock", body, Event.USER_UNLOCKED),
        ("DELETE", user, None, Event.USER_DELETED),
        ("POST", "/admin/clients", {"name": "new", **body}, Event.CLIENT_CREATED),
        ("PATCH", of_client, {"name": "other", **body}, Event.CLIENT_CHANGED),
        ("POST", f"{of_client}/secret", body, Event.CLIENT_SECRET_ROTATED),
        ("DELETE", of_client, None, Event.CLIENT_DELETED),
    ]
    for method, path, sent, event in calls:
        where = path if sent is not None else f"{path}?comment={COMMENT}"
        answer = await service.http.request(method, where, json=sent, auth=service.admin)
        assert answer.is_success, (path, answer.text)
        newest = await newest_event(service)
        assert (newest.event, newest.comment) == (event, COMMENT), path
    revoked = await service.http.post("/revoke", data={"all": "true", "comment": COMMENT}, auth=service.admin)
    assert revoked.status_code == 200
    assert (await newest_event(service)).comment == COMMENT


@pytest.mark.parametrize("comment", ["", "x" * 501, "two\nlines", "\ud800", "it was tok_4fQ0kzPq1LxA", 5])
async def test_a_comment_is_one_line_without_a_token(service: Service, comment: object) -> None:
    """A comment that is too long, has control characters or holds a token is refused, and changes nothing."""
    ada = await service.user()
    body, headers = json.dumps({"comment": comment}), {"Content-Type": "application/json"}
    path = f"/admin/users/{ada.sub}/suspend"
    answer = await service.http.post(path, content=body, headers=headers, auth=service.admin)
    assert_problem(answer, 400, "invalid_request")
    assert (await service.deps.store.users.get(ada.sub)).status == "active"
