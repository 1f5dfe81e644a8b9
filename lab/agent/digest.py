"""
A fingerprint of what is configured in a stack, without decoding it: the raw dumps, less what changes by itself.

Equal fingerprints mean that nothing was left changed.  Unequal ones only say that a closer look is worth its time:
counters of a kernel newer than this list may be in them.
Sources: linux/if_link.h, if_addr.h, rtnetlink.h, neighbour.h, fib_rules.h.
"""

from __future__ import annotations

import hashlib
import socket
import struct
from collections.abc import Iterator

from lab.agent import mdb, parameters, traffic
from lab.agent.rtnl import EXT_MASK, NUD_PERMANENT, SKIP_STATS, Transport, attributes

GETLINK, GETADDR, GETROUTE, GETNEIGH, GETRULE = 18, 22, 26, 30, 34
FLAGS = 0x1 | 0x80 | 0x100 | 0x200 | 0x1000  # up, noarp, promisc, allmulti, multicast
NUD_LEARNED = 0x02 | 0x04
RTM_F_CLONED = 0x200
BRIDGE_VLANS = 2  # RTEXT_FILTER_BRVLAN

PROTINFO, LINKINFO, AF_SPEC = 12, 18, 26
INFO_KIND, INFO_DATA = 1, 2
# address, name, MTU, the link below, master, queue length, alias, group, protodown, XDP
CONFIGURED = {1, 3, 4, 5, 10, 13, 20, 27, 39, 43}
BRIDGE_CONFIGURED = {*range(1, 10), 20, *range(22, 40), *range(41, 47), 49}  # IFLA_BR_*: no timers, not who is root
PORT_CHANGES = {*range(12, 25), 26, 35, 36, 38, 41}  # IFLA_BRPORT_*: what is learned, timers, counts
PROBES = 4  # NDA_PROBES
CACHEINFO = {"address": 6, "route": 12, "neighbour": 3}


def fingerprint(transport: Transport, others: list[bytes]) -> str:
    """
    One word for what is configured in a stack.

    Links, bridge ports and their VLANs, parameters of devices, addresses, routes of every table, policy rules, written
    neighbours, forwarding entries and groups, traffic control; and `others`, which were read elsewhere.
    """
    parts = [
        *_links(transport),
        *_ports(transport),
        *_parameters(transport),
        *_addresses(transport),
        *_routes(transport),
        *_rules(transport),
        *_neighbours(transport),
        *_forwarding(transport),
        *_groups(transport),
        *_traffic(transport),
        *others,
    ]
    return hashlib.sha256(b"\0".join(sorted(parts))).hexdigest()


def _kept(data: bytes, offset: int, kinds: set[int]) -> bytes:
    return b"".join(
        struct.pack("=H", kind) + value for kind, value in sorted(attributes(data, offset)) if kind in kinds
    )


def _links(transport: Transport) -> Iterator[bytes]:
    for message in transport.raw_dump(GETLINK, struct.pack("=BxHiIIHHI", 0, 0, 0, 0, 0, 8, EXT_MASK, SKIP_STATS)):
        index, flags = struct.unpack_from("=iI", message, 4)
        head = struct.pack("=iI", index, flags & FLAGS)
        info = next((value for kind, value in attributes(message, 16) if kind == LINKINFO), b"")
        parts = dict(attributes(info, 0))
        what = parts.get(INFO_KIND, b"").rstrip(b"\0")
        data = parts.get(INFO_DATA, b"")
        settings = _kept(data, 0, BRIDGE_CONFIGURED) if what == b"bridge" else data
        yield b"link" + head + _kept(message, 16, CONFIGURED) + what + settings


def _ports(transport: Transport) -> Iterator[bytes]:
    request = struct.pack("=BxHiIIHHI", socket.AF_BRIDGE, 0, 0, 0, 0, 8, EXT_MASK, BRIDGE_VLANS)
    for message in transport.raw_dump(GETLINK, request):
        for kind, value in attributes(message, 16):
            if kind == PROTINFO:
                yield b"port" + message[4:8] + _without(value, 0, PORT_CHANGES)
            elif kind == AF_SPEC:
                yield b"vlan" + message[4:8] + value


def _parameters(transport: Transport) -> Iterator[bytes]:
    for entry in parameters.every(transport):
        yield repr(entry).encode()


def _addresses(transport: Transport) -> Iterator[bytes]:
    for message in transport.raw_dump(GETADDR, struct.pack("=BBBBi", 0, 0, 0, 0, 0)):
        yield b"address" + message[:2] + message[4:8] + _without(message, 8, {CACHEINFO["address"]})


def _routes(transport: Transport) -> Iterator[bytes]:
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in transport.raw_dump(GETROUTE, struct.pack("=BBBBBBBBI", family, *[0] * 8)):
            (flags,) = struct.unpack_from("=I", message, 8)
            if not flags & RTM_F_CLONED:
                yield b"route" + message[:8] + _without(message, 12, {CACHEINFO["route"]})


def _rules(transport: Transport) -> Iterator[bytes]:
    return (b"rule" + message for message in transport.raw_dump(GETRULE, bytes(12)))


def _neighbours(transport: Transport) -> Iterator[bytes]:
    for message in transport.raw_dump(GETNEIGH, struct.pack("=BxxxiHBB", socket.AF_UNSPEC, 0, 0, 0, 0)):
        (state,) = struct.unpack_from("=H", message, 8)
        if state & NUD_PERMANENT and message[0] in (socket.AF_INET, socket.AF_INET6):
            yield b"neighbour" + message[:12] + _addressed(message)


def _forwarding(transport: Transport) -> Iterator[bytes]:
    for message in transport.raw_dump(GETNEIGH, struct.pack("=BxxxiHBB", socket.AF_BRIDGE, 0, 0, 0, 0)):
        (state,) = struct.unpack_from("=H", message, 8)
        group = any(kind == 2 and value[:1] and value[0] & 1 for kind, value in attributes(message, 12))
        if not state & NUD_LEARNED and not group:
            yield b"fdb" + message[4:12] + _addressed(message)


def _groups(transport: Transport) -> Iterator[bytes]:
    return (repr(entry).encode() for entry in mdb.written(transport))


def _traffic(transport: Transport) -> Iterator[bytes]:
    """The disciplines that a device was given, not those that it has by itself; and the filters."""
    qdiscs = traffic.qdiscs(transport)
    for entry in (*(qdisc for qdisc in qdiscs if qdisc["handle"] != "0:"), *traffic.filters(transport, qdiscs)):
        kept = {name: value for name, value in entry.items() if name not in traffic.COUNTERS}
        does = [{name: it[name] for name in it if name not in traffic.COUNTERS} for it in kept.pop("actions", ())]
        yield repr((kept, does)).encode()


def _addressed(message: bytes) -> bytes:
    return _without(message, 12, {CACHEINFO["neighbour"], PROBES})


def _without(message: bytes, offset: int, left_out: set[int]) -> bytes:
    return b"".join(
        struct.pack("=H", kind) + value for kind, value in sorted(attributes(message, offset)) if kind not in left_out
    )
