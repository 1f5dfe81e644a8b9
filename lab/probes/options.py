"""Socket options by the names of ip(7) and socket(7), as the agent takes them."""

from __future__ import annotations

import socket
import struct
from typing import Any

from lab.machines.base import Kind

IPPROTO_IP = 0
IP_TOS, IP_TTL, IP_MTU_DISCOVER = 1, 2, 10
IP_MULTICAST_IF, IP_MULTICAST_TTL, IP_MULTICAST_LOOP = 32, 33, 34
IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP = 35, 36
IP_ADD_SOURCE_MEMBERSHIP, IP_DROP_SOURCE_MEMBERSHIP = 39, 40
IP_MULTICAST_ALL = 49
IP_PMTUDISC_DO, IP_PMTUDISC_DONT = 2, 0
INET_ANY = "0.0.0.0"

Option = tuple[int, int, Any]

UDP = Kind(family=int(socket.AF_INET), type=int(socket.SOCK_DGRAM), protocol=0)
TCP = Kind(family=int(socket.AF_INET), type=int(socket.SOCK_STREAM), protocol=0)


def raw(protocol: int) -> Kind:
    """A socket that receives an IP protocol's packets."""
    return Kind(family=int(socket.AF_INET), type=int(socket.SOCK_RAW), protocol=int(protocol))


ICMP, RAW = raw(socket.IPPROTO_ICMP), raw(socket.IPPROTO_RAW)


def _inet(address: str) -> bytes:
    return socket.inet_aton(address)


def broadcast() -> Option:
    return (int(socket.SOL_SOCKET), int(socket.SO_BROADCAST), 1)


def reuse_address() -> Option:
    return (int(socket.SOL_SOCKET), int(socket.SO_REUSEADDR), 1)


def reuse_port() -> Option:
    return (int(socket.SOL_SOCKET), int(socket.SO_REUSEPORT), 1)


def receive_buffer(octets: int) -> Option:
    """SO_RCVBUF, which net.core.rmem_max bounds."""
    return (int(socket.SOL_SOCKET), int(socket.SO_RCVBUF), octets)


def ttl(value: int) -> Option:
    return (IPPROTO_IP, IP_TTL, value)


def tos(value: int) -> Option:
    return (IPPROTO_IP, IP_TOS, value)


def dont_fragment(on: bool) -> Option:
    """DF on every datagram, or on none (IP_MTU_DISCOVER)."""
    return (IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO if on else IP_PMTUDISC_DONT)


def multicast_ttl(value: int) -> Option:
    return (IPPROTO_IP, IP_MULTICAST_TTL, value)


def multicast_loop(on: bool) -> Option:
    return (IPPROTO_IP, IP_MULTICAST_LOOP, int(on))


def multicast_interface(address: str) -> Option:
    return (IPPROTO_IP, IP_MULTICAST_IF, _inet(address))


def multicast_all(on: bool) -> Option:
    """IP_MULTICAST_ALL 0: only groups that this very socket joined (ip(7))."""
    return (IPPROTO_IP, IP_MULTICAST_ALL, int(on))


def membership(group: str, interface: str = INET_ANY, *, join: bool = True) -> Option:
    """Struct ip_mreq: `interface` is a local address; the unspecified one lets the routing table choose."""
    return (
        IPPROTO_IP,
        IP_ADD_MEMBERSHIP if join else IP_DROP_MEMBERSHIP,
        struct.pack("4s4s", _inet(group), _inet(interface)),
    )


def source_membership(group: str, source: str, interface: str = INET_ANY, *, join: bool = True) -> Option:
    """Struct ip_mreq_source: the group from this one source (SSM, RFC 4607)."""
    return (
        IPPROTO_IP,
        IP_ADD_SOURCE_MEMBERSHIP if join else IP_DROP_SOURCE_MEMBERSHIP,
        struct.pack("4s4s4s", _inet(group), _inet(interface), _inet(source)),
    )
