"""The obvious handler: a form, one GET for the session, one for the user, a JSONResponse."""

import json
import os
import time
from base64 import b64encode
from hashlib import sha256

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

CREDENTIALS = "resource:" + "s" * 32
_AUTHORIZATION = "Basic " + b64encode(CREDENTIALS.encode()).decode()

redis = Redis.from_url(os.environ["BENCH_STORE"])


async def introspect(request: Request) -> JSONResponse:
    if request.headers.get("authorization") != _AUTHORIZATION:
        return JSONResponse({"error": "invalid_client"}, 401)
    form = await request.form()
    raw = await redis.get("obvious:session:" + sha256(str(form["token"]).encode()).hexdigest())
    session = json.loads(raw) if raw else None
    if session is None or session["exp"] < time.time():
        return JSONResponse({"active": False})
    raw_user = await redis.get("obvious:user:" + session["sub"])
    user = json.loads(raw_user) if raw_user else None
    if user is None or user["status"] != "active":
        return JSONResponse({"active": False})
    return JSONResponse(
        {
            "active": True,
            "sub": session["sub"],
            "scope": session["scope"],
            "client_id": session["client_id"],
            "token_type": "Bearer",
            "exp": session["exp"],
            "iat": session["iat"],
            "username": user["username"],
            "roles": user["roles"],
        }
    )


app = Starlette(routes=[Route("/introspect", introspect, methods=["POST"])])
