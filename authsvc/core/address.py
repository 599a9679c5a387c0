"""Network addresses: whose a request is behind proxies, and the prefixes by which attempts are counted."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


def behind(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> str | None:
    """Whose request it is: the last address of the way that no trusted proxy has vouched for.

    forwarded: the X-Forwarded-For lines, in order. They are read from the right, where our own proxies write; what a
    client wrote is to the left of them. Something that is no address ends the way there: it makes nobody disappear.
    """
    if not trusted:
        return peer
    hops = [hop.strip() for line in forwarded for hop in line.split(",")]
    address = _parsed(peer or "")
    while hops and address is not None and any(address in network for network in trusted):
        before = _parsed(hops.pop())
        if before is None:
            break
        address = before
    return peer if address is None else str(address)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def prefixes(ip: str | None) -> tuple[str, str | None]:
    """What an address counts as: itself for IPv4, its /64 for IPv6; and the /48 around it, None for IPv4.

    A household or a server gets a /64 at least, so single IPv6 addresses would be no limit at all.
    """
    if ip is None:
        return "unknown", None
    address = ip_address(ip.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped), None
        return str(ip_network((address, 64), strict=False)), str(ip_network((address, 48), strict=False))
    return str(address), None
