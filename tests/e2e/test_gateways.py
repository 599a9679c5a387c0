"""The configurations of `deploy/` in the real programs: which requests reach the application, and as which user."""

import http.client
import json
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from tests.e2e import gateways
from tests.e2e.conftest import PASSWORD, Server, free_port
from tests.processes import processes_on

NAME = "__Host-session"
IDENTITY = ("subject", "username", "roles", "scope", "session")
Fields = list[tuple[str, str]]


@dataclass
class Answer:
    """The answer to a client. `seen`: the request that reached the application, or None."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def seen(self) -> dict[str, Any] | None:
        try:
            told: dict[str, Any] = json.loads(self.body)
        except ValueError:
            return None
        return told if "path" in told else None

    def sent(self, name: str) -> list[str]:
        """The values that the application got under any name that some take for this one."""
        assert self.seen is not None, (self.status, self.body)
        return [value for given, value in self.seen["headers"] if given.lower().replace("_", "-") == name.lower()]

    @property
    def identity(self) -> dict[str, str]:
        """The headers that say who it is, empty ones left out; none may be there twice."""
        named = {name: self.sent(f"x-auth-{name}") for name in IDENTITY}
        assert all(len(values) <= 1 for values in named.values()), named
        return {name: values[0] for name, values in named.items() if values and values[0]}


@dataclass
class Setting:
    """A service, a gateway before an application, and one user."""

    name: str
    service: Server
    port: int
    sub: str

    def ask(self, path: str, headers: Fields = [], method: str = "GET", body: bytes = b"") -> Answer:  # noqa: B006
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            if body:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, fields, answer.read())
        finally:
            connection.close()

    def login(self, **fields: Any) -> dict[str, Any]:
        body = {"username": "zoë", "password": PASSWORD, **fields}
        answer = httpx.post(f"{self.service.url}/login", json=body)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def cookie(self) -> str:
        body = {"username": "zoë", "password": PASSWORD, "cookie": True}
        answer = httpx.post(f"{self.service.url}/login", json=body, headers={"Origin": self.service.url})
        return str(answer.headers["set-cookie"].partition(";")[0])

    def revoke(self, **form: str) -> None:
        assert httpx.post(f"{self.service.url}/revoke", data=form, auth=self.service.admin).status_code == 200

    def change(self, **fields: Any) -> None:
        answer = httpx.patch(f"{self.service.url}/admin/users/{self.sub}", json=fields, auth=self.service.admin)
        assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int, str]]:
    """A service with one user, and the port of an application."""
    server = Server(
        tmp_path_factory.mktemp("service"), free_port(), {"AUTHSVC_APP_SCOPE": f"reports read {'s' * 1024}"}
    ).start()
    try:
        user = {"username": "zoë", "password": PASSWORD, "roles": ["editor"]}
        created = httpx.post(f"{server.url}/admin/users", json=user, auth=server.admin)
        with gateways.application() as behind:
            yield server, behind, created.json()["sub"]
    finally:
        server.clean_up()
    assert "Traceback" not in server.log


@pytest.fixture(scope="module", params=gateways.GATEWAYS)
def setting(
    request: pytest.FixtureRequest, running: tuple[Server, int, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Setting]:
    server, behind, sub = running
    with gateways.gateway(request.param, tmp_path_factory.mktemp(request.param), server.port, behind) as port:
        yield Setting(request.param, server, port, sub)


def bearer(token: str) -> Fields:
    return [("Authorization", f"Bearer {token}")]


def test_a_good_token_passes_and_is_taken_off(setting: Setting) -> None:
    """The application learns who it is, gets method, path, query and body, and not the token."""
    login = setting.login(scope="reports read")
    answer = setting.ask("/a/b?c=d&scope=x", bearer(login["access_token"]), "POST", b"some body")
    assert answer.status == 200, answer.body
    assert answer.identity == {
        "subject": setting.sub,
        "username": "zo%C3%AB",
        "roles": "editor",
        "scope": "reports read",
        "session": login["session_id"],
    }
    assert answer.seen is not None
    assert (answer.seen["method"], answer.seen["path"], answer.seen["body"]) == (
        "POST",
        "/a/b?c=d&scope=x",
        "some body",
    )
    assert login["access_token"] not in answer.body.decode()


@pytest.mark.parametrize(
    "headers",
    [
        [],
        bearer("garbage"),
        bearer("tok_" + "0" * 45),
        [("Authorization", "Basic YTpi")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer  x")],
        [("Cookie", f"{NAME}=garbage"), ("Sec-Fetch-Site", "same-origin")],
        [("Authorization", "Bearer a"), ("Cookie", f"{NAME}=b")],
        [("Authorization", "Bearer " + "x" * 6000)],
    ],
)  # fmt: skip
def test_no_good_token_is_401(setting: Setting, headers: Fields) -> None:
    """Missing, unknown and malformed credentials get 401 with a challenge, and never reach the application."""
    for method in ("GET", "POST"):
        answer = setting.ask("/a", headers, method)
        assert (answer.status, answer.seen) == (401, None), answer.body
        assert answer.headers["www-authenticate"].startswith('Bearer realm="authsvc"')


def test_two_credentials_reach_nobody(setting: Setting) -> None:
    """Two tokens never reach the application. If the request passes, its identity is that of the checked token."""
    good = setting.login()["access_token"]
    for first, second in ((good, "garbage"), ("garbage", good), (good, good)):
        answer = setting.ask("/a", bearer(first) + bearer(second))
        # The checked token, where the gateway passes the first one on. nginx refuses both.
        assert answer.status in (400, 401) or (first == good and answer.identity["subject"] == setting.sub)
        assert good not in answer.body.decode()
    cookie = setting.cookie()
    answer = setting.ask("/a", [("Cookie", f"{cookie}; {cookie}")])
    assert (answer.status, answer.seen) == (401, None)
    answer = setting.ask("/a", [("Cookie", cookie), ("Cookie", cookie)])
    assert (answer.status, answer.seen) == (401, None)


def test_revoked_is_over_with_the_acknowledgement(setting: Setting) -> None:
    """The first request after a revocation is acknowledged is refused; so it is with a user's and a changed role."""
    for _ in range(20):
        token = setting.login()["access_token"]
        assert setting.ask("/a", bearer(token)).status == 200
        setting.revoke(token=token)
        answer = setting.ask("/a", bearer(token))
        assert (answer.status, answer.seen) == (401, None)
    token = setting.login()["access_token"]
    setting.change(roles=["guest"])
    assert setting.ask("/a", bearer(token)).identity["roles"] == "guest"
    assert setting.ask("/edit/a", bearer(token)).status == 403
    setting.change(roles=["editor"])
    assert setting.ask("/edit/a", bearer(token)).status == 200
    setting.revoke(sub=setting.sub)
    assert setting.ask("/a", bearer(token)).status == 401


SPOOFS: list[Fields] = [
    [(f"X-Auth-{name.title()}", "root") for name in IDENTITY],
    [(f"x-auth-{name}", "root") for name in IDENTITY],
    [(f"X-AUTH-{name.upper()}", "root") for name in IDENTITY],
    [(f"X_Auth_{name.title()}", "root") for name in IDENTITY],
    [(f"X-Auth_{name}", "root") for name in IDENTITY],
    [(f"x_auth-{name}", "root") for name in IDENTITY],
    [(f"X-Auth-{name.title()}", "") for name in IDENTITY],
    [(f"X-Auth-{name.title()}", value) for name in IDENTITY for value in ("root", "ruth")],
    [("Connection", ", ".join(f"X-Auth-{name.title()}" for name in IDENTITY)), ("X-Auth-Subject", "root")],
    [("Connection", "keep-alive"), ("Connection", "x-auth-subject,X-AUTH-ROLES"), ("X-Auth-Subject", "root")],
]


@pytest.mark.parametrize("spoof", SPOOFS)
def test_nobody_says_who_they_are(setting: Setting, spoof: Fields) -> None:
    """Identity headers of a client never reach the application, in any spelling and on any path."""
    login = setting.login()
    answer = setting.ask("/a", bearer(login["access_token"]) + spoof)
    assert answer.status == 200, answer.body
    # Scope is empty, and whether such a header is sent on is the gateway's choice.
    expected = {"subject": setting.sub, "username": "zo%C3%AB", "roles": "editor", "session": login["session_id"]}
    assert answer.identity == expected
    assert "root" not in answer.body.decode()
    assert not [named for named in answer.sent("connection") if "x-auth" in named.lower()]
    assert setting.ask("/a", spoof).status == 401
    public = setting.ask("/public/a", spoof)
    assert (public.status, public.identity) == (200, {})
    assert "root" not in str([value for name, value in (public.seen or {})["headers"] if name.lower() != "connection"])


def test_public_paths_take_anybody(setting: Setting) -> None:
    """On a public path a token makes no difference, and does not reach the application."""
    token = setting.login()["access_token"]
    cookies = [
        f"{NAME}={token}; theme=dark",
        f"{NAME}={token}; {NAME}={token}",
        f"theme=dark; {NAME}={token}; a=1; {NAME}={token}; {NAME}={token}",
        f"theme=dark;\t{NAME}={token}",
        f"{NAME} ={token}",
    ]
    for headers in ([], bearer(token), bearer("garbage"), *([("Cookie", cookie)] for cookie in cookies)):
        answer = setting.ask("/public/a", headers)
        assert (answer.status, answer.identity) == (200, {})
        assert token not in answer.body.decode()


def test_demands(setting: Setting) -> None:
    """A path that demands a role or a scope answers 403 without it. A query or header of the client changes nothing."""
    without, with_scope = setting.login(), setting.login(scope="reports")
    setting.change(roles=["guest"])
    for path in ("/edit/a", "/edit/a?role=editor", "/reports/a", "/reports/a?scope=reports"):
        answer = setting.ask(
            path, [*bearer(without["access_token"]), ("X-Auth-Roles", "editor"), ("X-Auth-Scope", "reports")]
        )
        assert (answer.status, answer.seen) == (403, None), path
        assert setting.ask(path).status == 401
    assert setting.ask("/reports/a", bearer(with_scope["access_token"])).identity["scope"] == "reports"
    setting.change(roles=["guest", "editor", "author"])
    assert setting.ask("/edit/a", bearer(without["access_token"])).identity["roles"] == "guest editor author"
    setting.change(roles=["editors", "subeditor"])
    assert setting.ask("/edit/a", bearer(without["access_token"])).status == 403
    setting.change(roles=["editor"])


PATHS = [
    *("/public/../edit/a", "/public/%2e%2e/edit/a", "/public/..%2fedit/a", "/public//../../edit/a", "//edit/a"),
    *("/public/./../edit/a", "/%65dit/a", "/./edit/a", "/public/..;/edit/a", "/public/..\\edit/a", "/edit/../edit/a"),
    *("/public/%2E%2E%5Cedit/a", "/public/%2e./edit/a", "/edit//a", "/public%2f../edit/a", "/x/..;x=y/edit/a"),
]


def taken_for(path: str) -> str:
    """The path as the most lenient application reads it."""
    decoded = unquote(path.partition("?")[0]).replace("\\", "/")
    return "/" + os.path.normpath(re.sub(r";[^/]*", "", decoded)).lstrip("/")


@pytest.mark.parametrize("path", PATHS)
def test_no_path_is_checked_as_another(setting: Setting, path: str) -> None:
    """A path that an application may read as a protected path needs the same credentials."""
    setting.change(roles=["guest"])
    for headers in ([], bearer(setting.login()["access_token"])):
        answer = setting.ask(path, headers)
        if answer.seen is not None:
            taken = taken_for(answer.seen["path"])
            assert not taken.startswith("/edit"), answer.seen
            assert headers or taken.startswith("/public"), answer.seen
    setting.change(roles=["editor"])


def test_the_cookie(setting: Setting) -> None:
    """The session cookie is as good as a token, is taken off, and leaves the others alone."""
    cookie = setting.cookie()
    for sent, left in (
        (cookie, ""),
        (f"a=1; {cookie}; b=2", "a=1; b=2"),
        (f"{cookie}; b=2", "b=2"),
        (f"a=1; {cookie}", "a=1"),
        (f"a=1;{cookie};b=2", "a=1;b=2"),
        (f"x{cookie}; {cookie}", f"x{cookie}"),
    ):
        answer = setting.ask("/a", [("Cookie", sent)])
        assert (answer.status, answer.identity["subject"]) == (200, setting.sub)
        assert "".join(answer.sent("cookie")).strip("; ").replace("; ", ";") == left.replace("; ", ";"), sent
    assert setting.ask("/a", [("Cookie", cookie.replace("__Host-", ""))]).status == 401


def test_the_cookie_changes_nothing_for_other_sites(setting: Setting) -> None:
    """A change with the cookie must come from the service's own pages. A header cannot hide the method."""
    cookie = ("Cookie", setting.cookie())
    lies = [("X-Forwarded-Method", "GET"), ("X-Original-Method", "GET"), ("X-HTTP-Method-Override", "GET")]
    places: list[Fields] = [[], [("Origin", "https://evil.test")], [("Sec-Fetch-Site", "cross-site")]]
    for method in ("POST", "PUT", "DELETE"):
        for elsewhere in places:
            answer = setting.ask("/a", [cookie, *elsewhere, *lies], method, b"x")
            assert (answer.status, answer.seen) == (403, None)
        answer = setting.ask("/a", [cookie, ("Sec-Fetch-Site", "same-origin")], method, b"x")
        assert answer.identity["subject"] == setting.sub
        answer = setting.ask("/a", [cookie, ("Origin", f"http://127.0.0.1:{setting.port}")], method, b"x")
        assert answer.status in (200, 403)
    answer = setting.ask("/a", [cookie, ("Sec-Fetch-Site", "cross-site")])
    assert answer.status == 200


def test_a_preflight_is_no_way_in(setting: Setting) -> None:
    """OPTIONS without a token is not let through."""
    asked = [("Origin", "https://evil.test"), ("Access-Control-Request-Method", "POST")]
    answer = setting.ask("/a", asked, "OPTIONS")
    assert answer.status in (401, 403, 405)
    assert answer.seen is None


def test_a_user_with_as_many_roles_as_there_may_be(setting: Setting) -> None:
    """64 roles of 64 characters, and a scope of 1024, pass."""
    roles = [f"{number:0>64}" for number in range(64)]
    setting.change(roles=roles)
    login = setting.login(scope="s" * 1024)
    answer = setting.ask("/a", bearer(login["access_token"]))
    setting.change(roles=["editor"])
    assert answer.status == 200, answer.body
    assert answer.identity["roles"] == " ".join(roles)


def test_the_applications_own_errors_stay(setting: Setting) -> None:
    """A 500 of the application is not taken for one of the service."""
    answer = setting.ask("/broken", bearer(setting.login()["access_token"]))
    assert answer.status == 500
    assert answer.seen is not None


def test_cannot_know_is_503(setting: Setting) -> None:
    """The answer is 503 if the store hangs or the service is gone. It is never a yes or a logout."""
    login = setting.login()
    (store,) = processes_on(setting.service.data_dir)
    os.kill(store, signal.SIGSTOP)
    try:
        answers = [setting.ask("/a", bearer(login["access_token"])) for _ in range(3)]
    finally:
        os.kill(store, signal.SIGCONT)
    setting.service.stop()
    try:
        answers += [setting.ask(path, bearer(login["access_token"])) for path in ("/a", "/edit/a", "/a")]
        public = setting.ask("/public/a")
    finally:
        setting.service.start()
    for answer in answers:
        assert (answer.status, answer.seen) == (503, None), answer.body
    assert public.status == 200
    answer = setting.ask("/a", bearer(login["access_token"]))
    assert answer.identity["subject"] == setting.sub
