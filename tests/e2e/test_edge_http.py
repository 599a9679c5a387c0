"""HTTP as attackers write it: what a real server takes, what it refuses, and that it answers each request once."""

from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.conftest import Server, free_port
from tests.e2e.wire import Wire, assert_in_step, assert_refused, probes
from tests.processes import resident_kib
from tests.selection import examples, one_in, slow

GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /introspect HTTP/1.1\r\nHost: a\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
UPGRADE = b"Upgrade: h2c\r\nConnection: Upgrade\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = POST + FORM + b"Transfer-Encoding: chunked\r\n\r\n"

MALFORMED = {
    "CL and TE": POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    "TE and CL": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG",
    "TE.TE": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "TE twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE and another before": POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE list": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "TE list the other way": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "TE unknown": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "TE identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "TE with a control character": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "TE in HTTP/1.0": b"POST /introspect HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "CL twice, equal": POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
    "CL twice": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\naa",
    "CL list": POST + b"Content-Length: 1, 1\r\n\r\na",
    "CL with a sign": POST + b"Content-Length: +1\r\n\r\na",
    "CL negative": POST + b"Content-Length: -1\r\n\r\na",
    "CL hexadecimal": POST + b"Content-Length: 0x1\r\n\r\na",
    "CL overflowing": POST + b"Content-Length: 99999999999999999999999\r\n\r\na",
    "CL empty": POST + b"Content-Length: \r\n\r\n",
    "folded line": GET + b"X: a\r\n b\r\n\r\n",
    "space before the first field": b"GET /healthz HTTP/1.1\r\n Host: a\r\n\r\n",
    "bare LF": b"GET /healthz HTTP/1.1\nHost: a\n\n",
    "bare LF after a field": b"GET /healthz HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "bare CR": b"GET /healthz HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "tab before the colon": POST + b"Content-Length\t: 1\r\n\r\na",
    "no colon": GET + b"foo\r\n\r\n",
    "no name": GET + b": x\r\n\r\n",
    "NUL": GET + b"X: a\0b\r\n\r\n",
    "NUL in a name": GET + b"X\0: b\r\n\r\n",
    "control characters": GET + b"X: a\x01b\x7f\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: b\r\n\r\n",
    "two hosts in HTTP/1.0": b"GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "a host that is none": b"GET /healthz HTTP/1.1\r\nHost: a b/c@d\r\n\r\n",
    "a host that is none, with Upgrade": b"GET /healthz HTTP/1.1\r\nHost: a b/c@d\r\n" + UPGRADE + b"\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/1.2": b"GET /healthz HTTP/1.2\r\nHost: a\r\n\r\n",
    "HTTP/2.0": b"GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "another protocol": b"DESCRIBE rtsp://a/healthz RTSP/1.0\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "absolute form": b"GET http://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute form without a path": b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "fragment": b"GET /healthz#a HTTP/1.1\r\nHost: a\r\n\r\n",
    "raw UTF-8 in the target": "GET /é HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
    "tab in the target": b"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\nraw",
    "CONNECT to a path": b"CONNECT /healthz HTTP/1.1\r\nHost: a\r\n\r\nraw",
    "CONNECT with Upgrade": b"CONNECT /healthz HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nraw",
    "Upgrade and two lengths": POST + UPGRADE + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "Upgrade, a length and chunks": CHUNKED.removesuffix(b"\r\n") + UPGRADE + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "Upgrade in HTTP/1.0 with chunks": b"POST /introspect HTTP/1.0\r\n"
    + UPGRADE
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Upgrade without Host": b"GET /healthz HTTP/1.1\r\n" + UPGRADE + b"\r\n",
    "a method in lower case": b"get /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "an unknown method": b"BREW /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "chunk size of no digits": CHUNKED + b"zz\r\n\r\n",
    "chunk size negative": CHUNKED + b"-1\r\n\r\n",
    "chunk size with 0x": CHUNKED + b"0x1\r\na\r\n0\r\n\r\n",
    "chunk size overflowing": CHUNKED + b"fffffffffffffffff\r\na\r\n0\r\n\r\n",
    "chunk size and space": CHUNKED + b"1 \r\na\r\n0\r\n\r\n",
    "chunk ended by LF": CHUNKED + b"1\na\n0\n\n",
    "LF in a chunk extension": CHUNKED + b"1;a\nb\r\na\r\n0\r\n\r\n",
    "chunk longer than its size": CHUNKED + b"1\r\nabc\r\n0\r\n\r\n",
    "CL in a trailer": CHUNKED + b"1\r\na\r\n0\r\nContent-Length: 5\r\n\r\n",
}


UPGRADED = {
    "h2c": GET + b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAM\r\n\r\n",
    "WebSocket": GET + b"Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\nSec-WebSocket-Key: a\r\n\r\n",
    "a body": GET + UPGRADE + b"Content-Length: 3\r\n\r\nabc",
    "a body that looks like a request": GET + UPGRADE + b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "chunks": GET + UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN),
    "a length of zero": GET + UPGRADE + b"Content-Length: 0\r\n\r\n",
    "two Connection fields": GET + b"Connection: Upgrade\r\nUpgrade: a, b\r\nConnection: upgrade ,x\r\n\r\n",
    "two Upgrade fields": GET + UPGRADE + b"Upgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("pieces", [1, slow(0)])
@pytest.mark.parametrize("name", one_in(4, UPGRADED))
def test_upgrade_is_ignored(edge: Server, name: str, pieces: int) -> None:
    """The request is answered as HTTP/1.1 with its body, in one piece or byte by byte; the next one is in step."""
    with Wire(edge.port) as wire:
        request = UPGRADED[name] * 2
        for at in range(0, len(request), pieces or len(request)):
            wire.send(request[at : at + (pieces or len(request))])
        for _ in range(2):
            answer = wire.answer()
            assert answer is not None
            assert answer.status == 200
        wire.send(b"GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert [answer.status for answer in wire.rest()] == [404]


def test_upgrade_with_a_body(edge: Server) -> None:
    """The body of a request with Upgrade reaches its call, which names the wrong field in it."""
    ask = b"POST /password/reset HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" + UPGRADE
    body = b'{"reset_code": 1}'
    with Wire(edge.port) as wire:
        wire.send(ask + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        answer = wire.answer()
        assert answer is not None
        assert answer.status == 400
        assert b"reset_code" in answer.body


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all, still the same process at the end and without a fault in its log."""
    server = Server(tmp_path_factory.mktemp("edge"), free_port(), {"AUTHSVC_ISSUER": "https://auth.test"}).start()
    try:
        yield server
        assert server.process is not None
        assert server.process.poll() is None
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        assert "Traceback" not in server.log
    finally:
        server.clean_up()


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_is_400_and_the_end(edge: Server, name: str) -> None:
    """A request that could be understood in two ways gets one 400, and the connection is closed."""
    with Wire(edge.port) as wire:
        wire.send(MALFORMED[name])
        assert_refused(wire.answer(), 400, "invalid_request")
        # Had any of it been taken for a request, this would be answered as well.
        wire.send(GET + b"\r\n")
        assert wire.answer() is None


@pytest.mark.parametrize("name", one_in(3, MALFORMED))
def test_malformed_in_pieces(edge: Server, name: str) -> None:
    """The same, byte by byte: no piece of it looks better than the whole."""
    with Wire(edge.port) as wire:
        try:
            for at in range(len(MALFORMED[name])):
                wire.send(MALFORMED[name][at : at + 1])
        except OSError:
            pass  # it has been refused before the end
        assert_refused(wire.answer(), 400, "invalid_request")
        assert wire.answer() is None


def test_what_is_well_formed_is_taken(edge: Server) -> None:
    """Unusual and right: each is answered, on one connection."""
    right = [
        GET + b"\r\n",
        b"\r\n\r\n" + GET + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nhOST:a\r\nX:\t \xff\r\n\r\n",
        b"GET /%68ealthz HTTP/1.1\r\nHost: a\r\n\r\n",
        GET + b"Upgrade: h2c\r\n\r\n",  # without Connection it means nothing
        GET + b"Transfer-Encoding: Chunked\r\n\r\n1;ext=1\r\na\r\n0\r\nX-Trailer: b\r\n\r\n",
        GET + b"Content-Length: 3\r\n\r\nabc",
    ]
    with Wire(edge.port) as wire:
        for request in right:
            wire.send(request)
            answer = wire.answer()
            assert answer is not None
            assert answer.status == 200, request
            assert answer.all("strict-transport-security") == ["max-age=31536000; includeSubDomains"]
        wire.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        answer = wire.answer()
        assert answer is not None
        assert (answer.status, answer.all("connection")) == (200, ["close"])


def test_trace_is_405(edge: Server) -> None:
    """ASVS 13.4.4: nothing echoes a request."""
    with Wire(edge.port) as wire:
        wire.send(b"TRACE /healthz HTTP/1.1\r\nHost: a\r\nCookie: secret=1\r\n\r\n")
        answer = wire.answer()
        assert answer is not None
        assert (answer.status, answer.json["error"]) == (405, "method_not_allowed")
        assert b"secret" not in answer.body


def test_a_trailer_is_not_a_header(edge: Server) -> None:
    """A field after the body, which proxies don't look at, authenticates nobody."""
    basic = httpx.BasicAuth(*edge.admin)._auth_header.encode()
    body = b"7\r\ntoken=x\r\n0\r\n"
    with Wire(edge.port) as wire:
        wire.send(CHUNKED[:-2] + b"Authorization: " + basic + b"\r\n\r\n" + body + b"\r\n")
        allowed = wire.answer()
        wire.send(CHUNKED + body + b"Authorization: " + basic + b"\r\n\r\n")
        refused = wire.answer()
    assert allowed is not None
    assert refused is not None
    assert (allowed.status, refused.status) == (200, 401)


@pytest.mark.parametrize(
    "request_",
    [
        GET + b"X: " + b"a" * 16_400 + b"\r\n\r\n",
        GET + b"".join(b"X%d: y\r\n" % number for number in range(100)) + b"\r\n",
        b"GET /" + b"a" * 16_400 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        GET + b"".join(b"X-%04d: %s\r\n" % (number, b"a" * 300) for number in range(60)) + b"\r\n",
    ],
    ids=["one field", "101 fields", "target", "all together"],
)
def test_a_large_head_is_431(edge: Server, request_: bytes) -> None:
    """A head over 16 KiB or over 100 fields is a 431, in one piece or in many, on a new connection or a used one."""
    for pieces in (1, 7):
        for used in (False, True):
            with Wire(edge.port) as wire:
                if used:
                    wire.send(GET + b"\r\n")
                    assert wire.answer() is not None
                size = len(request_) // pieces + 1
                for at in range(0, len(request_), size):
                    wire.send(request_[at : at + size])
                assert_refused(wire.answer(), 431, "head_too_large")
                assert wire.answer() is None


def test_a_head_just_under_the_bounds(edge: Server) -> None:
    """16 KiB and 100 fields are taken, also behind a body that came in the same piece."""
    fields = b"".join(b"X%02d: %s\r\n" % (number, b"a" * 150) for number in range(99))
    body = b"a" * 60_000
    with Wire(edge.port) as wire:
        wire.send(GET + fields + b"\r\n")
        answer = wire.answer()
        assert answer is not None
        assert answer.status == 200
        request = b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n" + body + GET + fields[:10_000]
        wire.send(request)
        wire.send(fields[10_000:] + b"\r\n")
        statuses = [answer.status if (answer := wire.answer()) else None for _ in range(2)]
        assert statuses == [404, 200]


def test_endless_heads_take_no_memory(edge: Server) -> None:
    """The server keeps hardly anything of 400 MB of one field, of many fields, of a trailer or of chunks."""
    assert edge.process is not None
    before = resident_kib(edge.process.pid)
    begins = {
        GET + b"X: ": (b"a" * 65536, 431),
        GET: (b"X: y\r\n" * 10_000, 431),
        CHUNKED + b"0\r\nX: ": (b"a" * 65536, 413),
        CHUNKED + b"1;ext=": (b"a" * 65536, 413),
    }
    wires = []
    for begin, (more, status) in begins.items():
        wire = Wire(edge.port)
        wires.append(wire)
        wire.send(begin)
        sent = 0
        try:
            while sent < 100 * 1024 * 1024:
                wire.send(more)
                sent += len(more)
        except OSError:
            pass
        assert sent < 20 * 1024 * 1024, "it was read on and on"
        if sent < 3 * 1024 * 1024:  # or it was cut off while we were still sending, and the answer with it
            answer = wire.answer()
            assert answer is None or answer.status == status
    assert resident_kib(edge.process.pid) - before < 10 * 1024
    for wire in wires:
        wire.socket.close()


def test_a_refusal_reaches_a_client_that_is_still_sending(edge: Server) -> None:
    """The connection is not reset under an answer: 413 and 431 arrive though more was on its way."""
    json = b"Content-Type: application/json\r\n"
    for request, status in (
        (b"POST /login HTTP/1.1\r\nHost: a\r\n" + json + b"Content-Length: 900000\r\n\r\n" + b"a" * 900_000, 413),
        (GET + b"X: " + b"a" * 900_000, 431),
    ):
        for _ in range(20):
            with Wire(edge.port) as wire:
                wire.send(request)
                answer = wire.answer()
                assert answer is not None
                assert (answer.status, answer.all("connection")) == (status, ["close"])
                assert wire.socket.recv(1) == b""  # a reset is an exception


def test_earlier_requests_are_answered_first(edge: Server) -> None:
    """A malformed request changes neither the answers to the requests before it nor their order."""
    for broken, status in (
        (b"XXX\r\n\r\n", 400),
        (GET + b"X: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (CHUNKED + b"zz\r\n", 400),
    ):
        with Wire(edge.port) as wire:
            wire.send(
                b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"
                + GET
                + b"\r\n"
                + b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
                + broken
            )
            answers = wire.rest()
        assert [answer.status for answer in answers] == [200, 200, 404, status]
        assert answers[0].json == {"status": "ready"}
        assert answers[3].all("connection") == ["close"]


def test_too_many_at_once_on_a_connection(edge: Server) -> None:
    """Of endless pipelined requests a bounded number waits; those are answered, and it ends with a 400."""
    with Wire(edge.port) as wire:
        wire.send((GET + b"\r\n") * 2000)
        answers = wire.rest()
    assert 100 <= len(answers) < 2000
    assert {answer.status for answer in answers[:-1]} == {200}
    assert answers[-1].status == 400


def test_smuggling_probes(edge: Server) -> None:
    """Each of a thousand requests with another one hidden in it is read in one way, and answered once."""
    for probe in probes(1000):
        with Wire(edge.port) as wire:
            wire.send(probe + GET + b"Connection: close\r\n\r\n")
            assert_in_step(wire.rest(), probe)


TOKENS = [
    b"GET ",
    b"POST ",
    b"/",
    b"/introspect",
    b" HTTP/1.1",
    b"\r\n",
    b"\n",
    b"\r",
    b"Host: a",
    b":",
    b" ",
    b"0",
    b"\0",
]
TOKENS += [
    b"Content-Length: ",
    b"Transfer-Encoding: chunked",
    b"Connection: close",
    b"Upgrade: h2c",
    b"ffff",
    b"%00",
    b"\xff",
]
TOKENS += [GET + b"\r\n", CHUNKED, b"Expect: 100-continue", b"Content-Type: application/json", b"a" * 5000, b"{", b'"']
NOISE = st.lists(st.sampled_from(TOKENS) | st.binary(max_size=8), max_size=40).map(b"".join)


@settings(
    max_examples=examples(300), deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(st.lists(NOISE, min_size=1, max_size=3))
def test_noise(edge: Server, pieces: list[bytes]) -> None:
    """The server answers any bytes with a status of its contract or with none, and stays up."""
    with Wire(edge.port, 2.0) as wire:
        try:
            for piece in pieces:
                wire.send(piece)
            wire.socket.shutdown(1)
        except OSError:
            pass
        for answer in wire.rest():
            assert answer.status in {100, 200, 400, 401, 404, 405, 413, 415, 431}, (answer, pieces)


def test_paths_are_told_apart(edge: Server) -> None:
    """An encoded slash is no slash, and dots are no way up."""
    for path, status in (("/healthz", 200), ("/%2Fhealthz", 404), ("/x/../healthz", 404), ("//healthz", 404)):
        with Wire(edge.port) as wire:
            wire.send(f"GET {quote(path, safe='/%')} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            answer = wire.answer()
            assert answer is not None
            assert answer.status == status, path
