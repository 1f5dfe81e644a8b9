"""
The routes of IPv6: where each leads to, by which device, in which table.

Sources: rtnetlink(7), linux/rtnetlink.h.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator
from typing import Any

from lab.agent.rtnl import Transport, attributes

GETROUTE = 26
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_MULTIPATH, RTA_TABLE = 1, 4, 5, 6, 7, 9, 15
HEADER = 12
RTM_F_CLONED = 0x200
ANYWHERE = bytes(16)


def entries(transport: Transport) -> list[dict[str, Any]]:
    """
    Every route as `to` (a prefix), `table`, `via` and `index` of its device (None: it has none, or several).

    `hops` are via and index of each of several; `type` and `protocol` are the kernel's numbers (RTN_*, RTPROT_*);
    `cloned`: it is the kernel's own note of a path MTU.
    """
    found = []
    for message in transport.raw_dump(GETROUTE, struct.pack("=BBBBBBBBI", socket.AF_INET6, *[0] * 8)):
        _, length, _, _, table, protocol, _, kind, flags = struct.unpack_from("=BBBBBBBBI", message)
        values = dict(attributes(message, HEADER))
        to = ipaddress.IPv6Address(values.get(RTA_DST, ANYWHERE))
        found.append(
            {
                "to": f"{to}/{length}",
                "table": _number(values, RTA_TABLE, table),
                "index": _number(values, RTA_OIF, None),
                "via": _address(values, RTA_GATEWAY),
                "source": _address(values, RTA_PREFSRC),
                "metric": _number(values, RTA_PRIORITY, 0),
                "hops": [_hop(hop) for hop in _hops(values.get(RTA_MULTIPATH, b""))],
                "type": kind,
                "protocol": protocol,
                "cloned": bool(flags & RTM_F_CLONED),
            }
        )
    return found


def _number(values: dict[int, bytes], kind: int, otherwise: int | None) -> int | None:
    return int(struct.unpack("=I", values[kind])[0]) if kind in values else otherwise


def _address(values: dict[int, bytes], kind: int) -> str | None:
    return str(ipaddress.IPv6Address(values[kind])) if kind in values else None


def _hops(multipath: bytes) -> Iterator[bytes]:
    """Each struct rtnexthop (8 octets) with its attributes."""
    while len(multipath) >= 8:
        (length,) = struct.unpack_from("=H", multipath)
        if length < 8:
            return
        yield multipath[:length]
        multipath = multipath[(length + 3) & ~3 :]


def _hop(hop: bytes) -> dict[str, Any]:
    return {"index": struct.unpack_from("=i", hop, 4)[0], "via": _address(dict(attributes(hop, 8)), RTA_GATEWAY)}
