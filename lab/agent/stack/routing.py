"""
What the kernel decides about a packet before it is sent: the device that its route leads out of.

Rules, tables and metrics are the kernel's to weigh.  Sources: rtnetlink(7), linux/rtnetlink.h.
"""

from __future__ import annotations

import errno
import socket
import struct

from lab.agent.rtnl import GETROUTE, Transport, attribute, attributes

RTA_DST, RTA_SRC, RTA_OIF = 1, 2, 4
HEADER = struct.Struct("=BBBBBBBBI")  # struct rtmsg: family, lengths of destination and source, ..., flags
NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL)
"""No route, and routes of the types unreachable, prohibit and blackhole."""


def device_to(transport: Transport, to: str, source: str = "", device: str = "") -> str:
    """
    The device by which a packet to an address leaves this stack; empty when the kernel refuses to send it.

    `source` is its source address, `device` the one that its socket or tunnel is bound to.
    """
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    octets, own = socket.inet_pton(family, to), socket.inet_pton(family, source) if source else b""
    request = HEADER.pack(family, 8 * len(octets), 8 * len(own), 0, 0, 0, 0, 0, 0) + attribute(RTA_DST, octets)
    request += attribute(RTA_SRC, own) if own else b""
    request += attribute(RTA_OIF, struct.pack("=I", transport.index(device))) if device else b""
    try:
        route = transport.get(GETROUTE, request, f"ip route get {to}")
    except OSError as refusal:
        if refusal.errno in NO_ROUTE:
            return ""
        raise
    leads = [value for kind, value in attributes(route, HEADER.size) if kind == RTA_OIF]
    return transport.name(struct.unpack("=I", leads[0])[0]) if leads else ""
