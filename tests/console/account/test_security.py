"""Password, passkeys, authenticator apps and recovery codes on the account pages."""

import re

import pytest

from authsvc.flows.deps import OPERATOR
from authsvc.flows.password import new_reset_code
from authsvc.settings import Settings
from authsvc.web.cookies import NAME
from tests.conftest import PASSWORD, Clock, Service
from tests.console.account.person import Person
from tests.console.account.test_steps import code_of, key_on, recovery_codes_on, submit_code, with_passkey, with_step

NEW = "another walk by the sea"


class TestApp:
    async def test_adding_one(self, service: Service, person: Person, clock: Clock) -> None:
        """The key is shown once, as a picture and as text. The first code adds the app, and brings recovery codes."""
        await service.user()
        await person.log_in()
        await person.open("/account/security/app")
        await person.submit("/security/app", name="my phone")
        key = key_on(person)
        assert '<svg class="qr"' in person.answer.text
        assert f"otpauth://totp/Example%3Aada?secret={key}&amp;issuer=Example" in person.answer.text
        await person.submit("/security/app", code="000000")
        assert (person.answer.status_code, key in person.answer.text) == (400, False)
        assert "If you typed the key wrongly, start again" in person.text
        await person.submit("/security/app", code=code_of(key, clock))
        shown = recovery_codes_on(person)
        assert len(shown) == 10
        await person.open("/account/security")
        assert "my phone" in person.text
        assert shown[0] not in person.answer.text
        clock.forward(60)
        await person.log_in()
        assert person.path == "/account/login/step"

    async def test_starting_again(self, service: Service, person: Person, clock: Clock) -> None:
        """Whoever typed the key wrongly gets a new key, for an app with the same name."""
        await service.user()
        await person.log_in()
        await person.open("/account/security/app")
        await person.submit("/security/app", name="my phone")
        key = key_on(person)
        assert "Start again" not in person.text
        await person.submit("/security/app", code="000000")
        await person.submit("/security/app", anew="yes")
        assert person.answer.status_code == 200
        assert key_on(person) != key
        await person.submit("/security/app", code=code_of(key_on(person), clock))
        assert len(recovery_codes_on(person)) == 10
        await person.open("/account/security")
        assert "my phone" in person.text

    async def test_a_second_one(self, service: Service, person: Person, clock: Clock) -> None:
        """Another app brings no new recovery codes. A name is not needed."""
        phone = await with_step(service, person)
        await submit_code(person, "totp", phone.code())
        await person.open("/account/security/app")
        await person.submit("/security/app")
        await person.submit("/security/app", code=code_of(key_on(person), clock))
        assert (person.path, "Added: Authenticator app." in person.text) == ("/account/security", True)

    async def test_too_long_a_name(self, service: Service, person: Person) -> None:
        """A name that is too long begins nothing."""
        await service.user()
        await person.log_in()
        await person.open("/account/security/app")
        await person.submit("/security/app", name="n" * 121)
        assert person.answer.status_code == 400


class TestRemoving:
    async def test_the_last_one(self, service: Service, person: Person) -> None:
        """The page says what follows. Then the password alone logs in."""
        phone = await with_step(service, person)
        await submit_code(person, "totp", phone.code())
        path = f"/account/security/factors/{phone.factor}/remove"
        await person.open(path)
        assert "Remove my phone?" in person.text
        assert "Your password alone will then log you in" in person.text
        await person.submit(path)
        assert (person.path, "Removed: my phone." in person.text) == ("/account/security", True)
        await person.open(path)
        assert person.answer.status_code == 404
        await person.log_in()
        assert person.path == "/account"

    async def test_one_of_two(self, service: Service, person: Person) -> None:
        """While another factor is left, nothing else changes."""
        phone = await with_step(service, person)
        await submit_code(person, "totp", phone.code())
        await with_passkey(person)
        await person.open(f"/account/security/factors/{phone.factor}/remove")
        assert "last one" not in person.text

    async def test_of_somebody_else(self, service: Service, person: Person) -> None:
        """Nobody sees or removes a factor of another user."""
        phone = await with_step(service, person)
        await service.user("eve")
        await person.log_in("eve")
        assert (await person.open(f"/account/security/factors/{phone.factor}/remove")).status_code == 404

    class TestWithAPolicy:
        @pytest.fixture
        def settings(self, settings: Settings) -> Settings:
            return settings.but(require_factor_for=("editor",))

        async def test_the_last_one_that_is_demanded(self, service: Service, person: Person, clock: Clock) -> None:
            """Where a factor is demanded, the page says that the next login asks for a new one."""
            await service.user(roles=("editor",))
            await person.log_in()
            (form,) = [one for one in person.forms if "credential" not in one.fields]
            await person.post(form.action, form.fields)
            await person.submit("/login/enrol", code=code_of(key_on(person), clock))
            await person.open("/account/security")
            path = next(part for part in person.answer.text.split('"') if part.endswith("/remove"))
            await person.open(path)
            assert "At your next login you have to add another one." in person.text


async def test_new_recovery_codes(service: Service, person: Person) -> None:
    """New codes are shown once, and the old ones stop working."""
    phone = await with_step(service, person)
    await submit_code(person, "totp", phone.code())
    await person.open("/account/security/codes")
    assert "Your former codes stop working: 10." in person.text
    await person.submit("/security/codes")
    new = recovery_codes_on(person)
    assert len(new) == 10
    await person.log_in()
    await submit_code(person, "recovery", phone.recovery_codes[0])
    assert person.answer.status_code == 400
    await submit_code(person, "recovery", new[0])
    assert person.path == "/account"


class TestPassword:
    async def test_changing_it(self, service: Service, person: Person) -> None:
        """The new password works, this browser stays logged in with a new cookie, and all others are logged out."""
        await service.user()
        phone = await service.login()
        await person.log_in()
        before = person.http.cookies[NAME]
        await person.open("/account/password")
        assert "This logs out all other devices: 1." in person.text
        await person.submit("/account/password", current=PASSWORD, new=NEW)
        assert person.path == "/account/security"
        assert "Your password is changed. All other devices are logged out: 1." in person.text
        assert person.http.cookies[NAME] != before
        assert not await service.active(phone["access_token"])
        assert await service.login(password=NEW)

    async def test_on_the_only_device(self, service: Service, person: Person) -> None:
        """Where no other device is logged in, the page speaks of none."""
        await service.user()
        await person.log_in()
        await person.open("/account/password")
        assert "other devices" not in person.text
        await person.submit("/account/password", current=PASSWORD, new=NEW)
        assert "Your password is changed." in person.text
        assert "other devices" not in person.text

    @pytest.mark.parametrize(
        ("current", "new", "cursor"),
        [("not the password at all", NEW, "current"), (PASSWORD, "short", "new"), (PASSWORD, PASSWORD, "new")],
    )
    async def test_the_cursor(self, service: Service, person: Person, current: str, new: str, cursor: str) -> None:
        """The cursor stands in the field that did not fit."""
        await service.user()
        await person.log_in()
        await person.open("/account/password")
        assert focused(person) == ["current"]
        await person.submit("/account/password", current=current, new=new)
        assert focused(person) == [cursor]

    @pytest.mark.parametrize(
        ("current", "new", "said"),
        [
            ("not the password at all", NEW, "The current password is wrong."),
            (PASSWORD, "short", "at least 15 characters"),
            (PASSWORD, PASSWORD, "The new password is the current one."),
            (PASSWORD, "", "Please fill in all fields."),
        ],
    )
    async def test_what_does_not_fit(self, service: Service, person: Person, current: str, new: str, said: str) -> None:
        """The form comes again without what was typed, and nothing is changed."""
        await service.user()
        await person.log_in()
        await person.open("/account/password")
        await person.submit("/account/password", current=current, new=new)
        assert (person.answer.status_code, said in person.text) == (400, True)
        assert PASSWORD not in person.answer.text
        assert await service.login()

    async def test_unicode(self, service: Service, person: Person) -> None:
        """A password of any characters that can be typed works here as it does everywhere."""
        await service.user()
        await person.log_in()
        await person.open("/account/password")
        unusual = "größe\u00a0und \U0001f469\u200d\U0001f469\u200d\U0001f467 und é"
        await person.submit("/account/password", current=PASSWORD, new=unusual)
        await person.log_in(password=unusual)
        assert person.path == "/account"


def focused(person: Person) -> list[str]:
    """The ids of the fields in which the page puts the cursor."""
    return re.findall(r'<input id="(\w+)"[^>]* autofocus>', person.answer.text)


class TestReset:
    async def test_a_reset_code(self, service: Service, person: Person) -> None:
        """A code sets the password once, ends every session, and logs nobody in."""
        user = await service.user()
        phone = await service.login()
        code, _ = await new_reset_code(service.deps, OPERATOR, user.sub)
        await person.open("/account/reset")
        await person.submit("/account/reset", code=code, new="short")
        assert (person.answer.status_code, person.form("/account/reset").fields["code"]) == (400, code)
        await person.submit("/account/reset", code=f" {code} ", new=NEW)
        assert (person.path, "Your password is set." in person.text) == ("/account/login?again=1", True)
        assert NAME not in person.http.cookies
        assert not await service.active(phone["access_token"])
        assert await service.login(password=NEW)
        await person.open("/account/reset")
        await person.submit("/account/reset", code=code, new=NEW)
        assert "The reset code is not valid." in person.text

    async def test_where_somebody_else_is_logged_in(self, service: Service, person: Person) -> None:
        """The login page follows, which names nobody. The session of the other user goes on."""
        await service.user("lea")
        ada = await service.user()
        await person.log_in("lea")
        code, _ = await new_reset_code(service.deps, OPERATOR, ada.sub)
        await person.open("/account/reset")
        await person.submit("/account/reset", code=code, new=NEW)
        assert "Your password is set. Log in with it." in person.text
        assert person.form("/account/login")
        assert "lea" not in person.text
        assert (await person.http.get("/me")).json()["username"] == "lea"
        await person.submit("/account/login", username="ada", password=NEW)
        assert (await person.http.get("/me")).json()["username"] == "ada"
