"""
The VLANs that the ports of a stack's bridges carry (bridge(8) vlan).

Source: linux/if_bridge.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

from lab.agent.rtnl import Transport, attributes, text
from lab.agent.stack import reading

IFNAME, AF_SPEC = 3, 26
RTEXT_FILTER_BRVLAN = 2
VLAN_INFO, PVID, UNTAGGED = 2, 0x2, 0x4


def entries(transport: Transport) -> Iterator[dict[str, Any]]:
    """Every VLAN of every port and bridge: `dev`, `vid`, `pvid` (untagged frames are in it), `untagged`."""
    for message in reading.dump(transport, socket.AF_BRIDGE, RTEXT_FILTER_BRVLAN):
        parts = dict(attributes(message, 16))
        device = text(parts.get(IFNAME))
        for kind, value in attributes(parts.get(AF_SPEC, b""), 0):
            if kind == VLAN_INFO:
                flags, vid = struct.unpack_from("=HH", value)
                yield {"dev": device, "vid": vid, "pvid": bool(flags & PVID), "untagged": bool(flags & UNTAGGED)}
