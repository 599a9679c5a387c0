"""Network addresses: the client behind trusted proxies, and the prefixes for rate limits."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

Network = IPv4Network | IPv6Network
# Optional white space in a header field (RFC 9110 section 5.6.3). Python's `strip()` removes other characters too.
OWS = " \t"

# The length of the prefix `::ffff:0:0/96` (RFC 4291 section 2.5.5.2).
_MAPPED = 96
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Some load balancers write the port of the client too, or put an IPv6 address into brackets.
_WITH_PORT = re.compile(r"(?P<v4>[0-9.]+):[0-9]{1,5}|\[(?P<v6>[0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?")


def is_loopback(host: str) -> bool:
    """Whether the name or address of a host means this machine. An empty name does."""
    if host in ("", "localhost"):
        return True
    address = _parsed(host)
    return address is not None and address.is_loopback


def in_url(host: str) -> str:
    """A host as it stands in a URL: an IPv6 address has brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def origin_of(url: str) -> str:
    """The origin of a URL as browsers write it: in lower case, without the default port (RFC 6454 section 6.1).

    Raises ValueError for a port or an IPv6 address that is none.
    """
    parts = urlsplit(url)
    named = parts.port is not None and parts.port != _DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{in_url(parts.hostname or '')}" + (f":{parts.port}" if named else "")


def behind(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> str | None:
    """The address of the client: the last one before the trusted proxies.

    forwarded: the X-Forwarded-For lines, in order. They are read from the right, because trusted proxies append there;
    a client can only write further left. Reading stops at an entry that is no address, so nobody can hide behind one.
    """
    if not trusted:
        return peer
    hops = [hop.strip(OWS) for line in forwarded for hop in line.split(",")]
    address = _parsed(peer or "")
    while hops and address is not None and any(address in network for network in trusted):
        before = _parsed(_without_port(hops.pop()))
        if before is None:
            break
        address = before
    return peer if address is None else str(address)


def of_peer(host: str) -> str:
    """The address of a connection's other end. A socket for IPv6 and IPv4 maps the addresses of IPv4."""
    return canonical(host) or host


def canonical(text: str) -> str | None:
    """The usual form of an address without brackets, port and zone; None if the text is anything else."""
    address = None if "%" in text else _parsed(text)
    return None if address is None else str(address)


def _without_port(hop: str) -> str:
    """The address of an entry such as `203.0.113.77:51234`, `[2001:db8::1]:443` or `[2001:db8::1]`."""
    match = _WITH_PORT.fullmatch(hop)
    return hop if match is None else match["v4"] or match["v6"]


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def network_of(text: str) -> Network:
    """The network that an address or a prefix such as `10.0.0.0/8` names.

    Raises ValueError for bits behind the prefix. IPv4 addresses that are mapped into IPv6 count as IPv4 addresses
    everywhere, and so does a network of them.
    """
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED and network.network_address.ipv4_mapped:
        return ip_network((network.network_address.ipv4_mapped, network.prefixlen - _MAPPED))
    return network


def is_within(ip: str | None, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of these networks."""
    address = _parsed((ip or "").partition("%")[0])
    return address is not None and any(address in network for network in networks)


def prefixes(ip: str | None) -> tuple[str, str | None]:
    """The prefixes for rate limits. IPv4: the address and None. IPv6: its /64 and its /48.

    A household or a server has at least a /64, so a limit on single IPv6 addresses would not limit anybody.
    """
    if ip is None:
        return "unknown", None
    address = ip_address(ip.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped), None
        return str(ip_network((address, 64), strict=False)), str(ip_network((address, 48), strict=False))
    return str(address), None


def neighbourhood(ip: str | None) -> str:
    """The network in which a device keeps its place when its address changes: the /24 of IPv4, the /56 of IPv6."""
    return _network_of(ip, v4=24, v6=56)


def source_of(ip: str | None) -> str:
    """The network that counts as one source of guesses at an account. IPv4: its /24. IPv6: its /48.

    One customer of a provider has up to a /48, and a small server often has neighbours in its /24.
    """
    return _network_of(ip, v4=24, v6=48)


def _network_of(ip: str | None, *, v4: int, v6: int) -> str:
    address = _parsed((ip or "").partition("%")[0])
    if address is None:
        return "unknown"
    return str(ip_network((address, v6 if isinstance(address, IPv6Address) else v4), strict=False))
