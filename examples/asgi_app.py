"""A plain ASGI application without a framework. It answers with the name of the caller.

AUTH_URL=… AUTH_CLIENT_ID=… AUTH_CLIENT_SECRET=… uvicorn examples.asgi_app:app
"""

import json
import os
import sys
from typing import Any

from authsvc_sdk import AsyncIntrospector, AuthMiddleware, authorized

if missing := sorted({"AUTH_URL", "AUTH_CLIENT_ID", "AUTH_CLIENT_SECRET"} - os.environ.keys()):
    sys.exit(f"set {', '.join(missing)}: docs/sdk.md says how")


async def whoami(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for answered in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{answered}.complete"})
        return
    user = authorized(scope, role="editor" if scope["path"] == "/editors" else None)
    body = json.dumps({"sub": user.sub, "roles": sorted(user.roles)}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


app = AuthMiddleware(
    whoami,
    AsyncIntrospector(
        os.environ["AUTH_URL"], os.environ["AUTH_CLIENT_ID"], os.environ["AUTH_CLIENT_SECRET"], cache=True
    ),
)
