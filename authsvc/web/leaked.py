"""Routes that take reports of leaked tokens: from anybody, and from GitHub's secret scanning."""

import asyncio
import hashlib
import math
import time
from base64 import b64encode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authsvc.api.parsing import validated_json
from authsvc.api.schemas import leaks as bodies
from authsvc.core import token as tokens
from authsvc.errors import AccessDenied
from authsvc.flows import leaked
from authsvc.flows.deps import Deps
from authsvc.github import is_signed
from authsvc.web.context import RequestContext
from authsvc.web.reading import json_body, json_bytes, refuse_query

# Answers leave at a multiple of this time since the report had arrived. Ending a thousand tokens takes less than that,
# also on a busy machine. So the time of an answer does not tell how many of the tokens were alive.
STEP_S = 1.0


async def report(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    body = await json_body(ctx.request, bodies.LeakReport)
    arrived = time.monotonic()
    if await leaked.report(ctx.deps, ctx.caller, [(text, body.url) for text in body.tokens]):
        await asyncio.sleep(to_next_step(time.monotonic() - arrived))
    return JSONResponse({}, status_code=202)


async def report_of_github(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    raw = await _signed(ctx.request, ctx.deps)
    finds = validated_json(bodies.GithubFinds, raw).root
    arrived = time.monotonic()
    caller = ctx.caller_as("github")
    if await leaked.report(ctx.deps, caller, [(find.token, find.url) for find in finds], limited=False):
        await asyncio.sleep(to_next_step(time.monotonic() - arrived))
    return JSONResponse([_labelled(find) for find in finds])


def to_next_step(passed_s: float) -> float:
    """Seconds until the answer may leave."""
    return math.ceil(passed_s / STEP_S) * STEP_S - passed_s


async def _signed(request: Request, deps: Deps) -> bytes:
    """The bytes that GitHub signed. Raises AccessDenied."""
    key_id, signature = (_only(request, f"github-public-key-{name}") for name in ("identifier", "signature"))
    keys = deps.settings.github_public_keys
    if key_id not in keys:  # before the body is read
        raise AccessDenied("Github-Public-Key-Identifier: names no key in AUTHSVC_GITHUB_KEYS_FILE")
    body = await json_bytes(request)
    if not is_signed(keys, key_id, signature, body):
        raise AccessDenied("Github-Public-Key-Signature: not a signature of this body by this key")
    return body


def _only(request: Request, name: str) -> str:
    """The value of a header field; an empty text unless it is there exactly once."""
    values = request.headers.getlist(name)
    return values[0] if len(values) == 1 else ""


def _labelled(find: bodies.GithubFind) -> dict[str, str]:
    """The feedback for one find, by its check digits. The answer is the same for live and dead tokens."""
    label = bodies.GithubLabel(
        token_hash=b64encode(hashlib.sha256(find.token.encode("utf-8", "surrogatepass")).digest()).decode(),
        token_type=find.type,
        label="true_positive" if tokens.parse(find.token) else "false_positive",
    )
    return label.model_dump()
