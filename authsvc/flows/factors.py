"""A user's second factors: listing them, removing one or all, recovery codes, and who may change them."""

from collections.abc import Callable

from authsvc.core import recovery_codes
from authsvc.core.event import About, Event
from authsvc.core.factors import Account, Factors
from authsvc.core.session import Active
from authsvc.core.step import Step
from authsvc.core.strength import CODE
from authsvc.core.user import User
from authsvc.errors import InvalidRequest, InvalidSession, InvalidToken, NotFound
from authsvc.flows.deps import Caller, Deps, audit, audit_if_not_durable

# Raises if the right of the caller to change these factors has ended. It is asked with the records that are replaced.
Guard = Callable[[Account], None]


def by_session(me: Active) -> Guard:
    """The right of a user who is logged in."""

    def guard(account: Account) -> None:
        # A change of the password spares the session and replaces its tokens. The holder of an old token must not add a
        # factor then. So the epoch has to be the one that was read with the token.
        if account.user.status != "active" or account.user.epoch != me.user.epoch:
            raise InvalidToken("the session has ended")

    return guard


def by_login(step: Step) -> Guard:
    """The right of a login in progress: only a user without a factor may enrol one there.

    A thief of the password must not enrol a factor beside those of the user.
    """

    def guard(account: Account) -> None:
        user = account.user
        changed = user.epoch != step.epochs.user or account.factors_epoch != step.factors_epoch
        if changed or user.status != "active" or account.has_factor:
            raise InvalidSession()

    return guard


async def change(deps: Deps, sub: str, guard: Guard, change: Callable[[Factors], Factors]) -> Factors:
    """Replace the factors of a user. Raises what `guard` and `change` raise."""

    def changed(account: Account) -> Account:
        guard(account)
        return account.with_factors(change(account.factors or Factors()))

    try:
        account = await deps.store.users.swap_account(sub, changed)
    except NotFound:
        raise InvalidToken("the user was deleted") from None
    return account.factors or Factors()


async def find(deps: Deps, sub: str) -> Factors:
    """The factors of a user. Raises NotFound if there is no such user."""
    account = await deps.store.users.find_account(sub)
    if account is None:
        raise NotFound("no such user")
    return account.factors or Factors()


async def remove(deps: Deps, caller: Caller, me: Active, id_: str) -> None:
    """Remove one factor. Logins in progress and trusted devices end. Raises NotFound."""

    def without(factors: Factors) -> Factors:
        left = factors.without(id_, deps.clock())
        if left is None:
            raise _NoSuchFactor()
        return left

    about = About(me.user.sub, me.handle)
    try:
        async with audit_if_not_durable(deps, caller, Event.FACTOR_REMOVED, about):
            await change(deps, me.user.sub, by_session(me), without)
    except _NoSuchFactor:
        raise NotFound("no such factor") from None
    await audit(deps, caller, Event.FACTOR_REMOVED, about, factor=id_)


class _NoSuchFactor(Exception):
    """Not a NotFound: that one says that the user is gone."""


async def remove_all(deps: Deps, caller: Caller, sub: str) -> None:
    """Remove every factor of a user, as an admin, and end every session. Raises NotFound."""
    now = deps.clock()

    def cleared(account: Account) -> Account:
        cut_off = account.user.cut_off(now)
        emptied = account.with_factors((account.factors or Factors()).emptied(now))
        return emptied._replace(user=cut_off)

    about = About(sub)
    async with audit_if_not_durable(deps, caller, Event.FACTOR_REMOVED, about, reason="all"):
        account = await deps.store.users.swap_account(sub, cleared, first=True)
    deps.store.sessions.delete_cut_off(account.user)
    await audit(deps, caller, Event.FACTOR_REMOVED, about, reason="all")
    epoch = account.user.epoch
    await audit(deps, caller, Event.USER_CUT_OFF, about, reason="factors removed", ended=True, epoch=epoch)


async def require(deps: Deps, caller: Caller, sub: str, *, required: bool) -> User:
    """Demand a second factor of a user, or stop demanding it. Raises NotFound."""
    user = await deps.store.users.change(sub, lambda held: held.changed(factor_required=required), first=True)
    await audit(deps, caller, Event.USER_CHANGED, About(sub), fields=["factor_required"], factor_required=required)
    return user


async def replace_codes(deps: Deps, caller: Caller, me: Active) -> tuple[str, ...]:
    """Make new recovery codes; the old ones stop working. Raises InvalidRequest for a user without a factor."""
    codes, stored = new_codes(me.user.sub)

    def replaced(factors: Factors) -> Factors:
        if not factors.active:
            raise InvalidRequest("recovery codes stand in for a second factor: add one first")
        return factors.with_codes(stored, deps.clock())

    await change(deps, me.user.sub, by_session(me), replaced)
    await audit(deps, caller, Event.FACTOR_CODES_REPLACED, About(me.user.sub, me.handle))
    return codes


def new_codes(sub: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """New recovery codes, and their stored forms."""
    codes = recovery_codes.new_codes()
    digests = [recovery_codes.digest_of(code, sub) for code in codes]
    return codes, tuple(digest for digest in digests if digest is not None)


class ProofByRecoveryCode:
    """The proof that a recovery code is one of those that are left. The code counts once.

    left: how many codes are left after it.
    """

    def __init__(self, deps: Deps, code: str) -> None:
        self._deps, self._code = deps, code
        self.left = 0

    async def __call__(self, account: Account) -> tuple[str, ...] | None:
        sub = account.user.sub
        presented = recovery_codes.digest_of(self._code, sub)

        def used(factors: Factors) -> tuple[Factors, bool]:
            if factors.epoch != account.factors_epoch:
                raise InvalidSession()
            left = None if presented is None else factors.without_code(presented)
            return (factors, False) if left is None else (left, True)

        try:
            factors, right = await self._deps.store.factors.step(sub, used)
        except NotFound:
            raise InvalidSession() from None
        self.left = len(factors.codes)
        # RFC 8176 has no name for a recovery code. It is a code that counts once.
        return (CODE,) if right else None
