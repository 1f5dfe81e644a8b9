"""
The IPv6 neighbours of a stack, with the attributes that `ip -6 neigh` shows, under the kernel's names.

Source: linux/neighbour.h.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from lab.agent.rtnl import Transport, attributes

GETNEIGH, NDA_DST, NDA_LLADDR = 30, 1, 2


def entries(transport: Transport) -> list[dict[str, Any]]:
    """Every neighbour as `family`, `ifindex`, `state` (NUD_*), `NDA_DST` and, where it is known, `NDA_LLADDR`."""
    found = []
    for message in transport.raw_dump(GETNEIGH, struct.pack("=BxxxiHBB", socket.AF_INET6, 0, 0, 0, 0)):
        family, index, state = struct.unpack_from("=BxxxiH", message)
        parts = dict(attributes(message, 12))
        entry = {"family": family, "ifindex": index, "state": state}
        if len(parts.get(NDA_DST, b"")) == 16:
            entry["NDA_DST"] = socket.inet_ntop(socket.AF_INET6, parts[NDA_DST])
        if NDA_LLADDR in parts:
            entry["NDA_LLADDR"] = parts[NDA_LLADDR].hex(":")
        found.append(entry)
    return found
