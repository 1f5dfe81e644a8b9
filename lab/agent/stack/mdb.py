"""
The multicast databases of a stack's bridges: which port has members of which group (bridge(8) mdb).

A bridge that snoops learns them from the IGMP that crosses it.  The bridge itself as a port is its own host, a member
like any other.  Sources: linux/if_bridge.h, br_mdb.c.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Iterator

from lab.agent.rtnl import Transport, address, attributes
from lab.agent.stack.reading import Entry

GETMDB = 86
MDB, INFO = 1, 1  # MDBA_MDB holds MDBA_MDB_ENTRYs, they hold MDBA_MDB_ENTRY_INFOs
ROUTER, ROUTER_PORT = 2, 1  # MDBA_ROUTER holds MDBA_ROUTER_PORTs
INFO_SIZE = 28  # struct br_mdb_entry, its attributes behind it
GROUP_SOURCE = 4  # MDBA_MDB_EATTR_SOURCE
MDB_PERMANENT = 1
SIZES, MAC = {0x0800: 4, 0x86DD: 16}, 6  # octets of a group, by its EtherType


def entries(transport: Transport) -> Iterator[Entry]:
    """Every entry of every bridge: `bridge` and `port` by name, `group`, `source` (None: any)."""
    for message in _databases(transport):
        (bridge,) = struct.unpack_from("=I", message, 4)
        for info in _infos(message):
            port, state, _, vid, group = struct.unpack_from("=IBBH16s", info)
            (protocol,) = struct.unpack_from("!H", info, 24)
            sources = [address(value) for kind, value in attributes(info, INFO_SIZE) if kind == GROUP_SOURCE]
            with contextlib.suppress(OSError):  # a device that has gone meanwhile takes its entries with it
                yield {
                    "bridge": transport.name(bridge),
                    "port": transport.name(port),
                    "group": address(group[: SIZES.get(protocol, MAC)]),
                    "source": sources[0] if sources else None,
                    "vid": vid,
                    "permanent": state == MDB_PERMANENT,
                }


def _databases(transport: Transport) -> list[bytes]:
    try:
        return transport.raw_dump(GETMDB, struct.pack("=BxxxI", socket.AF_BRIDGE, 0))
    except OSError as error:
        # a kernel that has not loaded its bridge module, as a spoke's own, does not know the question
        if error.errno != errno.EOPNOTSUPP:
            raise
        return []


def _infos(message: bytes) -> Iterator[bytes]:
    return (
        info
        for kind, table in attributes(message, 8)
        if kind == MDB
        for _, group in attributes(table, 0)
        for kind_of, info in attributes(group, 0)
        if kind_of == INFO
    )


def routers(transport: Transport) -> Iterator[Entry]:
    """The ports of every bridge that take a multicast router to be behind them: `bridge` and `port` by name."""
    for message in _databases(transport):
        (bridge,) = struct.unpack_from("=I", message, 4)
        for kind, table in attributes(message, 8):
            ports = [value for kind_of, value in attributes(table, 0) if kind_of == ROUTER_PORT]
            for value in ports if kind == ROUTER else ():
                with contextlib.suppress(OSError):  # gone meanwhile
                    port = transport.name(struct.unpack_from("=I", value)[0])
                    yield {"bridge": transport.name(bridge), "port": port}
