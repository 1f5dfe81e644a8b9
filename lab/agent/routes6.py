"""
The routes of IPv6: where each leads to, by which device, in which table.

Sources: rtnetlink(7), linux/rtnetlink.h.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Any

from lab.agent.rtnl import Transport, attributes

GETROUTE = 26
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_TABLE = 1, 4, 5, 15
HEADER = 12
ANYWHERE = bytes(16)


def entries(transport: Transport) -> list[dict[str, Any]]:
    """Every route as `to` (a prefix), `table`, `via` and `index` of its device (None: it has none, or several)."""
    found = []
    for message in transport.raw_dump(GETROUTE, struct.pack("=BBBBBBBBI", socket.AF_INET6, *[0] * 8)):
        length, table = message[1], message[4]
        values = dict(attributes(message, HEADER))
        to = ipaddress.IPv6Address(values.get(RTA_DST, ANYWHERE))
        index = struct.unpack("=i", values[RTA_OIF])[0] if RTA_OIF in values else None
        if RTA_TABLE in values:
            (table,) = struct.unpack("=I", values[RTA_TABLE])
        via = str(ipaddress.IPv6Address(values[RTA_GATEWAY])) if RTA_GATEWAY in values else None
        found.append({"to": f"{to}/{length}", "table": table, "index": index, "via": via})
    return found
