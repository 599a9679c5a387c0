"""A next version of the service, as a patched copy of the package, and users who are busy while versions change."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

import httpx
import redis

from authsvc.core.record import FORMAT
from authsvc.store import keys
from chaos.variation import Patch
from tests.e2e.conftest import PASSWORD, Server
from tests.processes import until


def _after(file: str, text: str, added: str) -> Patch:
    """The patch that adds something behind this text."""
    return Patch(file, text, text + added)


# The next version. Every record has one more field, and so have a client secret and an audit entry; there is one more
# kind of event. An older version may ignore them all.
NEXT = (
    _after("core/session.py", '    spent: str = ""\n', "    bound_to: str | None = None\n"),
    _after("core/issuing.py", "        aud=opening.client.audience,\n", "        bound_to='key',\n"),
    _after("core/user.py", "    renaming_to: str | None = None\n", "    nickname: str | None = None\n"),
    _after("flows/users.py", "        claims=claims or {},\n", "        nickname='countess',\n"),
    _after("core/user.py", "    hash: str | None = None\n", "    factor: str | None = None\n"),
    Patch("flows/users.py", "= Credentials().with_password(", "= Credentials(factor='seed').with_password("),
    _after("core/client.py", "    epoch: int\n", "    contact: str | None = None\n"),
    _after("flows/clients.py", "        public=public,\n", "        contact='ops',\n"),
    _after("core/client.py", "    digest: str\n", "    made_by: str | None = None\n"),
    Patch("flows/clients.py", "(Secret(digest=secret.digest),)", "(Secret(digest=secret.digest, made_by='next'),)"),
    Patch("core/event.py", "    LOGIN_FAILED = ", '    DEVICE_SEEN = "device.seen"\n    LOGIN_FAILED = '),
    _after("core/event.py", "    reason: str | None = None\n", "    risk: int | None = None\n"),
    _after("flows/deps.py", "    entry = Entry(\n", "        risk=3,\n"),
    _after(
        "flows/login.py",
        "        await _rehash_if_outdated(deps, account, password)\n",
        "        await audit(deps, caller, Event.DEVICE_SEEN)\n",
    ),
)
# The format of the next version below.
NEWER = FORMAT + 1
# A version with a field of a session that nobody may ignore. It is used where the store's format allows it.
NEXT_FORMAT = (
    Patch("core/record.py", f"\nFORMAT = {FORMAT}\n", f"\nFORMAT = {NEWER}\n"),
    _after(
        "core/session.py",
        '    spent: str = ""\n',
        "    bound_to: str | None = None\n\n"
        f"    def needs_format(self) -> int:\n        return {NEWER} if self.bound_to else 1\n",
    ),
    _after(
        "core/issuing.py",
        "        aud=opening.client.audience,\n",
        f"        bound_to='key' if opening.service.store_format >= {NEWER} else None,\n",
    ),
)


# The version before the permission `vouch`, which understands formats up to 2.
BEFORE_VOUCH = (
    Patch("core/record.py", f"\nFORMAT = {FORMAT}\n", "\nFORMAT = 2\n"),
    Patch("core/client.py", '"reset", "client_ip", "token", "exchange", "admin"]', '"reset", "client_ip", "admin"]'),
    Patch("core/client.py", '"issue", "vouch", "reset"', '"issue", "reset"'),
)
# The version before the permission `client_ip`, which understands format 1 only.
BEFORE_CLIENT_IP = (
    Patch("core/record.py", f"\nFORMAT = {FORMAT}\n", "\nFORMAT = 1\n"),
    Patch("core/client.py", '"client_ip", ', ""),
)


def record(store: "redis.Redis", key: str) -> dict[str, Any]:
    """A record as it is stored, with the members of every version."""
    raw = store.get(key)
    assert isinstance(raw, bytes)
    members: dict[str, Any] = json.loads(raw)
    return members


class Rotation:
    """The services that get traffic, as a load balancer knows them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._servers: list[Server] = []
        self._busy: Counter[int] = Counter()

    def add(self, server: Server) -> None:
        with self._lock:
            self._servers.append(server)

    def drain(self, server: Server) -> None:
        """Send no more requests to the service, and wait until every request that it has is answered."""
        with self._lock:
            self._servers.remove(server)
        until(lambda: self._busy[server.port] == 0)

    @contextmanager
    def pick(self, random: Random) -> Iterator[Server]:
        with self._lock:
            server = random.choice(self._servers)
            self._busy[server.port] += 1
        try:
            yield server
        finally:
            with self._lock:
                self._busy[server.port] -= 1


@dataclass
class Person:
    """A user who logs in and out, over and over, each time by whatever service is in rotation. Knows what is right."""

    rotation: Rotation
    store: "redis.Redis"
    admin: tuple[str, str]
    name: str
    sub: str
    seed: int
    rounds: int = 0
    password: str = PASSWORD
    failure: BaseException | None = None
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=20))

    def __post_init__(self) -> None:
        self._random = Random(self.seed)

    def live(self, stop: threading.Event) -> None:
        try:
            with self.http:
                while not stop.is_set():
                    self._round()
                    self.rounds += 1
        except BaseException as error:  # the test raises it: a thread can't
            self.failure = error

    def _round(self) -> None:
        """One login to its logout, with every change of the session, the user and the password in between."""
        grant = self._call(200, "POST", "/login", json={"username": self.name, "password": self.password})
        session = keys.session(grant["session_id"])
        bound = record(self.store, session).get("bound_to")
        self._expect_active(grant)
        grant = self._refreshed(grant)
        roles = [f"role{self.rounds}"]
        self._call(200, "PATCH", f"/admin/users/{self.sub}", json={"roles": roles}, auth=self.admin)
        assert self._expect_active(grant)["roles"] == roles
        grant = self._with_new_password(grant)
        grant = self._refreshed(grant)
        self._expect_active(grant)
        assert record(self.store, session).get("bound_to") == bound, "a field of the newer version was lost"
        self._call(204, "POST", "/logout", headers={"Authorization": f"Bearer {grant['access_token']}"})
        assert self._introspected(grant) == {"active": False}

    def _refreshed(self, grant: dict[str, Any]) -> dict[str, Any]:
        form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": grant["refresh_token"]}
        return self._call(200, "POST", "/token", data=form)

    def _with_new_password(self, grant: dict[str, Any]) -> dict[str, Any]:
        new = f"{PASSWORD} {self.rounds}"
        bearer = {"Authorization": f"Bearer {grant['access_token']}"}
        body = {"current_password": self.password, "new_password": new}
        self.password = new
        return self._call(200, "POST", "/password", json=body, headers=bearer)

    def _expect_active(self, grant: dict[str, Any]) -> dict[str, Any]:
        told = self._introspected(grant)
        assert told["active"]
        assert told["sub"] == self.sub
        return told

    def _introspected(self, grant: dict[str, Any]) -> dict[str, Any]:
        return self._call(200, "POST", "/introspect", data={"token": grant["access_token"]}, auth=self.admin)

    def _call(self, status: int, method: str, path: str, **request: Any) -> dict[str, Any]:
        with self.rotation.pick(self._random) as server:
            answer = self.http.request(method, f"{server.url}{path}", **request)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        body: dict[str, Any] = answer.json() if answer.content else {}
        return body


@dataclass
class Crowd:
    """People who are busy while services are replaced. A failure of one of them is the test's."""

    rotation: Rotation
    store: "redis.Redis"
    admin: tuple[str, str]
    people: list[Person] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._numbers = count()

    def join(self, server: Server) -> Person:
        """Register somebody at this service, and let the person live."""
        number = next(self._numbers)
        body = {"username": f"person{number}", "password": PASSWORD}
        answer = httpx.post(f"{server.url}/admin/users", json=body, auth=self.admin, timeout=20)
        assert answer.status_code == 201, answer.text
        sub = answer.json()["sub"]
        person = Person(self.rotation, self.store, self.admin, f"person{number}", sub, seed=number)
        thread = threading.Thread(target=person.live, args=(self._stop,))
        self.people.append(person)
        self._threads.append(thread)
        thread.start()
        return person

    def live_on(self, rounds: int = 2) -> None:
        """Return when everybody has completed this many rounds more. Raises what failed for anybody."""
        targets = [(person, person.rounds + rounds) for person in self.people]
        until(lambda: all(person.failure or person.rounds >= target for person, target in targets), 90)
        self.check()

    def check(self) -> None:
        for person in self.people:
            if person.failure is not None:
                raise person.failure

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def replace(rotation: Rotation, old: Server, start: Callable[[], Server]) -> Server:
    """Put another service in the place of this one, as a rolling upgrade does."""
    new = start()
    rotation.add(new)
    rotation.drain(old)
    assert old.stop() == 0
    return new
