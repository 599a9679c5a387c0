"""Changed bodies for every call of second factors: the documented 4xx, and never an error of the service.

The bodies are right ones in which something was changed: a value, a byte of the JSON, or the answer of the
authenticator, which then is of another origin, domain, challenge, ceremony or algorithm, or is no CBOR.
"""

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import redis
from fido2 import cbor

from authsvc.api import openapi
from authsvc.core.passkey import decoded, encoded
from authsvc.settings import Settings
from tests.authenticators import Authenticator
from tests.conftest import PASSWORD, Service, bearer
from tests.test_passkeys import KEYS, MALFORMED, WRONG, mutated
from tests.web.phone import Phone, enrol, with_phone
from tests.web.test_passkeys import added, asked, creation_options, ok

# So many requests are sent before there are new logins in progress, challenges and users.
BATCH = 50
# A path -> the statuses that the contract has for it, without those of a fault.
DOCUMENTED = {
    path: {int(status) for status in operations["post"]["responses"]} - {500, 503}
    for path, operations in openapi.document()["paths"].items()
    if "post" in operations
}
# Statuses of any call: the wrong method, path, length or type of a body.
ANYWHERE = {413, 415}


def changed(source: random.Random, value: Any) -> Any:
    """The same JSON with one value changed: text in a byte or so, anything else by a value of another kind."""
    if isinstance(value, dict) and value and source.random() < 0.9:
        name = source.choice(sorted(value))
        return value | {name: changed(source, value[name])}
    if isinstance(value, str) and source.random() < 0.8:
        try:
            return encoded(mutated(source, decoded(value)))
        except ValueError:
            return mutated(source, value.encode()).decode("latin-1")
    return source.choice([None, 0, -1, 2**60, 0.5, True, [], {}, "", "\u0000", "A" * 9000, [[]] * 50])


def content(source: random.Random, body: dict[str, Any]) -> bytes:
    """A body with a change: most often in a value, else in the text, or it has a member more or less."""
    match source.randrange(8):
        case 0:
            return mutated(source, json.dumps(body).encode())
        case 1:
            return json.dumps(body | {source.choice(["scope", "client_id", "cookie", "x", ""]): True}).encode()
        case 2 if body:
            return json.dumps({name: body[name] for name in body if name != source.choice(sorted(body))}).encode()
        case 3 | 4:
            return json.dumps(body).encode()
        case _:
            return json.dumps(changed(source, body)).encode()


def wrong_registration(source: random.Random, options: dict[str, Any]) -> dict[str, Any]:
    """The answer of an authenticator that is wrong in one way, and right in all others."""
    device = Authenticator(credential=source.randbytes(source.choice((0, 1, 16, 32, 64, 1023, 1024))))
    match source.randrange(5):
        case 0:
            source.choice(list(WRONG.values()))(device)
            return device.create(options)
        case 1:
            device.rp_id = source.choice(("evil.example", "", "LOCALHOST", "localhost."))
            return device.create(options)
        case 2:
            data = device.attested(source.choice(list(KEYS.values()))())
            made = cbor.encode({"fmt": "none", "authData": data, "attStmt": {}})
            return device.create(options, attestation=made)
        case 3:
            return device.create(options, attestation=source.choice(list(MALFORMED.values()))(device))
        case _:
            return device.create(options, attestation=large(source))


def large(source: random.Random) -> bytes:
    """Up to 64 KiB of CBOR: a long statement, deep nesting, many members, or nothing but random bytes."""
    size = source.choice((100, 5000, 8192, 12_000, 65_536))
    made: bytes = source.choice(
        (
            lambda: cbor.encode({"fmt": "packed", "authData": b"\0" * 37, "attStmt": {"sig": b"\0" * size}}),
            lambda: source.choice((b"\x81", b"\xa1", b"\xa1\x01")) * size,
            lambda: cbor.encode(dict.fromkeys(range(size // 4), 0)),
            lambda: source.randbytes(size),
        )
    )()
    return made[:65_536]


def wrong_assertion(source: random.Random, device: Authenticator, options: dict[str, Any]) -> dict[str, Any]:
    """An answer of the user's own authenticator that is wrong in one way."""
    other = Authenticator(key=device.key, credential=device.credential, synced=True, user_handle=device.user_handle)
    match source.randrange(4):
        case 0:
            source.choice(list(WRONG.values()))(other)
        case 1:
            other.verifies = False
        case 2:
            other.user_handle = source.choice((None, "", "AAAA", encoded(source.randbytes(32)), "A" * 86))
        case _:
            other.key = Authenticator().key
    return other.get(options)


Body = Callable[[random.Random], dict[str, Any]]


class Call(NamedTuple):
    """A call of which changed bodies are sent. body: makes one."""

    path: str
    body: Body
    headers: dict[str, str]


def always(**body: Any) -> Body:
    return lambda _: body


def by_passkey(device: Authenticator, begun: dict[str, Any]) -> Body:
    def body(source: random.Random) -> dict[str, Any]:
        options = begun["publicKey"]
        answer = wrong_assertion(source, device, options) if source.random() < 0.7 else device.get(options)
        return {"auth_session": begun["auth_session"], "credential": answer}

    return body


def registering(options: dict[str, Any], **more: Any) -> Body:
    def body(source: random.Random) -> dict[str, Any]:
        right = source.random() < 0.2
        return {"credential": Authenticator().create(options) if right else wrong_registration(source, options)} | more

    return body


def by_app(phone: Phone, **more: Any) -> Body:
    """A code of the app around now, or something like one."""

    def body(source: random.Random) -> dict[str, Any]:
        others = ("", "12345", "\N{FULLWIDTH DIGIT ONE}" * 6, "0" * 99)
        right = source.random() < 0.4
        return {"code": phone.code(1) if right else source.choice((phone.code(source.randint(-2, 2)), *others))} | more

    return body


def by_paper(phone: Phone, auth_session: str) -> Body:
    others = ("-", "oooo-oooo-oooo-oooo", "\N{LATIN SMALL LETTER LONG S}" * 16, "a" * 16)
    return lambda source: {"auth_session": auth_session, "code": source.choice((*phone.recovery_codes, *others))}


@dataclass
class Target:
    """A user with an app and a passkey, and the calls that name them. users: how many others there are.

    other: of another user, whose recovery codes are replaced. That would end the logins in progress of the first one.
    """

    service: Service
    phone: Phone
    other: Phone
    device: Authenticator
    valkey: "redis.Redis"
    users: int = 0

    async def renewed(self) -> list[Call]:
        """The calls, with new logins in progress, challenges and users in place of those that were used up."""
        for name in self.valkey.scan_iter("throttle:*", count=1000):  # the guesses of the last requests
            self.valkey.delete(name)
        return [*await self._proving(), *await self._enrolling(), *await self._of_a_session()]

    async def _proving(self) -> list[Call]:
        """The calls with which a login goes on."""
        first, second, third = [await self._first_step("ada") for _ in range(3)]
        return [
            Call("/login", always(username="ada", password=PASSWORD, device_token="dev_", cookie=False), {}),
            Call("/login/totp", by_app(self.phone, auth_session=first, trust_device=True), {}),
            Call("/login/recovery", by_paper(self.phone, second), {}),
            Call("/login/passkey", by_passkey(self.device, await asked(self.service, third)), {}),
            Call("/login/passkey", by_passkey(self.device, await asked(self.service)), {}),
            Call("/login/passkey/options", always(auth_session=await self._first_step("ada")), {}),
            Call("/login/passkey/options", always(), {}),
        ]

    async def _enrolling(self) -> list[Call]:
        """The calls with which a new user enrols a factor in a login."""
        login = {"auth_session": await self._first_step(await self._new_user(roles=("ops",)))}
        factor, seed = await enrol(self.service, {}, **login)
        options = (await ok(self.service, "/factors/passkeys/options", login))["publicKey"]
        return [
            Call("/factors/totp", always(name="phone", **login), {}),
            Call(f"/factors/totp/{factor}/confirm", by_app(Phone(self.service, "", factor, seed, []), **login), {}),
            Call("/factors/passkeys/options", always(**login), {}),
            Call("/factors/passkeys", registering(options, **login), {}),
        ]

    async def _of_a_session(self) -> list[Call]:
        """The calls of users who are logged in."""
        strong, other = [bearer((await one.login())["access_token"]) for one in (self.phone, self.other)]
        weak = bearer((await self.service.login(await self._new_user()))["access_token"])
        step = (await self.service.http.post("/step-up", headers=weak)).json()["auth_session"]
        return [
            Call("/step-up", always(), strong),
            Call("/login/password", always(auth_session=step, password=PASSWORD), {}),
            Call("/factors/totp", always(name="phone"), strong),
            Call("/factors/passkeys/options", always(), strong),
            Call("/factors/passkeys", registering(await creation_options(self.service, weak), name="key"), weak),
            Call("/factors/recovery-codes", always(), other),
        ]

    async def _first_step(self, username: str) -> str:
        begun = await ok(self.service, "/login", {"username": username, "password": PASSWORD}, 403)
        return str(begun["auth_session"])

    async def _new_user(self, **fields: Any) -> str:
        self.users += 1
        await self.service.user(f"user{self.users}", **fields)
        return f"user{self.users}"


async def fuzzed(service: Service, valkey: "redis.Redis", rounds: int, seed: int) -> dict[str, Counter[int]]:
    """Send changed bodies to every call. Returns how often each path has answered each status."""
    source, statuses = random.Random(seed), dict[str, Counter[int]]()
    phone, device = await with_phone(service), Authenticator(synced=True)
    await added(service, device, bearer((await phone.login())["access_token"]))
    target, calls = Target(service, phone, await with_phone(service, "eve"), device, valkey), list[Call]()
    for number in range(rounds):
        if number % BATCH == 0:
            calls = await target.renewed()
        path, body, headers = source.choice(calls)
        sent = content(source, body(source))
        answer = await service.http.post(path, content=sent, headers=headers | {"Content-Type": "application/json"})
        row = "/factors/totp/{factor_id}/confirm" if path.endswith("/confirm") else path
        assert answer.status_code in DOCUMENTED[row] | ANYWHERE, (path, sent, answer.status_code, answer.text)
        statuses.setdefault(row, Counter())[answer.status_code] += 1
    return statuses


@pytest.fixture
def settings(settings: Settings) -> Settings:
    # Without limits for the address of the test, which would get 429 after some requests.
    return settings.but(require_factor_for=("ops",), unlimited_networks=("192.0.2.0/24",), limit_per_factor=100)


@pytest.mark.slow
async def test_some(service: Service, valkey: "redis.Redis") -> None:
    """No changed body causes an error of the service, and each call takes some of them and refuses others."""
    statuses = await fuzzed(service, valkey, 1000, seed=1)
    assert statuses.keys() >= {path for path in DOCUMENTED if path.startswith(("/login", "/factors", "/step-up"))}
    for path, counted in statuses.items():
        assert {200, 201, 403} & counted.keys(), f"{path} has taken nothing"
        assert {400, 401} & counted.keys() or path in ("/step-up", "/factors/recovery-codes"), f"{path}: all taken"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [2, 3])
async def test_many(service: Service, valkey: "redis.Redis", seed: int) -> None:
    """The same, ten thousand times for each seed. Ten seeds were tried once."""
    statuses = await fuzzed(service, valkey, 10_000, seed=seed)
    assert sum(counted.total() for counted in statuses.values()) == 10_000
    assert all(counted[429] < counted.total() / 10 for counted in statuses.values())
