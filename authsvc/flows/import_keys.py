"""Importing keys that another system issued, by their SHA-256."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from authsvc.core import api_key
from authsvc.core import token as tokens
from authsvc.core.event import Event
from authsvc.core.session import KEY, Epochs
from authsvc.errors import AccessDenied, InvalidRequest, InvalidScope, NotFound
from authsvc.flows.api_keys import Wanted, ready_for_keys, with_keys, within
from authsvc.flows.deps import Caller, Deps, audit

_REASONS = 1000


@dataclass(frozen=True, slots=True)
class Row:
    """A key as it is imported. sha256: of its whole text. exp: its end, in epoch seconds. aud: None: of the client."""

    sha256: bytes = field(repr=False)
    sub: str
    client_id: str
    name: str
    exp: int
    scope: str
    aud: tuple[str, ...] | None
    networks: tuple[str, ...]


@dataclass(slots=True)
class Tally:
    """The counts of an import. there: keys that were imported before. reasons: of the first refusals, by line."""

    imported: int = 0
    there: int = 0
    refused: int = 0
    reasons: list[tuple[int, str]] = field(default_factory=list)


async def import_keys(deps: Deps, caller: Caller, rows: Iterable[tuple[int, Row | str]], *, dry_run: bool) -> Tally:
    """Store these keys. rows: the lines by their numbers; a text says what is wrong with a line."""
    tally = Tally()
    for line, row in rows:
        try:
            if isinstance(row, str):
                raise InvalidRequest(row)
            if await _is_new(deps, row, dry_run=dry_run):
                tally.imported += 1
            else:
                tally.there += 1
        except (AccessDenied, InvalidRequest, InvalidScope, NotFound) as error:
            tally.refused += 1
            if len(tally.reasons) < _REASONS:
                tally.reasons.append((line, str(error)))
    if not dry_run:
        await audit(
            deps, caller, Event.KEYS_IMPORTED, imported=tally.imported, there=tally.there, refused=tally.refused
        )
    return tally


async def _is_new(deps: Deps, row: Row, *, dry_run: bool) -> bool:
    """Import one key. False if it was imported before."""
    now = deps.clock()
    life_s = row.exp - int(now)
    if not 0 < life_s <= api_key.MAX_LIFE_S:
        raise InvalidRequest("exp: has to be after now and at most a year ahead")
    handle, digest = tokens.foreign_handle(row.sha256), tokens.stored_form(row.sha256)
    held = await deps.store.sessions.find(handle)
    if held is not None:
        if held.origin != KEY or held.sub != row.sub:
            raise InvalidRequest("sub: the key was imported for another user")
        return False
    service, client = await deps.store.service.get(), await deps.store.clients.find(row.client_id)
    if client is None:
        raise InvalidRequest("client_id: no such client")
    contents = within(Wanted(row.name, row.scope, row.aud, life_s, row.networks), client.scope, client.audience)
    if dry_run:
        with_keys(await deps.store.users.get(row.sub))
        return True
    user = await ready_for_keys(deps, row.sub, with_keys)
    epochs = Epochs(user.key_epoch or 0, client.epoch, service.epoch)
    session = api_key.begun(digest, contents, user.sub, client.client_id, epochs, now)
    listed = await deps.store.sessions.add_key(handle, session, now)
    if listed is not None and listed > api_key.MAX_KEYS:
        await deps.store.sessions.end(handle, session)
        raise InvalidRequest(f"this user has {api_key.MAX_KEYS} keys already")
    return listed is not None
