"""What is left behind: in the store, in logs, in answers, in representations."""

import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import redis

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.errors import AuthError, CorruptRecord
from authsvc.flows.grants import Grant
from authsvc.flows.introspect import look_up
from authsvc.store.encoding import load
from tests.conftest import PASSWORD, Clock, Service, Snapshot, bearer
from tests.flows.conftest import World
from tests.flows.contents import expire, keys, lasting_with_ttl, texts, without_ttl

NEW = "seven quiet herons wading"
WRONG = "canary in a coal mine"
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


class Run:
    """Uses every call of the service, rightly and wrongly, and remembers each secret that passed by."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.secrets = {PASSWORD, NEW, WRONG, service.admin[1]}
        self.errors: list[httpx.Response] = []

    async def __call__(self, method: str, path: str, **fields: Any) -> Any:
        answer = await self.service.http.request(method, path, **fields)
        if answer.status_code >= 400:
            self.errors.append(answer)
            assert answer.status_code < 500
        for cookie in answer.headers.get_list("set-cookie"):
            self.secrets.add(cookie.partition("=")[2].partition(";")[0].strip('"'))
        self.service.http.cookies.clear()
        body = answer.json() if answer.content and "json" in answer.headers["content-type"] else {}
        for name in ("access_token", "refresh_token", "reset_code", "client_secret"):
            if isinstance(body, dict) and name in body:
                self.secrets.add(body[name])
        self.secrets.discard("")
        return body

    def parts(self) -> Iterator[bytes]:
        """Each secret, and of the tokens the part that nobody may know: their handles are public."""
        for secret in self.secrets:
            yield secret.encode()
            if tokens.parse(secret):
                yield secret[16:43].encode()

    async def everything(self) -> None:
        admin = self.service.admin
        ada = await self("POST", "/admin/users", json={"username": "ada", "password": PASSWORD}, auth=admin)
        bea = await self("POST", "/admin/users", json={"username": "bea"}, auth=admin)
        one = await self(
            "POST", "/admin/clients", json={"name": "one", "permissions": ["introspect", "issue"]}, auth=admin
        )
        auth = (one["client_id"], one["client_secret"])
        login = {"username": "ada", "password": PASSWORD}
        first = await self("POST", "/login", json=login)
        second = await self.refresh(first["refresh_token"])
        await self.refresh(first["refresh_token"])
        other = await self("POST", "/login", json=login, auth=auth)
        await self("POST", "/login", json=login | {"cookie": True}, headers=SAME_ORIGIN)
        await self("POST", "/login", json=login | {"password": WRONG})
        await self("POST", "/login", json={"username": WRONG, "password": PASSWORD})
        await self("POST", "/login", json=login | {"password": WRONG * 100})
        await self("POST", "/login", json=login | {"password": [WRONG]})
        await self("POST", "/login", json=login | {WRONG: WRONG})
        await self(
            "POST",
            "/login",
            content=b'{"password": "' + WRONG.encode() + b'"',
            headers={"Content-Type": "application/json"},
        )
        await self("POST", f"/login?password={WRONG}", json=login)
        for token in (
            second["access_token"],
            second["refresh_token"],
            other["access_token"],
            WRONG,
            second["access_token"][:-1],
        ):
            await self("POST", "/introspect", data={"token": token}, auth=auth)
            await self("GET", "/me", headers=bearer(token.replace(" ", "")))
            await self("GET", f"/me?access_token={token}")
            await self("POST", "/revoke", data={"token": token, "client_id": "app"})
            await self("GET", f"/admin/users/{token}", auth=admin)
        await self("POST", "/introspect", data={"token": "x"}, auth=(auth[0], WRONG))
        await self("POST", "/introspect", data={"token": "x"}, headers={"Authorization": f"Basic {WRONG}"})
        issued = await self("POST", "/tokens", json={"sub": "far|1", "roles": ["ops"]}, auth=auth)
        await self("POST", "/password/reset", json={"reset_code": bea["reset_code"], "new_password": "short"})
        await self("POST", "/password/reset", json={"reset_code": bea["reset_code"], "new_password": NEW})
        await self("POST", "/password/reset", json={"reset_code": bea["reset_code"], "new_password": NEW})
        await self("POST", f"/admin/users/{ada['sub']}/reset-code", auth=admin)
        await self("POST", f"/admin/clients/{one['client_id']}/secret", auth=admin)
        here = await self("POST", "/login", json=login)
        fresh = await self(
            "POST",
            "/password",
            json={"current_password": PASSWORD, "new_password": NEW},
            headers=bearer(here["access_token"]),
        )
        await self.refresh(here["refresh_token"])  # spent: the session ends
        await self("GET", "/sessions", headers=bearer(fresh["access_token"]))
        await self("POST", "/logout", headers=bearer(issued["access_token"]))
        await self("GET", "/admin/audit", auth=admin)
        await self("POST", "/login", json=login | {"password": NEW})
        await self("POST", "/login", json={"username": "bea", "password": NEW})
        await self.service.deps.store.sessions.finish()

    async def refresh(self, token: str) -> Any:
        form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": token}
        return await self("POST", "/token", data=form)


@pytest.fixture
async def run(service: Service, caplog: pytest.LogCaptureFixture) -> Run:
    caplog.set_level(logging.DEBUG)
    run = Run(service)
    await run.everything()
    assert len(run.secrets) > 18
    return run


async def test_the_store_holds_no_secret(run: Run, valkey: "redis.Redis", dump: Snapshot) -> None:
    """Neither a token, code, client secret or password nor its secret part is in any key, value or backup."""
    copies = [*texts(valkey), *dump().values(), *dump()]
    assert len(copies) > 40
    for secret in run.parts():
        assert not any(secret in copy for copy in copies)


async def test_no_log_line_and_no_error_holds_a_secret(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing that was typed in or handed out is in a log line of any level, or is sent back in an error."""
    records = [record for record in caplog.get_records("setup") if record.name != "httpx"]
    assert len(records) > 20
    assert len(run.errors) > 15
    logged = "\n".join(
        f"{record.getMessage()} {record.__dict__}" for record in caplog.records if record.name != "httpx"
    )
    answered = b"\n".join(answer.content + repr(answer.headers.raw).encode() for answer in run.errors)
    for part in run.parts():
        assert part.decode() not in logged
        assert part not in answered


async def test_no_representation_holds_a_secret(run: Run, service: Service) -> None:
    """Whatever an exception or a debugger may print of what the service is made of."""
    deps, store = service.deps, service.deps.store
    shown = [repr(deps), repr(store), repr(deps.settings), repr(deps.hasher)]
    login = Grant("4fQ0kzPq1LxA", "", 1, 1, tokens.new(Kind.ACCESS).text, tokens.new(Kind.REFRESH).text)
    run.secrets |= {login.access_token, login.refresh_token or ""}
    shown += [repr(login), str(login)]
    async for user in store.listing.every_user():
        shown += [repr(user), repr(await store.credentials.find(user.sub))]
        for handle, session in await store.sessions.listed(user.sub, deps.clock()):
            found = await store.lookup.session(handle)
            shown += [repr(session), repr(found)]
            assert session.seed is None or session.seed not in "".join(shown)
    async for client in store.listing.every_client():
        shown.append(repr(client))
    for secret in run.secrets:
        verdict = await look_up(deps, secret)
        shown.append(repr(verdict))
        if token := tokens.parse(secret):
            shown += [repr(token), repr([token])]
    for part in run.parts():
        assert not any(part.decode() in one for one in shown)


async def test_a_record_that_does_not_parse_is_not_repeated(world: World, valkey: "redis.Redis") -> None:
    """The error says which kind of record it was, and nothing of what is in it; nobody gets a decision."""
    await world.user()
    grant = await world.login()
    session = type(await world.deps.store.sessions.get(grant.session_id))
    for broken in (b"canary", b'{"sub":"canary"}', b'{"sub":["canary"]}', b"\xffcanary", b"[]", b"null", b""):
        with pytest.raises(CorruptRecord) as refused:
            load(session, broken)
        assert "canary" not in str(refused.value)
        valkey.set(f"session:{grant.session_id}", broken)
        with pytest.raises(AuthError):
            await look_up(world.deps, grant.access_token)


async def test_all_that_expires_has_its_ttl_from_birth(
    service: Service, valkey: "redis.Redis", clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """After everything was used, only users, logins, credentials, clients and the service record are without a TTL;
    and when the rest has expired, the keys are those from before plus whoever was registered since."""
    before = keys(valkey)
    assert without_ttl(valkey) == set()
    await Run(service).everything()
    assert without_ttl(valkey) == set()
    assert lasting_with_ttl(valkey) == set()
    kinds = {key.partition(b":")[0] for key in keys(valkey)}
    assert kinds == {
        *(b"user", b"login", b"credentials", b"client", b"service"),
        *(b"session", b"sessions", b"code", b"throttle", b"audit"),
    }
    clock.forward(100 * 86400)
    expire(valkey, clock())
    left = keys(valkey) - before
    assert {key.partition(b":")[0] for key in left} == {b"user", b"login", b"credentials", b"client"}
    assert len(left) == 3 + 2 + 2 + 1  # ada, bea and far|1, who has no name and no credentials; one client
    assert before - keys(valkey) <= {b"audit"}


async def test_the_ttl_is_the_records_own_end(world: World, valkey: "redis.Redis", clock: Clock) -> None:
    """A session's key goes when the session ends, to the millisecond, also after a refresh and a touch; its index
    with the last session on it."""
    user = await world.user()
    short = await world.client(public=True, session_ttl_s=1000, idle_ttl_s=100)
    ends = int(clock()) + 1000
    grant = await world.login(client=short)
    key, index = f"session:{grant.session_id}", f"sessions:{{{user.sub}}}"
    assert valkey.pexpiretime(key) == valkey.pexpiretime(index) == ends * 1000
    clock.forward(60.5)
    assert await world.active(grant.access_token)
    await world.deps.store.sessions.finish()
    assert (await world.deps.store.sessions.get(grant.session_id)).seen == int(clock())
    assert valkey.pexpiretime(key) == ends * 1000
    grant = await world.refresh(grant.refresh_token, client=short)
    assert valkey.pexpiretime(key) == ends * 1000
    long = await world.login()
    assert valkey.pexpiretime(index) == (await world.deps.store.sessions.get(long.session_id)).end * 1000
    later = valkey.pexpiretime(index)
    await world.login(client=short)
    assert valkey.pexpiretime(index) == later
    clock.forward(2000)
    await world.login()
    assert grant.session_id.encode() not in valkey.zrange(index, 0, -1), "the index drops its dead on every use"
