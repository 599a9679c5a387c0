"""The prefixes that count for an address."""

import pytest

from authsvc.core.address import prefixes


@pytest.mark.parametrize(
    ("ip", "expected"),
    [
        ("192.0.2.7", ("192.0.2.7", None)),
        ("2001:db8:1:2:3:4:5:6", ("2001:db8:1:2::/64", "2001:db8:1::/48")),
        ("2001:db8:1:2::1", ("2001:db8:1:2::/64", "2001:db8:1::/48")),
        ("2001:db8:1:ffff::1", ("2001:db8:1:ffff::/64", "2001:db8:1::/48")),
        ("::ffff:192.0.2.7", ("192.0.2.7", None)),
        ("fe80::1%eth0", ("fe80::/64", "fe80::/48")),
        (None, ("unknown", None)),
    ],
)
def test_prefixes(ip: str | None, expected: tuple[str, str | None]) -> None:
    """An IPv4 address counts alone, also when mapped into IPv6. An IPv6 address counts as its /64 and its /48."""
    assert prefixes(ip) == expected
