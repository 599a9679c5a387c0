"""The short way for the one call that is made on every request of somebody else's system: a plain `/introspect`.

A server's scope, task and messages, and Starlette's request, form and response, cost more than the work itself. This
recognises a request of the plainest kind by its very bytes and answers in bytes; whatever is unusual, a client
to be refused among it, goes the general way, as if this were not here.
"""

import random
import re
from asyncio import Future
from base64 import b64decode
from collections.abc import Iterable
from typing import NamedTuple

from msgspec.json import encode

from authsvc.core import token as tokens
from authsvc.core.token import Token
from authsvc.errors import StoreUnavailable
from authsvc.flows.deps import Deps
from authsvc.flows.introspect import answers
from authsvc.store.lookup import Answer
from authsvc.web.envelope import fit_request_id, headers, new_request_id
from authsvc.web.errors import rendered
from authsvc.web.input import FORM, JSON
from authsvc.web.limits import MAX_FIELDS

Headers = list[tuple[bytes, bytes]]

# Nobody's plain request is larger.
MAX_BYTES = 4096

_FIELD = re.compile(rb"\r\n([A-Za-z0-9-]++): ([ -~]++)")
_HEAD = re.compile(rb"POST /introspect HTTP/1\.1(?:\r\n[A-Za-z0-9-]++: [ -~]++)++")
_BODY = re.compile(rb"token=([0-9A-Za-z_.~-]{1,200})(?:&token_type_hint=[a-z_]{1,20})?")
_CREDENTIALS = re.compile(rb"([A-Za-z0-9._-]{1,64}):([A-Za-z0-9._-]{1,200})")
_LENGTH = re.compile(rb"[1-9][0-9]{0,3}")
_FORM = FORM.encode()
# What these ask for is the general way's business.
_UNUSUAL = {b"content-encoding", b"transfer-encoding", b"expect", b"upgrade", b"origin", b"te", b"trailer"}
_OK = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %%d\r\n" % JSON.encode()
_CLOSE = b"connection: close\r\n"


class Plain(NamedTuple):
    """What a plain request says."""

    client_id: str
    secret: str
    token: Token | None
    request_id: bytes


class Lean:
    """Answers plain introspections: `begin` with the bytes of a request, `answer` when the store has been asked."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._logged = deps.settings.access_log_share
        # The last headers of every answer, made anew when the server's own change: they hold the date.
        self._servers: Headers | None = None
        self._end = b""

    def begin(self, request: bytes) -> "tuple[Plain, Future[Answer]] | None":
        """Ask the store what a plain request needs; None if it is not plain, or is one to be logged."""
        plain = read(request)
        if plain is None or (self._logged and random.random() < self._logged):  # noqa: S311 - nothing depends on it
            return None
        handles = (plain.token.handle,) if plain.token else ()
        return plain, self._deps.store.lookup.ask(plain.client_id, handles)

    def answer(self, plain: Plain, found: "Future[Answer]", servers: Headers, *, last: bool) -> bytes | None:
        """The whole answer; None for a client that is to be refused.

        servers: headers of the server's own, such as the date. last: the connection ends with this answer.
        """
        if servers is not self._servers:
            self._servers = servers
            self._end = _lines(servers) + _lines(headers("%s")) + b"\r\n"
        try:
            told = answers(self._deps, found.result(), plain.secret, (plain.token,))
        except StoreUnavailable as error:  # asking again would double the time that an outage costs
            response = rendered(error)
            head = b"HTTP/1.1 503 Service Unavailable\r\n" + _lines(response.raw_headers)
            return self._whole(head, plain, response.body, last)
        if told is None:
            return None
        body = encode(told[0])
        return self._whole(_OK % len(body), plain, body, last)

    def _whole(self, head: bytes, plain: Plain, body: bytes | memoryview, last: bool) -> bytes:
        return b"%s%s%s%s" % (head, _CLOSE if last else b"", self._end % plain.request_id, body)


def read(request: bytes) -> Plain | None:
    """Parse the bytes of one whole request; None if it is not plain, or not whole, or more than one."""
    head, _, body = request.partition(b"\r\n\r\n")
    asked = _BODY.fullmatch(body)
    if asked is None or (given := _fields(head)) is None or given.get(b"content-length") != b"%d" % len(body):
        return None
    scheme, _, encoded = given.get(b"authorization", b"").partition(b" ")
    if scheme != b"Basic":
        return None
    try:
        credentials = _CREDENTIALS.fullmatch(b64decode(encoded, validate=True))
    except ValueError:  # not base64
        return None
    if credentials is None:
        return None
    request_id = given.get(b"x-request-id", b"")
    return Plain(
        credentials[1].decode(),
        credentials[2].decode(),
        tokens.parse(asked[1].decode()),
        request_id if fit_request_id(request_id) else new_request_id().encode(),
    )


def _lines(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%s: %s\r\n" % field for field in fields)


def without_body(request: bytes) -> bool:
    """Whether the head of what may be plain is all that has arrived: many clients send the body after it."""
    head, end, body = request.partition(b"\r\n\r\n")
    given = _fields(head) if end and not body else None
    return given is not None and _LENGTH.fullmatch(given.get(b"content-length", b"0")) is not None


def _fields(head: bytes) -> dict[bytes, bytes] | None:
    """The header fields of a plain head; None if it is not plain."""
    if len(head) > MAX_BYTES or not _HEAD.fullmatch(head):
        return None
    given = {name.lower(): value for name, value in _FIELD.findall(head)}
    if (
        len(given) != head.count(b"\r\n")  # one is there twice
        or len(given) > MAX_FIELDS
        or b"host" not in given
        or given.get(b"content-type") != _FORM
        or given.get(b"connection", b"keep-alive").lower() != b"keep-alive"
        or not _UNUSUAL.isdisjoint(given)
    ):
        return None
    return given
