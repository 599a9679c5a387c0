"""The requests that the fast path takes, read from a head that uvicorn's parser has read already.

A request is taken only if every header field is on an allow-list. Any other field may change the answer, now or in a
later version, so a request with it goes the general way. Nothing is refused here: the general way does that.
"""

import re
from binascii import a2b_base64
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, NamedTuple
from urllib.parse import unquote

from msgspec import Struct

from authsvc.api.parsing import FORM, JSON
from authsvc.api.schemas.requests import Requirements
from authsvc.core import token as tokens
from authsvc.core.address import canonical
from authsvc.core.session import Active
from authsvc.core.token import BEARER, Token
from authsvc.errors import AccessDenied, InvalidRequest
from authsvc.flows.deps import Deps
from authsvc.flows.introspect import Asker, answer, judge, note_use
from authsvc.flows.recall import remember
from authsvc.metrics import Call
from authsvc.store import keys
from authsvc.store.moment import Moment
from authsvc.web import cookies, verify

# By name in lower case. Each name occurs once.
Fields = dict[bytes, bytes]
# The first lines of an answer, and its body.
Told = tuple[bytes, bytes]

_OK = b"HTTP/1.1 200 OK\r\n"
_JSON = b"%scontent-type: %s\r\n" % (_OK, JSON.encode())
_BODY = re.compile(
    rb"token=([0-9A-Za-z_.~-]{1,200})(?:&token_type_hint=[a-z_]{1,20})?(?:&ip=([0-9A-Fa-f.:]{2,45}|[0-9A-Fa-f%]{2,90}))?"
)
_CREDENTIALS = re.compile(rb"([A-Za-z0-9._-]{1,64}):([A-Za-z0-9._-]{1,200})")
_QUERY = re.compile(rb"[A-Za-z0-9._~:/=&+%-]*")
_METHOD_FIELDS = [name.encode() for name in verify.METHOD_HEADERS]
_CREDENTIAL_FIELDS = (b"authorization", *_METHOD_FIELDS)
_SAFE = ({b"GET"}, {b"HEAD"})

# Fields that change no answer: about the client, the connection, the proxies on the way, and traces.
_NEUTRAL = frozenset(
    b"""
    host user-agent connection keep-alive accept-encoding accept-language cache-control pragma dnt priority
    x-request-id x-correlation-id via forwarded x-real-ip x-client-ip true-client-ip x-cluster-client-ip
    x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-forwarded-server x-forwarded-scheme
    x-forwarded-ssl x-forwarded-prefix x-forwarded-uri x-scheme x-original-forwarded-for
    x-envoy-attempt-count x-envoy-expected-rq-timeout-ms x-envoy-external-address x-envoy-internal
    x-envoy-decorator-operation x-envoy-original-path x-envoy-peer-metadata x-envoy-peer-metadata-id
    cf-connecting-ip cf-ipcountry cf-ray cf-visitor cdn-loop x-amzn-trace-id x-amz-cf-id x-cloud-trace-context
    traceparent tracestate baggage b3 x-b3-traceid x-b3-spanid x-b3-parentspanid x-b3-sampled x-b3-flags
    uber-trace-id sentry-trace x-datadog-trace-id x-datadog-parent-id x-datadog-sampling-priority x-datadog-tags
    """.split()
)
# The fields of a trace. A service that writes traces leaves such a request to the general way, which makes the span.
TRACE_FIELDS = frozenset({b"traceparent", b"tracestate"})
_INTROSPECT_FIELDS = _NEUTRAL | {b"accept", b"authorization", b"content-type", b"content-length"}
# A gateway copies the fields of a browser's request. They are about that request. This one has no body.
_VERIFY_FIELDS = _NEUTRAL | frozenset(
    b"""
    authorization cookie x-forwarded-method x-original-method x-original-uri x-original-url x-original-host
    accept accept-charset content-type content-encoding origin referer range if-match if-none-match if-modified-since
    if-unmodified-since if-range upgrade-insecure-requests x-requested-with x-csrf-token x-xsrf-token save-data
    sec-fetch-site sec-fetch-mode sec-fetch-dest sec-fetch-user sec-gpc sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform
    sec-ch-ua-arch sec-ch-ua-full-version-list sec-ch-prefers-color-scheme device-memory viewport-width
    hx-request hx-target hx-trigger hx-current-url
    """.split()
)
# HTTP libraries send these values by default, or when they are told to accept JSON. Other values may ask for another
# format, such as the signed answers of RFC 9701.
_ACCEPTS_JSON = frozenset(
    {
        b"*/*",
        b"application/json",
        b"application/json, */*",
        b"application/json, */*;q=0.5",
        b"application/json,*/*",
        b"application/json;charset=UTF-8",
        b"application/json, text/plain, */*",
        b"application/json, application/*+json",
        b"text/plain, application/json, application/*+json, */*",
        b"text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
        b"text/html, image/gif, image/jpeg, */*; q=0.2",
    }
)
_FORMS = frozenset({FORM.encode(), FORM.encode() + b";charset=UTF-8", FORM.encode() + b"; charset=utf-8"})
# A body of so many digits is short enough.
_LENGTH_DIGITS = 4


class IntrospectRequest(Struct, frozen=True):
    """A client asks about a token (RFC 7662). token: None if the text has not the shape of an access token or a key."""

    asker: Asker
    token: Token | None
    by_cookie: ClassVar = False

    def __repr__(self) -> str:
        return f"IntrospectRequest({self.asker!r})"

    @property
    def wanted(self) -> Sequence[str]:
        """The keys of the service and of the asking client. The session names the other keys."""
        return keys.SERVICE, keys.client(self.asker.client_id)

    def answer(self, deps: Deps, moment: Moment, question: bytes, now: float) -> bytes | None:
        """The answer, or None for a client that may not introspect. Raises StoreUnavailable."""
        client = self.asker.admitted(moment, now)
        return None if client is None else answer(deps, moment, self.asker, client, self.token, question, now)


class VerifyRequest(Struct, frozen=True):
    """A gateway asks whether the request that brings this token may pass. The gateway does not authenticate."""

    requirements: Requirements
    token: Token
    by_cookie: bool
    wanted: ClassVar = (keys.SERVICE,)

    def answer(self, deps: Deps, moment: Moment, question: bytes, now: float) -> bytes:
        """The fields about the user. Raises what `verify.authorize` raises, and StoreUnavailable."""
        verdict = judge(deps, self.token, moment.found(self.token.handle), now)
        fields = verify.authorize(verdict, self.requirements, now)
        lines = "".join([f"{name}: {value}\r\n" for name, value in fields.items()]).encode()
        if isinstance(verdict, Active):  # `authorize` has raised otherwise
            note_use(deps, verdict, now)
            until = verify.holds_until(verdict, self.requirements)
            remember(deps, moment, question, verdict, None, now, lines, until)
        return lines


FastRequest = IntrospectRequest | VerifyRequest


class FastCall(NamedTuple):
    """One call of the fast path.

    fields: the allow-list. fits: whether query and fields have plain values.

    presented: everything that `read` reads, after the path. Only the last part may have a line feed.

    read: makes the request from query, fields and body. None: the request is for the general way after all.

    told: makes the first lines and the body of a response from an answer.
    """

    call: Call
    method: bytes
    fields: frozenset[bytes]
    fits: Callable[[bytes, Fields], bool]
    presented: Callable[[bytes, Fields, bytes], bytes]
    read: Callable[[bytes, Fields, bytes], FastRequest | None]
    told: Callable[[bytes], Told]


def _fits_introspect(query: bytes, fields: Fields) -> bool:
    return (
        not query
        and fields.get(b"content-type") in _FORMS
        and len(fields.get(b"content-length", b"too long")) <= _LENGTH_DIGITS
        and fields.get(b"accept", b"*/*") in _ACCEPTS_JSON
    )


def _presented_to_introspect(query: bytes, fields: Fields, body: bytes) -> bytes:
    return b"/introspect\n%s\n%s" % (fields.get(b"authorization", b""), body)


def _told_by_introspect(answer: bytes) -> Told:
    return b"%scontent-length: %d\r\n" % (_JSON, len(answer)), answer


def _read_introspect(foreign: tuple[str, ...], query: bytes, fields: Fields, body: bytes) -> IntrospectRequest | None:
    asked = _BODY.fullmatch(body)
    scheme, _, encoded = fields.get(b"authorization", b"").partition(b" ")
    if asked is None or scheme != b"Basic":
        return None
    try:
        credentials = _CREDENTIALS.fullmatch(a2b_base64(encoded, strict_mode=True))
    except ValueError:  # not base64
        return None
    if credentials is None:
        return None
    ip = None if asked[2] is None else canonical(unquote(asked[2].decode()))
    if ip is None and asked[2] is not None:
        return None
    asker = Asker(credentials[1].decode(), tokens.digest(credentials[2].decode()), ip=ip)
    return IntrospectRequest(asker, tokens.parse(asked[1].decode(), *BEARER, foreign=foreign))


def _fits_verify(query: bytes, fields: Fields) -> bool:
    return _QUERY.fullmatch(query) is not None


def _presented_to_verify(query: bytes, fields: Fields, body: bytes) -> bytes:
    lines = [b"%s: %s" % (name, fields[name]) for name in _CREDENTIAL_FIELDS if name in fields]
    if b"cookie" in fields:  # other cookies may differ in each request, and count for nothing
        values = cookies.values_in([fields[b"cookie"].decode("latin-1")])
        lines += [b"cookie: " + value.encode("latin-1") for value in values]
    return b"/verify?%s\n%s" % (query, b"\n".join(lines))


def _told_by_verify(answer: bytes) -> Told:
    return b"%s%scontent-length: 0\r\n" % (_OK, answer), b""


def _read_verify(foreign: tuple[str, ...], query: bytes, fields: Fields, body: bytes) -> VerifyRequest | None:
    try:
        requirements = verify.parse_requirements(query)
        reads_cookie = b"cookie" in fields and requirements.source != "bearer"
        cookie = cookies.token_in([fields[b"cookie"].decode("latin-1")]) if reads_cookie else None
    except (AccessDenied, InvalidRequest):
        return None
    authorization = fields.get(b"authorization") if requirements.source != "cookie" else None
    if authorization is not None:  # an empty field is a credential, too: the general way refuses it
        scheme, _, text = authorization.partition(b" ")
        presented = text.decode("latin-1") if scheme == b"Bearer" and cookie is None else ""
    else:  # the cookie counts for requests that change nothing, whatever site they come from
        safe = {fields[name] for name in _METHOD_FIELDS if name in fields} in _SAFE
        presented = cookie if cookie is not None and safe else ""
    token = tokens.parse(presented, *BEARER, foreign=foreign)
    return None if token is None else VerifyRequest(requirements, token, cookie is not None)


def fast_calls(foreign: tuple[str, ...]) -> dict[bytes, FastCall]:
    """The calls of the fast path, by their paths. foreign: the prefixes of foreign keys."""
    return {
        b"/introspect": FastCall(
            Call("POST", "/introspect"),
            b"POST",
            _INTROSPECT_FIELDS,
            _fits_introspect,
            _presented_to_introspect,
            partial(_read_introspect, foreign),
            _told_by_introspect,
        ),
        b"/verify": FastCall(
            Call("GET", "/verify"),
            b"GET",
            _VERIFY_FIELDS,
            _fits_verify,
            _presented_to_verify,
            partial(_read_verify, foreign),
            _told_by_verify,
        ),
    }
