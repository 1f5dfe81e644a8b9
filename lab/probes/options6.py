"""Socket options of IPv6 by the names of ipv6(7) and RFC 3493, as the agent takes them."""

from __future__ import annotations

import socket
import struct

from lab.machines.base import Kind
from lab.probes.options import Option

IPPROTO_IPV6 = 41
IPV6_UNICAST_HOPS, IPV6_MULTICAST_HOPS, IPV6_MULTICAST_LOOP = 16, 18, 19
IPV6_JOIN_GROUP, IPV6_LEAVE_GROUP = 20, 21
IPV6_MTU_DISCOVER, IPV6_TCLASS = 23, 67
IPV6_PMTUDISC_DO, IPV6_PMTUDISC_DONT = 2, 0

UDP = Kind(family=int(socket.AF_INET6), type=int(socket.SOCK_DGRAM), protocol=0)
ICMP = Kind(family=int(socket.AF_INET6), type=int(socket.SOCK_RAW), protocol=int(socket.IPPROTO_ICMPV6))


def is_ipv6(address: str) -> bool:
    """Whether an address in text is one of IPv6."""
    return ":" in address


def hops(value: int) -> list[Option]:
    """The hop limit, of unicast and multicast alike; 0 is a multicast hop limit only."""
    chosen: list[Option] = [(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, value)]
    return [*chosen, (IPPROTO_IPV6, IPV6_UNICAST_HOPS, value)] if value else chosen


def sending(
    ttl: int | None = None, tos: int | None = None, loop: bool | None = None, dont_fragment: bool | None = None
) -> list[Option]:
    """Options of a sender under their names of IPv4: hop limit, traffic class, multicast loop, fragmentation."""
    chosen: list[Option] = [] if ttl is None else hops(ttl)
    if tos is not None:
        chosen.append((IPPROTO_IPV6, IPV6_TCLASS, tos))
    if loop is not None:
        chosen.append((IPPROTO_IPV6, IPV6_MULTICAST_LOOP, int(loop)))
    if dont_fragment is not None:
        chosen.append((IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO if dont_fragment else IPV6_PMTUDISC_DONT))
    return chosen


def membership(group: str, index: int, *, join: bool = True) -> Option:
    """Struct ipv6_mreq: the group on the interface with an index."""
    request = struct.pack("=16sI", socket.inet_pton(socket.AF_INET6, group), index)
    return (IPPROTO_IPV6, IPV6_JOIN_GROUP if join else IPV6_LEAVE_GROUP, request)
