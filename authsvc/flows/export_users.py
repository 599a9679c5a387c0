"""Exports all users, for an installation that moves to another system."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from authsvc.core.event import Event
from authsvc.core.user import User
from authsvc.flows.deps import Caller, Deps, audit

_PAGE = 500


async def export(deps: Deps, caller: Caller, *, with_hashes: bool) -> AsyncGenerator[dict[str, Any], None]:
    """Yield every user once, by sub, with the fields that an import takes. May include users created meanwhile.

    Writes an audit event at the end, also if the end comes early.
    """
    count = 0
    page: list[User] = []
    try:
        async for user in deps.store.listing.every_user():
            count += 1
            page.append(user)
            if len(page) == _PAGE:
                for document in await _documents(deps, page, with_hashes=with_hashes):
                    yield document
                page = []
        for document in await _documents(deps, page, with_hashes=with_hashes):
            yield document
    finally:
        await audit(deps, caller, Event.USERS_EXPORTED, users=count, with_hashes=with_hashes)


async def _documents(deps: Deps, users: Sequence[User], *, with_hashes: bool) -> list[dict[str, Any]]:
    held = await deps.store.credentials.find_all([user.sub for user in users]) if with_hashes else [None] * len(users)
    documents = []
    for user, credentials in zip(users, held, strict=True):
        fields = {
            "sub": user.sub,
            "username": user.username,
            "password_hash": credentials and credentials.hash,
            "roles": list(user.roles),
            "claims": user.claims,
            "status": user.status,
            "created_at": user.created_at,
        }
        documents.append({name: value for name, value in fields.items() if value is not None})
    return documents
