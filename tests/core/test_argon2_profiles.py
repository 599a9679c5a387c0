"""The named argon2id profiles agree with the standards that name them."""

import pytest

from authsvc.core import argon2_profiles as profiles
from authsvc.core.argon2_profiles import Argon2Profile, asvs_floor_kib
from authsvc.settings import Settings

NAMED = {name: value for name, value in vars(profiles).items() if isinstance(value, Argon2Profile)}


@pytest.mark.parametrize("name", NAMED)
def test_every_profile_satisfies_asvs(name: str) -> None:
    """ASVS 5.0 accepts each profile that has a name."""
    profile = NAMED[name]
    assert profile.memory_kib >= asvs_floor_kib(profile.time_cost)


def test_the_floor_stays_from_three_passes_on() -> None:
    """ASVS has no lower row than the one of three passes."""
    assert [asvs_floor_kib(passes) for passes in (1, 2, 3, 4, 100)] == [47104, 19456, 12288, 12288, 12288]


def test_the_recommended_profile_is_the_default() -> None:
    """A service without settings hashes with the recommended profile."""
    assert Settings().argon2_profile == profiles.RECOMMENDED
