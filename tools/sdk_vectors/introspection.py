"""Vectors of `/introspect`: responses of a service, and the answer that each becomes."""

import asyncio
import json
import ssl
from typing import Any

from authsvc_sdk.answers import Active, read
from authsvc_sdk.errors import Misconfigured, Unavailable
from authsvc_sdk.wire import MAX_RESPONSE, Wire

from tools.sdk_vectors.answers import ANSWERS, GOOD, Response, plain
from tools.sdk_vectors.service import serve
from tools.sdk_vectors.shapes import TOKEN

_TIMEOUT_S = 2.0
# For a busy machine. Only the cases that wait for the limit need it to be short.
_PATIENT_S = 60.0
_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # unused over http, and made once because that takes time
_INACTIVE = {"active": False}
_HANG, _CLOSE, _CUT = Response(do="hang"), Response(do="close"), Response(do="cut", body='{"active": tr')


def _status(status: int, **headers: str) -> Response:
    return Response(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})


def _padded(size: int) -> Response:
    """A good answer of so many bytes."""
    answer = plain(GOOD)
    return Response(body=answer.body, padding=size - len(answer.body))


# What each of the requests gets. The last response is repeated.
_RESPONSES: dict[str, list[Response]] = {
    "active": [plain(GOOD)],
    "inactive": [plain(_INACTIVE)],
    "inactive, with other fields": [plain(_INACTIVE | {"sub": "ada", "scope": 7})],
    "unknown fields": [plain(GOOD | {"news": {"a": [1]}})],
    "without Date": [Response(body=plain(GOOD).body, headers={"Date": ""})],
    "a Date that is none": [Response(body=plain(GOOD).body, headers={"Date": "soon"})],
    "without recheck_at": [plain({name: value for name, value in GOOD.items() if name != "recheck_at"})],
    "another Content-Type": [Response(body=plain(GOOD).body, headers={"Content-Type": "text/plain"})],
    "503": [_status(503)],
    "503 with Retry-After": [_status(503, Retry_After="7")],
    "503 with a Retry-After of zero": [_status(503, Retry_After="0")],
    "503 with a date": [_status(503, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT")],
    "503 with a negative Retry-After": [_status(503, Retry_After="-1")],
    "503 is not asked again": [_status(503), plain(GOOD)],
    "503 with an active body": [Response(status=503, body=plain(GOOD).body)],
    "429 with Retry-After": [_status(429, Retry_After="30"), plain(GOOD)],
    "408": [_status(408)],
    "425": [_status(425)],
    "500": [_status(500)],
    "501": [_status(501)],
    "502": [_status(502)],
    "502 and then an answer": [_status(502), plain(GOOD)],
    "504": [_status(504)],
    "504 and then an answer": [_status(504), plain(_INACTIVE)],
    "599": [_status(599)],
    "400": [_status(400)],
    "401": [_status(401, WWW_Authenticate='Basic realm="authsvc"')],
    "401 is not asked again": [_status(401), plain(GOOD)],
    "403": [_status(403)],
    "404": [_status(404)],
    "401 with an inactive body": [Response(status=401, body=plain(_INACTIVE).body)],
    "201 with an active body": [Response(status=201, body=plain(GOOD).body)],
    "204": [_status(204)],
    **{
        f"redirect {status}": [_status(status, Location="/introspect"), plain(GOOD)]
        for status in (301, 302, 303, 307, 308)
    },
    "no answer": [_HANG],
    "no answer to the first request": [_HANG, plain(GOOD)],
    "a closed connection": [_CLOSE],
    "a closed connection, and then an answer": [_CLOSE, plain(GOOD)],
    "half an answer": [_CUT],
    "half an answer, and then a whole one": [_CUT, plain(_INACTIVE)],
    "not JSON": [Response(body="<!doctype html><title>Log in</title>")],
    "empty": [Response(body="")],
    "half of a JSON document": [Response(body='{"active": true, "sub": ')],
    "two JSON documents": [Response(body='{"active": false}{"active": true}')],
    "broken characters": [Response(body=plain(GOOD).body.replace("ada", "ad\udcff"))],
    "nested too deeply": [Response(body="[" * 12_000)],
    "compressed": [Response(body=plain(GOOD).body, headers={"Content-Encoding": "gzip"})],
    "64 KiB": [_padded(1 << 16)],
    "1 MiB": [_padded(MAX_RESPONSE)],
    "a byte more than 1 MiB": [_padded(MAX_RESPONSE + 1)],
    "8 MiB": [_padded(8 << 20)],
}


def outcomes() -> dict[str, Any]:
    """Responses and bodies, with the outcome of each."""
    bodies = {name: [plain(body)] for name, body in ANSWERS.items()}
    return asyncio.run(_outcomes(_RESPONSES | bodies))


async def _outcomes(responses: dict[str, list[Response]]) -> dict[str, Any]:
    cases = [await _case(name, listed, None) for name, listed in responses.items()]
    for audience in ("orders", "billing"):
        for name, aud in {"a list": ["orders", "x"], "text": "orders", "none": [], "a part": ["order"]}.items():
            cases.append(await _case(f"{name} for the audience {audience}", [plain(GOOD | {"aud": aud})], audience))
    return {"token": TOKEN, "timeout_s": _TIMEOUT_S, "cases": cases}


async def _case(name: str, responses: list[Response], audience: str | None) -> dict[str, Any]:
    async with serve(responses) as (url, requests):
        timeout_s = _TIMEOUT_S if _HANG in responses else _PATIENT_S
        wire = Wire(url, ("backend", "secret"), timeout_s, _TLS)
        try:
            outcome = await _outcome(wire, audience)
        finally:
            await wire.aclose()
        return {
            "name": name,
            "audience": audience,
            "responses": [response.described() for response in responses],
            "requests": len(requests),
            "outcome": outcome,
        }


async def _outcome(wire: Wire, audience: str | None) -> dict[str, Any]:
    try:
        response = await wire.introspect([TOKEN])
        timed = read(response.answers[0], TOKEN, audience)
    except Misconfigured:
        return {"answer": "refused"}
    except Unavailable as error:
        return {"answer": "unavailable", "retry_after_s": error.retry_after_s}
    dated = response.date is not None
    if not isinstance(timed.answer, Active):
        return {"answer": "inactive", "cacheable": dated}
    user = timed.answer
    fields = {
        "sub": user.sub,
        "client_id": user.client_id,
        "session_id": user.session_id,
        "exp": user.exp,
        "iat": user.iat,
        "auth_time": user.auth_time,
        "scope": user.scope,
        "scopes": sorted(user.scopes),
        "username": user.username,
        "roles": sorted(user.roles),
        "amr": list(user.amr),
        "acr": user.acr,
        "vouched_by": user.vouched_by,
        "token_use": user.token_use,
        "act": _plain(user.act),
        "clients": list(user.clients),
        "aud": list(user.aud),
        "version": user.version,
        "claims": _plain(user.claims),
    }
    return {"answer": "active", "cacheable": dated and timed.recheck_at is not None, "user": fields}


def _plain(value: object) -> Any:
    return json.loads(json.dumps(value, default=dict))
