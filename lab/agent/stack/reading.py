"""
What is configured in a stack and what it learned: links, ports, addresses, routes, rules, neighbours, entries.

Each reading is a list of plain dicts, one for each object, under the names of ip(8) and bridge(8); devices are names
(None: gone meanwhile, or in another stack).  `lab.stack.records` has the types.  Decoded from the dumps themselves.
Sources: rtnetlink(7), linux/if_link.h, if_bridge.h, if_addr.h, rtnetlink.h, neighbour.h, fib_rules.h.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any, Optional

from lab.agent.rtnl import EXT_MASK, GETADDR, GETLINK, GETNEIGH, GETROUTE, GETRULE, Transport, address, attributes, text
from lab.agent.stack import kinds

LOCAL_TABLE = 255
FLAGS = {"up": 0x1, "promisc": 0x100, "allmulticast": 0x200, "multicast": 0x1000, "broadcast": 0x2}
IFF_LOWER_UP, IFF_NOARP = 0x10000, 0x80
XDP = {0: "", 1: "xdpdrv", 2: "xdpgeneric", 3: "xdpoffload", 4: "xdpmulti"}
OPERATIONAL = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")
STATISTICS = (
    *("rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_errors", "tx_errors", "rx_dropped", "tx_dropped"),
    *("multicast", "collisions", "rx_length_errors", "rx_over_errors", "rx_crc_errors", "rx_frame_errors"),
    *("rx_fifo_errors", "rx_missed_errors", "tx_aborted_errors", "tx_carrier_errors", "tx_fifo_errors"),
    *("tx_heartbeat_errors", "tx_window_errors", "rx_compressed", "tx_compressed"),
)
PORT_STATES = ("disabled", "listening", "learning", "forwarding", "blocking")
PORT = {
    2: "priority",
    3: "cost",
    4: "hairpin",
    5: "guard",
    6: "root_block",
    7: "fastleave",
    8: "learning",
    9: "flood",
    10: "proxy_arp",
    12: "proxy_arp_wifi",
    25: "mcast_router",
    27: "mcast_flood",
    28: "mcast_to_unicast",
    29: "vlan_tunnel",
    30: "bcast_flood",
    31: "group_fwd_mask",
    32: "neigh_suppress",
    33: "isolated",
    37: "mcast_eht_hosts_limit",
    39: "locked",
    40: "mab",
    42: "mcast_max_groups",
    43: "neigh_vlan_suppress",
}
"""What is configured of a port: neither what it learned nor its timers."""
FAMILIES = {2: "inet", 10: "inet6", 7: "bridge", 128: "ipmr", 129: "ip6mr"}
RTM_F_CLONED = 0x200  # the kernel's own note of a path MTU, listed among the routes
RTAX_MTU = 2
RTA_NH_ID = 30
DETECTION = {0x08: "dadfailed", 0x40: "tentative"}  # IFA_F_
SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
PROTOCOLS = {1: "redirect", 2: "kernel", 3: "boot", 4: "static", 9: "ra", 16: "dhcp"}
ROUTE_TYPES = dict(
    enumerate(
        ("unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit", "throw"), 1
    )
)
RULE_ACTIONS = {1: "lookup", 2: "goto", 3: "nop", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
FIB_RULE_INVERT = 2
NO_LIMIT = 0xFFFFFFFF
NEIGHBOUR_STATES = {0: "none", 0x40: "noarp", 0x80: "permanent"}
NEIGHBOUR_STATES |= {1 << bit: name for bit, name in enumerate(("incomplete", "reachable", "stale", "delay", "probe"))}
NEIGHBOUR_STATES |= {0x20: "failed"}
NUD_LEARNED, NUD_PERMANENT = 0x02 | 0x04, 0x80
NTF_SELF = 0x02

Entry = dict[str, Any]


class DeviceNames(dict[int, Optional[str]]):
    """Device names by index, each found out once."""

    def __init__(self, transport: Transport) -> None:
        super().__init__({0: None})
        self._transport = transport

    def __missing__(self, index: int) -> str | None:
        try:
            self[index] = self._transport.name(index)
        except OSError:
            self[index] = None
        return self[index]


def links(transport: Transport, mask: int = 0) -> list[Entry]:
    """Every link with the parameters of its kind and its counters (`mask` SKIP_STATS: without them)."""
    dumped = dump(transport, mask=mask)
    messages = [(*struct.unpack_from("=iI", message, 4), dict(attributes(message, 16))) for message in dumped]
    names = DeviceNames(transport)
    names.update((index, text(parts.get(3))) for index, _, parts in messages)
    return [_link(index, flags, parts, names) for index, flags, parts in messages]


def dump(transport: Transport, family: int = 0, mask: int = 0) -> list[bytes]:
    """The links as the kernel wrote them; `mask` includes or omits parts of them (RTEXT_FILTER_)."""
    return transport.raw_dump(GETLINK, struct.pack("=BxHiIIHHI", family, 0, 0, 0, 0, 8, EXT_MASK, mask))


def _link(index: int, flags: int, parts: dict[int, bytes], names: DeviceNames) -> Entry:
    info = dict(attributes(parts.get(18, b""), 0))
    kind = text(info.get(1))
    counted = parts.get(23, b"")
    return {
        "name": names[index],
        "index": index,
        "kind": kind,
        **{name: bool(flags & bit) for name, bit in FLAGS.items()},
        "arp": not flags & IFF_NOARP,
        "lower_up": bool(flags & IFF_LOWER_UP),
        "carrier": bool(parts.get(33, b"\1")[0]),
        "operstate": OPERATIONAL[parts.get(16, b"\0")[0]],
        "mtu": _number(parts, 4) or 0,
        "mac": address(parts.get(1)) or "",
        "master": names[_number(parts, 10) or 0],
        "lower": None if 37 in parts else names[_number(parts, 5) or 0],
        "link_netnsid": _number(parts, 37),
        "txqueuelen": _number(parts, 13),
        "alias": text(parts[20]) if 20 in parts else None,
        "group": _number(parts, 27),
        "protodown": bool(parts.get(39, b"\0")[0]),
        "xdp": XDP.get(dict(attributes(parts.get(43, b""), 0)).get(2, b"\0")[0], "xdp"),
        "details": kinds.decoded(kind, info.get(2, b""), names) if 2 in info else {},
        "statistics": dict(
            zip(STATISTICS, struct.unpack_from(f"={min(len(counted) // 8, len(STATISTICS))}Q", counted))
        ),
    }


def ports(transport: Transport) -> Iterator[Entry]:
    """Every port of a bridge; `flags` are numbers under the words of bridge(8)."""
    names = DeviceNames(transport)
    for message in dump(transport, socket.AF_BRIDGE):
        (index,) = struct.unpack_from("=i", message, 4)
        parts = dict(attributes(message, 16))
        of = dict(attributes(parts.get(12, b""), 0))
        if of:
            yield {
                "dev": names[index],
                "master": names[_number(parts, 10) or 0],
                "state": PORT_STATES[of[1][0]] if 1 in of else "",
                "flags": {PORT[kind]: int.from_bytes(of[kind], sys.byteorder) for kind in of if kind in PORT},
            }


def addresses(transport: Transport) -> Iterator[Entry]:
    names = DeviceNames(transport)
    for message in transport.raw_dump(GETADDR, bytes(8)):
        family, length, flags, scope, index = struct.unpack_from("=BBBBi", message)
        if family not in (socket.AF_INET, socket.AF_INET6):
            continue
        parts = dict(attributes(message, 8))
        far = parts.get(1)
        own = parts.get(2, far)
        yield {
            "family": FAMILIES[family],
            "local": address(own) or "",
            "peer": address(far) if far != own else None,
            "prefixlen": length,
            "broadcast": address(parts.get(4)),
            "scope": SCOPES.get(scope, str(scope)),
            "dev": names[index],
            "index": index,
            "detection": next((word for bit, word in DETECTION.items() if flags & bit), ""),
        }


def routes(transport: Transport) -> list[Entry]:
    """The routes of every table, of IPv4 and IPv6."""
    names = DeviceNames(transport)
    return [
        _route(message, names)
        for family in (socket.AF_INET, socket.AF_INET6)
        for message in transport.raw_dump(GETROUTE, struct.pack("=BBBBBBBBI", family, *[0] * 8))
        if not struct.unpack_from("=I", message, 8)[0] & RTM_F_CLONED
    ]


def _route(message: bytes, names: DeviceNames) -> Entry:
    family, length, _, tos, table, protocol, scope, kind = struct.unpack_from("=BBBBBBBB", message)
    parts = dict(attributes(message, 12))
    metrics = dict(attributes(parts.get(8, b""), 0))
    return {
        "family": FAMILIES[family],
        "type": ROUTE_TYPES.get(kind, str(kind)),
        "dst": f"{address(parts.get(1)) or ('0.0.0.0' if family == socket.AF_INET else '::')}/{length}",
        "via": address(parts.get(5)),
        "dev": names[_number(parts, 4) or 0],
        "table": _number(parts, 15) or table,
        "proto": PROTOCOLS.get(protocol, str(protocol)),
        "scope": SCOPES.get(scope, str(scope)),
        "src": address(parts.get(7)),
        "metric": _number(parts, 6) or 0,
        "mtu": _number(metrics, RTAX_MTU),
        "tos": tos,
        "nhid": _number(parts, RTA_NH_ID),
        "nexthops": tuple(_hop(hop, names) for hop in _hops(parts.get(9, b""))),
    }


def _hops(multipath: bytes) -> Iterator[bytes]:
    """Each struct rtnexthop (8 octets) with its attributes."""
    while len(multipath) >= 8:
        (length,) = struct.unpack_from("=H", multipath)
        if length < 8:
            return
        yield multipath[:length]
        multipath = multipath[(length + 3) & ~3 :]


def _hop(hop: bytes, names: DeviceNames) -> tuple[str | None, str | None]:
    return address(dict(attributes(hop, 8)).get(5)), names[struct.unpack_from("=i", hop, 4)[0]]


def rules(transport: Transport) -> Iterator[Entry]:
    """The rules of policy routing, of every family that has any."""
    for message in transport.raw_dump(GETRULE, bytes(12)):
        family, to, source, tos, table, _, _, action, flags = struct.unpack_from("=BBBBBBBBI", message)
        parts = dict(attributes(message, 12))
        limit, group = _number(parts, 14), _number(parts, 13)
        yield {
            "family": FAMILIES.get(family, str(family)),
            "priority": _number(parts, 6) or 0,
            "inverted": bool(flags & FIB_RULE_INVERT),
            "src": f"{address(parts[2])}/{source}" if 2 in parts else None,
            "dst": f"{address(parts[1])}/{to}" if 1 in parts else None,
            "iif": text(parts[3]) if 3 in parts else None,
            "oif": text(parts[17]) if 17 in parts else None,
            "tos": tos,
            "fwmark": _number(parts, 10),
            "fwmask": _number(parts, 16),
            "ipproto": parts[22][0] if 22 in parts else None,
            "sport": _range(parts.get(23), "=HH"),
            "dport": _range(parts.get(24), "=HH"),
            "uidrange": _range(parts.get(20), "=II"),
            "table": _number(parts, 15) or table,
            "action": RULE_ACTIONS.get(action, str(action)),
            "goto": _number(parts, 4),
            "suppress_prefixlength": None if limit == NO_LIMIT else limit,
            "suppress_ifgroup": None if group == NO_LIMIT else group,
            "l3mdev": bool(parts.get(19, b"\0")[0]),
        }


def neighbours(transport: Transport) -> Iterator[Entry]:
    """The neighbours of IPv4 and IPv6."""
    names = DeviceNames(transport)
    for message in transport.raw_dump(GETNEIGH, struct.pack("=BxxxiHBB", socket.AF_UNSPEC, 0, 0, 0, 0)):
        family, index, state = struct.unpack_from("=BxxxiH", message)
        if family in (socket.AF_INET, socket.AF_INET6):
            parts = dict(attributes(message, 12))
            yield {
                "family": FAMILIES[family],
                "dst": address(parts.get(1)) or "",
                "lladdr": address(parts.get(2)),
                "dev": names[index],
                "state": NEIGHBOUR_STATES.get(state, hex(state)),
            }


def fdb(transport: Transport) -> Iterator[Entry]:
    """The forwarding entries of every bridge and VXLAN device."""
    names = DeviceNames(transport)
    for message in transport.raw_dump(GETNEIGH, struct.pack("=BxxxiHBB", socket.AF_BRIDGE, 0, 0, 0, 0)):
        index, state, flags = struct.unpack_from("=iHB", message, 4)
        parts = dict(attributes(message, 12))
        yield {
            "lladdr": address(parts.get(2)) or "",
            "dev": names[index],
            "dst": address(parts.get(1)),
            "vlan": struct.unpack("=H", parts[5])[0] if 5 in parts else None,
            "port": struct.unpack("!H", parts[6])[0] if 6 in parts else None,
            "vni": _number(parts, 7),
            "via": names[_number(parts, 8) or 0],
            "master": names[_number(parts, 9) or 0],
            "own": bool(flags & NTF_SELF),
            "state": "permanent" if state & NUD_PERMANENT else "learned" if state & NUD_LEARNED else "static",
        }


def _number(parts: dict[int, bytes], kind: int) -> int | None:
    return int(struct.unpack("=I", parts[kind])[0]) if kind in parts else None


def _range(value: bytes | None, form: str) -> str | None:
    return None if value is None else "-".join(map(str, struct.unpack(form, value)))
