"""Measures a server with wrk and checks that its answers are right.

Wrong answers are fast. So the bench sends a sample of the requests before the first round and checks each answer. In
each round it checks the statuses and the mean size of the answers.
"""

import json
import random
import socket
import subprocess
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any, Literal

from bench import processor
from bench.servers import OTHER_CORE, ROOT, BenchError

Figures = dict[str, float]
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
# In place of a content type. The bodies are tokens then, and each is sent in the head of a GET.
BEARER = "bearer"
SAMPLES = 100
# How long wrk may take for bodies that are sent once.
ONCE_WITHIN_S = 300
# How far the mean size of the answers may differ from the sample. An inactive answer has half the size.
SIZE_TOLERANCE = 0.03


@dataclass(frozen=True)
class Target:
    """A server, the requests for it, and a check of its answers.

    right: takes the JSON of an answer and the body. Where an answer has no content, right takes its header fields.
    choice: how wrk chooses the next body, see wrk.lua. own_ids: whether each request has other ids in its head.
    """

    name: str
    port: int
    path: str
    credentials: str
    bodies: Sequence[str]
    right: Callable[[Any, str], bool]
    content_type: str = FORM
    connections: int = 32
    tokens_each: int = 1
    pause_ms: int = 0
    choice: Literal["uniform", "zipf", "once"] = "uniform"
    own_ids: bool = False
    file: Path = Path()
    answer_bytes: float = 0.0
    content_bytes: float = 0.0

    @property
    def authorization(self) -> str:
        return "Basic " + b64encode(self.credentials.encode()).decode()


def active(answer: object, _: str) -> bool:
    return isinstance(answer, dict) and answer.get("active") is True


def inactive(answer: object, _: str) -> bool:
    return answer == {"active": False}


def prepared(target: Target, directory: Path) -> Target:
    """The target with its bodies in a file. Raises BenchError unless a sample of them gets right answers."""
    return with_file(check(target), directory / f"{target.name}.bodies")


def with_file(target: Target, file: Path) -> Target:
    """The target with its bodies in this file."""
    with file.open("w") as lines:
        lines.writelines(f"{body}\n" for body in target.bodies)
    return replace(target, file=file)


def check(target: Target) -> Target:
    """The target with the mean size of its answers. Raises BenchError unless a sample of them is right."""
    sizes = [_ask(target, body) for body in random.sample(target.bodies, min(SAMPLES, len(target.bodies)))]
    whole, content = mean(whole for whole, _ in sizes), mean(content for _, content in sizes)
    return replace(target, answer_bytes=whole, content_bytes=content)


def measure(target: Target, seconds: float) -> Figures:
    """The rate of requests (or tokens), their latencies, and the server's processor time for each of them.

    Raises BenchError if an answer was wrong.

    A target whose bodies are sent once ends after its last body, whatever the seconds.
    """
    seconds = ONCE_WITHIN_S if target.choice == "once" else seconds
    url = f"http://127.0.0.1:{target.port}{target.path}"
    command = ["taskset", "-c", OTHER_CORE, "wrk", "-t1", f"-c{target.connections}", f"-d{max(int(seconds), 1)}s"]
    command += ["-s", str(ROOT / "bench" / "wrk.lua"), url, "--", str(target.file)]
    command += [target.authorization, target.content_type, str(random.randrange(10**6)), str(target.pause_ms)]
    command += [target.choice, str(target.connections), "ids" if target.own_ids else "none"]
    session = processor.session_at(target.port)
    before = processor.used_s(session) if session else 0.0
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    used_s = processor.used_s(session) - before if session else 0.0
    line = next((line for line in done.stdout.splitlines() if line.startswith("BENCH ")), None)
    if line is None:
        raise BenchError(f"wrk against {target.name}:\n{done.stdout}{done.stderr}")
    found = json.loads(line.removeprefix("BENCH "))
    if found["not_2xx"] or found["failed"] or not found["requests"]:
        raise BenchError(f"{target.name}: not every request was answered: {line}")
    size = found["bytes"] / found["requests"]
    if abs(size / target.answer_bytes - 1) > SIZE_TOLERANCE:
        raise BenchError(f"{target.name}: answers of {size:.0f} bytes, right ones have {target.answer_bytes:.0f}")
    return {
        "rate": found["requests"] * target.tokens_each / found["duration_us"] * 1e6,
        "p50_ms": found["p50_us"] / 1000,
        "p99_ms": found["p99_us"] / 1000,
        "max_ms": found["max_us"] / 1000,
        "cpu_us": used_s / found["requests"] / target.tokens_each * 1e6,
    }


def _ask(target: Target, body: str) -> tuple[int, int]:
    """The size of the answer to this body, with headers and without. Raises BenchError if the answer is not right."""
    head, content = _exchanged(target, body)
    if not head.startswith(b"HTTP/1.1 200 ") or not target.right(_told(head, content), body):
        raise BenchError(f"{target.name}: a wrong answer: {head + content!r:.600}")
    return len(head) + len(content), len(content)


def answer(target: Target, body: str) -> Any:
    """What `right` takes: the answer to this body."""
    return _told(*_exchanged(target, body))


def _told(head: bytes, content: bytes) -> Any:
    if content:
        return json.loads(content)
    fields = (line.partition(": ") for line in head.decode().splitlines()[1:])
    return {name.lower(): value for name, _, value in fields}


def _exchanged(target: Target, body: str) -> tuple[bytes, bytes]:
    """Send one request as wrk does. Returns the head and the content of the answer."""
    request = f"GET {target.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {body}\r\n\r\n"
    if target.content_type != BEARER:
        request = (
            f"POST {target.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {target.authorization}\r\n"
            f"Content-Type: {target.content_type}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        )
    with socket.create_connection(("127.0.0.1", target.port), timeout=10) as connection:
        connection.sendall(request.encode())
        raw = b""
        while not _complete(raw):
            chunk = connection.recv(1 << 20)
            if not chunk:
                break
            raw += chunk
    head, end, content = raw.partition(b"\r\n\r\n")
    return head + end, content


def _complete(raw: bytes) -> bool:
    head, end, content = raw.partition(b"\r\n\r\n")
    if not end:
        return False
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(content) >= int(value)
    return False  # no length: the answer ends with the connection
