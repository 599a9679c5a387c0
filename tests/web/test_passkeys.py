"""Passkeys over HTTP: registering them, logging in with one alone, as a second factor, and in a step-up."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from authsvc.core.passkey import CHALLENGE_S, MAX_PASSKEYS, decoded, encoded
from authsvc.errors import StartupError, StoreUnavailable
from authsvc.flows import factors, revoke, users
from authsvc.flows.deps import OPERATOR
from authsvc.settings import Settings
from authsvc.store import keys
from tests.authenticators import Authenticator
from tests.conftest import PASSWORD, Clock, Service, bearer
from tests.web.conftest import assert_problem

METADATA = "/.well-known/oauth-authorization-server"
LOGIN = {"username": "ada", "password": PASSWORD}


async def post(service: Service, path: str, body: dict[str, Any], **more: Any) -> httpx.Response:
    return await service.http.post(path, json=body, **more)


async def ok(service: Service, path: str, body: dict[str, Any], status: int = 200, **more: Any) -> dict[str, Any]:
    answer = await post(service, path, body, **more)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def creation_options(service: Service, headers: dict[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = (await ok(service, "/factors/passkeys/options", {}, headers=headers))["publicKey"]
    return options


async def enrolled(service: Service, device: Authenticator | None = None) -> tuple[Authenticator, dict[str, Any]]:
    """A passkey of the user `ada`, whose first one it is, and the answer that registered it."""
    await service.user()
    device = device or Authenticator()
    headers = bearer((await service.login())["access_token"])
    return device, await added(service, device, headers)


async def added(service: Service, device: Authenticator, headers: dict[str, str], **more: Any) -> dict[str, Any]:
    options = await creation_options(service, headers)
    return await ok(service, "/factors/passkeys", {"credential": device.create(options)} | more, 201, headers=headers)


async def asked(service: Service, auth_session: str | None = None) -> dict[str, Any]:
    body = {} if auth_session is None else {"auth_session": auth_session}
    return await ok(service, "/login/passkey/options", body)


async def answered(service: Service, by: Authenticator, begun: dict[str, Any], **more: Any) -> httpx.Response:
    body = {"auth_session": begun["auth_session"], "credential": by.get(begun["publicKey"])}
    return await post(service, "/login/passkey", body | more)


async def step(service: Service) -> dict[str, Any]:
    """The answer to a right password of a user with a passkey."""
    begun = await ok(service, "/login", LOGIN, 403)
    assert begun["error"] == "insufficient_authorization"
    return begun


async def strength(service: Service, token: str) -> tuple[list[str], str, int]:
    told = await service.introspect(token)
    return told["amr"], told["acr"], told["auth_time"]


async def test_registering_a_passkey(service: Service, clock: Clock) -> None:
    """The first passkey brings recovery codes, and the list shows it without its id and key."""
    device, made = await enrolled(service)
    assert (made["kind"], made["synced"], len(made["recovery_codes"])) == ("passkey", False, 10)
    begun = await step(service)
    assert begun["methods"] == ["passkey", "recovery"]
    token = (await answered(service, device, await asked(service, begun["auth_session"]))).json()["access_token"]
    second = await added(service, Authenticator(synced=True), bearer(token), name="Ada's laptop")
    assert (second["name"], second["synced"], "recovery_codes" in second) == ("Ada's laptop", True, False)
    listed = (await service.http.get("/factors", headers=bearer(token))).json()
    assert [one["id"] for one in listed["items"]] == [made["id"], second["id"]]
    assert listed["items"][0]["last_used_at"] == int(clock())
    assert encoded(device.credential) not in str(listed)


async def test_a_login_by_passkey_alone(service: Service, clock: Clock) -> None:
    """The authenticator names its user. The session is `aal2`, refreshes, and is listed with its device."""
    device, _ = await enrolled(service)
    clock.forward(1000)
    begun = await asked(service)
    assert begun["publicKey"]["allowCredentials"] == []
    answer = await answered(service, device, begun, device="Ada's phone")
    assert answer.status_code == 200, answer.text
    token = answer.json()
    assert await strength(service, token["access_token"]) == (["hwk", "user"], "aal2", int(clock()))
    assert (await service.refresh(token["refresh_token"])).status_code == 200
    me = (await service.http.get("/me", headers=bearer(token["access_token"]))).json()
    assert (me["username"], me["session"]["device"]) == ("ada", "Ada's phone")


async def test_a_login_by_passkey_alone_in_cookie_mode(service: Service) -> None:
    """In cookie mode no token is in the body, and another site can't cause it."""
    device, _ = await enrolled(service)
    credential = device.get((begun := await asked(service))["publicKey"])
    body = {"auth_session": begun["auth_session"], "credential": credential, "cookie": True}
    assert_problem(
        await post(service, "/login/passkey", body, headers={"Sec-Fetch-Site": "cross-site"}), 403, "access_denied"
    )
    answer = await post(service, "/login/passkey", body, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 200
    assert "access_token" not in answer.json()
    assert "__Host-session=tok_" in answer.headers["set-cookie"]


async def test_a_second_factor(service: Service, clock: Clock) -> None:
    """After a right password any passkey of the user completes the login, verified or not: two factors are `aal2`."""
    device, _ = await enrolled(service, Authenticator(verifies=False))
    begun = await asked(service, (await step(service))["auth_session"])
    assert [one["id"] for one in begun["publicKey"]["allowCredentials"]] == [encoded(device.credential)]
    token = (await answered(service, device, begun)).json()["access_token"]
    assert await strength(service, token) == (["pwd", "hwk", "mfa"], "aal2", int(clock()))


async def test_a_step_up(service: Service, clock: Clock) -> None:
    """The same session gets new tokens and the present time; its old tokens stop."""
    device, _ = await enrolled(service)
    token = (await answered(service, device, await asked(service))).json()
    clock.forward(500)
    headers = bearer(token["access_token"])
    begun = (await service.http.post("/step-up", headers=headers)).json()
    assert begun["methods"] == ["passkey", "recovery"]
    stepped = (await answered(service, device, await asked(service, begun["auth_session"]))).json()
    assert stepped["session_id"] == token["session_id"]
    assert await strength(service, stepped["access_token"]) == (["hwk", "user"], "aal2", int(clock()))
    assert not await service.active(token["access_token"])


async def test_alone_takes_verification(service: Service) -> None:
    """A passkey that did not verify its user is one factor, and logs nobody in alone."""
    device, _ = await enrolled(service, Authenticator(verifies=False))
    assert_problem(await answered(service, device, await asked(service)), 401, "invalid_grant")


@pytest.mark.parametrize("synced", [True, False])
async def test_a_synced_passkey_has_no_counter(service: Service, synced: bool) -> None:
    """A synced passkey works whatever its counter is. Another one whose counter falls is a copy."""
    device, _ = await enrolled(service, Authenticator(synced=synced, counter=100))
    for _ in range(3):
        assert (await answered(service, device, await asked(service))).status_code == 200
    device.counter = 0
    again = await answered(service, device, await asked(service))
    assert again.status_code == (200 if synced else 401), again.text


async def test_a_challenge_counts_once(service: Service) -> None:
    """An answer can't be sent a second time, neither a right one nor a wrong one."""
    device, _ = await enrolled(service, Authenticator(synced=True))
    begun = await asked(service)
    body = {"auth_session": begun["auth_session"], "credential": device.get(begun["publicKey"])}
    assert (await post(service, "/login/passkey", body)).status_code == 200
    assert_problem(await post(service, "/login/passkey", body), 400, "invalid_session")
    begun = await asked(service)
    stranger = Authenticator(synced=True, user_handle=device.user_handle)
    assert_problem(await answered(service, stranger, begun), 401, "invalid_grant")
    assert_problem(await answered(service, device, begun), 400, "invalid_session")
    headers = bearer((await answered(service, device, await asked(service))).json()["access_token"])
    credential = Authenticator().create(await creation_options(service, headers))
    await ok(service, "/factors/passkeys", {"credential": credential}, 201, headers=headers)
    assert_problem(
        await post(service, "/factors/passkeys", {"credential": credential}, headers=headers), 400, "invalid_request"
    )


@pytest.mark.parametrize("alone", [True, False])
async def test_one_answer_at_the_same_time(service: Service, alone: bool) -> None:
    """Of many equal answers at one moment exactly one logs in."""
    device, _ = await enrolled(service, Authenticator(synced=True))
    begun = await asked(service, None if alone else (await step(service))["auth_session"])
    body = {"auth_session": begun["auth_session"], "credential": device.get(begun["publicKey"])}
    answers = await asyncio.gather(*(post(service, "/login/passkey", body) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers)[0] == 200
    assert sum(answer.status_code == 200 for answer in answers) == 1, [answer.text for answer in answers]


async def test_an_answer_that_could_not_be_deleted(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A challenge counts once even if the worker dies before it deletes the record."""
    device, _ = await enrolled(service, Authenticator(synced=True))
    begun = await asked(service)

    async def dies(of: str) -> bool:
        raise StoreUnavailable("the worker was killed")

    monkeypatch.setattr(service.deps.store.challenges, "delete", dies)
    body = {"auth_session": begun["auth_session"], "credential": device.get(begun["publicKey"])}
    assert (await post(service, "/login/passkey", body)).status_code == 200
    assert_problem(await post(service, "/login/passkey", body), 400, "invalid_session")


async def test_a_challenge_lapses(service: Service, clock: Clock) -> None:
    """An answer after five minutes counts for nothing."""
    device, _ = await enrolled(service)
    begun = await asked(service)
    clock.forward(CHALLENGE_S)
    assert_problem(await answered(service, device, begun), 400, "invalid_session")


async def test_an_answer_to_an_earlier_question(service: Service) -> None:
    """Asking again replaces the challenge of a step."""
    device, _ = await enrolled(service)
    session = (await step(service))["auth_session"]
    early, late = await asked(service, session), await asked(service, session)
    assert_problem(await answered(service, device, early), 400, "invalid_request")
    assert_problem(await answered(service, device, late), 401, "invalid_grant")  # the wrong answer removed it
    assert (await answered(service, device, await asked(service, session))).status_code == 200


async def test_another_origin_and_another_domain(service: Service) -> None:
    """A passkey that was used on another site opens nothing here."""
    device, _ = await enrolled(service)
    for name, value in (("origin", "https://evil.example"), ("rp_id", "evil.example")):
        right = getattr(device, name)
        setattr(device, name, value)
        assert_problem(await answered(service, device, await asked(service)), 400, "invalid_request")
        session = (await step(service))["auth_session"]
        assert_problem(await answered(service, device, await asked(service, session)), 400, "invalid_request")
        setattr(device, name, right)
    assert (await answered(service, device, await asked(service))).status_code == 200


async def test_a_passkey_of_another_user(service: Service) -> None:
    """A passkey opens its own account only: not the login of another user, and not by another's handle."""
    device, _ = await enrolled(service)
    await service.user("eve")
    eve = Authenticator()
    await added(service, eve, bearer((await service.login("eve"))["access_token"]))
    session = (await step(service))["auth_session"]
    assert_problem(await answered(service, eve, await asked(service, session)), 401, "invalid_grant")
    device.user_handle, eve.user_handle = eve.user_handle, device.user_handle
    session = (await step(service))["auth_session"]
    assert_problem(await answered(service, device, await asked(service, session)), 401, "invalid_grant")
    assert_problem(await answered(service, device, await asked(service)), 401, "invalid_grant")
    assert_problem(await answered(service, eve, await asked(service)), 401, "invalid_grant")


@pytest.mark.parametrize("user_handle", [None, "", encoded(bytes(32)), encoded(b"*")])
async def test_a_handle_that_nobody_has(service: Service, user_handle: str | None) -> None:
    """Without a handle, or with an unknown one, nobody logs in."""
    device, _ = await enrolled(service)
    device.user_handle = user_handle
    assert_problem(await answered(service, device, await asked(service)), 401, "invalid_grant")


async def _suspend(service: Service, sub: str) -> None:
    await users.update(service.deps, OPERATOR, sub, status="suspended")


async def _revoke(service: Service, sub: str) -> None:
    await revoke.revoke_user(service.deps, OPERATOR, sub)


async def _remove(service: Service, sub: str) -> None:
    await factors.remove_all(service.deps, OPERATOR, sub)


async def _delete(service: Service, sub: str) -> None:
    await users.delete(service.deps, OPERATOR, sub)


@pytest.mark.parametrize("change", [_suspend, _revoke, _remove, _delete])
async def test_a_change_between_the_steps(service: Service, change: Callable[[Service, str], Any]) -> None:
    """A suspension, a revocation, or the end of the passkey ends a login between its steps. Alone, only a revocation
    lets it go on: nothing was proven before it.
    """
    device, _ = await enrolled(service)
    account = await service.deps.store.users.find_by_name("ada")
    assert account is not None
    begun, alone = await asked(service, (await step(service))["auth_session"]), await asked(service)
    await change(service, account.user.sub)
    assert_problem(await answered(service, device, begun), 400, "invalid_session")
    status = (await answered(service, device, alone)).status_code
    assert status == (200 if change is _revoke else 401)


async def test_removing_passkeys(service: Service, valkey: Any) -> None:
    """A removed passkey opens nothing. The last one takes the recovery codes and the index along."""
    device, made = await enrolled(service)
    token = (await answered(service, device, await asked(service))).json()["access_token"]
    other = Authenticator()
    second = await added(service, other, bearer(token))
    assert other.user_handle == device.user_handle
    index = keys.passkey(device.user_handle or "")
    assert (await service.http.delete(f"/factors/{made['id']}", headers=bearer(token))).status_code == 204
    assert_problem(await answered(service, device, await asked(service)), 401, "invalid_grant")
    assert (await answered(service, other, await asked(service))).status_code == 200
    assert valkey.exists(index)
    assert (await service.http.delete(f"/factors/{second['id']}", headers=bearer(token))).status_code == 204
    assert not valkey.exists(index)
    assert_problem(await answered(service, other, await asked(service)), 401, "invalid_grant")
    assert (await post(service, "/login", LOGIN)).status_code == 200


@pytest.mark.parametrize("change", [_remove, _delete])
async def test_no_index_is_left(service: Service, valkey: Any, change: Callable[[Service, str], Any]) -> None:
    """Removing all factors, and deleting the user, removes the handle from the index."""
    await enrolled(service)
    account = await service.deps.store.users.find_by_name("ada")
    assert account is not None
    assert [*valkey.scan_iter("passkey:*")]
    await change(service, account.user.sub)
    assert not [*valkey.scan_iter("passkey:*")]


async def test_the_same_passkey_twice(service: Service) -> None:
    """A browser is told which passkeys there are, and one that is sent a second time is refused."""
    device, _ = await enrolled(service)
    headers = bearer((await answered(service, device, await asked(service))).json()["access_token"])
    options = await creation_options(service, headers)
    assert [decoded(one["id"]) for one in options["excludeCredentials"]] == [device.credential]
    refused = await post(service, "/factors/passkeys", {"credential": device.create(options)}, headers=headers)
    assert_problem(refused, 400, "invalid_request")


async def test_how_many(service: Service) -> None:
    """An account has a bounded number of passkeys."""
    device, _ = await enrolled(service)
    headers = bearer((await answered(service, device, await asked(service))).json()["access_token"])
    for _ in range(MAX_PASSKEYS - 1):
        await added(service, Authenticator(), headers)
    assert_problem(await post(service, "/factors/passkeys/options", {}, headers=headers), 400, "invalid_request")


async def test_registering_takes_a_recent_login(service: Service, clock: Clock) -> None:
    """A thief of an old session adds no passkey."""
    await service.user()
    headers = bearer((await service.login())["access_token"])
    options = await creation_options(service, headers)
    clock.forward(service.deps.settings.recent_login_s - 100)
    clock.forward(200)
    for path, body in (
        ("/factors/passkeys/options", {}),
        ("/factors/passkeys", {"credential": Authenticator().create(options)}),
    ):
        refused = await post(service, path, body, headers=headers)
        assert_problem(refused, 401, "insufficient_user_authentication")


async def test_registering_without_a_question(service: Service) -> None:
    """A registration answers a challenge of this very session."""
    await service.user()
    first, second = [bearer((await service.login())["access_token"]) for _ in range(2)]
    options = await creation_options(service, first)
    refused = await post(service, "/factors/passkeys", {"credential": Authenticator().create(options)}, headers=second)
    assert_problem(refused, 400, "invalid_request")


async def test_fields_of_the_first_step(service: Service) -> None:
    """In a second step nothing of the first one can be changed."""
    device, _ = await enrolled(service)
    for field in ({"client_id": "app"}, {"scope": "read"}, {"device": "x"}, {"cookie": False}, {"ip": "192.0.2.9"}):
        begun = await asked(service, (await step(service))["auth_session"])
        assert_problem(await answered(service, device, begun, **field), 400, "invalid_request")


async def test_a_scope_beyond_the_client(service: Service) -> None:
    """A login by passkey alone gets the scope that a login by password could get."""
    device, _ = await enrolled(service)
    token = (await answered(service, device, await asked(service), scope="read")).json()
    assert token["scope"] == "read"
    assert_problem(await answered(service, device, await asked(service), scope="admin"), 400, "invalid_scope")


@pytest.mark.slow
async def test_beginnings_are_limited(service: Service) -> None:
    """An address may begin so many logins by passkey alone; the logins of others go on."""
    limit = service.deps.settings.limits.passkey
    device, _ = await enrolled(service)
    begun = [await asked(service) for _ in range(limit.free)]
    assert (await post(service, "/login/passkey/options", {})).status_code == 429
    assert (await answered(service, device, begun[-1])).status_code == 200


class TestPolicy:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.but(require_factor_for=("ops",))

    async def test_registering_completes_a_login(self, service: Service) -> None:
        """A user who has to have a factor, and has none, registers a passkey in the login and is logged in."""
        await service.user(roles=("ops",))
        begun = await step(service)
        assert begun["methods"] == ["enrol"]
        session, device = {"auth_session": begun["auth_session"]}, Authenticator()
        assert_problem(await post(service, "/login/passkey/options", session), 400, "invalid_request")
        options = (await ok(service, "/factors/passkeys/options", session))["publicKey"]
        body = session | {"credential": device.create(options)}
        done = await ok(service, "/factors/passkeys", body)
        assert len(done["recovery_codes"]) == 10
        assert (await strength(service, done["access_token"]))[:2] == (["pwd", "hwk", "user", "mfa"], "aal2")
        assert_problem(await post(service, "/factors/passkeys", body), 400, "invalid_session")
        assert (await answered(service, device, await asked(service))).status_code == 200

    async def test_a_thief_of_the_password_registers_nothing(self, service: Service) -> None:
        """A login in progress of a user who has a passkey registers no other one."""
        await enrolled(service)
        session = {"auth_session": (await step(service))["auth_session"]}
        assert_problem(await post(service, "/factors/passkeys/options", session), 400, "invalid_request")
        credential = Authenticator().create({"challenge": "", "user": {"id": ""}})
        refused = await post(service, "/factors/passkeys", session | {"credential": credential})
        assert_problem(refused, 400, "invalid_request")


class TestWithoutTheLibrary:
    @pytest.fixture
    def settings(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
        monkeypatch.setattr("authsvc.settings.find_spec", lambda name: None)
        return settings.but()

    async def test_nothing_is_offered(self, service: Service) -> None:
        """Without `fido2` the calls are absent, and the metadata does not offer them."""
        await service.user()
        headers = bearer((await service.login())["access_token"])
        for path in ("/login/passkey", "/login/passkey/options", "/factors/passkeys", "/factors/passkeys/options"):
            assert (await post(service, path, {}, headers=headers)).status_code == 404, path
        assert (await service.http.get(METADATA)).json()["login_methods_supported"] == ["password", "totp", "recovery"]


@pytest.mark.slow
def test_nothing_else_imports_the_library() -> None:
    """The service and its command line start without `fido2`."""
    script = "import sys; sys.modules['fido2'] = None; import authsvc.app, authsvc.cli, authsvc.serve.start"
    subprocess.run([sys.executable, "-c", script], check=True)


async def test_the_metadata_offers_them(service: Service) -> None:
    """The metadata lists what a login may ask for."""
    told = (await service.http.get(METADATA)).json()
    assert told["login_methods_supported"] == ["password", "passkey", "totp", "recovery"]


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"PASSKEY_ORIGINS": "https://evil.example"}, "PASSKEY_ORIGINS"),
        ({"PASSKEY_ORIGINS": "https://app.example.org/"}, "PASSKEY_ORIGINS"),
        ({"PASSKEY_ORIGINS": "http://app.example.org", "PASSKEY_RP_ID": "example.org"}, "PASSKEY_ORIGINS"),
        ({"PASSKEY_ORIGINS": "*"}, "PASSKEY_ORIGINS"),
        ({"PASSKEY_RP_ID": "example.com"}, "PASSKEY_ORIGINS"),
        ({"PASSKEY_RP_ID": "https://example.org"}, "PASSKEY_RP_ID"),
        ({"PASSKEY_RP_ID": "EXAMPLE.org"}, "PASSKEY_RP_ID"),
        ({"PASSKEY_RP_ID": "example.org"}, None),
        ({"PASSKEY_ORIGINS": "https://auth.example.org android:apk-key-hash:abc_-"}, None),
    ],
)
def test_settings_that_no_browser_would_accept(environment: dict[str, str], problem: str | None) -> None:
    """Each origin is whole, over TLS, and of the domain; a start names the setting that is wrong."""
    given = {f"AUTHSVC_{name}": value for name, value in environment.items()}
    given["AUTHSVC_ISSUER"] = "https://auth.example.org"
    if problem is None:
        assert Settings.from_environment(given).relying_party is not None
        return
    with pytest.raises(StartupError, match=f"AUTHSVC_{problem}: must be"):
        Settings.from_environment(given)


def malformed(device: Authenticator, options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    good = device.create(options)

    def with_response(**more: Any) -> dict[str, Any]:
        return good | {"response": good["response"] | more}

    return {
        "no response": {"id": good["id"], "type": "public-key"},
        "another type": good | {"type": "password"},
        "an id that is none": good | {"id": "a b"},
        "an id of five characters": good | {"id": "AAAAA"},
        "client data that is none": with_response(clientDataJSON="AAAA"),
        "an object that is none": with_response(attestationObject="AAAA"),
        "an object of 9 KiB": with_response(attestationObject="A" * 12_288),
        "an object that is a list": with_response(attestationObject=[1]),
        "nested objects": with_response(attestationObject=encoded(b"\x81" * 8000)),
        "padding": with_response(attestationObject=good["response"]["attestationObject"] + "=="),
    }


async def test_malformed_credentials(service: Service) -> None:
    """A malformed credential is a 400 that adds nothing, and 64 KiB are a 413."""
    await service.user()
    headers = bearer((await service.login())["access_token"])
    names = malformed(Authenticator(), await creation_options(service, headers))
    for name in names:
        credential = malformed(Authenticator(), await creation_options(service, headers))[name]
        refused = await post(service, "/factors/passkeys", {"credential": credential}, headers=headers)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request"), f"{name}: {refused.text}"
    large = {"credential": {"response": {"attestationObject": "A" * 65_536}}}
    assert_problem(await post(service, "/factors/passkeys", large, headers=headers), 413, "too_large")
    assert (await service.http.get("/factors", headers=headers)).json()["items"] == []
