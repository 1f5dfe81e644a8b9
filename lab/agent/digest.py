"""
A fingerprint of what is configured in a stack, without decoding it: the raw dumps, less what changes by itself.

Equal fingerprints mean that nothing was left changed.  Unequal ones only say that a closer look is worth its time:
counters of a kernel newer than this list may be in them.
Sources: linux/if_link.h, if_addr.h, rtnetlink.h, neighbour.h.
"""

from __future__ import annotations

import hashlib
import socket
import struct
from collections.abc import Iterator

from lab.agent.rtnl import Transport, attributes

GETLINK, GETADDR, GETROUTE, GETNEIGH = 18, 22, 26, 30
IFF_UP, IFF_MULTICAST = 0x1, 0x1000
NUD_LEARNED = 0x02 | 0x04
RTM_F_CLONED = 0x200

ADDRESS, IFNAME, MTU, MASTER, PROTINFO, LINKINFO = 1, 3, 4, 10, 12, 18
INFO_KIND, INFO_DATA = 1, 2
CONFIGURED = {ADDRESS, IFNAME, MTU, MASTER}
BRIDGE_CONFIGURED = {*range(1, 10), *range(22, 40)}  # IFLA_BR_*: not the timers, not who is root
PORT_CONFIGURED = {1, 4, 8, 9, 10, 25, 27, 30, 32, 33}  # IFLA_BRPORT_*: state and flags
CACHEINFO = {"address": 6, "route": 12, "neighbour": 3}


def fingerprint(transport: Transport) -> str:
    """One word for the links, bridge ports, addresses, IPv4 routes and static forwarding entries of a stack."""
    parts = [
        *_links(transport),
        *_ports(transport),
        *_addresses(transport),
        *_routes(transport),
        *_forwarding(transport),
    ]
    return hashlib.sha256(b"\0".join(sorted(parts))).hexdigest()


def _kept(data: bytes, offset: int, kinds: set[int]) -> bytes:
    return b"".join(
        struct.pack("=H", kind) + value for kind, value in sorted(attributes(data, offset)) if kind in kinds
    )


def _links(transport: Transport) -> Iterator[bytes]:
    for message in transport.raw_dump(GETLINK, struct.pack("=BxHiII", 0, 0, 0, 0, 0)):
        index, flags = struct.unpack_from("=iI", message, 4)
        head = struct.pack("=iI", index, flags & (IFF_UP | IFF_MULTICAST))
        info = next((value for kind, value in attributes(message, 16) if kind == LINKINFO), b"")
        parts = dict(attributes(info, 0))
        what = parts.get(INFO_KIND, b"").rstrip(b"\0")
        data = parts.get(INFO_DATA, b"")
        settings = _kept(data, 0, BRIDGE_CONFIGURED) if what == b"bridge" else data
        yield b"link" + head + _kept(message, 16, CONFIGURED) + what + settings


def _ports(transport: Transport) -> Iterator[bytes]:
    for message in transport.raw_dump(GETLINK, struct.pack("=BxHiII", socket.AF_BRIDGE, 0, 0, 0, 0)):
        for kind, value in attributes(message, 16):
            if kind == PROTINFO:
                yield b"port" + message[4:8] + _kept(value, 0, PORT_CONFIGURED)


def _addresses(transport: Transport) -> Iterator[bytes]:
    for message in transport.raw_dump(GETADDR, struct.pack("=BBBBi", 0, 0, 0, 0, 0)):
        yield b"address" + message[:2] + message[4:8] + _without(message, 8, CACHEINFO["address"])


def _routes(transport: Transport) -> Iterator[bytes]:
    for message in transport.raw_dump(GETROUTE, struct.pack("=BBBBBBBBI", socket.AF_INET, *[0] * 8)):
        (flags,) = struct.unpack_from("=I", message, 8)
        if not flags & RTM_F_CLONED:
            yield b"route" + message[:8] + _without(message, 12, CACHEINFO["route"])


def _forwarding(transport: Transport) -> Iterator[bytes]:
    for message in transport.raw_dump(GETNEIGH, struct.pack("=BxxxiHBB", socket.AF_BRIDGE, 0, 0, 0, 0)):
        (state,) = struct.unpack_from("=H", message, 8)
        said = _without(message, 12, CACHEINFO["neighbour"])
        group = any(kind == 2 and value[:1] and value[0] & 1 for kind, value in attributes(message, 12))
        if not state & NUD_LEARNED and not group:
            yield b"fdb" + message[4:12] + said


def _without(message: bytes, offset: int, left_out: int) -> bytes:
    return b"".join(
        struct.pack("=H", kind) + value for kind, value in sorted(attributes(message, offset)) if kind != left_out
    )
