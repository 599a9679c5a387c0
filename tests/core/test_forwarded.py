"""The address of the client behind proxies."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core.address import behind, prefixes

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "lines", "whose"),
    [
        ("198.51.100.7", [], "198.51.100.7"),
        ("198.51.100.7", ["203.0.113.9"], "198.51.100.7"),  # nobody we trust: what it says is its own affair
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["1.2.3.4, 203.0.113.9"], "203.0.113.9"),  # the client wrote 1.2.3.4
        ("10.0.0.1", ["1.2.3.4", "203.0.113.9"], "203.0.113.9"),  # in two lines
        ("10.0.0.1", ["203.0.113.9, 10.0.0.2"], "203.0.113.9"),  # two proxies of ours
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, not-an-ip"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9:51234"], "203.0.113.9"),  # as Azure's gateways write it
        ("10.0.0.1", ["[2001:db8::9]:443"], "2001:db8::9"),
        ("10.0.0.1", ["[2001:db8::9]"], "2001:db8::9"),
        ("10.0.0.1", ["203.0.113.9:51234, 10.0.0.2:80"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9:"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9:123456"], "10.0.0.1"),
        ("10.0.0.1", ["[203.0.113.9"], "10.0.0.1"),
        ("10.0.0.1", ["[2001:db8::9]x"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("fd00::1", ["2001:db8::9"], "2001:db8::9"),
        (None, ["203.0.113.9"], None),
    ],
)
def test_whose_request_it_is(peer: str | None, lines: list[str], whose: str | None) -> None:
    """The client is the rightmost address that is no trusted proxy, or the last valid address."""
    assert behind(peer, lines, PROXIES) == whose


@given(lines=st.lists(st.text(max_size=30), max_size=4), peer=st.ip_addresses().map(str))
def test_nothing_is_believed_without_trust(lines: list[str], peer: str) -> None:
    """Without trusted proxies the peer is the client, whatever the headers say."""
    assert behind(peer, lines, []) == peer


@given(lines=st.lists(st.text(max_size=60), max_size=4))
def test_whatever_is_sent_can_be_counted(lines: list[str]) -> None:
    """The result is always an address that rate limits can count."""
    assert prefixes(behind("10.0.0.1", lines, PROXIES))
