"""Clients that read and change the sessions of a few users through connections to several workers."""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from chaos.histories import AWAY, Account, Histories, Pair, Request, Session
from chaos.http import Answer, Http, NoAnswer
from chaos.journal import name_of
from chaos.linearizability import EVERYBODY, Call, Result

# Each crowd of clients has one user at a time.
CROWDS, CLIENTS = 4, 4
# The connections of a client, which lead to more than one worker.
CONNECTIONS = 3
# Clients ask about the sessions that began last. Some of these have ended.
SESSIONS = 4
OF_THE_LIVING = 0.85
# The share of questions that a change follows.
CHANGES = 0.4
PAUSE_S = 0.02
FIRST_ROLE = "r0"

# Makes the result of an answer, by the status of the answer.
Readings = Mapping[int, Callable[[Answer], Result]]


@asynccontextmanager
async def crowds(histories: Histories) -> AsyncIterator[None]:
    """Run all crowds during the block. On leaving, wait for the calls under way."""
    running = [asyncio.create_task(_crowd(histories, number)) for number in range(CROWDS)]
    try:
        yield
    finally:
        histories.stopping = True
        await asyncio.gather(*running)


async def _crowd(histories: Histories, number: int) -> None:
    clients = [Client(histories, number * CLIENTS + at) for at in range(CLIENTS)]
    while not histories.stopping:
        account = await clients[0].register()
        if account is not None:
            await asyncio.gather(*[client.use(account) for client in clients])
    for client in clients:
        client.close()


class Client:
    """One client. It makes one call at a time."""

    def __init__(self, histories: Histories, number: int) -> None:
        self._histories = histories
        self._number = number
        self._chance = random.Random(number)
        self._lines = [Http(histories.port) for _ in range(CONNECTIONS)]
        self._reads = (self._introspect, self._batch, self._verify)
        self._changes = {
            self._login: 12,
            self._refresh: 10,
            self._revoke: 4,
            self._change_roles: 12,
            self._suspend: 3,
            self._reinstate: 6,
            self._end_all: 2,
            self._end_everything: 0.2,
        }

    def close(self) -> None:
        for line in self._lines:
            line.close()

    async def register(self) -> Account | None:
        """Register a user, None if that fails."""
        account = Account("", f"user{secrets.token_hex(6)}", secrets.token_hex(16))
        document = {"username": account.username, "password": account.password, "roles": [FIRST_ROLE]}
        try:
            answer = await self._chance.choice(self._lines).call(
                "POST", "/admin/users", document=document, headers=self._histories.admin
            )
        except NoAnswer:
            answer = None
        if answer is None or answer.status != 201:
            await asyncio.sleep(0.1)
            return None
        account.sub = answer.json()["sub"]
        self._histories.secrets.add(account.password)
        return account

    async def use(self, account: Account) -> None:
        """Make calls about this user, until there have been enough.

        A change stands between two questions about the same token on one connection: there a stale answer shows.
        """
        while not (self._histories.stopping or account.worn_out):
            await asyncio.sleep(self._chance.uniform(0, 2 * PAUSE_S))
            session, line = self._session(account), self._chance.choice(self._lines)
            if session is None:
                await self._reinstate(account) if account.suspended else await self._login(account)
                continue
            ask = partial(self._chance.choice(self._reads), account, session, self._token(session), line)
            await ask()
            if self._chance.random() < CHANGES:
                (change,) = self._chance.choices(tuple(self._changes), tuple(self._changes.values()))
                await change(account, session)
                await ask()

    def _session(self, account: Account) -> Session | None:
        """One of the last sessions, mostly one that has not ended as far as the clients know."""
        last = account.sessions[-SESSIONS:]
        alive = [session for session in last if not session.over]
        among = alive if self._chance.random() < OF_THE_LIVING else last
        return self._chance.choice(among) if among else None

    def _token(self, session: Session) -> Pair:
        """Mostly the newest tokens, sometimes the ones before."""
        return session.pairs[-1] if self._chance.random() < OF_THE_LIVING else self._chance.choice(session.pairs[-2:])

    async def _introspect(self, account: Account, session: Session, pair: Pair, line: Http) -> None:
        request = Request("POST", "/introspect", self._histories.admin, form={"token": pair[0]})
        readings = {200: lambda answer: introspected(answer.json())}
        await self._make(account, Call("read", session.handle, name_of(pair[0])), request, readings, line=line)

    async def _verify(self, account: Account, session: Session, pair: Pair, line: Http) -> None:
        request = Request("GET", "/verify", {"Authorization": f"Bearer {pair[0]}"})
        readings = {200: verified, 401: refused}
        await self._make(account, Call("read", session.handle, name_of(pair[0])), request, readings, line=line)

    async def _batch(self, account: Account, session: Session, pair: Pair, line: Http) -> None:
        """Ask about other sessions, too. Only the answer about each one is promised to be of one moment."""
        asked = {one.handle: one.pairs[-1][0] for one in account.sessions[-SESSIONS:]} | {session.handle: pair[0]}
        request = Request("POST", "/introspect/batch", self._histories.admin, document={"tokens": list(asked.values())})
        sent, answer = time.monotonic_ns(), await self._answer(account, request, line)
        if answer is None or answer.status != 200:
            self._histories.be_surprised(request, answer)
            return
        for (handle, access), item in zip(asked.items(), answer.json()["items"], strict=True):
            call = Call("read", handle, name_of(access))
            self._histories.record(account.sub, self._number, sent, call, introspected(item))

    async def _login(self, account: Account, session: Session | None = None) -> None:
        def opened(answer: Answer) -> Result:
            session = Session(answer.json()["session_id"], [self._pair_in(answer)])
            account.sessions.append(session)
            return Result(True, session=session.handle, token=name_of(session.pairs[0][0]))

        document = {"username": account.username, "password": account.password}
        # Logins of a suspended user count as wrong guesses, so each one comes from another network.
        address = ".".join(str(self._chance.randrange(1, 255)) for _ in range(3))
        request = Request("POST", "/login", {"X-Forwarded-For": f"10.{address}"}, document=document)
        await self._make(account, Call("login"), request, {200: opened, 401: refused})

    async def _refresh(self, account: Account, session: Session) -> None:
        def rotated(answer: Answer) -> Result:
            session.pairs.append(self._pair_in(answer))
            return Result(True, token=name_of(session.pairs[-1][0]))

        def reused(answer: Answer) -> Result:
            session.over = True
            return Result(False)

        access, refresh = self._token(session)
        form = {"grant_type": "refresh_token", "refresh_token": refresh, "client_id": "app"}
        call = Call("refresh", session.handle, name_of(access))
        await self._make(account, call, Request("POST", "/token", form=form), {200: rotated, 400: reused})

    async def _revoke(self, account: Account, session: Session) -> None:
        """End a session by its id, or by any of its refresh tokens: a spent one ends the session, too."""
        session.over = True
        named = {"session_id": session.handle}, {"token": self._chance.choice(session.pairs)[1]}
        request = Request("POST", "/revoke", self._histories.admin, form=self._chance.choice(named))
        await self._make(account, Call("revoke", session.handle), request, {200: done})

    async def _end_all(self, account: Account, session: Session) -> None:
        account.end_sessions()
        request = Request("POST", "/revoke", self._histories.admin, form={"sub": account.sub})
        await self._make(account, Call("cut-off"), request, {200: done})

    async def _end_everything(self, account: Account, session: Session) -> None:
        """End the sessions of everybody, until the result of such a call is unknown: it is in all histories."""
        if self._histories.ends_everything:
            account.end_sessions()
            request = Request("POST", "/revoke", self._histories.admin, form={"all": "true"})
            await self._make(account, Call("cut-off"), request, {200: done}, user=EVERYBODY)

    async def _change_roles(self, account: Account, session: Session) -> None:
        account.roles += 1
        role = f"r{account.roles}"
        await self._change(account, Call("change", roles=role), {"roles": [role]})

    async def _suspend(self, account: Account, session: Session) -> None:
        account.suspended = True
        account.end_sessions()
        await self._change(account, Call("change", status="suspended"), {"status": "suspended"})

    async def _reinstate(self, account: Account, session: Session | None = None) -> None:
        account.suspended = False
        await self._change(account, Call("change", status="active"), {"status": "active"})

    async def _change(self, account: Account, call: Call, document: Mapping[str, Any]) -> None:
        request = Request("PATCH", f"/admin/users/{account.sub}", self._histories.admin, document=document)
        await self._make(account, call, request, {200: changed})

    def _pair_in(self, answer: Answer) -> Pair:
        given = answer.json()
        pair = given["access_token"], given["refresh_token"]
        self._histories.secrets.update(pair)
        return pair

    async def _make(
        self,
        account: Account,
        call: Call,
        request: Request,
        readings: Readings,
        *,
        user: str | None = None,
        line: Http | None = None,
    ) -> None:
        """Make a call and record it. user: whose histories hold the call, if not the one of the account."""
        sent = time.monotonic_ns()
        answer = await self._answer(account, request, line)
        if answer is not None and answer.status in readings:
            result = readings[answer.status](answer)
            self._histories.record(user or account.sub, self._number, sent, call, result)
        elif answer is None or answer.status == AWAY:
            # A read shows nothing then. A login has opened a session that nobody knows, or will.
            if call.kind not in ("read", "login"):
                self._histories.record(user or account.sub, self._number, sent, call, None)
                self._histories.ends_everything &= user != EVERYBODY
                account.unknown += 1
        else:
            self._histories.be_surprised(request, answer)

    async def _answer(self, account: Account, request: Request, line: Http | None) -> Answer | None:
        """The answer, None if there is none."""
        account.calls += 1
        try:
            answer = await (line or self._chance.choice(self._lines)).call(
                request.method, request.path, form=request.form, document=request.document, headers=request.headers
            )
        except NoAnswer:
            self._histories.unanswered += 1
            return None
        self._histories.away += answer.status == AWAY
        return answer


def introspected(found: Mapping[str, Any]) -> Result:
    return Result(True, roles=" ".join(found["roles"])) if found["active"] else Result(False)


def verified(answer: Answer) -> Result:
    return Result(True, roles=answer.headers["x-auth-roles"])


def refused(answer: Answer) -> Result:
    return Result(False)


def done(answer: Answer) -> Result:
    return Result(True)


def changed(answer: Answer) -> Result:
    found = answer.json()
    return Result(True, roles=" ".join(found["roles"]), status=found["status"])
