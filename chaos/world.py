"""Users, their sessions and their calls. Each call is written to the journal."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaos.http import Answer, Http, NoAnswer, basic
from chaos.journal import UNANSWERED, Call, Journal, Result, handle_in, name_of
from chaos.processes import ExperimentError

BATCH = 500


@dataclass
class User:
    """A user with a password."""

    username: str
    password: str
    sub: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """A client address for each user, so that the rate limit of an address counts one user only."""
        number = int(self.username.removeprefix("user"))
        return {"X-Forwarded-For": f"10.0.{number // 250}.{number % 250 + 1}"}


@dataclass
class Session:
    """A session as its user knows it. busy: a call is changing it. over: the user has ended it, or has tried to."""

    handle: str
    user: User
    access: str
    refresh: str
    busy: bool = False
    over: bool = False


@dataclass
class World:
    """Makes calls through `http`. tokens: every issued token by its name. secrets: texts that no log may hold.

    by_id: revoke sessions by their id. A failover can lose a refresh; then its token belongs to no session, and a
    revocation by that token ends nothing.
    """

    http: Http
    journal: Journal
    admin: Mapping[str, str]
    users: list[User] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)
    by_id: bool = False

    async def populate(self, count: int) -> None:
        """Register users. Raises ExperimentError."""
        for number in range(count):
            user = User(f"user{len(self.users):04d}", f"walk {number} {secrets.token_hex(8)}")
            document = {"username": user.username, "password": user.password}
            answer = await self.http.call("POST", "/admin/users", document=document, headers=self.admin)
            if answer.status != 201:
                raise ExperimentError(f"a user could not be registered: {answer.status} {answer.body!r}")
            user.sub = answer.json()["sub"]
            self.secrets.add(user.password)
            self.users.append(user)

    async def login(
        self,
        user: User,
        *,
        password: str | None = None,
        headers: Mapping[str, str] | None = None,
        http: Http | None = None,
        note: str | None = None,
    ) -> Session | None:
        document = {"username": user.username, "password": password or user.password}
        call, answer = await self._call(
            "login",
            "/login",
            document=document,
            headers=headers or user.headers,
            http=http,
            sub=user.sub,
            username=user.username,
            note=note,
        )
        if call.status != 200 or answer is None:
            return None
        given = answer.json()
        session = Session(given["session_id"], user, given["access_token"], given["refresh_token"])
        self.sessions.append(session)
        return session

    async def refresh(self, session: Session, token: str | None = None, *, http: Http | None = None) -> Call:
        """Present the session's refresh token, or another one. The session takes the new tokens if it was its own."""
        presented = token or session.refresh
        call, answer = await self._call(
            "refresh",
            "/token",
            form={"grant_type": "refresh_token", "refresh_token": presented, "client_id": "app"},
            token=name_of(presented),
            sub=session.user.sub,
            http=http,
        )
        if call.status == 200 and answer is not None and session.refresh == presented:
            given = answer.json()
            session.access, session.refresh = given["access_token"], given["refresh_token"]
        return call

    async def introspect(self, token: str, *, user: User | None = None, http: Http | None = None) -> Call:
        call, _ = await self._call(
            "introspect",
            "/introspect",
            form={"token": token},
            headers=self.admin,
            token=name_of(token),
            sub=user.sub if user else None,
            http=http,
        )
        return call

    async def revoke(self, session: Session, *, http: Http | None = None) -> Call:
        session.over = True
        form = {"session_id": session.handle} if self.by_id else {"token": session.access}
        call, _ = await self._call(
            "revoke", "/revoke", form=form, headers=self.admin, session=session.handle, http=http
        )
        return call

    async def cut_off(self, user: User | None, *, http: Http | None = None) -> Call:
        """End all sessions of a user. None: of everybody."""
        form = {"all": "true"} if user is None else {"sub": user.sub}
        call, _ = await self._call(
            "cut-off", "/revoke", form=form, headers=self.admin, sub=None if user is None else user.sub, http=http
        )
        return call

    async def suspend(self, user: User) -> Call:
        call, _ = await self._call(
            "cut-off",
            f"/admin/users/{user.sub}",
            method="PATCH",
            document={"status": "suspended"},
            headers=self.admin,
            sub=user.sub,
        )
        return call

    async def change_password(self, session: Session, new: str) -> Call:
        document = {"current_password": session.user.password, "new_password": new}
        headers = {"Authorization": f"Bearer {session.access}"}
        call, answer = await self._call(
            "password", "/password", document=document, headers=headers, sub=session.user.sub, session=session.handle
        )
        if call.status == 200 and answer is not None:
            given = answer.json()
            session.access, session.refresh = given["access_token"], given["refresh_token"]
        return call

    async def sweep(self, tokens: Sequence[str] | None = None) -> list[Call]:
        """Introspect these tokens. None: every token that was ever issued."""
        calls = []
        for batch in _batches(list(self.tokens.values()) if tokens is None else list(tokens)):
            sent = time.monotonic()
            answer = await self.http.call("POST", "/introspect/batch", document={"tokens": batch}, headers=self.admin)
            answered = time.monotonic()
            items = answer.json().get("items") or [{}] * len(batch)
            for token, item in zip(batch, items, strict=True):
                calls.append(
                    self.journal.add(
                        Call(
                            "introspect",
                            sent,
                            answered,
                            answer.status,
                            token=name_of(token),
                            result=_result(item, answer),
                        )
                    )
                )
        return calls

    async def call(self, method: str, path: str, **request: Any) -> Call:
        """Any other call."""
        call, _ = await self._call("other", path, method=method, **request)
        return call

    async def _call(
        self,
        kind: str,
        path: str,
        *,
        method: str = "POST",
        form: Mapping[str, str] | None = None,
        document: Any = None,
        headers: Mapping[str, str] | None = None,
        http: Http | None = None,
        **about: Any,
    ) -> tuple[Call, Answer | None]:
        sent = time.monotonic()
        answer: Answer | None = None
        try:
            answer = await (http or self.http).call(method, path, form=form, document=document, headers=headers)
        except NoAnswer as broken:
            about["note"] = str(broken)
        answered = time.monotonic()
        found = {} if answer is None else answer.json()
        for token in (found.get("access_token"), found.get("refresh_token")):
            if isinstance(token, str):
                self.tokens[name_of(token)] = token
                self.secrets.add(token)
        status = UNANSWERED if answer is None else answer.status
        result = Result() if answer is None else _result(found, answer)
        if kind in ("login", "refresh") and result.session is not None:
            about["session"] = result.session if kind == "login" else handle_in(about["token"])
        return self.journal.add(Call(kind, sent, answered, status, result=result, **about)), answer


def _batches(tokens: list[str]) -> list[list[str]]:
    return [tokens[at : at + BATCH] for at in range(0, len(tokens), BATCH)]


def _result(found: Mapping[str, Any], answer: Answer) -> Result:
    access, refresh = found.get("access_token"), found.get("refresh_token")
    return Result(
        active=found.get("active"),
        sub=found.get("sub"),
        username=found.get("username"),
        session=found.get("session_id"),
        access=name_of(access) if access else None,
        refresh=name_of(refresh) if refresh else None,
        expires_in=found.get("expires_in"),
        error=found.get("error"),
        retry_after="retry-after" in answer.headers,
    )


def admin_headers(admin: tuple[str, str]) -> dict[str, str]:
    return basic(*admin)
