"""Second factors over HTTP: the calls, their bodies and their errors."""

from typing import Any, ClassVar

import pytest
import redis

from authsvc.core import totp as codes
from authsvc.core.client import BUILT_IN
from authsvc.flows import clients, factors, totp, users
from authsvc.flows.deps import OPERATOR
from authsvc.settings import Settings
from authsvc.web.cookies import NAME
from tests.conftest import CHEAP, PASSWORD, Clock, Service, bearer
from tests.selection import one_in
from tests.web.conftest import ORIGIN, StoreCalls, assert_problem, cookie
from tests.web.phone import Phone, enrol, step, with_phone


async def test_a_login_in_two_steps(service: Service) -> None:
    """A right password gets 403 with the login in progress. A code completes it, with the answer of `/login`."""
    phone = await with_phone(service)
    begun = await phone.begin(device="my laptop")
    assert begun.status_code == 403
    assert begun.headers["cache-control"] == "no-store"
    body = begun.json()
    assert set(body) == {"error", "error_description", "auth_session", "methods", "expires_in"}
    assert body["error"] == "insufficient_authorization"
    assert (body["methods"], body["expires_in"]) == (["totp", "recovery"], 600)
    assert body["auth_session"].startswith("aut_")
    assert len(body["auth_session"]) == 49
    done = await step(service, "totp", body["auth_session"], phone.code(1))
    assert done.status_code == 200
    told = await service.introspect(done.json()["access_token"])
    assert (told["amr"], told["acr"]) == (["pwd", "otp", "mfa"], "aal2")
    assert "refresh_token" in done.json()


async def test_the_errors_of_a_step(service: Service, clock: Clock) -> None:
    """A wrong code is 401 invalid_grant, a dead login 400 invalid_session; other fields are 400 invalid_request."""
    phone = await with_phone(service)
    begun = (await phone.begin()).json()["auth_session"]
    wrong = await step(service, "totp", begun, "000000")
    assert_problem(wrong, 401, "invalid_grant")
    assert "set-cookie" not in wrong.headers
    assert_problem(await step(service, "recovery", begun, "no such code"), 401, "invalid_grant")
    for field in ({"client_id": "app"}, {"scope": "a"}, {"device": "x"}, {"cookie": True}):
        assert_problem(await step(service, "totp", begun, phone.code(), fields=field), 400, "invalid_request")
    password = {"auth_session": begun, "password": PASSWORD}
    assert_problem(await service.http.post("/login/password", json=password), 400, "invalid_request")
    clock.forward(600)
    assert_problem(await step(service, "totp", begun, phone.code()), 400, "invalid_session")
    for dead in ("aut_", begun[:-1], "tok_" + begun[4:], ""):
        assert_problem(await step(service, "totp", dead, phone.code()), 400, "invalid_session")


async def test_only_a_right_password_tells_of_a_factor(service: Service) -> None:
    """A wrong password, a suspended user and an unknown name get the same answer as without a factor."""
    await with_phone(service)
    bob = await service.user("bob")
    await users.update(service.deps, OPERATOR, bob.sub, status="suspended")
    logins = [("ada", "not this one at all"), ("nobody", PASSWORD), ("bob", PASSWORD)]
    answers = [
        await service.http.post("/login", json={"username": name, "password": password}) for name, password in logins
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({(answer.content, *answer.headers) for answer in answers}) == 1


async def test_a_factor_costs_a_wrong_password_no_call(service: Service, store_calls: StoreCalls) -> None:
    """The store is asked as much about a user with a factor as about one without, so their answers take as long."""
    await with_phone(service)
    await service.user("bob")
    await service.login("bob")  # so the network is known for both users
    made = []
    for name in ("ada", "bob"):
        store_calls.reset()
        answer = await service.http.post("/login", json={"username": name, "password": "not this one at all"})
        assert answer.status_code == 401
        made.append(store_calls.made())
    assert made[0] == made[1]


async def test_cookie_mode(service: Service) -> None:
    """The last step sets the cookie, from our own pages only, and ends the session that the browser had."""
    phone = await with_phone(service)
    headers = {"Origin": ORIGIN}
    login = {"username": "ada", "password": PASSWORD, "cookie": True}

    async def log_in(code: str, **fields: Any) -> Any:
        begun = (await service.http.post("/login", json=login, headers=headers)).json()["auth_session"]
        assert_problem(await step(service, "totp", begun, code), 403, "access_denied")
        return await step(service, "totp", begun, code, headers=headers, fields=fields)

    first = await log_in(phone.code(1))
    assert (first.status_code, "access_token" in first.json()) == (200, False)
    token = first.cookies[NAME]
    service.http.cookies.clear()
    headers |= {"Cookie": f"{NAME}={token}"}
    service.deps.clock.forward(60)  # type: ignore[attr-defined]  # the clock of tests
    second = await log_in(phone.code(), trust_device=True)
    assert second.status_code == 200
    assert not await service.active(token)
    device = second.cookies["__Host-device"]
    service.http.cookies.clear()
    assert "device_token" not in second.json()
    headers = {"Origin": ORIGIN, "Cookie": f"__Host-device={device}"}
    trusted = await service.http.post("/login", json=login, headers=headers)
    assert trusted.status_code == 200
    service.http.cookies.clear()


async def test_step_up(service: Service, clock: Clock) -> None:
    """The same session gets another time, more strength and new tokens. Its old tokens stop working."""
    await service.user()
    old = await service.login()
    headers = bearer(old["access_token"])
    factor, seed = await enrol(service, headers)
    phone = Phone(service, "ada", factor, seed, [])
    await service.http.post(f"/factors/totp/{factor}/confirm", json={"code": phone.code()}, headers=headers)
    clock.forward(100)
    begun = (await service.http.post("/step-up", headers=headers)).json()
    assert begun["methods"] == ["totp", "recovery"]
    assert_problem(await service.http.post("/login/password", json={"auth_session": begun["auth_session"],
                   "password": PASSWORD}), 400, "invalid_request")  # fmt: skip
    done = (await step(service, "totp", begun["auth_session"], phone.code())).json()
    assert done["session_id"] == old["session_id"]
    told = await service.introspect(done["access_token"])
    assert (told["acr"], told["auth_time"], told["amr"]) == ("aal2", clock(), ["pwd", "otp", "mfa"])
    assert not await service.active(old["access_token"])
    assert (await service.refresh(old["refresh_token"])).status_code == 400
    assert not await service.active(done["access_token"]), "a spent refresh token ended the session"


async def test_a_step_up_by_password(service: Service, clock: Clock) -> None:
    """An account without a factor proves its password: `auth_time` moves, `acr` stays. A wrong one counts."""
    await service.user()
    old = await service.login()
    clock.forward(800)
    begun = (await service.http.post("/step-up", headers=bearer(old["access_token"]))).json()
    assert begun["methods"] == ["password"]
    body = {"auth_session": begun["auth_session"], "password": "not this one at all"}
    assert_problem(await service.http.post("/login/password", json=body), 401, "invalid_grant")
    done = (await service.http.post("/login/password", json=body | {"password": PASSWORD})).json()
    told = await service.introspect(done["access_token"])
    assert (told["acr"], told["auth_time"], told["session_id"]) == ("aal1", clock(), old["session_id"])


async def test_a_vouched_session_steps_up_by_a_factor_only(service: Service, clock: Clock) -> None:
    """A password here makes no fresh second factor of one that another system saw. A code does."""
    user = await service.user()
    _, voucher = await service.client("issue", "vouch")
    body = {"sub": user.sub, "amr": ["pwd", "otp", "mfa"], "auth_time": int(clock()) - 50}
    token = (await service.http.post("/tokens", json=body, auth=voucher)).json()["access_token"]
    assert_problem(await service.http.post("/step-up", headers=bearer(token)), 403, "access_denied")
    factor, seed = await enrol(service, bearer(token))
    phone = Phone(service, "ada", factor, seed, [])
    path = f"/factors/totp/{factor}/confirm"
    assert (await service.http.post(path, json={"code": phone.code()}, headers=bearer(token))).status_code == 200
    clock.forward(60)
    begun = (await service.http.post("/step-up", headers=bearer(token))).json()
    assert_problem(await step(service, "totp", begun["auth_session"], phone.code()), 401, "invalid_client")
    done = (await step(service, "totp", begun["auth_session"], phone.code(), auth=voucher)).json()
    told = await service.introspect(done["access_token"])
    assert (told["auth_time"], told["acr"]) == (clock(), "aal2")
    assert told["vouched_by"] == voucher[0]


async def test_a_step_up_by_cookie(service: Service, clock: Clock) -> None:
    """In cookie mode the session gets a new cookie, and goes on."""
    await service.user()
    headers = {"Origin": ORIGIN}
    login = {"username": "ada", "password": PASSWORD, "cookie": True}
    old = (await service.http.post("/login", json=login, headers=headers)).cookies[NAME]
    service.http.cookies.clear()
    begun = (await service.http.post("/step-up", headers=cookie(old))).json()
    body = {"auth_session": begun["auth_session"], "password": PASSWORD}
    done = await service.http.post("/login/password", json=body, headers=cookie(old))
    assert done.status_code == 200
    assert "access_token" not in done.json()
    new = done.cookies[NAME]
    service.http.cookies.clear()
    assert (await service.active(old), await service.active(new)) == (False, True)


async def test_a_stronger_session_stays_strong(service: Service, clock: Clock) -> None:
    """A step-up by one factor takes nothing from a session of two."""
    phone = await with_phone(service)
    grant = await phone.login()
    clock.forward(60)
    begun = (await service.http.post("/step-up", headers=bearer(grant["access_token"]))).json()
    done = (await step(service, "recovery", begun["auth_session"], phone.recovery_codes[0])).json()
    assert done["recovery_codes_left"] == 9
    assert (await service.introspect(done["access_token"]))["acr"] == "aal2"


async def test_how_many_recovery_codes_are_left(service: Service, clock: Clock) -> None:
    """Each completed step says it, so that an app offers new codes. A user whose app was imported has none at first."""
    user = await service.user()
    seed = b"an imported seed, 20"
    row = {"username": "ada", "totp": codes.as_text(seed)}
    assert (await totp.import_seeds(service.deps, OPERATOR, [(1, row)])).imported == 1
    phone = Phone(service, "ada", "", seed, [])
    begun = (await phone.begin()).json()
    assert begun["methods"] == ["totp"]
    done = (await step(service, "totp", begun["auth_session"], phone.code())).json()
    assert done["recovery_codes_left"] == 0
    made = await service.http.post("/factors/recovery-codes", headers=bearer(done["access_token"]))
    assert made.status_code == 201
    begun = (await phone.begin()).json()
    assert begun["methods"] == ["totp", "recovery"]
    done = (await step(service, "recovery", begun["auth_session"], made.json()["recovery_codes"][0])).json()
    assert done["recovery_codes_left"] == 9
    clock.forward(60)
    assert (await phone.login())["recovery_codes_left"] == 9
    await factors.remove_all(service.deps, OPERATOR, user.sub)
    assert "recovery_codes_left" not in await service.login()


async def test_factors_are_listed_without_secrets(service: Service) -> None:
    """The list has names and times, and how many recovery codes are left."""
    phone = await with_phone(service)
    grant = await phone.login()
    listed = (await service.http.get("/factors", headers=bearer(grant["access_token"]))).json()
    (item,) = listed["items"]
    assert set(item) == {"id", "kind", "name", "created_at", "last_used_at"}
    assert (item["id"], item["kind"], item["name"]) == (phone.factor, "totp", "my phone")
    assert listed["recovery_codes_left"] == 10


class TestRecentLogin:
    """Sensitive calls take a login of at most AUTHSVC_RECENT_LOGIN_S ago."""

    FACTORS: ClassVar = [
        ("POST", "/factors/totp"),
        ("DELETE", "/factors/4fQ0kzPq1LxA"),
        ("POST", "/factors/recovery-codes"),
    ]
    ACCOUNT: ClassVar = [("DELETE", "/sessions"), ("DELETE", "/sessions/4fQ0kzPq1LxA"), ("POST", "/password")]
    ADMIN: ClassVar = [("POST", "/admin/users"), ("DELETE", "/admin/users/x"), ("POST", "/revoke")]

    async def ask(self, service: Service, method: str, path: str, token: str) -> Any:
        body: dict[str, Any] = {}
        if path == "/password":
            body = {"json": {"current_password": PASSWORD, "new_password": "a swim across the lake"}}
        elif path == "/revoke":
            body = {"data": {"sub": "nobody"}}
        elif path == "/admin/users":
            body = {"json": {"username": "new"}}
        return await service.http.request(method, path, headers=bearer(token), **body)

    @pytest.mark.parametrize(("method", "path"), FACTORS)
    async def test_factors_of_an_account_without_one(
        self, service: Service, clock: Clock, method: str, path: str
    ) -> None:
        """A thief of an old session can't enrol a factor: the challenge says how recent the login has to be."""
        await service.user()
        token = (await service.login())["access_token"]
        clock.forward(601)
        answer = await self.ask(service, method, path, token)
        assert_problem(answer, 401, "insufficient_user_authentication")
        challenge = answer.headers["www-authenticate"]
        assert challenge.endswith(', max_age="600"')
        assert "acr_values" not in challenge

    @pytest.mark.parametrize(("method", "path"), ACCOUNT)
    async def test_accounts_without_a_factor_are_not_asked(
        self, service: Service, clock: Clock, method: str, path: str
    ) -> None:
        """They change their password and end their sessions as before."""
        await service.user()
        token = (await service.login())["access_token"]
        clock.forward(601)
        assert (await self.ask(service, method, path, token)).status_code in {200, 204, 404}

    @pytest.mark.parametrize(("method", "path"), one_in(3, [*FACTORS, *ACCOUNT, *ADMIN]))
    async def test_an_account_with_a_factor(self, service: Service, clock: Clock, method: str, path: str) -> None:
        """A login that is old, or of one factor, is not enough. A recent one of two factors is."""
        phone = await with_phone(service, roles=("admin",))
        grant = await phone.login()
        assert (await self.ask(service, method, path, grant["access_token"])).status_code in {200, 201, 204, 404}
        if path == "/password":
            return
        grant = await phone.login()
        clock.forward(601)
        answer = await self.ask(service, method, path, grant["access_token"])
        assert_problem(answer, 401, "insufficient_user_authentication")
        assert answer.headers["www-authenticate"].endswith(', acr_values="aal2", max_age="600"')
        begun = (await phone.begin()).json()["auth_session"]
        done = await step(service, "totp", begun, phone.code(), fields={"trust_device": True})
        one_factor = (await phone.begin(device_token=done.json()["device_token"])).json()["access_token"]
        assert_problem(await self.ask(service, method, path, one_factor), 401, "insufficient_user_authentication")

    async def test_the_cookie_stays(self, service: Service, clock: Clock) -> None:
        """The 401 does not log the browser out."""
        await service.user()
        login = {"username": "ada", "password": PASSWORD, "cookie": True}
        token = (await service.http.post("/login", json=login, headers={"Origin": ORIGIN})).cookies[NAME]
        service.http.cookies.clear()
        clock.forward(601)
        answer = await service.http.post("/factors/totp", headers=cookie(token))
        assert_problem(answer, 401, "insufficient_user_authentication")
        assert "set-cookie" not in answer.headers

    async def test_reading_and_clients_are_exempt(self, service: Service, clock: Clock) -> None:
        """An admin reads with an old login, and a client with a secret does everything."""
        phone = await with_phone(service, roles=("admin",))
        grant = await phone.login()
        clock.forward(601)
        answer = await service.http.get("/admin/users", headers=bearer(grant["access_token"]))
        assert answer.status_code == 200
        answer = await service.http.post("/admin/users", json={"username": "bob"}, auth=service.admin)
        assert answer.status_code == 201


class TestPolicy:
    """Roles and clients that demand a second factor."""

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(**CHEAP, require_factor_for=("ops",), app_scope="read")

    async def test_enrolling_is_all_that_a_user_without_a_factor_may_do(self, service: Service) -> None:
        """A right password gets `enrol`. Confirming an app completes the login, with the recovery codes."""
        await service.user(roles=("ops",))
        begun = await service.http.post("/login", json={"username": "ada", "password": PASSWORD})
        assert begun.status_code == 403
        assert begun.json()["methods"] == ["enrol"]
        auth_session = begun.json()["auth_session"]
        assert_problem(await step(service, "totp", auth_session, "000000"), 400, "invalid_request")
        factor, seed = await enrol(service, {}, auth_session=auth_session)
        phone = Phone(service, "ada", factor, seed, [])
        path = f"/factors/totp/{factor}/confirm"
        wrong = await service.http.post(path, json={"auth_session": auth_session, "code": "000000"})
        assert_problem(wrong, 401, "invalid_grant")
        body = {"auth_session": auth_session, "code": phone.code()}
        done = await service.http.post(path, json=body)
        assert done.status_code == 200, done.text
        assert len(done.json()["recovery_codes"]) == 10
        assert (await service.introspect(done.json()["access_token"]))["acr"] == "aal2"
        assert_problem(await service.http.post(path, json=body), 400, "invalid_session")

    async def test_a_thief_of_the_password_enrols_nothing(self, service: Service) -> None:
        """A login in progress of a user who has a factor enrols no other factor."""
        phone = await with_phone(service)
        begun = (await phone.begin()).json()["auth_session"]
        answer = await service.http.post("/factors/totp", json={"auth_session": begun})
        assert_problem(answer, 400, "invalid_request")

    async def test_a_factor_that_comes_meanwhile(self, service: Service) -> None:
        """Two logins enrol at the same time. The first one wins, and the second one ends."""
        await service.user(roles=("ops",))
        login = {"username": "ada", "password": PASSWORD}
        begun = [(await service.http.post("/login", json=login)).json()["auth_session"] for _ in range(2)]
        phones = []
        for one in begun:
            factor, seed = await enrol(service, {}, auth_session=one)
            phones.append(Phone(service, "ada", factor, seed, []))
        answers = []
        for one, phone in zip(begun, phones, strict=True):
            body = {"auth_session": one, "code": phone.code()}
            answers.append(await service.http.post(f"/factors/totp/{phone.factor}/confirm", json=body))
        assert answers[0].status_code == 200
        assert_problem(answers[1], 400, "invalid_session")

    async def test_no_trusted_device(self, service: Service) -> None:
        """Where the policy demands two factors, a trusted device is neither made nor accepted."""
        phone = await with_phone(service)
        begun = (await phone.begin()).json()["auth_session"]
        done = await step(service, "totp", begun, phone.code(1), fields={"trust_device": True})
        device = done.json()["device_token"]
        user = await service.deps.store.users.find_by_name("ada")
        assert user is not None
        assert (await phone.begin(device_token=device)).status_code == 200
        await users.update(service.deps, OPERATOR, user.user.sub, roles=("ops",))
        begun_again = await phone.begin(device_token=device)
        assert begun_again.status_code == 403
        service.deps.clock.forward(60)  # type: ignore[attr-defined]  # the clock of tests
        answer = await step(
            service, "totp", begun_again.json()["auth_session"], phone.code(), fields={"trust_device": True}
        )
        assert answer.status_code == 200
        assert "device_token" not in answer.json()

    async def test_a_refresh_of_a_weak_session(self, service: Service) -> None:
        """403 with a login in progress; the session goes on, and completing the login makes it strong."""
        user = await service.user()
        grant = await service.login()
        await users.update(service.deps, OPERATOR, user.sub, roles=("ops",))
        refused = await service.refresh(grant["refresh_token"])
        assert refused.status_code == 403
        assert refused.json()["methods"] == ["enrol"]
        assert await service.active(grant["access_token"])
        auth_session = refused.json()["auth_session"]
        factor, seed = await enrol(service, {}, auth_session=auth_session)
        phone = Phone(service, "ada", factor, seed, [])
        body = {"auth_session": auth_session, "code": phone.code()}
        done = (await service.http.post(f"/factors/totp/{factor}/confirm", json=body)).json()
        assert done["session_id"] == grant["session_id"]
        assert (await service.refresh(done["refresh_token"])).status_code == 200

    async def test_a_step_up_of_a_weak_session(self, service: Service, clock: Clock) -> None:
        """A step-up gives no tokens before the user has a factor. An old login proves its password first."""
        user = await service.user()
        grant = await service.login()
        await users.update(service.deps, OPERATOR, user.sub, roles=("ops",))
        headers = bearer(grant["access_token"])
        begun = (await service.http.post("/step-up", headers=headers)).json()
        assert begun["methods"] == ["enrol"]
        clock.forward(601)
        begun = (await service.http.post("/step-up", headers=headers)).json()
        assert begun["methods"] == ["password"]
        body = {"auth_session": begun["auth_session"], "password": PASSWORD}
        more = await service.http.post("/login/password", json=body)
        assert (more.status_code, more.json()["error"]) == (403, "insufficient_authorization")
        assert more.json()["methods"] == ["enrol"]
        assert await service.active(grant["access_token"])
        auth_session = more.json()["auth_session"]
        factor, seed = await enrol(service, {}, auth_session=auth_session)
        phone = Phone(service, "ada", factor, seed, [])
        path = f"/factors/totp/{factor}/confirm"
        done = await service.http.post(path, json={"auth_session": auth_session, "code": phone.code()})
        told = await service.introspect(done.json()["access_token"])
        assert (told["amr"], told["acr"], done.json()["session_id"]) == (
            ["pwd", "otp", "mfa"], "aal2", grant["session_id"],
        )  # fmt: skip
        assert (await service.http.post("/step-up", headers=bearer(done.json()["access_token"]))).status_code == 200

    @pytest.mark.parametrize("by_cookie", [False, True])
    async def test_a_weak_session_has_no_power(self, service: Service, by_cookie: bool) -> None:
        """It reads and changes nothing as an admin, changes no password and makes no key, until it has a factor."""
        user = await service.user()
        login = {"username": "ada", "password": PASSWORD, "cookie": by_cookie}
        answer = await service.http.post("/login", json=login, headers={"Origin": ORIGIN})
        service.http.cookies.clear()
        token = answer.cookies[NAME] if by_cookie else answer.json()["access_token"]
        headers = {"Origin": ORIGIN, "Cookie": f"{NAME}={token}"} if by_cookie else bearer(token)
        await users.update(service.deps, OPERATOR, user.sub, roles=("ops", "admin"))
        password = {"current_password": PASSWORD, "new_password": "a swim across the lake"}
        calls: list[tuple[str, str, dict[str, Any] | None]] = [
            ("GET", "/admin/users", None),
            ("POST", "/admin/clients", {"name": "mine", "permissions": ["admin"]}),
            ("POST", "/password", password),
            ("POST", "/keys", {"name": "mine"}),
            ("DELETE", "/sessions", None),
        ]
        for method, path, body in calls:
            refused = await service.http.request(method, path, json=body, headers=headers)
            assert_problem(refused, 401, "insufficient_user_authentication")
            assert 'acr_values="aal2"' in refused.headers["www-authenticate"]
            assert "set-cookie" not in refused.headers
        assert (await service.http.get("/me", headers=headers)).status_code == 200
        begun = (await service.http.post("/step-up", headers=headers)).json()
        factor, seed = await enrol(service, {"Origin": ORIGIN}, auth_session=begun["auth_session"])
        phone = Phone(service, "ada", factor, seed, [])
        code = {"auth_session": begun["auth_session"], "code": phone.code()}
        done = await service.http.post(f"/factors/totp/{factor}/confirm", json=code, headers={"Origin": ORIGIN})
        assert done.status_code == 200, done.text
        service.http.cookies.clear()
        token = done.cookies[NAME] if by_cookie else done.json()["access_token"]
        headers = {"Origin": ORIGIN, "Cookie": f"{NAME}={token}"} if by_cookie else bearer(token)
        for method, path, body in calls:
            allowed = await service.http.request(method, path, json=body, headers=headers)
            assert allowed.status_code < 300, allowed.text
            if path == "/password" and by_cookie:
                headers["Cookie"] = f"{NAME}={allowed.cookies[NAME]}"
                service.http.cookies.clear()
            elif path == "/password":
                headers = bearer(allowed.json()["access_token"])

    async def test_a_weak_session_may_enrol(self, service: Service) -> None:
        """A user who has logged in recently adds the factor without a step-up. The session then steps up with it."""
        user = await service.user()
        grant = await service.login()
        await users.update(service.deps, OPERATOR, user.sub, roles=("ops",))
        headers = bearer(grant["access_token"])
        factor, seed = await enrol(service, headers)
        phone = Phone(service, "ada", factor, seed, [])
        done = await service.http.post(f"/factors/totp/{factor}/confirm", json={"code": phone.code()}, headers=headers)
        assert done.status_code == 200
        assert (await service.refresh(grant["refresh_token"])).status_code == 403
        begun = (await service.http.post("/step-up", headers=headers)).json()
        assert begun["methods"] == ["totp", "recovery"]
        assert (await step(service, "totp", begun["auth_session"], phone.code(1))).status_code == 200

    async def test_tokens_of_an_issuer(self, service: Service) -> None:
        """403 without a login in progress, unless the client vouches for two factors."""
        body = {"sub": "google|1", "roles": ["ops"]}
        refused = await service.http.post("/tokens", json=body, auth=service.admin)
        assert_problem(refused, 403, "insufficient_authorization")
        _, voucher = await service.client("issue", "vouch", "admin")
        strong = body | {"amr": ["pwd", "otp", "mfa"]}
        assert (await service.http.post("/tokens", json=strong, auth=voucher)).status_code == 200

    async def test_a_reset_does_not_get_round_the_factor(self, service: Service) -> None:
        """After a reset of the password the factor is needed as before, and no code is lost."""
        phone = await with_phone(service, roles=())
        user = await service.deps.store.users.find_by_name("ada")
        assert user is not None
        made = await service.http.post(f"/admin/users/{user.user.sub}/reset-code", auth=service.admin)
        body = {"reset_code": made.json()["reset_code"], "new_password": "a swim across the lake"}
        assert (await service.http.post("/password/reset", json=body)).status_code == 204
        login = {"username": "ada", "password": "a swim across the lake"}
        begun = await service.http.post("/login", json=login)
        assert begun.status_code == 403
        assert begun.json()["methods"] == ["totp", "recovery"]
        assert (await step(service, "totp", begun.json()["auth_session"], phone.code(1))).status_code == 200

    async def test_a_client_demands_it(self, service: Service) -> None:
        """A client with `acr` demands a factor of each of its users."""
        await service.user()
        await clients.update(service.deps, OPERATOR, BUILT_IN, acr="aal2")
        begun = await service.http.post("/login", json={"username": "ada", "password": PASSWORD})
        assert begun.json()["methods"] == ["enrol"]


async def test_a_confidential_client_authenticates_at_each_step(service: Service) -> None:
    """Without its secret nobody continues a login of the client."""
    phone = await with_phone(service)
    _, auth = await service.client()
    login = {"username": "ada", "password": PASSWORD}
    begun = (await service.http.post("/login", json=login, auth=auth)).json()["auth_session"]
    assert_problem(await step(service, "totp", begun, phone.code(1)), 401, "invalid_client")
    _, other = await service.client()
    assert_problem(await step(service, "totp", begun, phone.code(1), auth=other), 400, "invalid_session")
    assert (await step(service, "totp", begun, phone.code(1), auth=auth)).status_code == 200


async def test_an_admin_lists_and_removes(service: Service) -> None:
    """Removing all factors ends every session, and the password is enough again."""
    phone = await with_phone(service)
    grant = await phone.login()
    user = await service.deps.store.users.find_by_name("ada")
    assert user is not None
    path = f"/admin/users/{user.user.sub}/factors"
    listed = (await service.http.get(path, auth=service.admin)).json()
    assert [item["id"] for item in listed["items"]] == [phone.factor]
    assert (await service.http.delete(path, auth=service.admin)).status_code == 204
    assert not await service.active(grant["access_token"])
    assert (await phone.begin()).status_code == 200
    assert_problem(await service.http.delete("/admin/users/nobody/factors", auth=service.admin), 404, "not_found")


async def test_the_size_of_a_session(service: Service, valkey: "redis.Redis") -> None:
    """A session of two factors takes at most 40 bytes more than one of the password alone."""
    phone = await with_phone(service)
    await service.user("bob")
    sizes = []
    for grant in (await phone.login(), await service.login("bob")):
        raw = valkey.get(f"session:{grant['session_id']}")
        assert isinstance(raw, bytes)
        sizes.append(len(raw))
    assert sizes[0] - sizes[1] <= 40


async def test_a_password_only_login_asks_the_store_no_more(service: Service, store_calls: StoreCalls) -> None:
    """The factors of an account without a factor are read together with the credentials."""
    await service.user()
    await service.login()
    store_calls.reset()
    await service.login()
    made = store_calls.made()
    # One MGET reads client and service, the other one user and credentials. The scripts of rate limits GET.
    assert (made["mget"], made["get"]) == (2, 14)


class TestVerify:
    """A gateway demands a level, and a recent login."""

    async def test_a_level(self, service: Service) -> None:
        """401 with the challenge of RFC 9470 for a login of one factor; 200 for one of two."""
        phone = await with_phone(service)
        await service.user("bob")
        weak, strong = (await service.login("bob"))["access_token"], (await phone.login())["access_token"]
        refused = await service.http.get("/verify?acr=aal2", headers=bearer(weak))
        assert_problem(refused, 401, "insufficient_user_authentication")
        assert refused.headers["www-authenticate"] == (
            'Bearer realm="authsvc", error="insufficient_user_authentication", '
            'error_description="this takes a more recent or stronger login: POST /step-up", acr_values="aal2"'
        )
        for query in ("acr=aal2", "acr=aal1", "acr=phr+aal1", "acr=aal2&max_age=1"):
            assert (await service.http.get(f"/verify?{query}", headers=bearer(strong))).status_code == 200
        assert (await service.http.get("/verify?acr=aal1", headers=bearer(weak))).status_code == 200

    async def test_a_recent_login(self, service: Service, clock: Clock) -> None:
        """The login may be as old as `max_age` and no older. A session that proves no time is never recent."""
        await service.user()
        token = (await service.login())["access_token"]
        clock.forward(300)
        assert (await service.http.get("/verify?max_age=300", headers=bearer(token))).status_code == 200
        clock.forward(1)
        refused = await service.http.get("/verify?max_age=300", headers=bearer(token))
        assert_problem(refused, 401, "insufficient_user_authentication")
        assert refused.headers["www-authenticate"].endswith('max_age="300"')
        issued = await service.http.post("/tokens", json={"sub": "x"}, auth=service.admin)
        headers = bearer(issued.json()["access_token"])
        for query in ("max_age=1000000", "acr=aal1"):
            assert (await service.http.get(f"/verify?{query}", headers=headers)).status_code == 401
        for query in ("max_age=-1", "max_age=x", "acr="):
            assert (await service.http.get(f"/verify?{query}", headers=bearer(token))).status_code == 403


class TestOff:
    """Without a factor key and a site for passkeys there are no second factors."""

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(**CHEAP | {"factor_key": ()}, issuer="http://192.0.2.1")  # no site for passkeys

    async def test_nothing_is_served(self, service: Service, store_calls: StoreCalls) -> None:
        """The calls are 404, and nothing is asked of the store."""
        await service.user()
        token = (await service.login())["access_token"]
        store_calls.reset()
        for method, path in (
            *(("POST", "/login/totp"), ("POST", "/login/recovery"), ("GET", "/factors"), ("POST", "/factors/totp")),
            *(("POST", "/factors/recovery-codes"), ("DELETE", "/factors/4fQ0kzPq1LxA")),
        ):
            answer = await service.http.request(method, path, headers=bearer(token))
            assert_problem(answer, 404, "not_found")
        assert store_calls.made() == {}
