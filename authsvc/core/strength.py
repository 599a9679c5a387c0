"""What a login has to prove, and what several steps prove together. `amr` has the names of RFC 8176."""

from collections.abc import Iterable
from typing import Final

from authsvc.core.authentication import AAL2, KEYS, MULTI_FACTOR
from authsvc.core.client import Client
from authsvc.core.user import User

PASSWORD: Final = "pwd"  # noqa: S105 - the name of a method
CODE: Final = "otp"
_KINDS = {PASSWORD: "password", CODE: "code"} | dict.fromkeys(KEYS, "key")


def combined(before: Iterable[str], proven: Iterable[str]) -> tuple[str, ...]:
    """The methods of a login after one more step, without repetitions. `mfa` is added for two kinds of factors."""
    methods = dict.fromkeys((*before, *proven))
    if len({_KINDS[method] for method in methods if method in _KINDS}) > 1:
        methods[MULTI_FACTOR] = None
    return tuple(methods)


def must_have_factor(user: User, client: Client, roles: Iterable[str]) -> bool:
    """Whether the policy demands `aal2` of this user at this client. roles: those that the settings name."""
    return client.acr == AAL2 or user.factor_required or not set(roles).isdisjoint(user.roles)
