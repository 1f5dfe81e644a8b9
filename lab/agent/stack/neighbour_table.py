"""
The table of IPv4 neighbours, which all network namespaces of a kernel share.

When it holds `limit` neighbours (gc_thresh3) that are all in use or new, the kernel refuses further ones and drops the
packets to them, without an error at any socket or device.
Sources: linux/neighbour.h (NDTA_*, struct ndt_config, struct ndt_stats).
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from lab.agent.rtnl import Transport, attributes

GETNEIGHTBL = 66
COLLECTED_FROM, LIMIT, CONFIG, STATISTICS = 2, 4, 5, 7  # NDTA_THRESH1, NDTA_THRESH3, NDTA_CONFIG, NDTA_STATS
ENTRIES_AT = 4  # octets
REFUSED_AT = 80  # ndts_table_fulls, the last column of /proc/net/stat/arp_cache
LIMIT_FILE = "/proc/sys/net/ipv4/neigh/default/gc_thresh3"
BOOT = "/proc/sys/kernel/random/boot_id"


def messages(transport: Transport) -> list[bytes]:
    """The table of IPv4, and its parameters for each device, as the kernel wrote them."""
    return transport.raw_dump(GETNEIGHTBL, bytes([socket.AF_INET, 0, 0, 0]))


def counts(transport: Transport) -> dict[str, int]:
    """
    What the table holds and refused since the kernel started.

    `entries`, `limit`, `refused`, and `collected_from`: with fewer entries the kernel removes none.
    """
    for message in messages(transport):
        parts = dict(attributes(message, 4))
        if CONFIG in parts:
            return {
                "entries": struct.unpack_from("=I", parts[CONFIG], ENTRIES_AT)[0],
                "limit": struct.unpack("=I", parts[LIMIT])[0],
                "collected_from": struct.unpack("=I", parts[COLLECTED_FROM])[0],
                "refused": struct.unpack_from("=Q", parts[STATISTICS], REFUSED_AT)[0],
            }
    return dict.fromkeys(("entries", "limit", "collected_from", "refused"), 0)


def described(transport: Transport) -> dict[str, Any]:
    """The counts, whose `kernel` the table is, and whether the limit is `settable` in this namespace."""
    with open(BOOT) as file:
        kernel = file.read().strip()
    return {**counts(transport), "kernel": kernel, "settable": os.path.exists(LIMIT_FILE)}
