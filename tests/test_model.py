"""The real service beside a small model of it, step by step.

After each step both agree about every token that there ever was, and about the roles of its user. No key without a TTL
is left that should have one.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from authsvc.composition import open_deps
from authsvc.core import token as tokens
from authsvc.core.client import Client
from authsvc.core.exchanged import MOST
from authsvc.core.session import Active
from authsvc.core.token import Kind
from authsvc.errors import (
    AccessDenied,
    AuthError,
    InvalidCredentials,
    InvalidGrant,
    InvalidRequest,
    NotFound,
    TooManyTokens,
)
from authsvc.flows import api_keys, bootstrap, issue, leaked, revoke, sessions, users
from authsvc.flows.api_keys import Issued, Wanted
from authsvc.flows.client_token import issue_to_client
from authsvc.flows.clients import Parties
from authsvc.flows.deps import OPERATOR, Deps
from authsvc.flows.exchange import exchange
from authsvc.flows.grants import Grant
from authsvc.flows.introspect import look_up
from authsvc.flows.login import login
from authsvc.flows.password import change_password, new_reset_code, reset_password
from authsvc.flows.refresh import refresh
from authsvc.settings import Settings
from tests.conftest import CHEAP, PATIENT, Clock
from tests.flows import contents
from tests.flows.conftest import HERE, use
from tests.selection import examples

GRACE_S = 10
FAR = "far|1"
NAMES = ("ada", "bea")
# Clients that exchange tokens: which resource server each of them is, and for which others it exchanges.
EXCHANGERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "orders": ((), ("mail", "ledger")),
    "mail": (("mail",), ("ledger",)),
}
EXCHANGED_S = 900
PASSWORDS = ("a walk by the river", "seven quiet herons wading")


@dataclass
class Person:
    """A user of the model."""

    sub: str
    name: str | None
    password: int = 0
    roles: tuple[str, ...] = ()
    suspended: bool = False


@dataclass
class Login:
    """A session of the model, with every token that it ever had.

    access: with the time at which each expires. refresh: oldest first. present: whether the store has its record.
    """

    handle: str
    person: Person
    client: str
    end: float
    idle_s: int
    seen: float
    access_ttl: int
    access: list[tuple[str, float]]
    refresh: list[str]
    rotated_at: float | None = None
    exchanged: list["Exchanged"] = field(default_factory=list)
    dead: bool = False
    present: bool = True

    def over(self, now: float) -> bool:
        return self.dead or now >= self.end or now >= self.seen + self.idle_s or self.person.suspended

    def live(self, now: float) -> set[str]:
        """The tokens that are active."""
        if self.over(now):
            return set()
        found = set(self.refresh[-1:])
        current, expires = self.access[-1]
        if now < expires:
            found.add(current)
        if self.rotated_at is not None:
            previous, expires = self.access[-2]
            if now < min(self.rotated_at + GRACE_S, expires):
                found.add(previous)
        return found

    def live_exchanged(self, now: float) -> set[str]:
        """The exchanged tokens that are active."""
        return set() if self.over(now) else {one.token for one in self.exchanged if not one.over(now)}

    def owned(self) -> set[str]:
        """The tokens that can revoke the session: the current and the previous access token, and all refresh tokens."""
        recent = self.access[-2:] if self.rotated_at is not None else self.access[-1:]
        return {token for token, _ in recent} | set(self.refresh)

    def used(self, now: float) -> None:
        """Note that all its tokens were used."""
        interval = max(min(max(60, self.idle_s // 20), self.idle_s // 2), 1)
        if self.live(now) and now - self.seen >= interval:
            self.seen = now


@dataclass
class Key:
    """A key of the model, with every secret that it ever had: oldest first, and with the time at which each ends."""

    handle: str
    person: Person
    client: str
    end: float
    secrets: list[tuple[str, float]]
    dead: bool = False
    present: bool = True

    def live(self, now: float) -> set[str]:
        if self.dead or self.person.suspended:
            return set()
        return {text for text, until in self.secrets[-2:] if now < min(until, self.end)}


@dataclass
class Exchanged:
    """A token of the model that a client got in exchange for another.

    source: the exchanged token from which it comes, None for a token of the session. cut_off: whether its client is.
    """

    token: str
    subject: str
    client: str
    audience: str
    expires: int
    source: "Exchanged | None" = None
    dead: bool = False
    cut_off: bool = False

    def over(self, now: float) -> bool:
        return self.cut_off or not self.takes_a_place(now) or (self.source is not None and self.source.over(now))

    def takes_a_place(self, now: float) -> bool:
        """Whether it counts among those that a session may have at a time."""
        ended = self.dead or (self.source is not None and self.source.dead)
        return not ended and now < self.expires

    def is_like(self, other: "Exchanged") -> bool:
        mine, others = [(it.subject, it.client, it.audience) for it in (self, other)]
        return mine == others


@dataclass
class Own:
    """A token of the model that a client got for itself. No change of a user touches it."""

    handle: str
    client: str
    token: str
    end: float
    dead: bool = False
    present: bool = True

    def over(self, now: float) -> bool:
        return self.dead or now >= self.end


@dataclass
class Model:
    people: dict[str, Person] = field(default_factory=dict)
    logins: list[Login] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    own: list[Own] = field(default_factory=list)

    @property
    def everything(self) -> list[Login | Key | Own]:
        return [*self.logins, *self.keys, *self.own]

    def of(self, person: Person) -> list[Login]:
        return [one for one in self.logins if one.person is person]

    def keys_of(self, person: Person) -> list[Key]:
        return [one for one in self.keys if one.person is person]


class Sessions(RuleBasedStateMachine):
    """Each rule does something to the service and says what that means for the model."""

    url: str
    valkey: "redis.Redis"

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock, self.model = Clock(), Model()

    def run(self, work: Awaitable[Any]) -> Any:
        async def done() -> Any:
            result = await work
            await self.deps.store.sessions.finish()
            return result

        return self.runner.run(done())

    def refused(self, work: Awaitable[Any], *errors: type[AuthError]) -> None:
        with pytest.raises(errors):
            self.run(work)

    @initialize()
    def start(self) -> None:
        self.valkey.flushall()
        self.runner.run(self._start())
        self.empty = contents.keys(self.valkey)

    async def _start(self) -> None:
        settings = Settings(**CHEAP, refresh_grace_s=GRACE_S)
        self.opening = open_deps(settings, self.url, self.clock, timeouts=PATIENT)
        self.deps: Deps = await self.opening.__aenter__()
        await bootstrap.first_start(self.deps)
        self.clients: dict[str, Client] = {"app": await self.deps.store.clients.get("app")}
        for name, fields in {
            "short": {"public": True, "access_ttl_s": 60, "idle_ttl_s": 600, "session_ttl_s": 3000},
            "issuer": {"permissions": ("issue",)},
            "job": {"permissions": ("token",)},
            **{
                name: {"permissions": ("exchange",), "audience": audience, "exchange_audience": further}
                for name, (audience, further) in EXCHANGERS.items()
            },
        }.items():
            now = int(self.clock())
            client = Client(client_id=name, name=name, epoch=now * 1000, created_at=now, **fields)  # type: ignore[arg-type]
            await self.deps.store.clients.create(name, client)
            self.clients[name] = client
        for name in NAMES:
            await self._create(name)

    async def _create(self, name: str) -> None:
        user, _ = await users.create(self.deps, OPERATOR, username=name, password=PASSWORDS[0])
        self.model.people[name] = Person(user.sub, name)

    def client(self, name: str) -> Client:
        client: Client = self.run(self.deps.store.clients.get(name))
        return client

    def begun(self, grant: Grant, person: Person, client: str, idle_s: int) -> None:
        now = self.clock()
        self.model.logins.append(
            Login(
                handle=grant.session_id,
                person=person,
                client=client,
                end=now + grant.session_ends_in,
                idle_s=idle_s,
                seen=now,
                access_ttl=grant.expires_in,
                access=[(grant.access_token, now + grant.expires_in)],
                refresh=[grant.refresh_token] if grant.refresh_token else [],
            )
        )

    def kill(self, ended: Sequence[Login | Key | Own], *, tidied: bool = True) -> None:
        for one in ended:
            one.dead = True
            one.present = one.present and not tidied

    def kill_everything(self, person: Person) -> None:
        self.kill([*self.model.of(person), *self.model.keys_of(person)])

    # Who there is.

    @rule(name=st.sampled_from(NAMES))
    def create(self, name: str) -> None:
        if name not in self.model.people:
            self.run(self._create(name))

    @rule(name=st.sampled_from((*NAMES, FAR)))
    def delete(self, name: str) -> None:
        person = self.model.people.pop(name, None)
        if person is not None:
            self.clock.forward(1)
            self.run(users.delete(self.deps, OPERATOR, person.sub))
            self.kill_everything(person)

    @rule(name=st.sampled_from((*NAMES, FAR)), suspended=st.booleans())
    def suspend(self, name: str, suspended: bool) -> None:
        if (person := self.model.people.get(name)) is not None:
            status = "suspended" if suspended else "active"
            self.run(users.update(self.deps, OPERATOR, person.sub, status=status))
            if suspended and not person.suspended:
                self.kill_everything(person)
            person.suspended = suspended

    @rule(name=st.sampled_from((*NAMES, FAR)), roles=st.sampled_from([(), ("ops",), ("ops", "dev")]))
    def change_roles(self, name: str, roles: tuple[str, ...]) -> None:
        if (person := self.model.people.get(name)) is not None:
            self.run(users.update(self.deps, OPERATOR, person.sub, roles=roles))
            person.roles = roles

    # How sessions begin.

    @rule(
        name=st.sampled_from(NAMES),
        client=st.sampled_from(("app", "short")),
        cookie=st.booleans(),
        wrong=st.booleans(),
        exchanged=st.sampled_from([(), ("mail",), ("mail", "ledger")]),
    )
    def login(self, name: str, client: str, cookie: bool, wrong: bool, exchanged: tuple[str, ...]) -> None:
        """exchanged: the resource servers for which the new token is exchanged at once, one after the other."""
        self.clock.forward(61)  # the throttle is another test's business
        person = self.model.people.get(name)
        right = PASSWORDS[person.password if person else 0]
        work = login(
            self.deps,
            HERE,
            self.client(client),
            self.run(self.deps.store.service.get()),
            username=name.upper(),
            password="no" if wrong else right,
            cookie=cookie,
        )
        if person is None or person.suspended or wrong:
            self.refused(work, InvalidCredentials)
            return
        grant = self.run(work)
        idle_s = 600 if client == "short" else 1800 if cookie else 14 * 86400
        self.begun(grant, person, client, idle_s)
        one = self.model.logins[-1]
        for audience in exchanged:
            source = one.exchanged[-1] if one.exchanged else None
            self._exchange(one, source, "mail" if source else "orders", audience)

    @rule(expires_in=st.sampled_from([30, 1000]))
    def issue(self, expires_in: int) -> None:
        person = self.model.people.get(FAR)
        work = issue.issue(self.deps, HERE, self.client("issuer"), sub=FAR, expires_in=expires_in)
        if person is not None and person.suspended:
            self.refused(work, AccessDenied)
            return
        person = self.model.people.setdefault(FAR, Person(FAR, None))
        self.begun(self.run(work), person, "issuer", expires_in)

    # Uses of their tokens.

    @precondition(lambda self: self.model.logins)
    @rule(data=st.data(), back=st.sampled_from([0, 0, 0, 1, 1, 2, 3]))
    def refresh(self, data: st.DataObject, back: int) -> None:
        one = data.draw(st.sampled_from(self.model.logins))
        if back >= len(one.refresh):
            return
        now, presented = self.clock(), one.refresh[-1 - back]
        work = refresh(self.deps, HERE, self.client(one.client), presented)
        if one.over(now):
            self.refused(work, InvalidGrant)
        elif back == 0:
            grant = self.run(work)
            one.access.append((grant.access_token, min(now + one.access_ttl, one.end)))
            one.refresh.append(grant.refresh_token)
            one.rotated_at = one.seen = now
        elif back == 1 and one.rotated_at is not None and now < one.rotated_at + GRACE_S:
            grant = self.run(work)
            assert (grant.access_token, grant.refresh_token) == (one.access[-1][0], one.refresh[-1])
        else:
            self.refused(work, InvalidGrant)
            self.kill([one])

    @precondition(lambda self: any(one.live(self.clock()) for one in self.model.logins))
    @rule(data=st.data(), audience=st.sampled_from(("mail", "ledger")), wrong=st.sampled_from([False] * 3 + [True]))
    def exchange(self, data: st.DataObject, audience: str, wrong: bool) -> None:
        """Exchange a token of a session, or an exchanged one. The same request gets the same token while it works.

        wrong: by a client that was not sent the token.
        """
        one = data.draw(st.sampled_from([one for one in self.model.logins if one.live(self.clock())]))
        source = data.draw(st.sampled_from([None, *one.exchanged]))
        self._exchange(one, source, "orders" if (source is None) is not wrong else "mail", audience)

    def _exchange(self, one: Login, source: Exchanged | None, client: str, audience: str) -> None:
        now = self.clock()
        subject = one.access[-1][0] if source is None else source.token
        parties = Parties(self.client(client), self.run(self.deps.store.service.get()))
        work = exchange(self.deps, HERE, parties, subject, audience=audience, scope=None)
        theirs = () if source is None else (source.audience,)
        twice = source is not None and source.source is not None
        if twice or EXCHANGERS[client][0] != theirs or subject not in one.live(now) | one.live_exchanged(now):
            self.refused(work, InvalidRequest)
            return
        expires = min(int(now) + EXCHANGED_S, int(one.end), source.expires if source else int(one.end))
        asked = Exchanged("", subject, client, audience, expires, source)
        held = [made for made in one.exchanged if made.is_like(asked) and not made.over(now)]
        again = [made for made in held if made.expires - now >= 60 or made.expires == expires]
        if not again and sum(made.takes_a_place(now) for made in one.exchanged) >= MOST:
            self.refused(work, TooManyTokens)
            return
        grant = self.run(work)
        one.used(now)
        if again:
            assert grant.access_token == again[0].token
            return
        assert grant.access_token not in {made.token for made in one.exchanged}
        asked.token = grant.access_token
        one.exchanged.append(asked)

    @precondition(lambda self: self.model.logins)
    @rule(data=st.data(), kind=st.sampled_from(Kind))
    def forge(self, data: st.DataObject, kind: Kind) -> None:
        one = data.draw(st.sampled_from(self.model.logins))
        forged = tokens.new(kind, one.handle).text
        assert not isinstance(self.run(look_up(self.deps, forged)), Active)
        self.refused(refresh(self.deps, HERE, self.client(one.client), forged), InvalidGrant)
        self.run(revoke.revoke_token(self.deps, OPERATOR, None, forged))
        self.run(leaked.report(self.deps, HERE, [(forged, None)], limited=False))

    @precondition(lambda self: self.model.logins)
    @rule(data=st.data(), exchanged=st.booleans(), reported=st.booleans())
    def revoke_token(self, data: st.DataObject, exchanged: bool, reported: bool) -> None:
        """exchanged: an exchanged token if there is one, which ends alone. reported: as leaked."""
        now = self.clock()
        made = [made for one in self.model.logins for made in one.exchanged]
        if made and exchanged:
            live = [
                made for one in self.model.logins for made in one.exchanged if made.token in one.live_exchanged(now)
            ]
            chosen = data.draw(st.sampled_from(live or made))
            self.run(self._ended(chosen.token, reported=reported))
            chosen.dead = True
            return
        one = data.draw(st.sampled_from(self.model.logins))
        presented = data.draw(st.sampled_from([*(token for token, _ in one.access), *one.refresh]))
        self.run(self._ended(presented, reported=reported))
        if presented in one.owned():
            self.kill([one])

    async def _ended(self, presented: str, *, reported: bool) -> None:
        if reported:
            await leaked.report(self.deps, HERE, [(presented, None)], limited=False)
        else:
            await revoke.revoke_token(self.deps, OPERATOR, None, presented)

    @precondition(lambda self: self.model.logins)
    @rule(data=st.data(), way=st.sampled_from(["id", "logout", "end one"]))
    def end(self, data: st.DataObject, way: str) -> None:
        one = data.draw(st.sampled_from(self.model.logins))
        me = self.me(one)
        if way == "logout" and me is not None:
            self.run(sessions.logout(self.deps, HERE, me))
        elif way == "end one" and one.present:
            self.run(sessions.end_one(self.deps, HERE, one.person.sub, one.handle))
        elif way == "id":
            self.run(revoke.revoke_session(self.deps, OPERATOR, one.handle))
        else:
            return
        self.kill([one])

    def me(self, one: Login) -> Active | None:
        """This session as its own next request finds it; None if it is over."""
        now = self.clock()
        usable = [token for token in one.live(now) if token.startswith("tok")]
        if not usable:
            return None
        verdict = self.run(use(self.deps, usable[0]))
        one.used(now)
        assert isinstance(verdict, Active)
        return verdict

    @precondition(lambda self: self.model.logins)
    @rule(data=st.data(), everywhere=st.booleans())
    def end_others(self, data: st.DataObject, everywhere: bool) -> None:
        one = data.draw(st.sampled_from(self.model.logins))
        if (me := self.me(one)) is not None:
            self.run((sessions.end_all if everywhere else sessions.end_others)(self.deps, HERE, me))
            self.kill([other for other in self.model.of(one.person) if everywhere or other is not one])
            if everywhere:
                self.kill(self.model.keys_of(one.person))

    @precondition(lambda self: self.model.logins)
    @rule(data=st.data(), end_keys=st.booleans())
    def change_password(self, data: st.DataObject, end_keys: bool) -> None:
        one = data.draw(st.sampled_from(self.model.logins))
        if one.person.name is None or (me := self.me(one)) is None:
            return
        now, old, new = self.clock(), one.person.password, 1 - one.person.password
        grant = self.run(change_password(self.deps, HERE, me, PASSWORDS[old], PASSWORDS[new], end_keys=end_keys))
        one.person.password = new
        self.kill([other for other in self.model.of(one.person) if other is not one])
        if end_keys:
            self.kill(self.model.keys_of(one.person))
        one.access.append((grant.access_token, now + grant.expires_in))
        if grant.refresh_token is not None:
            one.refresh.append(grant.refresh_token)
        one.rotated_at, one.seen = None, now
        for made in one.exchanged:
            made.dead = True

    @rule(name=st.sampled_from(NAMES))
    def reset_password(self, name: str) -> None:
        if (person := self.model.people.get(name)) is not None:
            code, _ = self.run(new_reset_code(self.deps, OPERATOR, person.sub))
            person.password = 1 - person.password
            self.run(reset_password(self.deps, HERE, code, PASSWORDS[person.password]))
            self.kill_everything(person)

    # Keys.

    @precondition(lambda self: self.model.logins)
    @rule(data=st.data(), life_s=st.sampled_from([100, 40 * 86400]))
    def make_own_key(self, data: st.DataObject, life_s: int) -> None:
        one = data.draw(st.sampled_from(self.model.logins))
        if (me := self.me(one)) is not None:
            wanted = Wanted("a key", life_s=life_s)
            self.made(self.run(api_keys.create(self.deps, HERE, me, wanted)), one.person, one.client)

    @rule(name=st.sampled_from((*NAMES, FAR)), client=st.sampled_from(("app", "short")))
    def make_key(self, name: str, client: str) -> None:
        if (person := self.model.people.get(name)) is not None:
            work = api_keys.create_for(self.deps, OPERATOR, person.sub, Wanted("a key"), client)
            if person.suspended:
                self.refused(work, AccessDenied)
            else:
                self.made(self.run(work), person, client)

    def made(self, issued: Issued, person: Person, client: str) -> None:
        end = issued.session.end
        self.model.keys.append(Key(issued.key_id, person, client, end, [(issued.text, end)]))

    @precondition(lambda self: self.model.keys)
    @rule(data=st.data(), overlap_s=st.sampled_from([0, 5, 86400]))
    def rotate_key(self, data: st.DataObject, overlap_s: int) -> None:
        one = data.draw(st.sampled_from(self.model.keys))
        now = self.clock()
        work = api_keys.rotate_any(self.deps, OPERATOR, one.handle, overlap_s)
        if one.dead or one.person.suspended or now >= one.end:
            self.refused(work, NotFound)
            return
        last, _ = one.secrets[-1]
        one.secrets[-1] = last, int(now) + overlap_s if overlap_s else now
        one.secrets.append((self.run(work).text, one.end))

    @precondition(lambda self: self.model.keys)
    @rule(data=st.data(), way=st.sampled_from(["id", "text", "leaked", "owner", "all"]))
    def revoke_key(self, data: st.DataObject, way: str) -> None:
        one = data.draw(st.sampled_from(self.model.keys))
        if way == "id":
            self.run(revoke.revoke_session(self.deps, OPERATOR, one.handle))
        elif way == "text":
            self.run(revoke.revoke_token(self.deps, OPERATOR, None, one.secrets[-1][0]))
        elif way == "leaked":
            self.run(leaked.report(self.deps, HERE, [(one.secrets[-1][0], None)], limited=False))
        elif way == "owner" and one.present and self.clock() < one.end:
            self.run(api_keys.revoke(self.deps, HERE, one.handle, sub=one.person.sub))
        elif way == "all" and self.model.people.get(one.person.name or FAR) is one.person:
            self.run(api_keys.revoke_all(self.deps, OPERATOR, one.person.sub))
            self.kill(self.model.keys_of(one.person))
        else:
            return
        self.kill([one])

    @precondition(lambda self: self.model.keys)
    @rule(data=st.data())
    def leak_a_former_text(self, data: st.DataObject) -> None:
        """The text of a key from before its rotation ends alone."""
        one = data.draw(st.sampled_from(self.model.keys))
        if len(one.secrets) > 1:
            former, _ = one.secrets[-2]
            self.run(leaked.report(self.deps, HERE, [(former, None)], limited=False))
            one.secrets[-2] = former, self.clock()

    # Tokens that clients get for themselves.

    @rule(nobody=st.none())
    def get_own(self, nobody: None) -> None:
        parties = Parties(self.client("job"), self.run(self.deps.store.service.get()))
        grant = self.run(issue_to_client(self.deps, HERE, parties))
        end = int(self.clock()) + grant.session_ends_in
        self.model.own.append(Own(grant.session_id, "job", grant.access_token, end))

    @precondition(lambda self: self.model.own)
    @rule(data=st.data(), way=st.sampled_from(["id", "text", "leaked", "exchange"]))
    def end_own(self, data: st.DataObject, way: str) -> None:
        """Such a token ends alone, and is exchanged by nobody."""
        one = data.draw(st.sampled_from(self.model.own))
        if way == "exchange":
            parties = Parties(self.client("orders"), self.run(self.deps.store.service.get()))
            self.refused(exchange(self.deps, HERE, parties, one.token, audience="mail", scope=None), InvalidRequest)
            return
        if way == "id":
            self.run(revoke.revoke_session(self.deps, OPERATOR, one.handle))
        else:
            self.run(self._ended(one.token, reported=way == "leaked"))
        self.kill([one])

    # Cut-offs.

    @rule(name=st.sampled_from((*NAMES, FAR)))
    def revoke_user(self, name: str) -> None:
        if (person := self.model.people.get(name)) is not None:
            self.run(revoke.revoke_user(self.deps, OPERATOR, person.sub))
            self.kill_everything(person)

    @rule(client=st.sampled_from(("app", "short", "issuer", "job", *EXCHANGERS)))
    def revoke_client(self, client: str) -> None:
        self.run(revoke.revoke_client(self.deps, OPERATOR, client))
        for made in [made for one in self.model.logins for made in one.exchanged if made.client == client]:
            made.cut_off = True
        self.kill([one for one in self.model.everything if one.client == client], tidied=False)

    @rule(nobody=st.none())
    def revoke_all(self, nobody: None) -> None:
        self.run(revoke.revoke_all(self.deps, OPERATOR))
        self.kill(self.model.everything, tidied=False)

    # What time does.

    @rule(seconds=st.sampled_from([0.5, 1, 5, 9, 10, 29, 60, 300, 600, 899, 900, 3000, 86400, 14 * 86400, 30 * 86400]))
    def wait(self, seconds: float) -> None:
        self.clock.forward(seconds)

    @rule(nobody=st.none())
    def expire(self, nobody: None) -> None:
        """The store drops what is due, as it would have done by itself: that must change no answer."""
        contents.expire(self.valkey, self.clock())
        for one in self.model.everything:
            one.present = one.present and self.clock() < one.end

    @invariant()
    def every_token_is_what_the_model_says(self) -> None:
        if not hasattr(self, "deps"):
            return
        now = self.clock()
        everything = [
            (one, token)
            for one in self.model.logins
            for token in (*(t for t, _ in one.access), *one.refresh, *(made.token for made in one.exchanged))
        ]
        verdicts = self.run(self._all([token for _, token in everything]))
        for (one, token), verdict in zip(everything, verdicts, strict=True):
            expected = token in one.live(now) | one.live_exchanged(now)
            assert isinstance(verdict, Active) == expected, (one, token, verdict)
            if isinstance(verdict, Active):
                assert (verdict.user.sub, verdict.user.roles) == (one.person.sub, one.person.roles)
                assert verdict.session.end == int(one.end)
        for one in self.model.logins:
            one.used(now)
        self.every_key_is_what_the_model_says(now)
        self.every_own_token_is_what_the_model_says(now)

    def every_key_is_what_the_model_says(self, now: float) -> None:
        everything = [(one, text) for one in self.model.keys for text, _ in one.secrets]
        verdicts = self.run(self._all([text for _, text in everything]))
        for (one, text), verdict in zip(everything, verdicts, strict=True):
            assert isinstance(verdict, Active) == (text in one.live(now)), (one, text, verdict)
            if isinstance(verdict, Active):
                assert (verdict.user.sub, verdict.user.roles) == (one.person.sub, one.person.roles)
                assert verdict.session.end == int(one.end)
        for person in self.model.people.values():
            listed, _ = self.run(api_keys.page(self.deps, person.sub, None, 1000))
            alive = {one.handle for one in self.model.keys_of(person) if one.live(now)}
            assert {one.handle for one in listed} == alive

    def every_own_token_is_what_the_model_says(self, now: float) -> None:
        verdicts = self.run(self._all([one.token for one in self.model.own]))
        for one, verdict in zip(self.model.own, verdicts, strict=True):
            assert isinstance(verdict, Active) != one.over(now), (one, verdict)
            if isinstance(verdict, Active):
                assert (verdict.user.sub, verdict.user.roles, verdict.exp) == (one.client, (), int(one.end))

    async def _all(self, presented: list[str]) -> list[Any]:
        return await asyncio.gather(*(use(self.deps, token) for token in presented))

    @invariant()
    def the_store_holds_what_the_model_knows(self) -> None:
        """Every key that is not somebody's or some client's own expires; no session is left that was ended."""
        if not hasattr(self, "deps"):
            return
        assert contents.without_ttl(self.valkey) == set()
        held = {key.decode()[8:] for key in contents.keys(self.valkey) if key.startswith(b"session:")}
        now = self.clock()
        # The TTL, which follows another clock, or a later call drops a record past its end.
        due = {one.handle for one in self.model.everything if now >= one.end}
        assert held - due == {one.handle for one in self.model.everything if one.present} - due

    def teardown(self) -> None:
        if not hasattr(self, "deps"):
            self.runner.close()
            return
        try:
            # When all has expired, only the keys of registered users and clients are left, and the indexes of users.
            self.clock.forward(500 * 86400)
            contents.expire(self.valkey, self.clock())
            left = {key for key in contents.keys(self.valkey) if not key.startswith(b"index:")}
            expected = {key for key in self.empty if key.startswith((b"client:", b"service", b"admins:"))}
            for person in self.model.people.values():
                expected.add(f"user:{{{person.sub}}}".encode())
                if person.name is not None:
                    expected |= {f"credentials:{{{person.sub}}}".encode(), f"login:{person.name}".encode()}
            assert left == expected
        finally:
            self.runner.run(self.opening.__aexit__(None, None, None))
            self.runner.close()


@pytest.mark.hypothesis
def test_the_service_is_what_the_model_says(valkey: "redis.Redis", valkey_url: str) -> None:
    """The model and the service agree after any sequence of logins, refreshes, revocations, changes and time."""

    class Here(Sessions):
        pass

    Here.url, Here.valkey = valkey_url, valkey
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=examples(50),
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
