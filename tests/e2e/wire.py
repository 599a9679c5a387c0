"""Bytes to a server and what comes back, without a client library that would mend or refuse them."""

import json
import random
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

WITHIN_S = 60.0  # milliseconds on an idle machine


@dataclass
class Answer:
    """One answer. Names of fields in lower case."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for given, value in self.fields if given == name]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One connection. Reading raises TimeoutError when nothing comes."""

    def __init__(self, port: int, within_s: float = WITHIN_S) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), within_s)
        self.socket.settimeout(within_s)
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, *, head: bool = False) -> Answer | None:
        """The next answer; None when the connection ends before it. `head`: to a HEAD, which has no body."""
        while b"\r\n\r\n" not in self._received:
            if not self._more():
                assert self._received == b""
                return None
        raw, _, self._received = self._received.partition(b"\r\n\r\n")
        line, *fields = raw.decode("latin-1").split("\r\n")
        version, status, _ = line.split(" ", 2)
        assert version == "HTTP/1.1"
        pairs = [(name.lower(), value.strip()) for name, _, value in (field.partition(":") for field in fields)]
        answer = Answer(int(status), pairs, b"")
        length = 0 if head else int((answer.all("content-length") or ["0"])[0])
        while len(self._received) < length:
            assert self._more(), "the answer broke off"
        answer.body, self._received = self._received[:length], self._received[length:]
        return answer

    def read(self, length: int) -> bytes:
        """The next bytes."""
        while len(self._received) < length:
            assert self._more(), "the connection broke off"
        piece, self._received = self._received[:length], self._received[length:]
        return piece

    def rest(self) -> list[Answer]:
        """All answers until the connection ends."""
        answers = []
        while (answer := self.answer()) is not None:
            answers.append(answer)
        return answers

    def is_ended(self) -> bool:
        """Whether the other side has ended the connection; does not wait, and keeps what came before."""
        self.socket.setblocking(False)
        try:
            while piece := self.socket.recv(65536):
                self._received += piece
            return True
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        finally:
            self.socket.settimeout(WITHIN_S)

    def _more(self) -> bool:
        try:
            piece = self.socket.recv(65536)
        except ConnectionResetError:
            piece = b""
        self._received += piece
        return bool(piece)


def assert_refused(answer: Answer | None, status: int, code: str) -> None:
    """The one shape of errors, with what every answer has, and the end of the connection announced."""
    assert answer is not None
    assert answer.status == status, answer
    assert answer.all("content-type") == ["application/json"]
    assert set(answer.json) == {"error", "error_description"}
    assert answer.json["error"] == code
    assert answer.all("connection") == ["close"]
    assert answer.all("cache-control") == ["no-store"]
    assert answer.all("x-content-type-options") == ["nosniff"]
    assert answer.all("content-security-policy") == ["default-src 'none'; frame-ancestors 'none'"]
    assert len(answer.all("x-request-id")) == 1
    assert len(answer.all("date")) == 1
    assert answer.all("server") == []
    assert len(answer.all("retry-after")) == (1 if status == 503 else 0)


def probes(count: int) -> Iterator[bytes]:
    """POSTs with a GET of /hidden in or behind them, framed in ways that two readers may take differently."""
    chance = random.Random(7)
    hidden = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
    spaces = [b"", b"", b" ", b"\t", b"\x0b", b"\r\n "]
    lengths = [b"%d" % len(hidden), b"0", b"+0", b"0, 0", b"-0", b"0x0", b"00", b"5"]
    encodings = [
        b"chunked",
        b"Chunked",
        b"chunked, identity",
        b"identity",
        b"x",
        b'"chunked"',
        b"chunked;q=1",
        b"\0chunked",
    ]
    for _ in range(count):
        fields = []
        if chance.random() < 0.8:
            fields.append(b"Content-Length%s: %s" % (chance.choice(spaces), chance.choice(lengths)))
        if chance.random() < 0.8:
            fields.append(b"Transfer-Encoding%s:%s%s" % (*chance.choices(spaces, k=2), chance.choice(encodings)))
        if fields and chance.random() < 0.2:
            fields.append(chance.choice(fields))
        chance.shuffle(fields)
        end = chance.choice([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"])
        body = chance.choice([b"0\r\n\r\n", b"0\n\n", b"00\r\n\r\n", b"0;a=b\r\n\r\n", b"%x\r\n" % len(hidden), b""])
        head = b"POST /healthz HTTP/1.1\r\nHost: a\r\n" + b"".join(field + end for field in fields)
        yield head + b"\r\n" + body + hidden


def assert_in_step(answers: list[Answer], probe: bytes) -> None:
    """One reading of a probe with a last GET behind it: each of the three answered at most once, in order.

    After a 400 there is nothing, and what has both a length and an encoding, or two, gets nothing else.
    """
    statuses = [answer.status for answer in answers]
    assert re.fullmatch("(405)?(404)?(200|400)", "".join(map(str, statuses))), (statuses, probe)
    framings = re.findall(rb"(?i)content-length|transfer-encoding", probe)
    assert len(framings) < 2 or statuses == [400], (statuses, probe)
