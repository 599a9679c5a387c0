"""Network addresses, and the prefixes by which their attempts are counted."""

from ipaddress import IPv6Address, ip_address, ip_network


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
