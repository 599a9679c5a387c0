"""A walk through every call of the service, rightly and wrongly, that remembers each secret it has seen."""

from base64 import b32decode
from collections.abc import Awaitable
from typing import Any

import httpx

from authsvc.api.schemas.requests import ACCESS_TOKEN, TOKEN_EXCHANGE
from authsvc.core import token as tokens
from authsvc.core import totp as codes
from authsvc.core.token import Kind
from tests.authenticators import Authenticator
from tests.conftest import Service, bearer
from tests.web.conftest import ORIGIN, cookie, cookie_of

FIRST = "canary one sings at dawn"
SECOND = "canary two sings at noon"
THIRD = "canary three sings at dusk"
WRONG = "canary nobody has this one"
# The members of an answer that are secret.
SECRETS = (
    *("access_token", "refresh_token", "client_secret", "reset_code", "auth_session", "device_token", "secret"),
    "key",
)
# The users whom the walk leaves in the store: ada and bob have a name and credentials, `elsewhere` has neither.
NAMED, UNNAMED = 2, 1
CLIENTS = 2


class Canaries:
    """Every secret that a run has seen, and every answer and header that may not repeat one."""

    def __init__(self) -> None:
        self.secrets: dict[str, None] = dict.fromkeys([FIRST, SECOND, THIRD, WRONG])
        self.errors: list[httpx.Response] = []
        self.headers: list[str] = []

    async def seen(self, call: Awaitable[httpx.Response]) -> Any:
        """The body of an answer. The secrets in it are canaries from now on."""
        answer = await call
        self.headers += [f"{name}: {value}" for name, value in answer.headers.items() if name != "set-cookie"]
        if answer.status_code >= 400:
            assert answer.status_code < 500 or answer.status_code == 503
            # The answer to a right password that needs more holds a token on purpose.
            if b"insufficient_authorization" not in answer.content:
                self.errors.append(answer)
        body = answer.json() if answer.headers.get("content-type") == "application/json" else {}
        for code in body.get("recovery_codes", []) if isinstance(body, dict) else []:
            self.secrets[code] = None
        for name in SECRETS:
            if isinstance(body, dict) and isinstance(body.get(name), str):
                self.secrets[body[name]] = None
        if "set-cookie" in answer.headers and len(cookie_of(answer)) == tokens.LENGTH:
            self.secrets[cookie_of(answer)] = None
        return body

    def parts(self) -> dict[str, str]:
        """Each secret with the part that nobody may know. The handle in a token is public."""
        return {secret: secret[16:43] if tokens.parse(secret) else secret for secret in self.secrets}

    def in_text(self, text: str) -> list[str]:
        """The canaries in a text."""
        return [secret for secret, part in self.parts().items() if part in text]


async def run_through_everything(service: Service, canaries: Canaries) -> None:
    """Every flow, as it should go and as it should not."""
    canaries.secrets[service.admin[1]] = None
    await _Walk(service, canaries).everything()
    await service.deps.store.sessions.finish()


class _Walk:
    def __init__(self, service: Service, canaries: Canaries) -> None:
        self.http, self.admin, self.clock = service.http, service.admin, service.deps.clock
        self.canaries, self.seen = canaries, canaries.seen

    async def everything(self) -> None:
        ada = await self.users_and_codes()
        first = await self.logins()
        fresh = await self.refreshes(first)
        for refused in self.wrong_secrets(first, fresh):
            await self.misuse(refused, fresh["access_token"])
        await self.malformed()
        await self.password_changes(fresh)
        await self.clients()
        await self.second_factors()
        await self.keys(ada["sub"])
        await self.tokens_of_others()
        await self.leaks()
        again = await self.log_in(THIRD)
        await self.seen(self.http.post("/logout", headers=bearer(again["access_token"])))
        await self.seen(self.http.get("/admin/audit", auth=self.admin))
        await self.seen(self.http.post(f"/admin/users/{ada['sub']}/reset-code", auth=self.admin))

    async def users_and_codes(self) -> Any:
        users = "/admin/users"
        ada = await self.seen(self.http.post(users, json={"username": "ada"}, auth=self.admin))
        for password in ("short", FIRST, FIRST):  # too weak; right; the code is spent
            reset = {"reset_code": ada["reset_code"], "new_password": password}
            await self.seen(self.http.post("/password/reset", json=reset))
        await self.seen(self.http.post(users, json={"username": "bob", "password": SECOND}, auth=self.admin))
        await self.seen(self.http.post(users, json={"username": "eve", "password": "bobbob9999"}, auth=self.admin))
        return ada

    async def log_in(self, password: str, **fields: Any) -> Any:
        return await self.seen(self.http.post("/login", json={"username": "ada", "password": password, **fields}))

    async def logins(self) -> Any:
        """Logins with right and wrong secrets, and what each kind of token opens."""
        await self.log_in(WRONG, device="phone")
        await self.seen(self.http.post("/login", json={"username": WRONG, "password": FIRST}))
        login = {"username": "ada", "password": FIRST, "cookie": True}
        by_cookie = await self.http.post("/login", json=login, headers={"Origin": ORIGIN})
        self.canaries.secrets[cookie_of(by_cookie)] = None
        grant = await self.log_in(FIRST, device="phone")
        for headers in (cookie(cookie_of(by_cookie)), bearer(grant["access_token"]), bearer(grant["refresh_token"])):
            for path in ("/me", "/sessions", "/admin/users"):
                await self.seen(self.http.get(path, headers=headers))
        return grant

    async def refresh(self, token: str, **fields: str) -> Any:
        form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": token}
        return await self.seen(self.http.post("/token", data=form | fields))

    async def refreshes(self, grant: Any) -> Any:
        fresh = await self.refresh(grant["refresh_token"])
        await self.refresh(grant["refresh_token"])  # again, within the grace: the same answer
        return fresh

    def wrong_secrets(self, first: Any, fresh: Any) -> tuple[str, ...]:
        forged = tokens.new(Kind.REFRESH, first["session_id"]).text
        self.canaries.secrets[forged] = None
        return forged, fresh["access_token"], fresh["access_token"][:-1], self.admin[1], FIRST

    async def misuse(self, secret: str, token: str) -> None:
        """A secret in each place where it is none, or does not belong."""
        seen, http = self.seen, self.http
        await self.refresh(secret)
        await self.refresh(secret, grant_type=secret, scope=secret)
        await seen(http.post("/login", json={"username": secret, "password": secret, secret: secret}))
        await seen(http.get("/me", headers=bearer(secret)))
        await seen(http.get(f"/me?access_token={secret}"))
        await seen(http.get(f"/admin/users/{secret}", auth=self.admin))
        await seen(http.delete(f"/sessions/{secret}", headers=bearer(token)))
        await seen(http.post("/introspect", data={"token": secret}, auth=(secret, secret)))
        await seen(http.post("/introspect", data={"token": "x"}, headers={"Authorization": f"Basic {secret}"}))
        await seen(http.post(f"/introspect?token={secret}", data={"token": secret}, auth=self.admin))
        await seen(http.get("/me", headers={"X-Request-ID": f"{secret}.", "User-Agent": "x"}))

    async def malformed(self) -> None:
        """Bodies that break off, are too long, or have a secret of the wrong type."""
        login = {"username": "ada", "password": FIRST}
        for wrong in ({"password": WRONG * 100}, {"password": [WRONG]}, {WRONG: WRONG}):
            await self.seen(self.http.post("/login", json=login | wrong))
        broken = b'{"password": "' + WRONG.encode() + b'"'
        await self.seen(self.http.post("/login", content=broken, headers={"Content-Type": "application/json"}))
        await self.seen(self.http.post(f"/login?password={WRONG}", json=login))

    async def password_changes(self, fresh: Any) -> None:
        here = await self.log_in(FIRST)
        for current in (WRONG, FIRST):
            change = {"current_password": current, "new_password": THIRD}
            await self.seen(self.http.post("/password", json=change, headers=bearer(here["access_token"])))
        await self.refresh(fresh["refresh_token"])  # of a session that the change has ended

    async def clients(self) -> None:
        new = {"name": "c", "permissions": ["introspect"]}
        client = await self.seen(self.http.post("/admin/clients", json=new, auth=self.admin))
        path = f"/admin/clients/{client['client_id']}"
        await self.seen(self.http.post(f"{path}/secret", auth=self.admin))
        await self.seen(self.http.get(path, auth=self.admin))
        auth = (client["client_id"], client["client_secret"])
        await self.seen(self.http.post("/login", json={"username": "bob", "password": SECOND}, auth=auth))

    async def second_factors(self) -> None:
        """Bob enrols an app, and logs in with it, with wrong codes and with a recovery code."""
        login = {"username": "bob", "password": SECOND}
        headers = bearer((await self.seen(self.http.post("/login", json=login)))["access_token"])
        await self.seen(self.http.get("/factors", headers=headers))
        new = await self.seen(self.http.post("/factors/totp", json={"name": "phone"}, headers=headers))
        now = int(self.clock()) // codes.PERIOD_S
        seed = b32decode(new["secret"])
        path = f"/factors/totp/{new['id']}/confirm"
        for code in (WRONG, codes.code_at(seed, now)):
            confirmed = await self.seen(self.http.post(path, json={"code": code}, headers=headers))
        for code in (WRONG, codes.code_at(seed, now), codes.code_at(seed, now + 1)):
            begun = await self.seen(self.http.post("/login", json=login))
            step = {"auth_session": begun["auth_session"], "code": code, "trust_device": True}
            done = await self.seen(self.http.post("/login/totp", json=step))
        await self.seen(self.http.post("/login", json=login | {"device_token": done["device_token"]}))
        step = await self.seen(self.http.post("/step-up", headers=bearer(done["access_token"])))
        step = {"auth_session": step["auth_session"], "code": confirmed["recovery_codes"][0]}
        stepped = await self.seen(self.http.post("/login/recovery", json=step))
        await self.seen(self.http.post("/login/recovery", json=step))
        await self.seen(self.http.post("/login", json=login))  # a login that nobody continues
        await self.passkeys(stepped["access_token"])

    async def passkeys(self, token: str) -> None:
        """Bob adds a passkey, logs in with it alone and in a second step, and with one that nobody knows."""
        device, path = Authenticator(), "/factors/passkeys"
        for one in (device, Authenticator()):
            options = await self.seen(self.http.post(f"{path}/options", json={}, headers=bearer(token)))
            credential = one.create(options["publicKey"])
            if one is device:
                await self.seen(self.http.post(path, json={"credential": credential}, headers=bearer(token)))
            begun = await self.seen(self.http.post("/login/passkey/options", json={}))
            for _ in range(2):  # an answer counts once
                answer = {"auth_session": begun["auth_session"], "credential": one.get(begun["publicKey"])}
                await self.seen(self.http.post("/login/passkey", json=answer))
        begun = await self.seen(self.http.post("/login", json={"username": "bob", "password": SECOND}))
        asked = {"auth_session": begun["auth_session"]}
        options = await self.seen(self.http.post("/login/passkey/options", json=asked))
        answer = asked | {"credential": device.get(options["publicKey"])}
        await self.seen(self.http.post("/login/passkey", json=answer))
        await self.seen(self.http.post("/login/passkey/options", json={}))  # a challenge that nobody answers

    async def keys(self, ada: str) -> None:
        """Ada makes a key, rotates it, and uses it rightly and wrongly; an admin makes another one."""
        grant = await self.log_in(THIRD)
        headers = bearer(grant["access_token"])
        made = await self.seen(self.http.post("/keys", json={"name": "backup"}, headers=headers))
        rotated = await self.seen(self.http.post(f"/keys/{made['key_id']}/rotate", headers=headers))
        for key in (made["key"], rotated["key"], rotated["key"][:-1]):
            await self.seen(self.http.post("/introspect", data={"token": key, "ip": "192.0.2.9"}, auth=self.admin))
            await self.seen(self.http.get("/verify", headers=bearer(key)))
            await self.misuse(key, grant["access_token"])
            await self.seen(self.http.post(f"/keys/{key}/rotate", headers=headers))
            await self.seen(self.http.delete(f"/keys/{key}", headers=headers))
        await self.seen(self.http.get("/keys", headers=headers))
        path = f"/admin/users/{ada}/keys"
        await self.seen(self.http.post(path, json={"name": "x", "networks": ["192.0.2.0/24"]}, auth=self.admin))
        await self.seen(self.http.get(path, auth=self.admin))
        await self.seen(self.http.delete(f"/keys/{made['key_id']}", headers=headers))

    async def leaks(self) -> None:
        """Tokens are reported, with others in the address of the place, and with secrets that are no tokens."""
        leaked, other = await self.log_in(THIRD), await self.log_in(THIRD)
        place = f"https://{THIRD.replace(' ', '')}:x@git.example/?a={other['access_token']}&b={other['refresh_token']}"
        report = {"tokens": [leaked["refresh_token"], THIRD, self.admin[1]], "url": place}
        await self.seen(self.http.post("/leaked", json=report))
        await self.seen(self.http.post("/leaked", json=report | {"url": THIRD}))
        await self.seen(self.http.post("/leaked", json={"tokens": other["access_token"], other["access_token"]: 1}))

    async def tokens_of_others(self) -> None:
        new = {"sub": "elsewhere", "roles": ["ops"]}
        issued = await self.seen(self.http.post("/tokens", json=new, auth=self.admin))
        token = {"token": issued["access_token"]}
        await self.seen(self.http.post("/introspect", data=token, auth=self.admin))
        await self.exchange(issued["access_token"])
        everything = {"tokens": list(self.canaries.secrets)}
        await self.seen(self.http.post("/introspect/batch", json=everything, auth=self.admin))
        await self.seen(self.http.post("/revoke", data=token, auth=self.admin))

    async def exchange(self, token: str) -> None:
        """A resource server exchanges a token, twice for the same, and for what it may not."""
        new = {"name": "exchanger", "permissions": ["exchange"], "exchange_audience": ["mail"]}
        client = await self.seen(self.http.post("/admin/clients", json=new, auth=self.admin))
        auth = (client["client_id"], client["client_secret"])
        form = {"grant_type": TOKEN_EXCHANGE, "subject_token": token, "subject_token_type": ACCESS_TOKEN}
        for audience in ("mail", "mail", "ledger"):
            await self.seen(self.http.post("/token", data=form | {"audience": audience}, auth=auth))
        await self.seen(self.http.post("/token", data=form | {"actor_token": token}, auth=auth))
