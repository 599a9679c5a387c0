"""Permissions: every route for every kind of caller, made from the table of routes."""

from typing import Any

import httpx
import pytest

from authsvc.api.route import Route
from authsvc.api.routes import ROUTES
from authsvc.core.powers import Level, reaches
from authsvc.core.token import HANDLE_LENGTH
from authsvc.settings import Settings
from tests.authenticators import Authenticator
from tests.conftest import PASSWORD, Service, bearer
from tests.selection import one_in
from tests.web.conftest import assert_problem, cookie, login_by_cookie

PERMISSIONS = ("introspect", "revoke", "issue", "vouch", "reset", "client_ip", "token", "admin")
CALLERS = (
    "anonymous",
    "public client",
    "user",
    "user by cookie",
    "admin user",
    "admin by cookie",
    "support user",
    "support by cookie",
    "auditor user",
    "client",
    *PERMISSIONS,
)
# The level of power that each kind of user has.
LEVELS: dict[str, Level] = {
    "admin user": "admin",
    "admin by cookie": "admin",
    "support user": "support",
    "support by cookie": "support",
    "auditor user": "auditor",
}
USERS = {"user", "user by cookie", "support user", "support by cookie", "auditor user"}
ADMIN_USERS = {"admin user", "admin by cookie"}
CLIENTS = {"client", *PERMISSIONS}
BY_BEARER = {"user", "admin user", "support user", "auditor user"}

# The least power that each call of admins takes. It is written down here once more: a row that gives more away fails.
READING: Level = "auditor"
LEAST: dict[str, Level] = {
    "GET /admin/users": READING,
    "GET /admin/users/{sub}": READING,
    "GET /admin/users/{sub}/sessions": READING,
    "GET /admin/users/{sub}/factors": READING,
    "GET /admin/users/{sub}/keys": READING,
    "GET /admin/sessions": READING,
    "GET /admin/clients": READING,
    "GET /admin/clients/{client_id}": READING,
    "GET /admin/audit": READING,
    "DELETE /admin/users/{sub}/sessions": "support",
    "DELETE /admin/users/{sub}/keys": "support",
    "DELETE /admin/sessions/{session_id}": "support",
    "POST /admin/users/{sub}/reset-code": "support",
    "POST /admin/users/{sub}/suspend": "support",
    "POST /admin/users/{sub}/unlock": "support",
    "POST /admin/users/{sub}/reinstate": "admin",
    "POST /admin/users/{sub}/keys": "admin",
    "POST /admin/users": "admin",
    "PATCH /admin/users/{sub}": "admin",
    "DELETE /admin/users/{sub}": "admin",
    "DELETE /admin/users/{sub}/factors": "admin",
    "POST /admin/clients": "admin",
    "PATCH /admin/clients/{client_id}": "admin",
    "DELETE /admin/clients/{client_id}": "admin",
    "POST /admin/clients/{client_id}/secret": "admin",
}

# The permission that a client needs for each call that takes more than authenticating.
NEEDED = {
    "/introspect": "introspect",
    "/introspect/batch": "introspect",
    "/tokens": "issue",
    "/events": "introspect",
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.but(support_role="support", auditor_role="auditor")


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


def expected(route: Route, caller: str) -> tuple[int, ...]:
    """The status of a well-formed call; what comes of it after being let in is 2xx, or about its content."""
    let_in = (200, 201, 204, 400, 404, 409)
    if route.path == "/leaked/github":  # a signature lets in, and no caller here has one
        return (403,)
    if route.who == ("anyone",):
        # A login takes no token, so a token counts as a failed authentication of a client.
        return (401,) if route.path == "/login" and caller in BY_BEARER else let_in
    if caller in LEVELS and "admin" in route.who and "client" not in route.who:
        return let_in if reaches(LEVELS[caller], LEAST[name_of(route)]) else (403,)
    if route.path == "/revoke":  # everybody who authenticates, and users who are admins
        return (403,) if caller in USERS else (401,) if caller == "anonymous" else let_in
    if "client" in route.who:
        if caller in CLIENTS:
            return let_in if NEEDED.get(route.path, caller) == caller else (403,)
        if caller == "public client" and route.path == "/token":
            return let_in
        return (403,) if caller == "public client" and route.path == "/introspect" else (401,)
    if "gateway" in route.who:  # it is the user that counts, and HTTP Basic is malformed there
        return (200,) if caller in USERS | ADMIN_USERS else (401,)
    if "user" in route.who:
        if caller in USERS | ADMIN_USERS:
            return let_in
        return (400,) if caller in CLIENTS else (401,)  # HTTP Basic is no way for a user to call
    assert route.who == ("admin",)
    if caller in ADMIN_USERS or caller == "admin":
        return let_in
    if caller == "reset" and route.path.endswith("/reset-code"):
        return let_in
    return (403,) if caller in CLIENTS | USERS else (401,)


class Callers:
    """One caller of each kind, and a bystander about whom they ask."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.headers: dict[str, dict[str, str]] = {"anonymous": {}, "public client": {}}
        self.auth: dict[str, tuple[str, str]] = {}
        self.bystander = ""
        self.handle = ""
        self.target = ""

    async def prepare(self) -> "Callers":
        service = self.service
        self.bystander = (await service.user("bystander")).sub
        self.handle = (await service.login("bystander"))["session_id"]
        await service.user("user")
        await service.user("root", roles=("admin",))
        await service.user("desk", roles=("support",))
        await service.user("audit", roles=("auditor",))
        kinds = (("user", "user"), ("root", "admin user"), ("desk", "support user"), ("audit", "auditor user"))
        for name, kind in kinds:
            self.headers[kind] = bearer((await service.login(name))["access_token"])
        for name, kind in (("user", "user by cookie"), ("root", "admin by cookie"), ("desk", "support by cookie")):
            self.headers[kind] = cookie(await login_by_cookie(service, name))
        _, self.auth["client"] = await service.client()
        _, (self.target, _) = await service.client()
        for permission in PERMISSIONS:
            _, self.auth[permission] = await service.client(permission)
        return self

    async def call(self, route: Route, caller: str) -> httpx.Response:
        path = route.path.replace(":path}", "}")
        path = path.format(
            sub=self.bystander,
            client_id=self.target,
            **dict.fromkeys(("session_id", "factor_id", "key_id"), self.handle),
        )
        json, form = self.body(route.path), self.form(route.path)
        if form is not None and caller == "public client":
            form = form | {"client_id": "app"}
        return await self.service.http.request(
            route.method,
            path,
            json=json if form is None else None,
            data=form,
            headers=self.headers.get(caller, {}),
            auth=self.auth.get(caller, httpx.USE_CLIENT_DEFAULT),
        )

    def body(self, path: str) -> dict[str, Any] | None:
        bodies: dict[str, dict[str, Any]] = {
            "/login": {"username": "user", "password": PASSWORD},
            "/password": {"current_password": PASSWORD, "new_password": "four herons at dawn"},
            "/password/reset": {"reset_code": "x", "new_password": PASSWORD},
            "/tokens": {"sub": self.bystander},
            "/factors/totp/{factor_id}/confirm": {"code": "123456"},
            "/factors/passkeys": {"credential": Authenticator().create({"challenge": "", "user": {"id": ""}})},
            "/introspect/batch": {"tokens": []},
            "/admin/users": {"username": "new"},
            "/admin/clients": {"name": "new"},
            "/admin/clients/{client_id}": {},
            "/admin/users/{sub}": {},
        }
        return bodies.get(path.replace(":path}", "}"))

    def form(self, path: str) -> dict[str, str] | None:
        forms = {"grant_type": "refresh_token", "refresh_token": "x"}, {"token": "x"}
        return {"/token": forms[0], "/introspect": forms[1], "/revoke": forms[1]}.get(path)


@pytest.mark.parametrize("route", one_in(6, ROUTES), ids=name_of)
async def test_role_by_route(service: Service, route: Route) -> None:
    """Each caller gets into exactly the calls that are for it; 401 means who are you, 403 means not you."""
    callers = await Callers(service).prepare()
    got = {caller: await callers.call(route, caller) for caller in CALLERS if not ends_itself(route, caller)}
    wrong = {
        caller: (answer.status_code, expected(route, caller), answer.text)
        for caller, answer in got.items()
        if answer.status_code not in expected(route, caller)
    }
    assert not wrong
    for answer in got.values():
        if answer.status_code == 401:
            assert answer.headers["www-authenticate"].split()[0] in ("Basic", "Bearer")
        if answer.status_code >= 400:
            assert set(answer.json()) == {"error", "error_description"}


def ends_itself(route: Route, caller: str) -> bool:
    # Once one of a user's sessions has ended the others or changed the password, the second has no say any more.
    return route.path in ("/sessions", "/password") and route.method != "GET" and caller.endswith("by cookie")


@pytest.mark.parametrize("route", one_in(8, [v for v in ROUTES if v.who == ("admin",)]), ids=name_of)
async def test_refused_calls_change_nothing(service: Service, dump: Any, route: Route) -> None:
    """A caller without the power leaves the store as it was, byte for byte."""
    callers = await Callers(service).prepare()
    await service.deps.store.sessions.finish()
    before = dump()
    for caller in CALLERS:
        if expected(route, caller) in ((401,), (403,)):
            await callers.call(route, caller)
    assert dump() == before


async def test_another_users_session_is_not_found(service: Service) -> None:
    """A session of another user is 404, like an unknown session, and lives on (IDOR)."""
    await service.user()
    await service.user("eve")
    ada, eve = await service.login(), await service.login("eve")
    headers = bearer(eve["access_token"]) | {"X-Request-ID": "same"}
    answers = [
        await service.http.delete(f"/sessions/{handle}", headers=headers)
        for handle in (ada["session_id"], "0" * HANDLE_LENGTH, "x", "%00", "*", "..%2f..", "session:x")
    ]
    for answer in answers:
        assert_problem(answer, 404, "not_found")
        assert (answer.content, answer.headers) == (answers[0].content, answers[0].headers)
    assert await service.active(ada["access_token"])
    listed = (await service.http.get("/sessions", headers=headers)).json()["items"]
    assert [one["session_id"] for one in listed] == [eve["session_id"]]


async def test_admins_end_sessions_of_others_through_admin_calls_only(service: Service) -> None:
    """Even an admin has no say over another's session at `/sessions`."""
    await service.user()
    await service.user("root", roles=("admin",))
    ada, root = await service.login(), await service.login("root")
    answer = await service.http.delete(f"/sessions/{ada['session_id']}", headers=bearer(root["access_token"]))
    assert_problem(answer, 404, "not_found")


@pytest.mark.parametrize(
    "field", ["scope_granted", "role", "roles", "sub", "is_admin", "client", "epoch", "amr", "auth_time"]
)
async def test_nobody_logs_in_as_more(service: Service, field: str) -> None:
    """A field that the call does not list is refused, never applied (mass assignment)."""
    await service.user()
    body = {"username": "ada", "password": PASSWORD, field: "admin"}
    assert_problem(await service.http.post("/login", json=body), 400, "invalid_request")


async def test_unlisted_form_fields_are_ignored(service: Service) -> None:
    """In a form they are ignored, as the RFC says, and change nothing either."""
    await service.user()
    login = await service.login(scope="a")
    answer = await service.refresh(login["refresh_token"], roles="admin", sub="root", expires_in="999999", aud="x")
    told = await service.introspect(answer.json()["access_token"])
    assert (told["roles"], told["scope"], told["exp"] - told["iat"]) == ([], "a", 900)
    assert "aud" not in told


async def test_the_scope_admin_is_no_role(service: Service) -> None:
    """Power comes from a role; the scope of that name can't even be asked for."""
    await service.user()
    for scope in ("admin", "a admin"):
        body = {"username": "ada", "password": PASSWORD, "scope": scope}
        assert_problem(await service.http.post("/login", json=body), 400, "invalid_scope")
        answer = await service.http.post("/tokens", json={"sub": "x", "scope": scope}, auth=service.admin)
        assert_problem(answer, 400, "invalid_scope")


async def test_a_role_taken_away_is_gone_at_once(service: Service) -> None:
    """An admin without the role is refused with the next call, the session going on."""
    user = await service.user("root", roles=("admin",))
    headers = bearer((await service.login("root"))["access_token"])
    assert (await service.http.get("/admin/users", headers=headers)).status_code == 200
    await service.http.patch(f"/admin/users/{user.sub}", json={"roles": []}, auth=service.admin)
    assert_problem(await service.http.get("/admin/users", headers=headers), 403, "insufficient_scope")
    assert (await service.http.get("/me", headers=headers)).status_code == 200


async def test_a_client_with_issue_makes_no_admins(service: Service) -> None:
    """A client that may issue tokens can neither give the role admin nor speak for somebody who has it."""
    root = await service.user("root", roles=("admin",))
    _, auth = await service.client("issue")
    for body in ({"sub": "x", "roles": ["admin"]}, {"sub": root.sub}):
        assert_problem(await service.http.post("/tokens", json=body, auth=auth), 403, "unauthorized_client")
    _, reset = await service.client("reset")
    answer = await service.http.post(f"/admin/users/{root.sub}/reset-code", auth=reset)
    assert_problem(answer, 404, "not_found")


async def test_an_admins_token_for_others_has_no_power_here(service: Service) -> None:
    """A resource server that is sent an admin's token can't administer with it, unless the audience has the issuer."""
    ada = await service.user("ada")
    await service.user("root", roles=("admin",))
    for audience, status in ((("orders",), 401), (("orders", service.deps.settings.base_url), 200), ((), 200)):
        client, _ = await service.client(audience=audience, public=True)
        tokens = await service.login("root", client_id=client.client_id)
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert (await service.http.get("/admin/users", headers=headers)).status_code == status
        revoked = await service.http.post("/revoke", data={"sub": ada.sub}, headers=headers)
        assert revoked.status_code == status, revoked.text
        assert await service.active(tokens["access_token"])


async def test_identity_headers_of_a_caller_mean_nothing(service: Service) -> None:
    """Headers that gateways set for others say nothing here."""
    user = await service.user("root", roles=("admin",))
    names = ("X-User-Id", "X-Forwarded-User", "X-Auth-Sub", "X-Auth-Request-User", "Remote-User")
    headers = dict.fromkeys(names, user.sub)
    for path in ("/me", "/admin/users"):
        assert_problem(await service.http.get(path, headers=headers), 401, "invalid_token")
