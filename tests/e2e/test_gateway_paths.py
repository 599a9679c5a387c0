"""No path is checked as another: real gateways before real applications that read paths in different ways."""

import getpass
import itertools
import os
import posixpath
import re
import string
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

from tests.e2e import gateways
from tests.e2e.conftest import PASSWORD, Server, free_port
from tests.e2e.wire import Answer, Wire

pytestmark = pytest.mark.slow

PROGRAMS = Path(__file__).parent / "applications"


def _go(kind: str) -> Callable[[Path, int], list[str]]:
    def build(directory: Path, port: int) -> list[str]:
        go = gateways.program("go", "golang")
        environment = {**os.environ, "GO111MODULE": "off"}
        built = directory / "files"
        subprocess.run([go, "build", "-o", str(built), str(PROGRAMS / "files.go")], check=True, env=environment)
        return [str(built), str(port), kind]

    return build


def _node(kind: str) -> Callable[[Path, int], list[str]]:
    return lambda _, port: [gateways.program("node", "nodejs"), str(PROGRAMS / "files.js"), str(port), kind]


def _python(kind: str, package: str | None = None) -> Callable[[Path, int], list[str]]:
    def build(_: Path, port: int) -> list[str]:
        if package is not None:
            pytest.importorskip(package, reason=f"no {package} here: pip install {package}")
        return [sys.executable, str(PROGRAMS / "python.py"), str(port), kind]

    return build


def _nginx(directory: Path, port: int) -> list[str]:
    nginx = gateways.program("nginx", "nginx-light")
    owner = f"user {getpass.getuser()};\n" if os.getuid() == 0 else ""  # of the files that are served
    (directory / "nginx.conf").write_text(owner + (PROGRAMS / "nginx.conf").read_text().replace("PORT", str(port)))
    for area in AREAS:
        (directory / "site" / area).mkdir(parents=True)
        for name in ("a", "index.html"):
            (directory / "site" / area / name).write_text(area)
    return [nginx, "-p", str(directory), "-c", "nginx.conf", "-e", "error.log"]


def _tomcat(_: Path, port: int) -> list[str]:
    jars = gateways.cached("tomcat-11.0.27")
    return [gateways.program("java", "default-jdk"), "-cp", f"{jars}/*", str(PROGRAMS / "Servlets.java"), str(port)]


AREAS = ("public", "edit", "orders")
APPLICATIONS: dict[str, Callable[[Path, int], list[str]]] = {
    "go files": _go("files"),
    "go routes": _go("routes"),
    "node url": _node("url"),
    "node files": _node("files"),
    "flask": _python("flask", "flask"),
    "starlette": _python("starlette"),
    "tornado": _python("tornado", "tornado"),
    "raw": _python("raw"),
    "parameters": _python("parameters"),
    "nginx": _nginx,
    "tomcat": _tomcat,
}

# Texts between two names, and spellings of names. Some application reads each of them as another path than it looks.
BETWEEN = [
    *("/", "//", "/./", "/../", "/%2e/", "/%2E%2e/", "%2f", "/..;/", "/..;x=y/", "/%2e%2e;/", "\\", "%5C", "/..\\"),
    *("/..%2f", "/#/", "/#/../", ";/", ";x=y/", "/;/", "%00/", "%0a/", "%3b/", "%23/", "%3f/", "%252e%252e/", "%252f"),
    *("/..%00/", "/..%c0%af", "/%c0%ae%c0%ae/", "/.%2e/", "/%u002e%u002e/", "/..%5c", "\t/", "\x80/", "/x/../"),
    *("/%e0%80%ae%e0%80%ae/", "/..%f0%80%80%af", "/#/../../", "/a/..%2f../", "/..;/..;/", "/;x/../", "/a;/../../"),
    *(
        "/%2e%2e%2f",
        "%5c..%5c",
        "/%2e%2e;x=y/",
        "/.;/",
        "///",
        "/.//../",
        "#/../../",
        "/%23/../../",
        "/..%3b/",
        "/ ../",
    ),
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
FILES = ["/a", "/index.html", "/"]
TARGETS = sorted(
    {
        *(
            f"/{first}{between}{second}{file}"
            for first, between, second, file in itertools.product(
                NAMES, BETWEEN, [*NAMES[:2], *NAMES[4:6], "orders"], FILES[:1]
            )
        ),
        *(
            f"/public{between}{second}{file}"
            for between, second, file in itertools.product(BETWEEN, AREAS[1:], FILES[1:])
        ),
        *(f"/{first}{end}" for first, end in itertools.product(NAMES, ENDS)),
        *(f"{start}edit/a" for start in BETWEEN if start.startswith(("/", "\\"))),
    }
)
# A target may also be a whole URL (RFC 9112 section 3.2.2), and is sometimes neither. Gateways differ in what they do.
ODD = [
    *(
        f"{start}{path}"
        for start in ("http://a.test", "HTTP://a.test:80", "http:", "http:/", "//a.test", "http://a.test/public/..")
        for path in ("/edit/a", "/orders/a", "/public/../edit/a", "/public/..;/edit/a", "/public/%2e%2e/orders/a")
    ),
    *("edit/a", "@a.test/edit/a", ":80/edit/a", "?/edit/a", "*", "a.test:80", "public/../edit/a", "#/edit/a"),
]
# RFC 3986 section 2.3. Encoded, such a character is another spelling of itself.
UNRESERVED = set((string.ascii_letters + string.digits + "-._~").encode())


def is_plain(target: str) -> bool:
    """Whether all applications read this path as the same path; a gateway has to refuse what is not plain."""
    path = target.partition("?")[0]
    if not path.isascii() or not path.isprintable() or " " in path or set(path) & set("\\;#"):
        return False
    if re.search("%(?![0-9A-Fa-f]{2})", path):
        return False
    if re.search("%e0%[89]|%f0%8", path.lower()):
        return False
    encoded = {int(digits, 16) for digits in re.findall("%(..)", path)}
    if encoded & UNRESERVED or encoded & {*range(0x20), 0x7F, 0xC0, 0xC1, *b"/\\;#?%"}:
        return False
    return path.startswith("/") and "//" not in path and not {".", ".."} & set(path.split("/"))


PLAIN = [target for target in TARGETS if is_plain(target)]
AMBIGUOUS = [target for target in TARGETS if not is_plain(target)]


def as_passed_on(gateway: str, target: str) -> str:
    """The target that the gateway sees and sends. Traefik normalises escapes (RFC 3986 section 6.2.2)."""
    if gateway != "traefik":
        return target
    path, mark, query = target.partition("?")
    escapes = "|".join(f"%{byte:02x}" for byte in UNRESERVED)
    path = re.sub(escapes, lambda found: chr(int(found[0][1:], 16)), path, flags=re.IGNORECASE)
    return re.sub("%..", lambda found: found[0].upper(), path) + mark + query


def looks_like(target: str) -> str:
    """The area that a plain path belongs to."""
    first = target.partition("?")[0].split("/")[1].lower()
    return first if first in AREAS else "other"


def normalised(target: str) -> str:
    return posixpath.normpath(unquote(target.partition("?")[0]))


@pytest.fixture(scope="module", params=sorted(APPLICATIONS))
def behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real application."""
    port, directory = free_port(), tmp_path_factory.mktemp("application")
    command = APPLICATIONS[request.param](directory, port)
    with gateways.real_application(command, directory, port):
        yield port


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with gateways.service_with(tmp_path_factory.mktemp("service"), username="guest", password=PASSWORD) as server:
        yield server


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


def areas(port: int, targets: list[str], token: str | None) -> set[str]:
    """What an application says it has served."""
    return {area for _, answer in answers(port, targets, token) if answer for area in answer.all("x-area")}


def test_applications_read_plain_paths_alike(behind: int) -> None:
    """Each application reads a plain path as it looks, and some ambiguous path as one of a protected area."""
    served = {
        target: area for target, answer in answers(behind, TARGETS, None) if answer for area in answer.all("x-area")
    }
    for target in PLAIN:
        assert served.get(target, "other") in ("other", looks_like(target)), target
    # The control: some ambiguous path is a protected page, and looks like another one or is one once it is normalised.
    assert any(
        served.get(target) in ("edit", "orders")
        and {looks_like(target), looks_like(normalised(target))} != {served[target]}
        for target in AMBIGUOUS
        if target.startswith("/")
    )


@pytest.mark.parametrize("gateway", sorted(gateways.COMMANDS))
def test_an_ambiguous_path_is_refused(service: Server, gateway: str, tmp_path: Path) -> None:
    """A path that two applications read as two paths is 400, with and without a token; every other path passes on."""
    token = token_of(service)
    with ExitStack() as stack:
        echo = stack.enter_context(gateways.application())
        port = stack.enter_context(gateways.gateway(gateway, tmp_path / "gateway", service.port, echo))
        for held in (None, token):
            for target, answer in answers(port, TARGETS, held):
                sent = as_passed_on(gateway, target)
                if not is_plain(sent):
                    assert answer is None or answer.status == 400, (target, answer)
                    continue
                assert answer is not None, target
                if answer.status == 200:
                    assert answer.json["path"].partition("?")[0] == sent.partition("?")[0]
                else:
                    assert answer.status == (403 if held else 401), (target, answer)


@pytest.mark.parametrize("gateway", sorted(gateways.COMMANDS))
def test_no_path_is_checked_as_another(service: Server, gateway: str, behind: int, tmp_path: Path) -> None:
    """Without a token an application serves only public pages; without the role it serves no page of the editors."""
    token = token_of(service)
    targets = [*PLAIN, *AMBIGUOUS[::20], *ODD]
    with gateways.gateway(gateway, tmp_path / "gateway", service.port, behind) as port:
        assert areas(port, targets, None) == {"public"}
        assert {"orders", "public"} <= areas(port, targets, token) <= {"orders", "public", "other"}
