"""A user with an authenticator app, over HTTP."""

from base64 import b32decode
from dataclasses import dataclass
from typing import Any

import httpx

from authsvc.core import totp as codes
from tests.conftest import PASSWORD, Service, bearer


@dataclass
class Phone:
    """An authenticator app and the recovery codes of a user."""

    service: Service
    username: str
    factor: str
    seed: bytes
    recovery_codes: list[str]

    def code(self, steps: int = 0) -> str:
        """The code that it shows now, or some time steps from now."""
        return codes.code_at(self.seed, int(self.service.deps.clock()) // codes.PERIOD_S + steps)

    async def begin(self, **fields: Any) -> httpx.Response:
        """The first step of a login."""
        body = {"username": self.username, "password": PASSWORD, **fields}
        return await self.service.http.post("/login", json=body)

    async def login(self, **fields: Any) -> dict[str, Any]:
        """A login of both steps, by the code that follows the last one."""
        self.service.deps.clock.forward(codes.PERIOD_S * 2)  # type: ignore[attr-defined]  # the clock of tests
        begun = (await self.begin(**fields)).json()
        answer = await step(self.service, "totp", begun["auth_session"], self.code())
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body


async def step(service: Service, method: str, auth_session: str, code: str, **more: Any) -> httpx.Response:
    """One step of a login in progress."""
    body = {"auth_session": auth_session, "code": code}
    return await service.http.post(f"/login/{method}", json=body | more.pop("fields", {}), **more)


async def enrol(service: Service, headers: dict[str, str], **fields: Any) -> tuple[str, bytes]:
    """Begin to enrol an app: its id and its seed."""
    answer = await service.http.post("/factors/totp", json=fields, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"], b32decode(answer.json()["secret"])


async def with_phone(service: Service, username: str = "ada", **fields: Any) -> Phone:
    """A new user who has confirmed an app."""
    await service.user(username, **fields)
    headers = bearer((await service.login(username))["access_token"])
    factor, seed = await enrol(service, headers, name="my phone")
    phone = Phone(service, username, factor, seed, [])
    body = {"code": phone.code()}
    answer = await service.http.post(f"/factors/totp/{factor}/confirm", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    phone.recovery_codes = answer.json()["recovery_codes"]
    return phone
