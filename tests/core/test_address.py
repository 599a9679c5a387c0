"""The prefixes that count for an address."""

import pytest

from authsvc.core.address import canonical, is_loopback, is_within, network_of, of_peer, prefixes


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("::ffff:203.0.113.0/120", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.7/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("2001:db8::/32", "2001:db8::/32"),
    ],
)
def test_a_network(text: str, expected: str) -> None:
    """A network of mapped IPv4 addresses is the network of these addresses, however an address is written."""
    network = network_of(text)
    assert str(network) == expected
    if "203" in text:
        assert is_within("203.0.113.7", [network])
        assert is_within("::ffff:203.0.113.7", [network])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        *((text, None) for text in ("", " 192.0.2.7", "192.0.2.7:80", "[2001:db8::7]", "fe80::1%eth0", "fe80::1%")),
        *((text, None) for text in ("192.0.2.0/24", "192.0.2.256", "192.0.02.7", "a.example", "\u0661.0.2.7")),
    ],
)
def test_canonical(text: str, expected: str | None) -> None:
    """An address has one form. A text with a port, brackets, a zone or anything else is no address."""
    assert canonical(text) == expected


@pytest.mark.parametrize(
    ("host", "expected", "local"),
    [
        ("::ffff:192.0.2.7", "192.0.2.7", False),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("::1", "::1", True),
        ("fe80::1%eth0", "fe80::1%eth0", False),
        ("testclient", "testclient", False),
    ],
)
def test_of_peer(host: str, expected: str, local: bool) -> None:
    """A client of IPv4 has its address of IPv4, and counts as local, also on a socket for both."""
    assert (of_peer(host), is_loopback(host)) == (expected, local)
