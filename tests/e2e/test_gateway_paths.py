"""No path is checked as another: real gateways before real applications that read paths in different ways."""

import itertools
import os
import re
import string
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e import gateways
from tests.e2e.conftest import PASSWORD, Server, free_port
from tests.e2e.wire import Answer, Wire
from tests.processes import until

PROGRAMS = Path(__file__).parent / "applications"


def _go(directory: Path, port: int) -> list[str]:
    go = gateways.program("go", "golang")
    environment = {**os.environ, "GOCACHE": str(directory / "cache"), "GOFLAGS": "-mod=mod", "GO111MODULE": "off"}
    built = directory / "files"
    subprocess.run([go, "build", "-o", str(built), str(PROGRAMS / "files.go")], check=True, env=environment)
    return [str(built), str(port)]


def _node(kind: str) -> Callable[[Path, int], list[str]]:
    return lambda _, port: [gateways.program("node", "nodejs"), str(PROGRAMS / "files.js"), str(port), kind]


def _python(kind: str) -> Callable[[Path, int], list[str]]:
    return lambda _, port: [sys.executable, str(PROGRAMS / "python.py"), str(port), kind]


def _nginx(directory: Path, port: int) -> list[str]:
    nginx = gateways.program("nginx", "nginx-light")
    (directory / "nginx.conf").write_text((PROGRAMS / "nginx.conf").read_text().replace("PORT", str(port)))
    return [nginx, "-p", str(directory), "-c", "nginx.conf", "-e", "error.log"]


APPLICATIONS: dict[str, Callable[[Path, int], list[str]]] = {
    "go files": _go,
    "node url": _node("url"),
    "node files": _node("files"),
    "wsgi": _python("wsgi"),
    "raw": _python("raw"),
    "parameters": _python("parameters"),
    "nginx": _nginx,
}

# Texts between two names, and spellings of names. Some application reads each of them as another path than it looks.
BETWEEN = [
    *("/", "//", "/./", "/../", "/%2e/", "/%2E%2e/", "%2f", "/..;/", "/..;x=y/", "/%2e%2e;/", "\\", "%5C", "/..\\"),
    *("/..%2f", "/#/", "/#/../", ";/", ";x=y/", "/;/", "%00/", "%0a/", "%3b/", "%23/", "%3f/", "%252e%252e/", "%252f"),
    *("/..%00/", "/..%c0%af", "/%c0%ae%c0%ae/", "/.%2e/", "/%u002e%u002e/", "/..%5c", "\t/", "\x80/", "/x/../"),
]
NAMES = ["public", "edit", "PUBLIC", "Edit", "%65dit", "%2565dit", "edi%74", "%70ublic", "orders", "%45DIT", "."]
ENDS = [
    "",
    "/",
    ";",
    "?",
    "#",
    "/a",
    "%20",
    "/a?x=/../",
    "/a?x=%2e%2e;//",
    ".",
    "/%",
    "/%4",
    "/%zz",
    "/%c3%ab",
    "/~a@b",
]
TARGETS = sorted(
    {
        *(f"/{first}{a}{second}/a" for first, a, second in itertools.product(NAMES, BETWEEN, NAMES[:2] + NAMES[4:6])),
        *(f"/{first}{end}" for first, end in itertools.product(NAMES, ENDS)),
        *(f"{start}edit/a" for start in BETWEEN if start.startswith(("/", "\\"))),
    }
)
# RFC 3986 section 2.3. Encoded, such a character is another spelling of itself.
UNRESERVED = set((string.ascii_letters + string.digits + "-._~").encode())


def is_plain(target: str) -> bool:
    """Whether all applications read this path as the same path; a gateway has to refuse what is not plain."""
    path = target.partition("?")[0]
    if not path.isascii() or not path.isprintable() or " " in path or set(path) & set("\\;#"):
        return False
    if re.search("%(?![0-9A-Fa-f]{2})", path):
        return False
    encoded = {int(digits, 16) for digits in re.findall("%(..)", path)}
    if encoded & UNRESERVED or encoded & {*range(0x20), 0x7F, 0xC0, 0xC1, *b"/\\;#?%"}:
        return False
    return path.startswith("/") and "//" not in path and not {".", ".."} & set(path.split("/"))


PLAIN = [target for target in TARGETS if is_plain(target)]
AMBIGUOUS = [target for target in TARGETS if not is_plain(target)]


@contextmanager
def application(name: str, directory: Path) -> Iterator[int]:
    """The port of a real application."""
    port = free_port()
    directory.mkdir()
    with (directory / "output").open("wb") as output:
        process = subprocess.Popen(APPLICATIONS[name](directory, port), cwd=directory, stdout=output, stderr=output)
    try:
        until(lambda: gateways.listens(port), 20)
        yield port
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("service"), free_port(), {}).start()
    user = {"username": "guest", "password": PASSWORD}
    try:
        assert httpx.post(f"{server.url}/admin/users", json=user, auth=server.admin).status_code == 201
        yield server
    finally:
        server.clean_up()


def token_of(service: Server) -> str:
    """The token of a user without a role."""
    answer = httpx.post(f"{service.url}/login", json={"username": "guest", "password": PASSWORD})
    return str(answer.json()["access_token"])


def answers(port: int, targets: list[str], token: str | None) -> Iterator[tuple[str, Answer | None]]:
    """The gateway's answer to each target, sent byte for byte. None: the gateway closed the connection."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    wire = Wire(port)
    try:
        for target in targets:
            request = f"GET {target} HTTP/1.1\r\nHost: a.test\r\n{authorization}\r\n".encode("latin-1")
            try:
                wire.send(request)
                answer = wire.answer()
            except (ConnectionError, AssertionError):
                answer = None
            if answer is None or answer.all("connection") == ["close"] or answer.status == 400:
                wire.__exit__()
                wire = Wire(port)
            yield target, answer
    finally:
        wire.__exit__()


@pytest.mark.parametrize("gateway", sorted(gateways.COMMANDS))
def test_an_ambiguous_path_is_refused(service: Server, gateway: str, tmp_path: Path) -> None:
    """A path that two applications read as two paths is 400, with and without a token; every other path passes on."""
    token = token_of(service)
    with ExitStack() as stack:
        behind = stack.enter_context(gateways.application())
        port = stack.enter_context(gateways.gateway(gateway, tmp_path / "gateway", service.port, behind))
        for target, answer in answers(port, AMBIGUOUS, None):
            assert answer is None or answer.status == 400, (target, answer)
        for target, answer in answers(port, [*PLAIN, *AMBIGUOUS[::20]], token):
            assert (answer is not None and answer.status in (200, 403)) == is_plain(target), (target, answer)


@pytest.mark.parametrize("name", sorted(APPLICATIONS))
@pytest.mark.parametrize("gateway", sorted(gateways.COMMANDS))
def test_no_path_is_checked_as_another(service: Server, gateway: str, name: str, tmp_path: Path) -> None:
    """Without a token an application serves only public pages; without the role it serves no page of the editors."""
    token = token_of(service)
    targets = [*PLAIN, *AMBIGUOUS[::20]]
    with ExitStack() as stack:
        behind = stack.enter_context(application(name, tmp_path / "application"))
        port = stack.enter_context(gateways.gateway(gateway, tmp_path / "gateway", service.port, behind))
        anonymous = {area for _, answer in answers(port, targets, None) if answer for area in answer.all("x-area")}
        guest = {area for _, answer in answers(port, targets, token) if answer for area in answer.all("x-area")}
    assert (anonymous, guest) == ({"public"}, {"public", "other"})
