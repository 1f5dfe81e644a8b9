"""
The parameters that each device has for itself, as sysctl(8) has them under net.ipv4.conf, net.ipv6.conf and neigh.

One dump of the links holds those of conf, one of the neighbour tables the others; a file each would take a hundred
times as long.
Sources: linux/ip.h (IPV4_DEVCONF_*), linux/ipv6.h (DEVCONF_*), inet_fill_link_af, linux/neighbour.h (NDTPA_*).
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from lab.agent import neighbour_table
from lab.agent.rtnl import EXT_MASK, GETLINK, SKIP_STATS, Transport, attributes

IFNAME, AF_SPEC, INET_CONF, INET6_CONF = 3, 26, 1, 2
TABLE_PARAMETERS, OF_INDEX = 6, 1  # NDTA_PARMS, NDTPA_IFINDEX
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
ALL_INET = {
    **INET,
    "accept_redirects": 3,
    "secure_redirects": 4,
    "send_redirects": 5,
    "shared_media": 6,
    "accept_source_route": 8,
    "log_martians": 10,
    "medium_id": 13,
    "disable_xfrm": 14,
    "disable_policy": 15,
    "promote_secondaries": 19,
    "arp_accept": 20,
    "arp_notify": 21,
    "igmpv2_unsolicited_report_interval": 26,
    "igmpv3_unsolicited_report_interval": 27,
    "drop_gratuitous_arp": 30,
    "arp_evict_nocarrier": 32,
}
ALL_INET6 = {
    **INET6,
    "hop_limit": 1,
    "accept_ra": 3,
    "accept_redirects": 4,
    "autoconf": 5,
    "dad_transmits": 6,
    "force_mld_version": 16,
    "proxy_ndp": 22,
    "accept_source_route": 24,
    "accept_dad": 27,
}
OF_NEIGHBOURS = {
    "app_solicit": 9,
    "ucast_solicit": 10,
    "mcast_solicit": 11,
    "proxy_qlen": 14,
    "unres_qlen_bytes": 16,
    "mcast_resolicit": 17,
}
"""Those that are numbers without a unit: times are given in milliseconds and written in seconds or ticks."""


def entries(transport: Transport) -> list[dict[str, Any]]:
    """For every device its `ipv4` and `ipv6` parameters that decide over packets, by name, as far as they exist."""
    return _of_links(transport, INET, INET6)


def every(transport: Transport) -> list[dict[str, Any]]:
    """For every device all its parameters: `ipv4` and `ipv6` of conf, `neighbours` of net.ipv4.neigh."""
    tables = {}
    for message in neighbour_table.messages(transport):
        parts = dict(attributes(dict(attributes(message, 4)).get(TABLE_PARAMETERS, b""), 0))
        if OF_INDEX in parts:  # not the table's own, which are the defaults of all
            values = {
                name: struct.unpack("=I", parts[kind])[0] for name, kind in OF_NEIGHBOURS.items() if kind in parts
            }
            tables[struct.unpack("=I", parts[OF_INDEX])[0]] = values
    found = _of_links(transport, ALL_INET, ALL_INET6)
    return [{**entry, "neighbours": tables.get(entry["index"], {})} for entry in found]


def _of_links(transport: Transport, inet: dict[str, int], inet6: dict[str, int]) -> list[dict[str, Any]]:
    found = []
    request = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + struct.pack("=HHI", 8, EXT_MASK, SKIP_STATS)
    for message in transport.raw_dump(GETLINK, request):
        parts = dict(attributes(message, 16))
        families = dict(attributes(parts.get(AF_SPEC, b""), 0))
        found.append(
            {
                "device": parts.get(IFNAME, b"").rstrip(b"\0").decode(errors="replace"),
                "index": struct.unpack_from("=i", message, 4)[0],
                "ipv4": _values(families.get(int(socket.AF_INET), b""), INET_CONF, inet),
                "ipv6": _values(families.get(int(socket.AF_INET6), b""), INET6_CONF, inet6),
            }
        )
    return found


def _values(family: bytes, kind: int, positions: dict[str, int]) -> dict[str, int]:
    array = dict(attributes(family, 0)).get(kind, b"")
    numbers = struct.unpack(f"={len(array) // 4}i", array)
    return {name: numbers[position] for name, position in positions.items() if position < len(numbers)}
