"""Socket options by the names of ip(7), ipv6(7) and socket(7), as the agent takes them."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from typing import Any

from lab.machines.base import SocketKind

IPPROTO_IP, IPPROTO_IPV6 = 0, 41
IPV6_JOIN_GROUP, IPV6_LEAVE_GROUP = 20, 21
IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP = 35, 36
IP_ADD_SOURCE_MEMBERSHIP, IP_DROP_SOURCE_MEMBERSHIP = 39, 40
IP_MULTICAST_ALL = 49
PMTUDISC_DO, PMTUDISC_DONT = 2, 0  # of IP_MTU_DISCOVER and IPV6_MTU_DISCOVER

Option = tuple[int, int, Any]

UDP = SocketKind(family=int(socket.AF_INET), type=int(socket.SOCK_DGRAM), protocol=0)
UDP6 = SocketKind(family=int(socket.AF_INET6), type=int(socket.SOCK_DGRAM), protocol=0)
TCP = SocketKind(family=int(socket.AF_INET), type=int(socket.SOCK_STREAM), protocol=0)
BROADCAST: Option = (int(socket.SOL_SOCKET), int(socket.SO_BROADCAST), 1)
REUSE_ADDRESS: Option = (int(socket.SOL_SOCKET), int(socket.SO_REUSEADDR), 1)
REUSE_PORT: Option = (int(socket.SOL_SOCKET), int(socket.SO_REUSEPORT), 1)


def raw(protocol: int) -> SocketKind:
    """A socket that receives an IP protocol's packets."""
    return SocketKind(family=int(socket.AF_INET), type=int(socket.SOCK_RAW), protocol=int(protocol))


ICMP, RAW = raw(socket.IPPROTO_ICMP), raw(socket.IPPROTO_RAW)
ICMP6 = SocketKind(family=int(socket.AF_INET6), type=int(socket.SOCK_RAW), protocol=int(socket.IPPROTO_ICMPV6))


@dataclass(frozen=True)
class OptionNumbers:
    """The numbers that a version of IP has for the options of a sender."""

    level: int
    ttl: int
    multicast_ttl: int
    tos: int
    loop: int
    mtu_discover: int


IPV4 = OptionNumbers(IPPROTO_IP, ttl=2, multicast_ttl=33, tos=1, loop=34, mtu_discover=10)
IPV6 = OptionNumbers(IPPROTO_IPV6, ttl=16, multicast_ttl=18, tos=67, loop=19, mtu_discover=23)


def is_ipv6(address: str) -> bool:
    """Whether an address in text is one of IPv6."""
    return ":" in address


def sending(
    ttl: int | None = None,
    multicast_ttl: int | None = None,
    tos: int | None = None,
    loop: bool | None = None,
    dont_fragment: bool | None = None,
    *,
    version: OptionNumbers = IPV4,
) -> list[Option]:
    """Options of a sender under their names of IPv4: in IPv6 a TTL is a hop limit, a TOS the traffic class."""
    discover = None if dont_fragment is None else PMTUDISC_DO if dont_fragment else PMTUDISC_DONT
    chosen = {version.ttl: ttl, version.multicast_ttl: multicast_ttl, version.tos: tos, version.loop: loop}
    chosen[version.mtu_discover] = discover
    return [(version.level, option, int(value)) for option, value in chosen.items() if value is not None]


def receive_buffer(octets: int) -> Option:
    """SO_RCVBUF, which net.core.rmem_max bounds."""
    return (int(socket.SOL_SOCKET), int(socket.SO_RCVBUF), octets)


def multicast_interface(address: str) -> Option:
    return (IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))


def multicast_all(on: bool) -> Option:
    """IP_MULTICAST_ALL 0: only groups that this very socket joined (ip(7))."""
    return (IPPROTO_IP, IP_MULTICAST_ALL, int(on))


def membership(group: str, interface: str, source: str | None = None, *, join: bool = True) -> Option:
    """
    Struct ip_mreq, with a `source` ip_mreq_source: the group from this one source (SSM, RFC 4607).

    `interface` is a local address; the unspecified one lets the routing table choose.
    """
    request = socket.inet_aton(group) + socket.inet_aton(interface)
    if source is None:
        return (IPPROTO_IP, IP_ADD_MEMBERSHIP if join else IP_DROP_MEMBERSHIP, request)
    option = IP_ADD_SOURCE_MEMBERSHIP if join else IP_DROP_SOURCE_MEMBERSHIP
    return (IPPROTO_IP, option, request + socket.inet_aton(source))


def membership6(group: str, index: int, *, join: bool = True) -> Option:
    """Struct ipv6_mreq: the group on the interface with an index."""
    request = socket.inet_pton(socket.AF_INET6, group) + index.to_bytes(4, sys.byteorder)
    return (IPPROTO_IPV6, IPV6_JOIN_GROUP if join else IPV6_LEAVE_GROUP, request)
