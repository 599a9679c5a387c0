"""The cost of an argon2id hash: the profiles of the standards, and the minimum of ASVS."""

from typing import Final, NamedTuple


class Argon2Profile(NamedTuple):
    """The cost of one hash. `time_cost`: passes over the memory; `parallelism`: lanes (RFC 9106 section 3.1)."""

    time_cost: int
    memory_kib: int
    parallelism: int


# The OWASP Password Storage Cheat Sheet lists these as equally strong. They trade memory for time.
OWASP_46_MIB: Final = Argon2Profile(1, 47104, 1)
OWASP_19_MIB: Final = Argon2Profile(2, 19456, 1)
OWASP_12_MIB: Final = Argon2Profile(3, 12288, 1)
# RFC 9106 section 4. The first is the default of argon2-cffi; the second needs 2 GiB for each hash.
RFC_9106_LOW_MEMORY: Final = Argon2Profile(3, 65536, 4)
RFC_9106_HIGH_MEMORY: Final = Argon2Profile(1, 2097152, 4)

# OWASP names this profile first. It takes some 20 ms of one core, so a burst of logins needs little memory.
RECOMMENDED: Final = OWASP_19_MIB

# ASVS 5.0 appendix C asks for one of the OWASP profiles, by the number of passes.
_ASVS_FLOOR: Final = (OWASP_46_MIB, OWASP_19_MIB, OWASP_12_MIB)


def asvs_floor_kib(time_cost: int) -> int:
    """The least memory, in KiB, that ASVS 5.0 accepts with this many passes."""
    return _ASVS_FLOOR[min(time_cost, len(_ASVS_FLOOR)) - 1].memory_kib
