"""The second factors of a user: one-time codes, passkeys, recovery codes, and the devices that the user trusts.

Each change is a pure function of one record, which the store swaps in. So a code counts once, however many workers see
it at the same moment.
"""

from typing import Final, NamedTuple, Self

from authsvc.core.passkey import Passkey
from authsvc.core.record import Part, Record, raised
from authsvc.core.token import is_same_digest
from authsvc.core.user import Credentials, User
from authsvc.errors import CorruptRecord

MAX_TOTP: Final = 5
MAX_DEVICES: Final = 20
# How long an enrolment may wait for its first code.
ENROL_S: Final = 600
DEVICE_S: Final = 30 * 86400


class Totp(Part, frozen=True, kw_only=True, omit_defaults=True, rename={"created_at": "at", "used_at": "used"}):
    """One authenticator app. Its seed is in no record.

    key: the id of the factor key. nonce: with the key, it gives the seed. sealed: an imported seed, encrypted under a
    subkey of the key; then there is no nonce.
    until: when an enrolment without a first code lapses. None once a code has confirmed it.
    step: the last time step whose code was accepted.
    """

    hidden = Part.hidden | {"nonce", "sealed"}

    id: str
    name: str | None = None
    created_at: int
    key: str
    nonce: str | None = None
    sealed: str | None = None
    until: int | None = None
    step: int = 0
    used_at: int | None = None


class Device(Part, frozen=True, kw_only=True, omit_defaults=True):
    """A trusted device. epoch: of the user, when the device was trusted."""

    hidden = Part.hidden | {"digest"}

    digest: str
    until: int
    epoch: int


class Factors(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The record `factors:{<sub>}`.

    epoch: in milliseconds. It rises when a factor is added or removed, and when the recovery codes are replaced: logins
    in progress end then. 0: the user never had a factor.
    user_handle: the name of the user in authenticators. None while there is no passkey.
    codes: digests of the recovery codes that are left.
    until: when the store may drop a record without a factor. None while there is a factor.
    """

    hidden = Record.hidden | {"codes"}

    epoch: int = 0
    totp: tuple[Totp, ...] = ()
    passkeys: tuple[Passkey, ...] = ()
    user_handle: str | None = None
    codes: tuple[str, ...] = ()
    codes_at: int | None = None
    devices: tuple[Device, ...] = ()
    until: int | None = None

    def expires_at(self) -> int | None:
        return self.until

    @property
    def active(self) -> bool:
        """Whether a login needs a second factor."""
        return bool(self.apps or self.passkeys)

    @property
    def apps(self) -> tuple[Totp, ...]:
        """The authenticator apps that a code has confirmed."""
        return tuple(one for one in self.totp if one.until is None)

    def app(self, id_: str) -> Totp | None:
        return next((one for one in self.totp if one.id == id_), None)

    def pending(self, now: float) -> tuple[Totp, ...]:
        """The enrolments that still wait for their first code."""
        return tuple(one for one in self.totp if one.until is not None and now < one.until)

    def passkey_of(self, credential: str) -> Passkey | None:
        """The passkey with this id of a credential, in base64url."""
        return next((one for one in self.passkeys if one.credential == credential), None)

    def with_passkey(self, new: Passkey, user_handle: str, now: float) -> Self:
        return self._changed(now, passkeys=(*self.passkeys, new), user_handle=user_handle)

    def with_passkey_used(self, used: Passkey) -> Self:
        return self.but(passkeys=tuple(used if one.id == used.id else one for one in self.passkeys))

    def with_enrolment(self, new: Totp, now: float) -> Self:
        """The factors with one more enrolment. The oldest enrolment goes if there are too many."""
        waiting = (*self.pending(now), new)[-MAX_TOTP:]
        return self._kept(totp=(*self.apps, *waiting), now=now)

    def with_app(self, id_: str, step: int, now: float) -> Self:
        """The factors after the first code of an enrolment, which was of this time step."""
        confirmed = tuple(
            one.but(until=None, step=step, used_at=int(now)) if one.id == id_ else one for one in self.totp
        )
        return self._changed(now, totp=confirmed)

    def with_imported(self, new: Totp, now: float) -> Self:
        """The factors with an app that was confirmed in another system."""
        return self._changed(now, totp=(*self.totp, new))

    def with_code_used(self, id_: str, step: int, now: float) -> Self:
        """The factors after a code of this time step was accepted."""
        used = tuple(one.but(step=step, used_at=int(now)) if one.id == id_ else one for one in self.totp)
        return self.but(totp=used)

    def with_codes(self, digests: tuple[str, ...], now: float) -> Self:
        """The factors with new recovery codes; the old ones stop working."""
        return self._changed(now, codes=digests, codes_at=int(now))

    def without_code(self, presented: str) -> Self | None:
        """The factors after this recovery code was used; None if it is none of them. Compares with all of them."""
        left = tuple(held for held in self.codes if not is_same_digest(held, presented))
        return self.but(codes=left) if len(left) < len(self.codes) else None

    def without(self, id_: str, now: float) -> Self | None:
        """The factors without this one; None if there is none with this id. The last factor takes the codes along."""
        apps = tuple(one for one in self.totp if one.id != id_)
        passkeys = tuple(one for one in self.passkeys if one.id != id_)
        if len(apps) == len(self.totp) and len(passkeys) == len(self.passkeys):
            return None
        return self._changed(now, totp=apps, passkeys=passkeys)

    def emptied(self, now: float) -> Self:
        """The factors after an admin removed all of them."""
        return self._changed(now, totp=(), passkeys=())

    def with_device(self, device: Device, now: float) -> Self:
        alive = [one for one in self.devices if now < one.until and one.epoch == device.epoch]
        return self.but(devices=(*alive, device)[-MAX_DEVICES:])

    def device_with(self, presented: str) -> Device | None:
        """The device with this digest, trusted or not any more. Compares with all of them."""
        found = [device for device in self.devices if is_same_digest(device.digest, presented)]
        return found[0] if found else None

    def without_device(self, device: Device) -> Self:
        return self.but(devices=tuple(one for one in self.devices if one is not device))

    def trusts(self, presented: str, epoch: int, now: float) -> bool:
        """Whether a device with this digest is trusted. Compares with all of them. epoch: of the user now."""
        found = False
        for device in self.devices:
            alive = now < device.until and device.epoch == epoch
            found |= is_same_digest(device.digest, presented) and alive
        return found

    def _changed(self, now: float, **changes: object) -> Self:
        """The factors after a factor was added or removed: logins in progress and trusted devices end."""
        return self._kept(now=now, epoch=raised(self.epoch, now), devices=(), **changes)

    def _kept(self, *, now: float, **changes: object) -> Self:
        """The factors with these changes. Without a factor, there are no codes, and the record is dropped later.

        It stays for as long as a login in progress may: a login from before the removal must not find epoch 0 again.
        """
        after = self.but(**changes)
        if not after.passkeys:
            after = after.but(user_handle=None)
        if after.active:
            return after.but(until=None)
        return after.but(until=int(now) + ENROL_S, codes=(), codes_at=None, devices=())


class Account(NamedTuple):
    """A user with everything by which the user can log in, as read at one moment."""

    user: User
    credentials: Credentials | None
    factors: Factors | None

    @property
    def has_factor(self) -> bool:
        """Whether a login needs a second factor. Raises CorruptRecord if the factors of a user are missing."""
        active = self.factors is not None and self.factors.active
        if self.credentials is not None and self.credentials.has_factor and not active:
            raise CorruptRecord("the second factors of a user are missing")
        return active

    @property
    def factors_epoch(self) -> int:
        return self.factors.epoch if self.factors else 0

    def with_factors(self, factors: Factors) -> Self:
        """The account with other factors. The credentials say whether there is one, for versions without factors."""
        credentials = self.credentials
        if factors.active != (credentials is not None and credentials.has_factor):
            credentials = (credentials or Credentials()).but(has_factor=factors.active)
        return self._replace(factors=factors, credentials=credentials)
