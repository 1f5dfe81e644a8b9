"""Socket options of IPv6 by the names of ipv6(7) and RFC 3493, as the agent takes them."""

from __future__ import annotations

import socket
import struct

from lab.machines.base import Kind
from lab.probes.options import Names, Option

IPPROTO_IPV6 = 41
IPV6_JOIN_GROUP, IPV6_LEAVE_GROUP = 20, 21
IPV6 = Names(IPPROTO_IPV6, ttl=16, multicast_ttl=18, tos=67, loop=19, mtu_discover=23)

UDP = Kind(family=int(socket.AF_INET6), type=int(socket.SOCK_DGRAM), protocol=0)
ICMP = Kind(family=int(socket.AF_INET6), type=int(socket.SOCK_RAW), protocol=int(socket.IPPROTO_ICMPV6))


def is_ipv6(address: str) -> bool:
    """Whether an address in text is one of IPv6."""
    return ":" in address


def membership(group: str, index: int, *, join: bool = True) -> Option:
    """Struct ipv6_mreq: the group on the interface with an index."""
    request = struct.pack("=16sI", socket.inet_pton(socket.AF_INET6, group), index)
    return (IPPROTO_IPV6, IPV6_JOIN_GROUP if join else IPV6_LEAVE_GROUP, request)
