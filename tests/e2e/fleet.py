"""Three workers on one store, and twelve connections that ask them about one token."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import httpx

from tests.e2e.conftest import PASSWORD, Server, free_port
from tests.e2e.wire import Answer, Wire

CONNECTIONS_EACH = 4
SETTINGS = {
    "AUTHSVC_ISSUER": "http://auth.test",
    # All connections present a secret after it was rotated, and after its client was deleted.
    "AUTHSVC_LIMIT_PER_CLIENT": "100000",
    "AUTHSVC_LIMIT_PER_ADDRESS": "100000",
    # So that the previous access token ends within a second, and a test can wait for that.
    "AUTHSVC_REFRESH_GRACE_S": "1",
}
# What a token is for, and what the asking client may introspect. Users take the token to the service itself, too.
AUDIENCE = ["orders", SETTINGS["AUTHSVC_ISSUER"]]

# A status, or the members that an answer has to show with a 200.
Wanted = int | Mapping[str, Any]


@dataclass
class Fleet:
    """Servers with one worker each, on one store. admin: the credentials of the first admin. http: one for each."""

    servers: list[Server]
    admin: tuple[str, str]
    http: Iterator[httpx.Client]
    _users: int = 0

    def call(self, method: str, path: str, *, status: int, **request: Any) -> Any:
        """Make a call as the admin unless the request has other credentials. Returns the answered JSON.

        The servers take turns.
        """
        auth = None if "headers" in request else self.admin
        answer = next(self.http).request(method, path, **{"auth": auth, **request})
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def subject(self) -> "Subject":
        """A new user with a session, a new client of this session, and a new client that asks about it."""
        self._users += 1
        name = f"user{self._users}"
        user = {"username": name, "password": PASSWORD, "roles": ["before"], "claims": {"at": "before"}}
        sub = self.call("POST", "/admin/users", json=user, status=201)["sub"]
        app = {"name": "app of a test", "public": True, "audience": AUDIENCE}
        client_id = self.call("POST", "/admin/clients", json=app, status=201)["client_id"]
        server = {"name": "resource server", "permissions": ["introspect"], "audience": AUDIENCE}
        asker = self.call("POST", "/admin/clients", json=server, status=201)
        subject = Subject(self, sub, name, client_id, (asker["client_id"], asker["client_secret"]))
        subject.session = subject.login()
        return subject

    @contextmanager
    def connections(self) -> Iterator[list[Wire]]:
        with ExitStack() as stack:
            ports = [server.port for server in self.servers for _ in range(CONNECTIONS_EACH)]
            yield [stack.enter_context(Wire(port)) for port in ports]


@contextmanager
def running_fleet(directory: Path, url: str, count: int = 3, **environment: str) -> Iterator[Fleet]:
    """Start servers on an empty store. The first one makes the admin."""
    settings = {**SETTINGS, "AUTHSVC_REDIS_URL": url, **environment}
    places = [directory / f"server{number}" for number in range(count)]
    servers = [Server(place, free_port(), settings) for place in places]
    with ExitStack() as stack:
        for server in servers:
            server.directory.mkdir()
            stack.callback(server.clean_up)
        servers[0].start()
        with ThreadPoolExecutor() as pool:
            list(pool.map(Server.start, servers[1:]))
        clients = [stack.enter_context(server.http()) for server in servers]
        yield Fleet(servers, servers[0].admin, cycle(clients))


@dataclass
class Subject:
    """What the connections ask about, and who asks. asker: the credentials of the asking client."""

    fleet: Fleet
    sub: str
    username: str
    client_id: str
    asker: tuple[str, str]
    session: dict[str, Any] = field(default_factory=dict)

    def login(self) -> dict[str, Any]:
        """Open a session. Returns the answer with its tokens."""
        document = {"username": self.username, "password": PASSWORD, "client_id": self.client_id}
        opened: dict[str, Any] = self.fleet.call("POST", "/login", json=document, auth=None, status=200)
        return opened

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.session['access_token']}"}

    def change_user(self, **fields: Any) -> None:
        self.fleet.call("PATCH", f"/admin/users/{self.sub}", json=fields, status=200)

    def change_asker(self, **fields: Any) -> None:
        self.fleet.call("PATCH", f"/admin/clients/{self.asker[0]}", json=fields, status=200)

    def revoke(self, **form: str) -> None:
        self.fleet.call("POST", "/revoke", data=form, status=200)


class Question(NamedTuple):
    """One way to ask about a token. shown: what an answer shows, for the comparison with Wanted."""

    request: Callable[[Subject], bytes]
    shown: Callable[[Answer], Mapping[str, Any]]

    def is_answered(self, answer: Answer | None, wanted: Wanted) -> bool:
        assert answer is not None, "the connection has ended"
        if isinstance(wanted, int):
            return answer.status == wanted
        shown = self.shown(answer) if answer.status == 200 else {}
        return answer.status == 200 and {name: shown.get(name) for name in wanted} == wanted


def _request(line: str, body: bytes = b"", **headers: str) -> bytes:
    fields = {"Host": "localhost", **headers} | ({"Content-Length": str(len(body))} if body else {})
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"{line} HTTP/1.1\r\n{head}\r\n".encode() + body


def _basic(credentials: tuple[str, str]) -> str:
    return "Basic " + b64encode(":".join(credentials).encode()).decode()


def _introspect(subject: Subject) -> bytes:
    body = urlencode({"token": subject.session["access_token"]}).encode()
    form = "application/x-www-form-urlencoded"
    return _request("POST /introspect", body, Authorization=_basic(subject.asker), Content_Type=form)


def _batch(subject: Subject) -> bytes:
    body = json.dumps({"tokens": [subject.session["access_token"]]}).encode()
    return _request(
        "POST /introspect/batch", body, Authorization=_basic(subject.asker), Content_Type="application/json"
    )


def _verify(subject: Subject) -> bytes:
    return _request(f"GET /verify?audience={AUDIENCE[0]}", Authorization=subject.bearer["Authorization"])


INTROSPECT = Question(_introspect, lambda answer: dict(answer.json))
BATCH = Question(_batch, lambda answer: dict(answer.json[0]))
VERIFY = Question(_verify, lambda answer: dict(answer.fields))
QUESTIONS = (INTROSPECT, BATCH, VERIFY)


def ask_all(wires: list[Wire], question: Question, subject: Subject) -> list[Answer | None]:
    """Send one request on every connection, then read all answers."""
    request = question.request(subject)
    for wire in wires:
        wire.send(request)
    return [wire.answer() for wire in wires]
