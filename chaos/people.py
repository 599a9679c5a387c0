"""People with second factors, and their calls over HTTP: an authenticator app, recovery codes and a passkey."""

import asyncio
import secrets
import time
from base64 import b32decode
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from authsvc.core.totp import PERIOD_S, WINDOW, code_at
from chaos.http import Answer, Http
from chaos.processes import ExperimentError
from chaos.waiting import until_it
from chaos.world import User
from tests.authenticators import Authenticator

# The domain of the passkeys. No browser takes part, so any will do.
DOMAIN = "auth.test"
# How long a call may take. No experiment with second factors is about time.
PATIENT_S = 60.0
# Some logins of one person at a time: each of them waits for a hash.
_AT_ONCE = 20


@dataclass
class App:
    """An authenticator app. last: the time step of the last code that it has shown."""

    seed: bytes
    last: int

    async def next_code(self) -> str:
        """A code that nobody has used. It waits until the service takes the code."""
        step = max(self.last + 1, int(time.time()) // PERIOD_S)
        await asyncio.sleep(max((step - WINDOW) * PERIOD_S - time.time(), 0))
        self.last = step
        return code_at(self.seed, step)


@dataclass
class Person:
    """A user whose login takes a second factor."""

    user: User
    app: App
    recovery_codes: list[str] = field(default_factory=list)

    async def begin(self, http: Http) -> str:
        """The first step of a login. Returns its `auth_session`. Tries again while the service is not reachable."""
        found = Answer(0, {}, b"")

        async def begun() -> bool:
            nonlocal found
            found = await log_in(http, self.user)
            return found.status != 503

        await until_it(begun, PATIENT_S)
        if found.status != 403:
            raise ExperimentError(f"the first step was answered {found.status} {found.body!r}")
        return str(found.json()["auth_session"])

    async def begin_many(self, https: Sequence[Http], count: int) -> list[str]:
        """The `auth_session` of so many logins that wait for their second step."""
        found: list[str] = []
        while len(found) < count:
            numbers = range(len(found), min(len(found) + _AT_ONCE, count))
            found += await asyncio.gather(*[self.begin(https[number % len(https)]) for number in numbers])
        return found


def settings_of(directory: Path) -> dict[str, str]:
    """The settings of a service with authenticator apps and passkeys. Writes its factor key into this directory."""
    key = directory / "factor.key"
    key.write_text(secrets.token_hex(32))
    return {
        "AUTHSVC_FACTOR_KEY_FILE": str(key),
        "AUTHSVC_PASSKEY_RP_ID": DOMAIN,
        "AUTHSVC_PASSKEY_ORIGINS": f"https://{DOMAIN}",
    }


async def log_in(http: Http, user: User) -> Answer:
    document = {"username": user.username, "password": user.password}
    return await http.call("POST", "/login", document=document, headers=user.headers, timeout_s=PATIENT_S)


async def answer(http: Http, user: User, method: str, auth_session: str, code: str) -> Answer:
    """The second step of a login."""
    document = {"auth_session": auth_session, "code": code}
    return await http.call("POST", f"/login/{method}", document=document, headers=user.headers, timeout_s=PATIENT_S)


async def with_app(http: Http, user: User) -> Person:
    """The user with an authenticator app, which a first code has confirmed, and ten recovery codes."""
    bearer = await _bearer(http, user)
    begun = await _ok(http, "/factors/totp", {}, bearer)
    app = App(b32decode(begun["secret"]), last=0)
    confirmed = await _ok(http, f"/factors/totp/{begun['id']}/confirm", {"code": await app.next_code()}, bearer)
    return Person(user, app, confirmed["recovery_codes"])


async def with_passkey(http: Http, user: User) -> Authenticator:
    """A passkey of the user. It is synced, so that no counter could refuse its second use."""
    bearer, device = await _bearer(http, user), Authenticator(f"https://{DOMAIN}", DOMAIN, synced=True)
    asked = await _ok(http, "/factors/passkeys/options", {}, bearer)
    await _ok(http, "/factors/passkeys", {"credential": device.create(asked["publicKey"])}, bearer)
    return device


async def answer_by_passkey(http: Http, device: Authenticator) -> dict[str, Any]:
    """The body that completes a login by passkey alone."""
    asked = await _ok(http, "/login/passkey/options", {}, {})
    return {"auth_session": asked["auth_session"], "credential": device.get(asked["publicKey"])}


async def _bearer(http: Http, user: User) -> dict[str, str]:
    given = (await log_in(http, user)).json()
    if "access_token" not in given:
        raise ExperimentError(f"{user.username} can't log in: {given}")
    return {"Authorization": f"Bearer {given['access_token']}"}


async def _ok(http: Http, path: str, document: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    answer = await http.call("POST", path, document=document, headers=headers, timeout_s=PATIENT_S)
    if answer.status not in (200, 201):
        raise ExperimentError(f"{path} was answered {answer.status} {answer.body!r}")
    return answer.json()
