"""What a plain request is, byte by byte: `/introspect` and `/verify` as most clients and gateways send them.

`read` takes only what it is sure to understand as the general way does. What is not plain may be as good, and nothing
is refused here: the general way does it.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Iterable
from typing import NamedTuple

from msgspec.json import encode

from authsvc.api.parsing import FORM, JSON
from authsvc.api.schemas import Requirements
from authsvc.core import token as tokens
from authsvc.core.session import Active
from authsvc.core.token import Kind, Token
from authsvc.edge.limits import MAX_FIELDS
from authsvc.errors import AccessDenied, InvalidRequest
from authsvc.flows.deps import Deps
from authsvc.flows.introspect import answers, judge, note_use
from authsvc.metrics import Call
from authsvc.store.lookup import Answer
from authsvc.web import cookies, verify
from authsvc.web.middleware.headers import fit_request_id, new_request_id

# Nobody's plain request is larger.
MAX_BYTES = 4096

Fields = dict[bytes, bytes]

_HEAD = re.compile(
    rb"(POST /introspect|GET /verify(?:\?[A-Za-z0-9._~:/=&+%-]*+)?) HTTP/1\.1((?:\r\n[A-Za-z0-9-]++: [ -~]++)++)"
)
_FIELD = re.compile(rb"\r\n([A-Za-z0-9-]++): ([ -~]++)")
_BODY = re.compile(rb"token=([0-9A-Za-z_.~-]{1,200})(?:&token_type_hint=[a-z_]{1,20})?")
_CREDENTIALS = re.compile(rb"([A-Za-z0-9._-]{1,64}):([A-Za-z0-9._-]{1,200})")
_LENGTH = re.compile(rb"[1-9][0-9]{0,3}")
_FORM = FORM.encode()
_OK = b"HTTP/1.1 200 OK\r\n"
# What these ask for is the general way's business: of any request, of an introspection, of what has no body.
_UNUSUAL = {b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer", b"content-encoding"}
_SAID_METHODS = [name.encode() for name in verify.METHOD_HEADERS]
_SAFE = ({b"GET"}, {b"HEAD"})


class Introspection(NamedTuple):
    """A client asks about a token (RFC 7662)."""

    client_id: str
    secret: str
    token: Token | None
    request_id: bytes
    by_cookie: bool = False

    def __repr__(self) -> str:
        return f"Introspection(client_id={self.client_id!r})"  # without the secret

    @classmethod
    def read(cls, query: bytes, fields: Fields, body: bytes) -> "Introspection | None":
        asked = _BODY.fullmatch(body)
        if asked is None or not _form_follows(fields) or fields.get(b"content-length") != b"%d" % len(body):
            return None
        scheme, _, encoded = fields.get(b"authorization", b"").partition(b" ")
        if scheme != b"Basic":
            return None
        try:
            credentials = _CREDENTIALS.fullmatch(b64decode(encoded, validate=True))
        except ValueError:  # not base64
            return None
        if credentials is None:
            return None
        token = tokens.parse(asked[1].decode())
        return cls(credentials[1].decode(), credentials[2].decode(), token, _request_id(fields))

    def told(self, deps: Deps, found: Answer) -> tuple[bytes, bytes] | None:
        told = answers(deps, found, self.secret, (self.token,))
        if told is None:
            return None
        body = encode(told[0])
        return b"%scontent-type: %s\r\ncontent-length: %d\r\n" % (_OK, JSON.encode(), len(body)), body


class Verification(NamedTuple):
    """A gateway asks whether what brings this token may pass. There is no client: nobody authenticates."""

    demands: Requirements
    token: Token
    by_cookie: bool
    request_id: bytes
    client_id: None = None

    @classmethod
    def read(cls, query: bytes, fields: Fields, body: bytes) -> "Verification | None":
        if body or b"content-length" in fields:
            return None
        scheme, _, text = fields.get(b"authorization", b"").partition(b" ")
        try:
            demands = verify.parse_requirements(query)
            cookie = cookies.token_in([fields[b"cookie"].decode()]) if b"cookie" in fields else None
        except (AccessDenied, InvalidRequest):
            return None
        if scheme:
            presented = text.decode() if scheme == b"Bearer" and cookie is None else ""
        else:  # a cookie counts for what changes nothing, whatever site it comes from
            safe = {fields[name] for name in _SAID_METHODS if name in fields} in _SAFE
            presented = cookie if cookie is not None and safe else ""
        token = tokens.parse(presented, Kind.ACCESS)
        return None if token is None else cls(demands, token, not scheme, _request_id(fields))

    def told(self, deps: Deps, found: Answer) -> tuple[bytes, bytes]:
        now = deps.clock()
        verdict = judge(deps, self.token, found.session(self.token.handle), now)
        who = verify.authorize(verdict, self.demands)
        if isinstance(verdict, Active):
            note_use(deps, verdict, now)
        told = "".join([f"{name}: {value}\r\n" for name, value in who.items()])
        return b"%s%scontent-length: 0\r\n" % (_OK, told.encode()), b""


Plain = Introspection | Verification
CALLS = {Introspection: Call("POST", "/introspect"), Verification: Call("GET", "/verify")}

_KINDS: dict[bytes, Callable[[bytes, Fields, bytes], Plain | None]] = {
    b"POST /introspect": Introspection.read,
    b"GET /verify": Verification.read,
}


def read(request: bytes) -> Plain | None:
    """Parse the bytes of one whole request; None if it is not plain, or not whole, or more than one."""
    head, end, body = request.partition(b"\r\n\r\n")
    parsed = _parsed(head) if end else None
    if parsed is None:
        return None
    call, _, query = parsed[0].partition(b"?")
    return _KINDS[call](query, parsed[1], body)


def without_body(request: bytes) -> bool:
    """Whether the head of what may be plain is all that has arrived: many clients send the body after it."""
    head, end, body = request.partition(b"\r\n\r\n")
    parsed = _parsed(head) if end and not body else None
    return (
        parsed is not None
        and _form_follows(parsed[1])
        and _LENGTH.fullmatch(parsed[1].get(b"content-length", b"0")) is not None
    )


def lines(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%s: %s\r\n" % field for field in fields])


def _parsed(head: bytes) -> tuple[bytes, Fields] | None:
    """The call and the header fields of a plain head; None if it is not plain."""
    parts = _HEAD.fullmatch(head) if len(head) <= MAX_BYTES else None
    if parts is None:
        return None
    call, raw = parts.groups()
    fields = {name.lower(): value for name, value in _FIELD.findall(raw)}
    if (
        len(fields) != raw.count(b"\r\n")  # one is there twice
        or len(fields) > MAX_FIELDS
        or b"host" not in fields
        or fields.get(b"connection", b"keep-alive").lower() != b"keep-alive"
        or not _UNUSUAL.isdisjoint(fields)
    ):
        return None
    return call, fields


def _form_follows(fields: Fields) -> bool:
    return fields.get(b"content-type") == _FORM and b"origin" not in fields  # which CORS would have to answer


def _request_id(fields: Fields) -> bytes:
    given = fields.get(b"x-request-id", b"")
    return given if fit_request_id(given) else new_request_id().encode()
