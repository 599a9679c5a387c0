"""An existing FastAPI application, protected by the lines marked (+).

AUTH_URL=… AUTH_CLIENT_ID=… AUTH_CLIENT_SECRET=… uvicorn examples.fastapi_app:app
"""

import os
import sys
from typing import Annotated

from authsvc_sdk import Active, AsyncIntrospector, AuthMiddleware  # (+)
from authsvc_sdk.starlette import require  # (+)
from fastapi import Depends, FastAPI

if missing := sorted({"AUTH_URL", "AUTH_CLIENT_ID", "AUTH_CLIENT_SECRET"} - os.environ.keys()):
    sys.exit(f"set {', '.join(missing)}: docs/guides/fastapi.md says how")

introspector = AsyncIntrospector(  # (+)
    os.environ["AUTH_URL"], os.environ["AUTH_CLIENT_ID"], os.environ["AUTH_CLIENT_SECRET"], cache=True
)
app = FastAPI()
app.add_middleware(AuthMiddleware, introspector=introspector)  # (+) refuses callers without an active token


@app.get("/notes")
async def notes(user: Annotated[Active, Depends(require())]) -> dict[str, str]:  # (+)
    return {"owner": user.display_name}


@app.delete("/notes", dependencies=[Depends(require(role="editor", max_age_s=600))])  # (+)
async def delete_notes() -> dict[str, bool]:
    return {"deleted": True}
