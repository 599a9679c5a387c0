"""The second step of a login, the first factor in a login, and proving something again."""

import json
import re
from base64 import b32decode
from collections.abc import Callable
from typing import Any

import pytest

from authsvc.core import totp as codes
from authsvc.flows import users
from authsvc.flows.deps import OPERATOR
from authsvc.settings import Settings
from authsvc.web.cookies import NAME
from tests.authenticators import Authenticator
from tests.conftest import PASSWORD, Clock, Service
from tests.console.account.person import ORIGIN, Person
from tests.web.phone import Phone, with_phone


def code_of(key: str, clock: Clock, steps: int = 0) -> str:
    return codes.code_at(b32decode(key), int(clock()) // codes.PERIOD_S + steps)


def key_on(person: Person) -> str:
    """The key of an authenticator app that the page shows in groups."""
    found = re.search(r"<code>([A-Z2-7 ]{39})</code>", person.answer.text)
    assert found is not None, person.text
    return found[1].replace(" ", "")


def recovery_codes_on(person: Person) -> list[str]:
    return re.findall(r"<li><code>(.+?)</code></li>", person.answer.text)


async def with_step(service: Service, person: Person, **query: str) -> Phone:
    """A user with an authenticator app, whose password this browser has proven."""
    phone = await with_phone(service)
    service.deps.clock.forward(60)  # type: ignore[attr-defined]  # the clock of tests
    await person.log_in(**query)
    return phone


class TestStep:
    async def test_a_code(self, service: Service, person: Person) -> None:
        """The password leads to the step, and a code to the page that was wanted. No URL holds the login's token."""
        phone = await with_step(service, person, next="/account/activity")
        assert person.path == "/account/login/step?next=%2Faccount%2Factivity"
        assert NAME not in person.http.cookies
        await submit_code(person, "totp", phone.code())
        assert person.path == "/account/activity"
        assert (await person.http.get("/me")).json()["username"] == "ada"
        assert "__Host-account-login" not in person.http.cookies

    async def test_a_recovery_code(self, service: Service, person: Person) -> None:
        """A recovery code logs in, once. With few codes left the page says so."""
        phone = await with_step(service, person)
        for number, code in enumerate(phone.recovery_codes[:8]):
            if number:
                await person.log_in()
            await submit_code(person, "recovery", code.upper())
            assert person.path == "/account"
        assert "Few codes are left." in person.text
        await person.log_in()
        await submit_code(person, "recovery", phone.recovery_codes[0])
        assert person.answer.status_code == 400

    async def test_wrong_codes_end_the_login(self, service: Service, person: Person) -> None:
        """A wrong code shows the form again. After five, the login begins again with the password."""
        phone = await with_step(service, person)
        for _ in range(5):
            await submit_code(person, "totp", "000000")
            assert (person.answer.status_code, "The code is wrong" in person.text) == (400, True)
        await submit_code(person, "totp", phone.code())
        assert (person.path, "Please log in again." in person.text) == ("/account/login", True)

    async def test_a_trusted_device(self, service: Service, person: Person, clock: Clock) -> None:
        """A device that the user trusts asks for no code at the next login."""
        phone = await with_step(service, person)
        await submit_code(person, "totp", phone.code(), trust="yes")
        await person.submit("/account/logout")
        await person.log_in()
        assert person.path == "/account"

    async def test_without_a_login_in_progress(self, person: Person) -> None:
        """The page of the step, opened alone, leads to the login."""
        await person.open("/account/login/step")
        assert person.path == "/account/login"

    async def test_the_login_of_another_browser(
        self, service: Service, new_person: Callable[[], Person], person: Person
    ) -> None:
        """The form of a step counts for the login of this browser only."""
        phone = await with_step(service, person)
        other = new_person()
        await other.open("/account/login")
        form = next(one for one in person.forms if one.fields.get("method") == "totp")
        await other.post(form.action, form.fields | {"code": phone.code()})
        assert other.answer.status_code == 403
        assert NAME not in other.http.cookies


async def submit_code(person: Person, method: str, code: str, **fields: str) -> None:
    (form,) = [one for one in person.forms if one.fields.get("method") == method]
    await person.post(form.action, form.fields | {"code": code} | fields)


class TestEnrol:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.but(require_factor_for=("editor",))

    async def test_an_app(self, service: Service, person: Person, clock: Clock) -> None:
        """A user who has to have a factor sets one up. That completes the login, and shows the recovery codes once."""
        await service.user(roles=("editor",))
        await person.log_in(next="/account/security")
        assert "Your account needs a second factor." in person.text
        (form,) = [one for one in person.forms if "credential" not in one.fields]
        await person.post(form.action, form.fields)
        key = key_on(person)
        await person.submit("/login/enrol", code="000000")
        assert (person.answer.status_code, key in person.answer.text) == (400, False)
        await person.submit("/login/enrol", anew="yes")
        former, key = key, key_on(person)
        assert key != former
        await person.submit("/login/enrol", code=code_of(key, clock))
        assert len(recovery_codes_on(person)) == 10
        assert '<a class="button primary block" href="/account/security">' in person.answer.text
        told = (await person.http.get("/me")).json()
        assert told["username"] == "ada"
        await person.open("/account/security")
        assert "Codes left: 10 of 10." in person.text

    @pytest.mark.parametrize("age_s", [0, 601])
    async def test_a_session_from_before(self, service: Service, person: Person, clock: Clock, age_s: int) -> None:
        """A user who has to have a factor now adds one in this session. An old login proves the password first."""
        user = await service.user()
        await person.log_in()
        before = person.http.cookies[NAME]
        await users.update(service.deps, OPERATOR, user.sub, roles=("editor",))
        clock.forward(age_s)
        await person.open("/account/password")
        assert person.path == "/account/confirm?next=%2Faccount%2Fpassword"
        if age_s:
            await submit_code(person, "password", PASSWORD)
        else:
            assert "Your account needs a second factor." in person.text
            await person.submit("/account/confirm")
        assert person.path == "/account/login/step?next=%2Faccount%2Fpassword"
        assert person.http.cookies[NAME] == before
        (form,) = [one for one in person.forms if "credential" not in one.fields]
        await person.post(form.action, form.fields)
        await person.submit("/login/enrol", code=code_of(key_on(person), clock))
        assert len(recovery_codes_on(person)) == 10
        assert person.http.cookies[NAME] != before
        await person.open("/account/password")
        assert person.path == "/account/password"

    async def test_a_passkey(self, service: Service, person: Person) -> None:
        """The same with a passkey."""
        await service.user(roles=("editor",))
        await person.log_in()
        (form,) = [one for one in person.forms if "credential" in one.fields]
        authenticator = Authenticator(ORIGIN, "auth.test")
        body = {"auth_session": form.fields["auth_session"]}
        credential = authenticator.create(await options(person, "/factors/passkeys/options", body))
        await person.post(form.action, form.fields | {"credential": json.dumps(credential)})
        assert len(recovery_codes_on(person)) == 10
        assert (await person.http.get("/me")).status_code == 200


async def options(person: Person, path: str, body: dict[str, Any]) -> Any:
    """What the script asks the API for."""
    answer = await person.http.post(path, json=body, headers={"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 200, answer.text
    return answer.json()["publicKey"] if "auth_session" in body or path.startswith("/factors") else answer.json()


async def with_passkey(person: Person) -> Authenticator:
    """An authenticator with a passkey of the user who is logged in here."""
    await person.open("/account/security/passkey")
    form = person.form("/security/passkey")
    authenticator = Authenticator(ORIGIN, "auth.test")
    credential = authenticator.create(await options(person, "/factors/passkeys/options", {}))
    await person.post(form.action, form.fields | {"credential": json.dumps(credential), "name": "my laptop"})
    return authenticator


class TestPasskeys:
    async def test_a_login_by_passkey_alone(self, service: Service, person: Person) -> None:
        """A passkey that was added on the page logs in, without name and password."""
        await service.user()
        await person.log_in()
        authenticator = await with_passkey(person)
        assert len(recovery_codes_on(person)) == 10
        await person.open("/account")
        await person.submit("/account/logout")
        form = person.form("/login/passkey")
        asked = await options(person, "/login/passkey/options", {})
        fields = {
            "auth_session": asked["auth_session"],
            "credential": json.dumps(authenticator.get(asked["publicKey"])),
        }
        await person.post(form.action, form.fields | fields)
        assert person.path == "/account"
        await person.open("/account/security")
        assert "my laptop" in person.text
        await person.submit("/account/logout")
        form = person.form("/login/passkey")
        await person.post(form.action, form.fields | fields)
        assert (person.answer.status_code, "does not log anybody in" in person.text) == (400, True)

    async def test_without_a_script(self, service: Service, person: Person) -> None:
        """A form that no script has filled in shows what is missing, and adds nothing."""
        await service.user()
        await person.log_in()
        await person.open("/account/security/passkey")
        assert "Passkeys need JavaScript" in person.text
        for credential in ("", "{}", "[", '{"id": 1}'):
            form = person.form("/security/passkey")
            await person.post(form.action, form.fields | {"credential": credential})
            assert (person.answer.status_code, "The passkey did not answer." in person.text) == (400, True)


class TestConfirm:
    async def test_a_password_before_a_factor(self, service: Service, person: Person, clock: Clock) -> None:
        """An old login proves the password as a step, and then gets the page that it wanted. The session goes on."""
        await service.user()
        await person.log_in()
        session = (await person.http.get("/me")).json()["session"]["session_id"]
        clock.forward(601)
        await person.open("/account/security/app")
        assert person.path == "/account/confirm?next=%2Faccount%2Fsecurity%2Fapp"
        await submit_code(person, "password", "not the password at all")
        assert person.answer.status_code == 400
        await submit_code(person, "password", PASSWORD)
        assert person.path == "/account/security/app"
        assert (await person.http.get("/me")).json()["session"]["session_id"] == session

    async def test_a_code_where_the_account_has_a_factor(self, service: Service, person: Person, clock: Clock) -> None:
        """The password is no step for an account with a factor. A form that comes too late leads back to its page."""
        phone = await with_step(service, person)
        await submit_code(person, "totp", phone.code())
        await person.open("/account/security/codes")
        clock.forward(900)
        await person.submit("/security/codes")
        assert person.path == "/account/confirm?next=%2Faccount%2Fsecurity%2Fcodes"
        assert [one.fields["method"] for one in person.forms if "method" in one.fields and one.action] != ["password"]
        await person.post(person.forms[-1].action, person.forms[-1].fields | {"method": "password", "code": PASSWORD})
        assert person.answer.status_code == 400
        await submit_code(person, "totp", phone.code())
        assert person.path == "/account/security/codes"
        await person.submit("/security/codes")
        assert len(recovery_codes_on(person)) == 10

    async def test_a_passkey(self, service: Service, person: Person, clock: Clock) -> None:
        """A passkey answers a step-up that its script has begun, of this very session."""
        await service.user()
        await person.log_in()
        authenticator = await with_passkey(person)
        clock.forward(900)
        await person.open("/account/password")
        (form,) = [one for one in person.forms if one.fields.get("method") == "passkey"]
        headers = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
        begun = (await person.http.post("/step-up", headers=headers)).json()["auth_session"]
        asked = await options(person, "/login/passkey/options", {"auth_session": begun})
        fields = {"auth_session": begun, "credential": json.dumps(authenticator.get(asked))}
        await person.post(form.action, form.fields | fields)
        assert person.path == "/account/password"

    async def test_the_step_up_of_another_session(
        self, service: Service, person: Person, new_person: Callable[[], Person], clock: Clock
    ) -> None:
        """A step-up that another session began gives this browser nothing."""
        await service.user()
        await person.log_in()
        authenticator = await with_passkey(person)
        other = new_person()
        await other.open("/account/login")
        asked = await options(other, "/login/passkey/options", {})
        form = other.form("/login/passkey")
        credential = json.dumps(authenticator.get(asked["publicKey"]))
        await other.post(form.action, form.fields | {"auth_session": asked["auth_session"], "credential": credential})
        assert other.path == "/account"
        clock.forward(900)
        headers = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
        begun = (await other.http.post("/step-up", headers=headers)).json()["auth_session"]
        asked = await options(other, "/login/passkey/options", {"auth_session": begun})
        await person.open("/account/password")
        (form,) = [one for one in person.forms if one.fields.get("method") == "passkey"]
        cookie = person.http.cookies[NAME]
        fields = {"auth_session": begun, "credential": json.dumps(authenticator.get(asked))}
        await person.post(form.action, form.fields | fields)
        assert person.answer.status_code == 400
        assert person.http.cookies[NAME] == cookie

    async def test_a_session_of_a_confidential_client(self, service: Service, person: Person, clock: Clock) -> None:
        """Its client proves a secret at each step. So the page offers a login of its own."""
        await service.user()
        _, web = await service.client("introspect")
        body = {"username": "ada", "password": PASSWORD, "cookie": True}
        answer = await service.http.post("/login", json=body, auth=web, headers={"Origin": ORIGIN, "Host": "auth.test"})
        assert answer.status_code == 200, answer.text
        person.http.cookies.set(NAME, answer.cookies[NAME], domain="auth.test")
        clock.forward(900)
        await person.open("/account/security/app")
        assert "You logged in by another app." in person.text
        await person.open("/account/login?again=1&next=/account/security/app")
        await person.submit("/account/login", username="ada", password=PASSWORD)
        assert person.path == "/account/security/app"
