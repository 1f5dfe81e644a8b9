"""
The parameters that each device has for itself, as sysctl(8) has them under net.ipv4.conf and net.ipv6.conf.

One dump of the links holds them all; a file each would take a hundred times as long.
Sources: linux/ip.h (IPV4_DEVCONF_*), linux/ipv6.h (DEVCONF_*), inet_fill_link_af.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from lab.agent.rtnl import Transport, attributes

GETLINK = 18
IFNAME, AF_SPEC, INET_CONF, INET6_CONF = 3, 26, 1, 2
INET = {
    "forwarding": 0,
    "mc_forwarding": 1,
    "proxy_arp": 2,
    "rp_filter": 7,
    "arp_filter": 12,
    "force_igmp_version": 16,
    "arp_announce": 17,
    "arp_ignore": 18,
    "accept_local": 22,
    "src_valid_mark": 23,
    "proxy_arp_pvlan": 24,
    "route_localnet": 25,
    "ignore_routes_with_linkdown": 28,
    "drop_unicast_in_l2_multicast": 29,
    "bc_forwarding": 31,
}
INET6 = {"forwarding": 0, "disable_ipv6": 26}


def entries(transport: Transport) -> list[dict[str, Any]]:
    """For every device its `ipv4` and `ipv6` parameters, by name; those that this kernel has."""
    found = []
    for message in transport.raw_dump(GETLINK, struct.pack("=BxHiII", 0, 0, 0, 0, 0)):
        parts = dict(attributes(message, 16))
        families = dict(attributes(parts.get(AF_SPEC, b""), 0))
        found.append(
            {
                "device": parts.get(IFNAME, b"").rstrip(b"\0").decode(errors="replace"),
                "ipv4": _values(families.get(int(socket.AF_INET), b""), INET_CONF, INET),
                "ipv6": _values(families.get(int(socket.AF_INET6), b""), INET6_CONF, INET6),
            }
        )
    return found


def _values(family: bytes, kind: int, positions: dict[str, int]) -> dict[str, int]:
    array = dict(attributes(family, 0)).get(kind, b"")
    return {
        name: struct.unpack_from("=i", array, 4 * position)[0]
        for name, position in positions.items()
        if 4 * position + 4 <= len(array)
    }
