"""
The parameters that each device has for itself, as sysctl(8) has them under net.ipv4.conf, net.ipv6.conf and neigh.

One dump of the links holds those of conf, one of the neighbour tables the others; a file each would take a hundred
times as long.
Sources: linux/ip.h (IPV4_DEVCONF_*), linux/ipv6.h (DEVCONF_*), inet_fill_link_af, linux/neighbour.h (NDTPA_*).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

from lab.agent.rtnl import SKIP_STATS, Transport, attributes, text
from lab.agent.stack import neighbour_table, reading

IFNAME, AF_SPEC, INET_CONF, INET6_CONF = 3, 26, 1, 2
TABLE_PARAMETERS, OF_INDEX = 6, 1  # NDTA_PARMS, NDTPA_IFINDEX
OF_INET = """
forwarding mc_forwarding proxy_arp accept_redirects secure_redirects send_redirects shared_media rp_filter
accept_source_route bootp_relay log_martians tag arp_filter medium_id disable_xfrm disable_policy force_igmp_version
arp_announce arp_ignore promote_secondaries arp_accept arp_notify accept_local src_valid_mark proxy_arp_pvlan
route_localnet igmpv2_unsolicited_report_interval igmpv3_unsolicited_report_interval ignore_routes_with_linkdown
drop_unicast_in_l2_multicast drop_gratuitous_arp bc_forwarding arp_evict_nocarrier
"""
ALL_INET = {name: position for position, name in enumerate(OF_INET.split())}
DECIDING = """
forwarding mc_forwarding proxy_arp rp_filter arp_filter force_igmp_version arp_announce arp_ignore accept_local
src_valid_mark proxy_arp_pvlan route_localnet ignore_routes_with_linkdown drop_unicast_in_l2_multicast bc_forwarding
"""
INET = {name: ALL_INET[name] for name in DECIDING.split()}
"""Those that decide over packets."""
INET6 = {"forwarding": 0, "disable_ipv6": 26}
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


def entries(transport: Transport) -> Iterator[dict[str, Any]]:
    """For every device its `ipv4` and `ipv6` parameters that decide over packets, by name, as far as they exist."""
    return _of_links(transport, INET, INET6)


def every(transport: Transport) -> Iterator[dict[str, Any]]:
    """For every device all its parameters: `ipv4` and `ipv6` of conf, `neighbours` of net.ipv4.neigh."""
    tables = {}
    for message in neighbour_table.messages(transport):
        parts = dict(attributes(dict(attributes(message, 4)).get(TABLE_PARAMETERS, b""), 0))
        if OF_INDEX in parts:  # not the table's own, which are the defaults of all
            values = {
                name: struct.unpack("=I", parts[kind])[0] for name, kind in OF_NEIGHBOURS.items() if kind in parts
            }
            tables[struct.unpack("=I", parts[OF_INDEX])[0]] = values
    for entry in _of_links(transport, ALL_INET, ALL_INET6):
        yield {**entry, "neighbours": tables.get(entry["index"], {})}


def _of_links(transport: Transport, inet: dict[str, int], inet6: dict[str, int]) -> Iterator[dict[str, Any]]:
    for message in reading.dump(transport, mask=SKIP_STATS):
        parts = dict(attributes(message, 16))
        families = dict(attributes(parts.get(AF_SPEC, b""), 0))
        yield {
            "device": text(parts.get(IFNAME)),
            "index": struct.unpack_from("=i", message, 4)[0],
            "ipv4": _values(families.get(int(socket.AF_INET), b""), INET_CONF, inet),
            "ipv6": _values(families.get(int(socket.AF_INET6), b""), INET6_CONF, inet6),
        }


def _values(family: bytes, kind: int, positions: dict[str, int]) -> dict[str, int]:
    array = dict(attributes(family, 0)).get(kind, b"")
    numbers = struct.unpack(f"={len(array) // 4}i", array)
    return {name: numbers[position] for name, position in positions.items() if position < len(numbers)}
