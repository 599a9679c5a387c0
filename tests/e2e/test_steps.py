"""Logins with several steps whose calls reach several processes, and a factor key that is replaced under them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.authenticators import Authenticator
from tests.e2e.conftest import PASSWORD
from tests.e2e.fleet import Fleet, running_fleet
from tests.e2e.test_versions import code_of
from tests.processes import until
from tests.stores import running_store

ORIGIN = "https://auth.test"
OLD, NEW = "the factor key of last year, long enough", "the factor key of this year, long enough"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The file of the factor keys."""
    file = tmp_path / "factor.key"
    file.write_text(f"{OLD}\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def fleet(tmp_path: Path, key: Path) -> Iterator[Fleet]:
    """Two servers on one store."""
    settings = {
        "AUTHSVC_FACTOR_KEY_FILE": str(key),
        "AUTHSVC_PASSKEY_RP_ID": "auth.test",
        "AUTHSVC_PASSKEY_ORIGINS": ORIGIN,
    }
    with running_store() as store, running_fleet(tmp_path, store.url, 2, **settings) as fleet:
        yield fleet


class App(NamedTuple):
    """An authenticator app of a user."""

    username: str
    secret: str
    recovery_codes: list[str]

    @property
    def login(self) -> dict[str, str]:
        return {"username": self.username, "password": PASSWORD}


def ok(http: httpx.Client, path: str, body: dict[str, Any], status: int = 200, token: str | None = None) -> Any:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    answer = http.post(path, json=body, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()


def enrolled(fleet: Fleet, username: str, *https: httpx.Client) -> App:
    """A user who enrols an app: the login, the seed and its confirmation are calls of one client each."""
    first, second, third = https
    fleet.call("POST", "/admin/users", json={"username": username, "password": PASSWORD}, status=201)
    token = ok(first, "/login", {"username": username, "password": PASSWORD})["access_token"]
    begun = ok(second, "/factors/totp", {}, 201, token)
    code = {"code": code_of(begun["secret"])}
    confirmed = ok(third, f"/factors/totp/{begun['id']}/confirm", code, token=token)
    return App(username, begun["secret"], confirmed["recovery_codes"])


@pytest.mark.slow
def test_each_call_at_another_server(fleet: Fleet) -> None:
    """Enrolling, both steps, a trusted device, a step-up and a passkey: each call goes on where the last one ended."""
    one, other = [server.http() for server in fleet.servers]
    with one, other:
        app = enrolled(fleet, "ada", one, other, one)
        step = {"auth_session": ok(other, "/login", app.login, 403)["auth_session"]}
        ok(one, "/login/totp", step | {"code": "000000"}, 401)
        code = {"code": code_of(app.secret, 1), "trust_device": True}
        device = {"device_token": ok(other, "/login/totp", step | code)["device_token"]}
        ok(one, "/login/totp", step | code, 400)
        step = {"auth_session": ok(one, "/login", app.login, 403)["auth_session"]}
        ok(one, "/login/totp", step | code, 401)  # a code counts once, whoever is asked
        token = ok(one, "/login", app.login | device)["access_token"]
        step = {"auth_session": ok(other, "/step-up", {}, token=token)["auth_session"]}
        token = ok(one, "/login/recovery", step | {"code": app.recovery_codes[0]})["access_token"]
        passkey = Authenticator(ORIGIN, "auth.test")
        options = ok(other, "/factors/passkeys/options", {}, token=token)["publicKey"]
        ok(one, "/factors/passkeys", {"credential": passkey.create(options)}, 201, token)
        for first, second, begin in ((one, other, {}), (other, one, app.login)):
            begun = {"auth_session": ok(second, "/login", begin, 403)["auth_session"]} if begin else {}
            asked = ok(first, "/login/passkey/options", begun)
            answer = {"auth_session": asked["auth_session"], "credential": passkey.get(asked["publicKey"])}
            assert ok(second, "/login/passkey", answer)["token_type"] == "Bearer"
            ok(first, "/login/passkey", answer, 400)
        ok(other, "/login", app.login | device, 403)  # the passkey has ended the trust in the device


def log_in(http: httpx.Client, app: App) -> None:
    """Log in with the code that follows the one of the enrolment."""
    begun = ok(http, "/login", app.login, 403)
    assert begun["methods"] == ["totp", "recovery"]
    ok(http, "/login/totp", {"auth_session": begun["auth_session"], "code": code_of(app.secret, 1)})


def readiness(http: httpx.Client) -> int:
    return http.get("/readyz").status_code


@pytest.mark.slow
def test_a_key_is_replaced_one_server_after_the_other(fleet: Fleet, key: Path) -> None:
    """A new key comes second, and first when every server has it. Each server takes all codes at any time."""
    one, other = [server.http() for server in fleet.servers]
    with one, other:
        oldest, enrolments = enrolled(fleet, "ada", one, other, one), 0
        for lines in ((OLD, NEW), (NEW, OLD)):
            key.write_text("\n".join(lines))
            for server, here, there in zip(fleet.servers, (one, other), (other, one), strict=True):
                server.stop()
                server.start()
                app = enrolled(fleet, f"user{enrolments}", here, here, here)
                enrolments += 1
                assert (readiness(here), readiness(there)) == (200, 200)
                log_in(there, app)
        log_in(other, oldest)


@pytest.mark.slow
def test_a_key_that_comes_first_at_once(fleet: Fleet, key: Path) -> None:
    """If one server makes apps under a key that the other one lacks, the other one takes no traffic."""
    one, other = [server.http() for server in fleet.servers]
    with one, other:
        key.write_text(f"{NEW}\n{OLD}\n")
        fleet.servers[0].stop()
        fleet.servers[0].start()
        assert readiness(other) == 200
        app = enrolled(fleet, "ada", one, one, one)
        until(lambda: readiness(other) == 503)
        assert ok(other, "/login", app.login, 403)["methods"] == ["recovery"]
        fleet.servers[1].stop()
        fleet.servers[1].start()
        assert readiness(other) == 200
        log_in(other, app)
