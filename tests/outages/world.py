"""A world of users, clients and sessions, every call on it, and the resulting state of the store."""

import json
import time
from base64 import b32decode
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import redis
from argon2 import PasswordHasher
from starlette.types import ASGIApp

from authsvc.api.schemas.requests import ACCESS_TOKEN, TOKEN_EXCHANGE
from authsvc.app import build
from authsvc.core import token as tokens
from authsvc.core import totp as codes
from authsvc.core.token import Kind
from authsvc.core.username import normalise
from authsvc.flows import bootstrap, clients, password, users
from authsvc.flows.deps import OPERATOR, Deps
from tests.authenticators import Authenticator
from tests.conftest import PASSWORD, Clock, leaving_streams
from tests.github import finds, signed

NEW_PASSWORD = "a swim across the lake"
MAX_SESSIONS = 3
ISSUED = "elsewhere|1"

Json = dict[str, Any]
Snapshot = dict[bytes, tuple[bytes, int]]


@dataclass
class World:
    """The service, with at least one record of each kind."""

    deps: Deps
    clock: Clock
    http: httpx.AsyncClient
    admin: tuple[str, str]
    web: tuple[str, str]
    ada: str
    root: str
    outdated: str
    crowded: str
    reset_code: str
    # Answers of logins: the two devices of ada, a token that was spent twice, and one that was spent once.
    phone: Json = field(default_factory=dict)
    laptop: Json = field(default_factory=dict)
    reused: str = ""
    repeated: str = ""
    repeated_pair: Json = field(default_factory=dict)
    outsider: str = ""
    # A token of ada's phone, which a resource server has exchanged for mail, and that resource server.
    exchanged: str = ""
    exchanger: tuple[str, str] = ("", "")
    # An account with a second factor; a step-up of the phone's session, and an app that it is about to confirm.
    guarded: "Guarded | None" = None
    keyed: "Keyed | None" = None
    step_up: str = ""
    # A key of ada that was used.
    key: Json = field(default_factory=dict)
    enrolment: str = ""
    enrolling_seed: bytes = b""
    unknown: str = tokens.new(Kind.ACCESS).text

    async def login(self, username: str, password: str = PASSWORD) -> httpx.Response:
        return await self.http.post("/login", json={"username": username, "password": password})

    async def refresh(self, token: str) -> httpx.Response:
        form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": token}
        return await self.http.post("/token", data=form)

    async def introspect(self, token: str) -> httpx.Response:
        return await self.http.post("/introspect", data={"token": token}, auth=self.admin)

    async def active(self, token: str) -> bool:
        answer = await self.introspect(token)
        assert answer.status_code == 200, answer.text
        return bool(answer.json()["active"])


@dataclass
class Guarded:
    """An account with a second factor: its app, a session of two factors, and a login in progress."""

    sub: str
    seed: bytes
    factor: str
    recovery_code: str
    access_token: str
    pending: str
    device: str


@dataclass
class Keyed:
    """An account with a passkey, and an answer to each challenge: in a second step, alone, and with another passkey."""

    access_token: str
    pending: str
    second: Json
    alone: Json
    new: Json


def code_now(clock: Clock, seed: bytes) -> str:
    """The code that an authenticator app shows."""
    return codes.code_at(seed, int(clock()) // codes.PERIOD_S)


async def enrol(world: World, token: str) -> tuple[str, bytes]:
    """Begin to enrol an app. Its id and its seed."""
    answer = await world.http.post("/factors/totp", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"]), b32decode(answer.json()["secret"])


async def guard(world: World, username: str) -> Guarded:
    """Give a new user an app, log in with it, and begin another login."""
    user, _ = await users.create(world.deps, OPERATOR, username=username, password=PASSWORD)
    token = (await world.login(username)).json()["access_token"]
    factor, seed = await enrol(world, token)
    body = {"code": code_now(world.clock, seed)}
    headers = {"Authorization": f"Bearer {token}"}
    confirmed = await world.http.post(f"/factors/totp/{factor}/confirm", json=body, headers=headers)
    recovery_codes = confirmed.json()["recovery_codes"]
    step = (await world.login(username)).json()["auth_session"]
    answer: Json = {"auth_session": step, "code": recovery_codes[0], "trust_device": True}
    logged_in = await world.http.post("/login/recovery", json=answer)
    pending = (await world.login(username)).json()["auth_session"]
    world.clock.forward(60)  # the next code
    got = logged_in.json()
    return Guarded(user.sub, seed, factor, recovery_codes[1], got["access_token"], pending, got["device_token"])


async def register(world: World, username: str) -> Keyed:
    """Give a new user a passkey, log in with it, and ask for every kind of answer once more."""
    await users.create(world.deps, OPERATOR, username=username, password=PASSWORD)
    device = Authenticator()

    async def asked(path: str, body: Json, token: str | None = None) -> Json:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = await world.http.post(path, json=body, headers=headers)
        assert answer.status_code in (200, 201), answer.text
        found: Json = answer.json()
        return found

    token = (await world.login(username)).json()["access_token"]
    options = await asked("/factors/passkeys/options", {}, token)
    await asked("/factors/passkeys", {"credential": device.create(options["publicKey"])}, token)

    async def answer_to(auth_session: str | None = None) -> Json:
        begun = await asked("/login/passkey/options", {"auth_session": auth_session} if auth_session else {})
        return {"auth_session": begun["auth_session"], "credential": device.get(begun["publicKey"])}

    token = (await asked("/login/passkey", await answer_to()))["access_token"]
    pending = (await world.login(username)).json()["auth_session"]
    second, alone = await answer_to(pending), await answer_to()
    options = await asked("/factors/passkeys/options", {}, token)
    new = {"credential": Authenticator().create(options["publicKey"])}
    return Keyed(token, pending, second, alone, new)


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=leaving_streams(app), raise_app_exceptions=False, client=("192.0.2.1", 50000))
    return httpx.AsyncClient(transport=transport, base_url="http://auth.test")


# Making a world takes longer than most tests of it. Its records hold times, so it is made anew after a while.
_KEPT_S = 30
_kept: dict[int, tuple[float, World, float, Snapshot]] = {}


async def fresh(deps: Deps, clock: Clock, store: "redis.Redis") -> World:
    """A world in an empty store. Tests that follow each other get the same records."""
    grace_s = deps.settings.refresh_grace_s
    if grace_s in _kept and time.monotonic() - _kept[grace_s][0] < _KEPT_S:
        _, world, clock.now, snapshot = _kept[grace_s]
        restore(store, snapshot)
        return replace(world, deps=deps, clock=clock, http=client_of(build(deps)))
    world = await make(deps, clock)
    _kept[grace_s] = time.monotonic(), replace(world), clock.now, save(store)
    return world


async def make(deps: Deps, clock: Clock) -> World:
    """Fill an empty store."""
    await bootstrap.first_start(deps)
    admin, admin_secret = await clients.create(
        deps, OPERATOR, name="admin", permissions=("admin", "introspect", "revoke", "issue", "reset")
    )
    web, web_secret = await clients.create(deps, OPERATOR, name="web", permissions=("introspect", "revoke", "issue"))
    assert admin_secret is not None
    assert web_secret is not None
    people = [await users.create(deps, OPERATOR, username=name, password=PASSWORD) for name in ("ada", "old", "crowd")]
    root, _ = await users.create(deps, OPERATOR, username="root", password=PASSWORD, roles=("admin",))
    ada, outdated, crowded = (user.sub for user, _ in people)
    code, _ = await password.new_reset_code(deps, OPERATOR, ada)
    stale = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
    await deps.store.credentials.change(outdated, lambda held: held.but(hash=stale))
    world = World(
        deps,
        clock,
        client_of(build(deps)),
        (admin.client_id, admin_secret),
        (web.client_id, web_secret),
        ada,
        root.sub,
        outdated,
        crowded,
        code,
    )

    async def granted(answer: httpx.Response) -> Json:
        assert answer.status_code == 200, answer.text
        body: Json = answer.json()
        return body

    for _ in range(MAX_SESSIONS):
        await granted(await world.login("crowd"))
    world.guarded = await guard(world, "two")
    world.keyed = await register(world, "keyed")
    # The other sessions begin a second later, so that ages differ.
    clock.forward(1)
    world.phone = await granted(await world.login("ada"))
    world.laptop = await granted(await world.login("ada"))
    world.reused = (await granted(await world.login("root")))["refresh_token"]
    await granted(await world.refresh((await granted(await world.refresh(world.reused)))["refresh_token"]))
    world.repeated = (await granted(await world.login("old")))["refresh_token"]
    world.repeated_pair = await granted(await world.refresh(world.repeated))
    outsider = await world.http.post("/tokens", json={"sub": ISSUED}, auth=world.admin)
    world.outsider = (await granted(outsider))["access_token"]
    made = await world.http.post("/admin/clients", json=EXCHANGER, auth=world.admin)
    world.exchanger = (made.json()["client_id"], made.json()["client_secret"])
    exchanged = await world.http.post("/token", data=_exchanging("mail")(world), auth=world.exchanger)
    world.exchanged = (await granted(exchanged))["access_token"]
    headers = {"Authorization": f"Bearer {world.phone['access_token']}"}
    world.step_up = (await granted(await world.http.post("/step-up", headers=headers)))["auth_session"]
    made = await world.http.post("/keys", json={"name": "backup"}, headers=headers)
    assert made.status_code == 201, made.text
    world.key = made.json()
    await granted(await world.introspect(world.key["key"]))
    await deps.store.sessions.finish()
    world.enrolment, world.enrolling_seed = await enrol(world, world.phone["access_token"])
    return world


@dataclass(frozen=True)
class Call:
    """One call of the API. route: as in the table of routes. usual: the status when the store works."""

    name: str
    route: str
    path: Callable[[World], str]
    usual: int = 200
    json: Callable[[World], Json] | None = None
    form: Callable[[World], dict[str, str]] | None = None
    content: Callable[[World], bytes] | None = None
    headers: Callable[[World], dict[str, str]] | None = None
    auth: Callable[[World], tuple[str, str]] | None = None
    bearer: Callable[[World], str] | None = None
    later_s: float = 0  # how long after all other calls it is made
    reads: bool = False  # the answer needs no write
    # Some calls change two records that cannot be changed together. This pattern fits the line of `difference` for the
    # second change. That change may be missing: it is harmless, or the next call makes up for it.
    second: str = "$^"

    async def make(self, world: World, http: httpx.AsyncClient | None = None) -> httpx.Response:
        return await (http or world.http).request(
            self.route.partition(" ")[0],
            self.path(world),
            json=self.json(world) if self.json else None,
            data=self.form(world) if self.form else None,
            content=self.content(world) if self.content else None,
            auth=self.auth(world) if self.auth else httpx.USE_CLIENT_DEFAULT,
            headers=(self.headers(world) if self.headers else {})
            | ({"Authorization": f"Bearer {self.bearer(world)}"} if self.bearer else {}),
        )


def _at(path: str) -> Callable[[World], str]:
    return lambda _: path


def _anew(w: World) -> str:
    """The path of /readyz, which asks the store again."""
    w.deps.fitness._servers = w.deps.fitness._denied = None
    return "/readyz"


def _admin(w: World) -> tuple[str, str]:
    return w.admin


def _phone(w: World) -> str:
    return str(w.phone["access_token"])


def _two(w: World) -> Guarded:
    assert w.guarded is not None
    return w.guarded


def _keyed(w: World) -> Keyed:
    assert w.keyed is not None
    return w.keyed


def _stepping(method: str, body: Callable[[World], Json], second: str = "$^") -> Call:
    path = f"/login/{method}"
    return Call(f"log in, {method}", f"POST {path}", _at(path), json=body, second=second)


def _refreshing(token: Callable[[World], str]) -> Callable[[World], dict[str, str]]:
    return lambda w: {"grant_type": "refresh_token", "client_id": "app", "refresh_token": token(w)}


EXCHANGER = {"name": "orders", "permissions": ["exchange"], "exchange_audience": ["mail", "ledger"]}


def _exchanging(audience: str) -> Callable[[World], dict[str, str]]:
    known = {"grant_type": TOKEN_EXCHANGE, "subject_token_type": ACCESS_TOKEN, "audience": audience}
    return lambda w: known | {"subject_token": _phone(w)}


def _user(name: str, method: str, json: Json, usual: int = 200, who: Callable[[World], str] = lambda w: w.ada) -> Call:
    return Call(
        name,
        f"{method} /admin/users/{{sub}}",
        lambda w: f"/admin/users/{who(w)}",
        usual,
        json=(lambda _: json) if json else None,
        auth=_admin,
    )


def _acting(name: str, act: str) -> Call:
    return Call(
        f"{name}, a call of its own",
        f"POST {_SUB}/{act}",
        lambda w: f"{_USERS}/{w.ada}/{act}",
        auth=_admin,
        json=lambda _: {"comment": "ticket 4711"},
    )


def _revoking(name: str, form: Callable[[World], dict[str, str]]) -> Call:
    return Call(f"revoke {name}", "POST /revoke", _at("/revoke"), form=form, auth=_admin)


def _reporting(name: str, token: Callable[[World], str]) -> Call:
    return Call(f"report {name}", "POST /leaked", _at("/leaked"), 202, json=lambda w: {"tokens": [token(w)]})


def _login(name: str, username: str, usual: int = 200, password: str = PASSWORD, second: str = "$^") -> Call:
    body = {"username": username, "password": password}
    return Call(name, "POST /login", _at("/login"), usual, json=lambda _: body, second=second)


# A code that was used is spent, whether or not its login was completed.
_OPENED = r"\+ (session|listed):"
_USERS, _CLIENTS = "/admin/users", "/admin/clients"
_SUB, _CLIENT = "/admin/users/{sub}", "/admin/clients/{client_id}"

CALLS = [
    _login("log in", "ada"),
    _login("log in, the oldest session ends", "crowd", second=r"- (session|listed):"),
    _login("log in, rehash", "old", second=r"\* credentials:"),
    _login("log in, wrong password", "ada", 401, "not the password of ada"),
    _login("log in, unknown user", "nobody", 401),
    _login("log in, a factor is missing", "two", 403),
    _stepping("totp", lambda w: {"auth_session": _two(w).pending, "code": code_now(w.clock, _two(w).seed)}, _OPENED),
    _stepping("recovery", lambda w: {"auth_session": _two(w).pending, "code": _two(w).recovery_code}, _OPENED),
    _stepping("password", lambda w: {"auth_session": w.step_up, "password": PASSWORD}),
    _stepping("passkey", lambda w: _keyed(w).second, _OPENED),
    Call("log in, passkey alone", "POST /login/passkey", _at("/login/passkey"), json=lambda w: _keyed(w).alone,
         second=_OPENED),
    Call("ask for a passkey", "POST /login/passkey/options", _at("/login/passkey/options"), json=lambda _: {}),
    Call("ask for a passkey as second step", "POST /login/passkey/options", _at("/login/passkey/options"),
         json=lambda w: {"auth_session": _keyed(w).pending}),
    Call("begin a passkey", "POST /factors/passkeys/options", _at("/factors/passkeys/options"), json=lambda _: {},
         bearer=lambda w: _keyed(w).access_token),
    Call("register a passkey", "POST /factors/passkeys", _at("/factors/passkeys"), 201, json=lambda w: _keyed(w).new,
         bearer=lambda w: _keyed(w).access_token),
    Call("step up", "POST /step-up", _at("/step-up"), bearer=_phone, reads=True),
    Call("my factors", "GET /factors", _at("/factors"), bearer=_phone, reads=True),
    Call("enrol an app", "POST /factors/totp", _at("/factors/totp"), 201, bearer=_phone, json=lambda _: {"name": "a"}),
    Call("confirm an app", "POST /factors/totp/{factor_id}/confirm", lambda w: f"/factors/totp/{w.enrolment}/confirm",
         bearer=_phone, json=lambda w: {"code": code_now(w.clock, w.enrolling_seed)}),
    Call("remove a factor", "DELETE /factors/{factor_id}", lambda w: f"/factors/{_two(w).factor}", 204,
         bearer=lambda w: _two(w).access_token),
    Call("make recovery codes", "POST /factors/recovery-codes", _at("/factors/recovery-codes"), 201,
         bearer=lambda w: _two(w).access_token),
    Call("a user's factors", f"GET {_SUB}/factors", lambda w: f"{_USERS}/{_two(w).sub}/factors", auth=_admin,
         reads=True),
    Call("remove a user's factors", f"DELETE {_SUB}/factors", lambda w: f"{_USERS}/{_two(w).sub}/factors", 204,
         auth=_admin),
    Call("refresh", "POST /token", _at("/token"), form=_refreshing(lambda w: str(w.phone["refresh_token"]))),
    Call("refresh again within the grace", "POST /token", _at("/token"), form=_refreshing(lambda w: w.repeated),
         reads=True),
    Call("reuse", "POST /token", _at("/token"), 400, form=_refreshing(lambda w: w.reused)),
    Call("exchange", "POST /token", _at("/token"), form=_exchanging("ledger"), auth=lambda w: w.exchanger),
    Call("exchange again", "POST /token", _at("/token"), form=_exchanging("mail"), auth=lambda w: w.exchanger,
         reads=True),
    Call("introspect an exchanged token", "POST /introspect", _at("/introspect"), form=lambda w: {"token": w.exchanged},
         auth=_admin, reads=True),
    _revoking("an exchanged token", lambda w: {"token": w.exchanged}),
    Call("introspect", "POST /introspect", _at("/introspect"), form=lambda w: {"token": _phone(w)}, auth=_admin,
         reads=True),
    Call("introspect many", "POST /introspect/batch", _at("/introspect/batch"), auth=_admin, reads=True,
         json=lambda w: {"tokens": [_phone(w), w.outsider]}),
    Call("introspect an idle session", "POST /introspect", _at("/introspect"), auth=lambda w: w.web,
         form=lambda w: {"token": w.outsider}, later_s=120, reads=True),
    Call("listen", "GET /events", _at("/events"), auth=lambda w: w.web, reads=True),
    _revoking("by token", lambda w: {"token": _phone(w)}),
    _revoking("by session", lambda w: {"session_id": w.phone["session_id"]}),
    _revoking("by sub", lambda w: {"sub": w.ada}),
    _revoking("by client_id", lambda w: {"client_id": "app"}),
    _revoking("all", lambda w: {"all": "true"}),
    Call("revoke one's own", "POST /revoke", _at("/revoke"),
         form=lambda w: {"client_id": "app", "token": w.phone["refresh_token"]}),
    _reporting("a token", lambda w: w.phone["refresh_token"]),
    _reporting("a reset code", lambda w: w.reset_code),
    _reporting("a trusted device", lambda w: _two(w).device),
    _reporting("a login in progress", lambda w: _two(w).pending),
    _reporting("a dead token", lambda w: w.unknown),
    Call("report leaked tokens, GitHub", "POST /leaked/github", _at("/leaked/github"),
         content=lambda w: finds(w.laptop["access_token"]), headers=lambda w: signed(finds(w.laptop["access_token"]))),
    Call("issue", "POST /tokens", _at("/tokens"), json=lambda _: {"sub": "new|1", "roles": ["guest"]}, auth=_admin,
         second=r"\+ (session|listed):"),
    Call("issue again", "POST /tokens", _at("/tokens"), json=lambda _: {"sub": ISSUED}, auth=lambda w: w.web),
    Call("issue with other roles", "POST /tokens", _at("/tokens"), json=lambda _: {"sub": ISSUED, "roles": ["guest"]},
         auth=_admin, second=r"\+ (session|listed):"),
    Call("log out", "POST /logout", _at("/logout"), 204, bearer=_phone),
    Call("who am I", "GET /me", _at("/me"), bearer=_phone, reads=True),
    Call("may it pass", "GET /verify", _at("/verify"), bearer=_phone, reads=True),
    Call("my sessions", "GET /sessions", _at("/sessions"), bearer=_phone, reads=True),
    Call("end others", "DELETE /sessions", _at("/sessions"), 204, bearer=_phone),
    Call("end all", "DELETE /sessions", _at("/sessions?all=true"), 204, bearer=_phone),
    Call("end one", "DELETE /sessions/{session_id}", lambda w: f"/sessions/{w.laptop['session_id']}", 204,
         bearer=_phone),
    Call("change the password", "POST /password", _at("/password"), bearer=_phone, second=r"\* session:",
         json=lambda _: {"current_password": PASSWORD, "new_password": NEW_PASSWORD}),
    Call("reset the password", "POST /password/reset", _at("/password/reset"), 204,
         json=lambda w: {"reset_code": w.reset_code, "new_password": NEW_PASSWORD}),
    Call("make a key", "POST /keys", _at("/keys"), 201, bearer=_phone, second=_OPENED,
         json=lambda _: {"name": "x", "networks": ["192.0.2.0/24"]}),
    Call("my keys", "GET /keys", _at("/keys"), bearer=_phone, reads=True),
    Call("rotate a key", "POST /keys/{key_id}/rotate", lambda w: f"/keys/{w.key['key_id']}/rotate", bearer=_phone),
    Call("revoke a key", "DELETE /keys/{key_id}", lambda w: f"/keys/{w.key['key_id']}", 204, bearer=_phone),
    _revoking("a key by its text", lambda w: {"token": w.key["key"]}),
    Call("introspect a key", "POST /introspect", _at("/introspect"), auth=_admin, reads=True,
         form=lambda w: {"token": w.key["key"], "ip": "192.0.2.9"}),
    Call("introspect a key an hour later", "POST /introspect", _at("/introspect"), auth=_admin, reads=True,
         form=lambda w: {"token": w.key["key"], "ip": "192.0.2.9"}, later_s=3600),
    Call("change the password and end the keys", "POST /password", _at("/password"), bearer=_phone,
         second=r"\* session:",
         json=lambda _: {"current_password": PASSWORD, "new_password": NEW_PASSWORD, "end_keys": True}),
    Call("a user's keys", f"GET {_SUB}/keys", lambda w: f"{_USERS}/{w.ada}/keys", auth=_admin, reads=True),
    Call("make a user's first key", f"POST {_SUB}/keys", lambda w: f"{_USERS}/{w.root}/keys", 201, auth=_admin,
         json=lambda _: {"name": "x"}, second=_OPENED),
    Call("revoke a user's keys", f"DELETE {_SUB}/keys", lambda w: f"{_USERS}/{w.ada}/keys", 204, auth=_admin),
    Call("create a user", f"POST {_USERS}", _at(_USERS), 201, auth=_admin,
         json=lambda _: {"username": "Grace", "password": PASSWORD, "roles": ["editor"]}),
    Call("create a user without a password", f"POST {_USERS}", _at(_USERS), 201, auth=_admin,
         json=lambda _: {"username": "grace"}),
    Call("create a user whose name is taken", f"POST {_USERS}", _at(_USERS), 409, auth=_admin,
         json=lambda _: {"username": "ADA", "password": PASSWORD}),
    Call("list users", f"GET {_USERS}", _at(_USERS), auth=_admin, reads=True),
    Call("find users", f"GET {_USERS}", _at(f"{_USERS}?q=a&status=active"), auth=_admin, reads=True),
    Call("locked users", f"GET {_USERS}", _at(f"{_USERS}?locked=true"), auth=_admin, reads=True),
    Call("sessions of all", "GET /admin/sessions", _at("/admin/sessions?client_id=app"), auth=_admin, reads=True),
    Call("end a session of any user", "DELETE /admin/sessions/{session_id}",
         lambda w: f"/admin/sessions/{w.phone['session_id']}", 204, auth=_admin),
    _acting("suspend", "suspend"),
    _acting("reinstate", "reinstate"),
    _acting("unlock", "unlock"),
    Call("read a user", f"GET {_SUB}", lambda w: f"{_USERS}/{w.ada}", auth=_admin, reads=True),
    Call("a user's sessions", f"GET {_SUB}/sessions", lambda w: f"{_USERS}/{w.ada}/sessions", auth=_admin, reads=True),
    Call("end a user's sessions", f"DELETE {_SUB}/sessions", lambda w: f"{_USERS}/{w.ada}/sessions", 204, auth=_admin),
    Call("make a reset code", f"POST {_SUB}/reset-code", lambda w: f"{_USERS}/{w.ada}/reset-code", 201, auth=_admin),
    _user("change roles", "PATCH", {"roles": ["editor"], "claims": {"plan": "pro"}}),
    _user("suspend", "PATCH", {"status": "suspended"}),
    _user("suspend an admin", "PATCH", {"status": "suspended"}, who=lambda w: w.root),
    _user("rename", "PATCH", {"username": "Lovelace"}),
    _user("rename and suspend", "PATCH", {"username": "Lovelace", "status": "suspended", "roles": ["guest"]}),
    _user("rename to a name that is taken", "PATCH", {"username": "root", "roles": ["guest"]}, 409),
    _user("delete a user", "DELETE", {}, 204),
    _user("delete an admin", "DELETE", {}, 204, who=lambda w: w.root),
    Call("create a client", f"POST {_CLIENTS}", _at(_CLIENTS), 201, json=lambda _: {"name": "new"}, auth=_admin),
    Call("list clients", f"GET {_CLIENTS}", _at(_CLIENTS), auth=_admin, reads=True),
    Call("read a client", f"GET {_CLIENT}", lambda w: f"{_CLIENTS}/{w.web[0]}", auth=_admin, reads=True),
    Call("change a client", f"PATCH {_CLIENT}", lambda w: f"{_CLIENTS}/{w.web[0]}", auth=_admin,
         json=lambda _: {"name": "other", "permissions": ["revoke"]}),
    Call("make a client no admin", f"PATCH {_CLIENT}", lambda w: f"{_CLIENTS}/{w.admin[0]}", auth=_admin,
         json=lambda _: {"permissions": []}),
    Call("delete a client", f"DELETE {_CLIENT}", lambda w: f"{_CLIENTS}/{w.web[0]}", 204, auth=_admin),
    Call("rotate a secret", f"POST {_CLIENT}/secret", lambda w: f"{_CLIENTS}/{w.web[0]}/secret", auth=_admin),
    Call("read the audit trail", "GET /admin/audit", _at("/admin/audit"), auth=_admin, reads=True),
    Call("search the audit trail", "GET /admin/audit", lambda w: f"/admin/audit?sub={w.ada}", auth=_admin, reads=True),
    Call("ready?", "GET /readyz", _anew, reads=True),
]  # fmt: skip

BY_NAME = {call.name: call for call in CALLS}


def save(store: "redis.Redis") -> Snapshot:
    """Everything in the store, with the time that each key has left (ms; 0 is for ever), for `restore` to put back."""
    keys = list(store.scan_iter(count=1000))
    pipeline = store.pipeline(transaction=False)
    for key in keys:
        pipeline.dump(key)
        pipeline.pttl(key)
    found = pipeline.execute()
    return {key: (found[2 * i], max(found[2 * i + 1], 0)) for i, key in enumerate(keys)}


def restore(store: "redis.Redis", snapshot: Snapshot) -> None:
    pipeline = store.pipeline(transaction=False)
    pipeline.flushall()
    for key, (value, left_ms) in snapshot.items():
        pipeline.restore(key, left_ms, value)
    pipeline.execute()


State = dict[str, Json]
# Random members of a record. They differ between two runs, so that only the fact of a change is compared.
_RANDOM = {"tok", "ref", "seed", "hash", "digest", "secrets", "spent", "previous", "reset_code", "sub", "until"}
_RANDOM |= {"cid", "client_id", "at", "totp", "passkeys", "user_handle", "codes", "devices"}


# Any: redis-py declares the results of every protocol.
def state_of(store: Any) -> State:
    """The state of the store that decides answers, without counters, logs, and expired or cut-off sessions.

    Harmless remains are left out: unfinished users, which expire by themselves; names without a user who has them;
    codes that no credentials name; entries of the index without a session.
    """
    raw = {key.decode(): key for key in store.scan_iter(count=1000)}
    kinds: dict[str, State] = {kind: {} for kind in ("session", "user", "credentials", "factors", "client", "code")}
    service, logins = {}, {}
    for name, key in sorted(raw.items()):
        kind, _, id_ = name.partition(":")
        if name == "service":
            service = json.loads(store.get(key) or b"{}")
        elif kind == "login":
            logins[id_] = (store.get(key) or b"").decode().partition(" ")[0]  # a nonce may follow the sub
        elif kind in kinds and (kind not in ("user", "credentials") or store.pttl(key) == -1):
            kinds[kind][id_.strip("{}")] = json.loads(store.get(key) or b"{}")
    people = kinds["user"]

    def answers(name: str, sub: str) -> bool:
        return sub in people and normalise(people[sub].get("username", "\u00b7")) == name

    def lives(handle: str, session: Json) -> bool:
        user, client = people.get(session["sub"], {}), kinds["client"].get(session["cid"], {})
        by_user, by_client, by_service = session["epochs"]
        return (
            user.get("status", "active") == "active"
            and (
                user.get("key_epoch") == by_user
                if session.get("by") == "key"
                else user.get("epoch") == by_user or user.get("spared") == handle
            )
            and client.get("epoch") == by_client
            and service["epoch"] == by_service
        )

    named = {credentials.get("reset_code") for credentials in kinds["credentials"].values()}
    kinds["session"] = {handle: session for handle, session in kinds["session"].items() if lives(handle, session)}
    kinds["code"] = {handle: code for handle, code in kinds["code"].items() if handle in named}
    state = {f"{kind}:{id_}": record for kind, records in kinds.items() for id_, record in records.items()}
    state |= {f"login:{name}": {"of": sub} for name, sub in logins.items() if answers(name, sub)}
    state["service"] = service
    for name in [name for name in raw if name.startswith(("sessions:", "keys:"))]:
        listed = [handle.decode() for handle in store.zrange(raw[name], 0, -1)]
        state |= {f"listed:{handle}": {} for handle in listed if handle in kinds["session"]}
    for record in state.values():
        record.pop("w", None)
        record.pop("renaming_to", None)
    return state


def difference(old: State, new: State) -> list[str]:
    """The changes between two states, in words that do not depend on random values."""
    changes = []
    for key in sorted(old.keys() | new.keys()):
        kind = key.partition(":")[0]
        if key not in new:
            changes.append(f"- {key}")
        elif key not in old:
            label = key if kind == "login" else f"{kind}:new"
            changes.append(f"+ {label} {_shown(new[key])}")
        elif old[key] != new[key]:
            fields = {n for n in old[key].keys() | new[key].keys() if old[key].get(n) != new[key].get(n)}
            changes.append(f"* {key} {_shown({name: new[key].get(name) for name in fields})}")
    return sorted(changes)


def _shown(record: Json) -> str:
    return json.dumps({name: "…" if name in _RANDOM | {"of"} else value for name, value in sorted(record.items())})


def events_of(store: Any) -> list[str]:
    """The names of the audited events, oldest first."""
    return [json.loads(fields[b"e"])["event"] for _, fields in store.xrange("audit")]
