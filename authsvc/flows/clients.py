"""Administering clients, and authenticating them."""

import re
from contextlib import nullcontext
from typing import Any, NamedTuple

from authsvc.core import scope as scopes
from authsvc.core import token as tokens
from authsvc.core.client import BUILT_IN, CLIENT_ID, Client, Permission, Secret
from authsvc.core.event import About, Event
from authsvc.core.record import Service
from authsvc.core.token import Kind
from authsvc.errors import InvalidClient, InvalidRequest
from authsvc.flows.admins import removing_admin
from authsvc.flows.attempts import address_windows
from authsvc.flows.deps import Caller, Deps, audit
from authsvc.store.throttle import Window

_AUDIENCE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,255}")
# Each exchanged token holds the name of one, in the record of its session.
_MOST_OF_EXCHANGE = 40
_UNPROVEN = "no public client has this id, and no secret was sent: any other client sends its secret too"


class Parties(NamedTuple):
    """A calling client and the service, as read at one moment."""

    client: Client
    service: Service


async def authenticate(deps: Deps, caller: Caller, client_id: str, secret: str | None) -> Client:
    """Authenticate the calling client, as `authenticated` does."""
    return (await authenticated(deps, caller, client_id, secret)).client


async def authenticated(deps: Deps, caller: Caller, client_id: str, secret: str | None) -> Parties:
    """Authenticate the calling client. A public client has no secret and only names itself.

    Wrong secrets are throttled. A right secret always works, so that nobody can lock a client out by guessing: guessing
    160 bits is hopeless. Raises InvalidClient, TooManyAttempts.
    """
    client = None
    if CLIENT_ID.fullmatch(client_id):
        moment = await deps.store.lookup.sessions(client_id, ())
        client = moment.client(client_id)
        if client is not None:
            parties = Parties(client, moment.service())
            if client.public and secret is None:
                return parties
            if secret is not None and client.opens_with(secret, deps.clock()):
                return parties
    if secret is not None:
        # Unknown ids count for the address. Otherwise each invented id would store a record.
        of_client = [Window(deps.settings.limits.client, client_id)]
        windows = of_client if client else address_windows(deps.settings, caller.ip)[:1]
        attempt = await deps.store.throttle.reserve(windows, deps.clock())
        await deps.store.throttle.settle(attempt, right=False)
        about = About(client_id=client.client_id if client else None)
        await audit(deps, caller, Event.CLIENT_REFUSED, about, outcome="failure", kept=client is not None)
    raise InvalidClient if secret is not None else InvalidClient(_UNPROVEN)


async def create(
    deps: Deps, caller: Caller, *, name: str, public: bool = False, **fields: Any
) -> tuple[Client, str | None]:
    """Register a client. Returns it and its secret, None if it is public. Raises InvalidRequest, InvalidScope."""
    now = deps.clock()
    _check(fields, public=public)
    secret = None if public else tokens.new(Kind.SECRET)
    client = Client(
        client_id=tokens.new_handle(),
        name=name,
        public=public,
        secrets=(Secret(digest=secret.digest),) if secret else (),
        epoch=int(now * 1000),
        created_at=int(now),
        **fields,
    )
    await deps.store.clients.create(client.client_id, client)
    about = About(client_id=client.client_id)
    await audit(deps, caller, Event.CLIENT_CREATED, about, permissions=list(client.permissions))
    return client, secret.text if secret else None


async def update(deps: Deps, caller: Caller, client_id: str, **fields: Any) -> Client:
    """Change the given fields. Raises NotFound, LastAdmin, TooManyChanges, InvalidRequest, InvalidScope."""
    client = await deps.store.clients.get(client_id)
    _check(fields, public=client.public)
    permissions: tuple[Permission, ...] = fields.get("permissions", client.permissions)
    removes = client.may("admin") and "admin" not in permissions
    async with removing_admin(deps, f"client:{client_id}") if removes else nullcontext():
        updated = await deps.store.clients.change(client_id, lambda client: client.but(**fields), first=True)
    await audit(deps, caller, Event.CLIENT_CHANGED, About(client_id=client_id), fields=sorted(fields))
    return updated


async def rotate_secret(deps: Deps, caller: Caller, client_id: str, overlap_s: int | None = None) -> tuple[Client, str]:
    """Give a client a new secret. The old one stays valid for the overlap. Raises NotFound, InvalidRequest."""
    secret, now = tokens.new(Kind.SECRET), deps.clock()
    overlap = deps.settings.secret_overlap_s if overlap_s is None else overlap_s

    def change(client: Client) -> Client:
        if client.public:
            raise InvalidRequest("a public client has no secret")
        return client.with_secret(secret.text, now, overlap)

    client = await deps.store.clients.change(client_id, change, first=True)
    await audit(deps, caller, Event.CLIENT_SECRET_ROTATED, About(client_id=client_id), overlap_s=overlap)
    return client, secret.text


async def delete(deps: Deps, caller: Caller, client_id: str) -> None:
    """Delete a client. Every session of the client ends. Raises NotFound, LastAdmin, InvalidRequest."""
    if client_id == BUILT_IN:
        raise InvalidRequest("the built-in client can't be deleted; revoke its sessions, or narrow its scope")
    client = await deps.store.clients.get_to_delete(client_id)
    async with removing_admin(deps, f"client:{client_id}") if client.may("admin") else nullcontext():
        await deps.store.clients.delete(client_id)
    await audit(deps, caller, Event.CLIENT_DELETED, About(client_id=client_id))


def _check(fields: dict[str, Any], *, public: bool) -> None:
    if public and fields.get("permissions"):
        raise InvalidRequest("permissions: a public client can't prove who it is, so it can have none")
    if fields.get("scope") is not None:
        fields["scope"] = scopes.parse(fields["scope"])
    for name, most in (("audience", 255), ("exchange_audience", _MOST_OF_EXCHANGE)):
        if not all(_AUDIENCE.fullmatch(member) and len(member) <= most for member in fields.get(name, ())):
            raise InvalidRequest(
                f"{name}: each member is 1 to {most} printable ASCII characters, without space or quotes"
            )
