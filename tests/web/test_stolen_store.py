"""A thief has a copy of the whole store, and the passwords of all users, and tries what is in it at every call."""

import re
from typing import Any

import httpx
import pytest
import redis

from authsvc.core import token as tokens
from authsvc.core import totp as codes
from authsvc.core.passkey import decoded
from authsvc.core.token import Kind
from authsvc.flows import factors, totp
from authsvc.flows.deps import OPERATOR
from authsvc.settings import Settings
from tests.authenticators import Authenticator
from tests.canaries import SECOND, Canaries, run_through_everything
from tests.conftest import Service, bearer
from tests.flows.contents import texts
from tests.selection import quick

BOB = {"username": "bob", "password": SECOND}
_WORD = re.compile(r"[A-Za-z0-9+/=_.-]{6,}")


class Loot:
    """The words of a stolen store, and the tokens that somebody could make of them."""

    def __init__(self, valkey: "redis.Redis") -> None:
        self.words: set[str] = set()
        self.presented: set[str] = set()
        for text in texts(valkey):
            found = {part for word in _WORD.findall(text.decode()) for part in (word, *word.split(":"))}
            self.words |= found
            self.presented |= set(_tokens_of(found))
        self.presented |= self.words

    def of_kind(self, kind: Kind) -> list[str]:
        """What a thief presents as such a token. `make test` takes a fifth of it."""
        found = sorted({text for text in self.presented if text.startswith(kind)} | self.words)
        return found[:: 5 if quick() else 1]


def _tokens_of(words: set[str]) -> list[str]:
    """A token of each kind for each handle of one record, with each digest of this record in place of the secret."""
    handles = {word for word in words if tokens.is_handle(word)}
    numbers = {_number(word[: tokens.SECRET_LENGTH]) for word in words if len(word) >= tokens.SECRET_LENGTH}
    return [tokens.assemble(kind, handle, one).text for kind in Kind for handle in handles for one in numbers | {0}]


def _number(secret: str) -> int:
    """The number that these characters are in a token. Base64 has two more characters than base62."""
    number = 0
    for character in secret:
        number = number * 62 + max(tokens.ALPHABET.find(character), 0)
    return number


@pytest.fixture
def settings(settings: Settings) -> Settings:
    # A thief from many networks: else the answers would be 429.
    return settings.but(
        unlimited_networks=("192.0.2.0/24",), limit_per_factor=100, limit_per_pair=100, limit_per_client=100_000
    )


@pytest.fixture
async def robbed(service: Service) -> Service:
    """A service that was used in every way. Some logins, enrolments, codes and challenges wait for their next step."""
    await run_through_everything(service, Canaries())
    user = await service.user("carol")
    seed = {"sub": user.sub, "totp": codes.as_text(b"a seed of another system")}
    assert (await totp.import_seeds(service.deps, OPERATOR, [(1, seed)])).imported == 1
    await service.user("dave")
    waiting = bearer((await service.login("dave"))["access_token"])
    for path in ("/factors/totp", "/factors/passkeys/options", "/step-up"):
        assert (await service.http.post(path, headers=waiting)).status_code in {200, 201}
    await service.http.post("/login", json=BOB)
    return service


async def test_nothing_in_it_opens_anything(robbed: Service, valkey: "redis.Redis") -> None:
    """As a token, a login in progress, a trusted device, a reset code or the secret of a client it is refused."""
    loot, http = Loot(valkey), robbed.http
    assert len(loot.words) > 200
    held = await held_by_bob(robbed)
    assert {*held.codes, *(device.digest for device in held.devices)} <= loot.words, "the search finds what is there"

    async def answers(method: str, path: str, **request: Any) -> httpx.Response:
        answer = await http.request(method, path, **request)
        assert answer.status_code < 500, answer.text
        return answer

    for text in loot.of_kind(Kind.ACCESS):
        # A text that is no bearer token is malformed, such as a part of a URL in the audit trail.
        assert (await answers("GET", "/me", headers=bearer(text))).status_code in {400, 401}, text
    for text in loot.of_kind(Kind.REFRESH):
        assert (await robbed.refresh(text)).status_code == 400, text
    for text in loot.of_kind(Kind.LOGIN):
        for path in ("/login/recovery", "/login/totp"):
            answer = await answers("POST", path, json={"auth_session": text, "code": "000000"})
            assert answer.json()["error"] == "invalid_session", text
    for text in loot.of_kind(Kind.RESET):
        body = {"reset_code": text, "new_password": "a thief in the night"}
        assert (await answers("POST", "/password/reset", json=body)).status_code in {400, 401}, text
    for text in loot.of_kind(Kind.DEVICE):
        assert (await answers("POST", "/login", json=BOB | {"device_token": text})).status_code == 403, text


@pytest.mark.slow
async def test_nothing_in_it_is_the_secret_of_a_client(robbed: Service, valkey: "redis.Redis") -> None:
    """No client takes a word of the store as its secret."""
    loot = Loot(valkey)
    clients = [name.removeprefix(b"client:").decode() for name in valkey.scan_iter("client:*", count=1000)]
    for client_id in clients:
        for text in loot.of_kind(Kind.SECRET):
            answer = await robbed.http.post("/introspect", data={"token": "x"}, auth=(client_id, text))
            assert answer.status_code == 401, (client_id, text)


async def held_by_bob(service: Service) -> Any:
    found = await service.deps.store.users.find_by_name("bob")
    assert found is not None
    return await service.deps.store.factors.get(found.user.sub)


@pytest.mark.slow
async def test_nothing_in_it_is_a_second_factor(robbed: Service, valkey: "redis.Redis") -> None:
    """No word is a recovery code or a one-time code, and none is the seed of an app."""
    deps, loot = robbed.deps, Loot(valkey)
    now = int(deps.clock()) // codes.PERIOD_S
    for name in ("bob", "carol", "dave"):
        account = await deps.store.users.find_by_name(name)
        assert account is not None
        held = await factors.find(deps, account.user.sub)
        seeds = [totp.seed_of(deps.settings.factor_keys, account.user.sub, app) for app in held.totp]
        shown = {codes.code_at(seed, now + n) for seed in seeds if seed for n in (-1, 0, 1)}
        assert len(shown) in {0, 3}
        for word in loot.words:
            assert await factors.ProofByRecoveryCode(deps, word)(account) is None, word
            raw = word.encode()
            # A word is a code by chance once in 300,000 times. Those are left out, because they prove nothing.
            guesses = {word[:6], *(codes.code_at(seed, now) for seed in (raw, raw[:20]))} - shown
            for code in guesses:
                assert await totp.proof_by_code(deps, code)(account) is None, word


@pytest.mark.slow
async def test_nothing_in_it_answers_a_challenge(robbed: Service, valkey: "redis.Redis") -> None:
    """The store has the id, the public key and the user handle of each passkey, and the challenges that wait."""
    (passkey,), handle = (held := await held_by_bob(robbed)).passkeys, held.user_handle
    loot = Loot(valkey)
    assert {passkey.credential, passkey.key, handle} <= loot.words
    thief = Authenticator(credential=decoded(passkey.credential), counter=passkey.counter + 9, user_handle=handle)

    async def presented(options: dict[str, Any], auth_session: str) -> httpx.Response:
        body = {"auth_session": auth_session, "credential": thief.get(options)}
        return await robbed.http.post("/login/passkey", json=body)

    asked = (await robbed.http.post("/login/passkey/options", json={})).json()
    assert (await presented(asked["publicKey"], asked["auth_session"])).status_code == 401
    begun = {"auth_session": (await robbed.http.post("/login", json=BOB)).json()["auth_session"]}
    asked = (await robbed.http.post("/login/passkey/options", json=begun)).json()
    assert (await presented(asked["publicKey"], asked["auth_session"])).status_code == 401
    waiting = [word for word in loot.words if len(word) == len(asked["publicKey"]["challenge"])]
    assert waiting
    for challenge in waiting:
        for text in (text for text in loot.presented if text.startswith(Kind.LOGIN)):
            assert (await presented({"challenge": challenge}, text)).json()["error"] == "invalid_session"
