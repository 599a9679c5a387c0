"""Authenticator apps: enrolling one, confirming it with its first code, and proving one at a login."""

from base64 import b32decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from authsvc.core import token as tokens
from authsvc.core import totp as codes
from authsvc.core.event import About, Event
from authsvc.core.factor_key import FactorKey, missing_keys, named
from authsvc.core.factors import ENROL_S, MAX_TOTP, Account, Factors, Totp
from authsvc.core.strength import CODE
from authsvc.core.user import User, check_sub
from authsvc.core.username import normalise
from authsvc.errors import InvalidRequest, InvalidSession, NotFound, WrongFactor
from authsvc.flows.deps import Caller, Deps, audit
from authsvc.flows.factors import Guard, change, new_codes
from authsvc.flows.steps import Prove
from authsvc.hashing.sealing import seal, unseal


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an app needs. The answer that begins the enrolment is the only place that shows the seed."""

    id: str
    secret: str = field(repr=False)
    uri: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Confirmed:
    """An app after its first code. recovery_codes: if it is the user's first factor; shown this once."""

    app: Totp
    recovery_codes: tuple[str, ...] = field(repr=False, default=())


async def enrol(deps: Deps, guard: Guard, user: User, name: str | None) -> Enrolment:
    """Begin to enrol an app. It is a factor once its first code has confirmed it. Raises what `guard` raises."""
    now, key = deps.clock(), deps.settings.factor_keys[0]
    nonce = tokens.new_seed()
    app = Totp(
        id=tokens.new_handle(), name=name, created_at=int(now), key=key.id, nonce=nonce, until=int(now) + ENROL_S
    )

    def enrolling(factors: Factors) -> Factors:
        if len(factors.apps) >= MAX_TOTP:
            raise InvalidRequest(f"an account has at most {MAX_TOTP} authenticator apps: remove one first")
        return factors.with_enrolment(app, now)

    await register_key(deps, key)
    await change(deps, user.sub, guard, enrolling)
    seed = key.seed(user.sub, app.id, nonce)
    uri = codes.uri(seed, deps.settings.app_title, user.username or user.sub)
    return Enrolment(app.id, codes.as_text(seed), uri)


async def register_key(deps: Deps, key: FactorKey) -> None:
    """Note that records need this key, before one does."""
    service = await deps.store.service.get()
    if key.id not in service.factor_keys:
        await deps.store.service.change(lambda held: held.with_factor_key(key.id))


async def forget_lost_keys(deps: Deps, caller: Caller) -> tuple[str, ...]:
    """Let workers run without the keys that this one lacks. Returns their ids."""
    lost = missing_keys(await deps.store.service.get(), deps.settings.factor_keys)
    if lost:
        await deps.store.service.change(lambda held: held.without_factor_keys(lost))
        await audit(deps, caller, Event.FACTOR_KEYS_FORGOTTEN, keys=lost)
    return lost


async def confirm(deps: Deps, caller: Caller, guard: Guard, sub: str, id_: str, code: str) -> Confirmed:
    """Confirm an app with its first code. The first factor brings recovery codes.

    Raises WrongFactor, NotFound for an enrolment that is unknown, confirmed or lapsed, and what `guard` raises.
    """
    now = deps.clock()
    plain, stored = new_codes(sub)
    first = False

    def confirming(factors: Factors) -> Factors:
        nonlocal first
        app = factors.app(id_)
        if app is None or app.until is None or now >= app.until:
            raise _NoEnrolment()
        seed = seed_of(deps.settings.factor_keys, sub, app)
        step = None if seed is None else codes.matching_step(seed, code, now, app.step)
        if step is None:
            raise WrongFactor()
        first = not factors.active
        confirmed = factors.with_app(id_, step, now)
        return confirmed.with_codes(stored, now) if first else confirmed

    try:
        factors = await change(deps, sub, guard, confirming)
    except _NoEnrolment:
        raise NotFound("no such enrolment, or it has lapsed") from None
    app = factors.app(id_)
    if app is None:  # for the type checker: it was just written
        raise NotFound("no such enrolment")
    await audit(deps, caller, Event.FACTOR_ADDED, About(sub), kind="totp", factor=id_)
    return Confirmed(app, plain if first else ())


class ProofByFirstCode:
    """The proof of a login in which the user enrols the first factor."""

    def __init__(self, deps: Deps, caller: Caller, guard: Guard, id_: str, code: str) -> None:
        self._deps, self._caller, self._guard = deps, caller, guard
        self._id, self._code = id_, code
        self.recovery_codes: tuple[str, ...] = ()

    async def __call__(self, account: Account) -> tuple[str, ...]:
        sub = account.user.sub
        confirmed = await confirm(self._deps, self._caller, self._guard, sub, self._id, self._code)
        self.recovery_codes = confirmed.recovery_codes
        return (CODE,)


class _NoEnrolment(Exception):
    """Not a NotFound: that one says that the user is gone."""


def proof_by_code(deps: Deps, code: str) -> Prove:
    """The proof that a code is the present one of an app. The code counts once."""

    async def prove(account: Account) -> tuple[str, ...] | None:
        sub, now, keys = account.user.sub, deps.clock(), deps.settings.factor_keys

        def used(factors: Factors) -> tuple[Factors, bool]:
            if factors.epoch != account.factors_epoch:
                raise InvalidSession()
            for app in factors.apps:
                seed = seed_of(keys, sub, app)
                step = None if seed is None else codes.matching_step(seed, code, now, app.step)
                if step is not None:
                    return factors.with_code_used(app.id, step, now), True
            return factors, False

        try:
            _, right = await deps.store.factors.step(sub, used)
        except NotFound:
            raise InvalidSession() from None
        return (CODE,) if right else None

    return prove


def seed_of(keys: tuple[FactorKey, ...], sub: str, app: Totp) -> bytes | None:
    """The seed of an app; None if this service lacks its key, or if the record was changed or moved."""
    key = named(keys, app.key)
    if key is None:
        return None
    if app.sealed is not None:
        return unseal(key.sealing_key(), app.sealed, bound_to(sub, app.id))
    return None if app.nonce is None else key.seed(sub, app.id, app.nonce)


def bound_to(sub: str, id_: str) -> str:
    """What an imported seed belongs to."""
    return f"{sub}\n{id_}"


@dataclass(slots=True)
class SeedTally:
    """The counts of an import. there: users who had a factor already. reasons: each refused line, and why."""

    imported: int = 0
    there: int = 0
    reasons: list[tuple[int, str]] = field(default_factory=list)

    @property
    def refused(self) -> int:
        return len(self.reasons)


async def import_seeds(deps: Deps, caller: Caller, rows: Iterable[tuple[int, Mapping[str, Any] | None]]) -> SeedTally:
    """Add authenticator apps that were confirmed in another system. Each seed is encrypted at once.

    rows: the number and the members of each line, None for a line that is no object. Raises InvalidRequest without a
    factor key.
    """
    if not deps.settings.factor_keys:
        raise InvalidRequest("this takes AUTHSVC_FACTOR_KEY_FILE, the one of the service")
    await register_key(deps, deps.settings.factor_keys[0])
    tally = SeedTally()
    for line, row in rows:
        try:
            added = await _import_seed(deps, row or {})
        except (InvalidRequest, NotFound) as error:
            tally.reasons.append((line, str(error)))
        else:
            tally.imported += added
            tally.there += not added
    await audit(deps, caller, Event.FACTORS_IMPORTED, imported=tally.imported, refused=tally.refused)
    return tally


async def _import_seed(deps: Deps, row: Mapping[str, Any]) -> bool:
    """Add one app. False if the user has a factor. Raises InvalidRequest, NotFound."""
    sub, seed, name = await _sub_of(deps, row), _seed_in(row), row.get("name")
    now, key, id_ = deps.clock(), deps.settings.factor_keys[0], tokens.new_handle()
    sealed = seal(key.sealing_key(), seed, bound_to(sub, id_))
    label = name[:120] if isinstance(name, str) and name else None
    app = Totp(id=id_, name=label, created_at=int(now), key=key.id, sealed=sealed)
    added = False

    def adding(factors: Factors) -> Factors:
        nonlocal added
        added = not factors.active
        return factors.with_imported(app, now) if added else factors

    await change(deps, sub, lambda _: None, adding)
    return added


async def _sub_of(deps: Deps, row: Mapping[str, Any]) -> str:
    if unknown := row.keys() - {"sub", "username", "totp", "name"}:
        raise InvalidRequest(f"unknown fields: {len(unknown)}; known are sub, username, totp, name")
    sub, username = row.get("sub"), row.get("username")
    if isinstance(sub, str):
        return (await deps.store.users.get(check_sub(sub))).sub
    found = await deps.store.users.find_by_name(normalise(username)) if isinstance(username, str) else None
    if found is None:
        raise NotFound("no user has this sub or username")
    return found.user.sub


def _seed_in(row: Mapping[str, Any]) -> bytes:
    """The seed of a row. Raises InvalidRequest, which repeats nothing of it."""
    text = row.get("totp")
    plain = text.replace(" ", "").upper().rstrip("=") if isinstance(text, str) else ""
    try:
        seed = b32decode(plain + "=" * (-len(plain) % 8))
    except ValueError:
        seed = b""
    # RFC 4226 section 4 asks for 128 bits. Some systems made seeds of 80 bits.
    if not 10 <= len(seed) <= 64:
        raise InvalidRequest("totp: not a seed in base32 of 10 to 64 bytes")
    return seed
