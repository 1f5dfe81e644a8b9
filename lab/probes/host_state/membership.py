"""Group membership: sockets that join and leave (ip(7)), the host's memberships, and its IGMP reports."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from lab.errors import CheckFailed
from lab.machines.node import Agent, Node, ask_all, do_all
from lab.machines.sockets import Socket
from lab.model import NodePlan
from lab.probes import options
from lab.probes.capture import sightings
from lab.probes.capture.sightings import Sighting
from lab.probes.options import Option

IGMP = 2
TTL = 4
IP_PROTOCOL = 23  # offset of the protocol field in an untagged Ethernet frame
IGMP_TYPE = 38  # offset of an IGMP message's first octet, behind an IPv4 header with Router Alert
ETHERTYPE, NEXT_HEADER = 12, 20  # offsets in an untagged Ethernet frame that holds IPv6
MLD_TYPE = 62  # offset of an MLD message's first octet, behind IPv6 and hop-by-hop options of 8 octets
IGMP_DEADLINE = 2.0  # seconds; a host's first report leaves within two ticks of its clock


def receiver(node: Node, plan: NodePlan, port: int, group: str, *chosen: Option) -> Socket:
    """A socket of a host that receives unicast, broadcast and a group's datagrams at a port."""
    late = [options.membership(group, plan.address())]
    opened = [options.REUSE_ADDRESS, *chosen]
    return Socket.open(node, **options.UDP, options=opened, bind=["", port], late_options=late)


def sender(node: Node, address: str, bind: Sequence[Any] | None = None) -> Socket:
    """A socket of a host that sends unicast, broadcast and a group's datagrams from an address."""
    chosen = [options.multicast_interface(address), options.BROADCAST, *options.sending(multicast_ttl=TTL)]
    return Socket.open(node, **options.UDP, options=chosen, bind=bind)


class Member:
    """
    A UDP socket in a host, for a `with` block, that joins and leaves groups.

    A refusal by the kernel is raised, as the OSError that it is, by the next request or at the end of the block; with
    `wait`, here.  The groups are added to `joined`.
    """

    def __init__(self, node: Node, plan: NodePlan, joined: set[str]) -> None:
        self._node, self._plan, self._joined = node, plan, joined
        self._socket: Socket | None = None

    def __enter__(self) -> Member:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._socket is None:
            return
        try:
            if kind is None:
                self._node.machine.settle()
        finally:
            self._socket.close()

    def join(self, *groups: str, interface: str | None = None, source: str | None = None, wait: bool = False) -> None:
        """Joins groups on the overlay, or on the interface with an address (0.0.0.0: the routing table chooses)."""
        self._joined.update(groups)
        where = self._plan.address() if interface is None else interface
        self._set([options.membership(group, where, source) for group in groups], wait=wait)

    def leave(self, *groups: str, source: str | None = None, wait: bool = False) -> None:
        where = self._plan.address()
        self._set([options.membership(group, where, source, join=False) for group in groups], wait=wait)

    def request(self, membership: bytes, *, wait: bool = False) -> None:
        """IP_ADD_MEMBERSHIP with the octets of the request as they are."""
        self._set([(options.IPPROTO_IP, options.IP_ADD_MEMBERSHIP, membership)], wait=wait)

    def _set(self, chosen: list[Option], *, wait: bool) -> None:
        if self._socket is None:
            self._socket = Socket.opening(self._node, **options.UDP)
        setting = [(self._node, self._socket.call(Agent.set_option, *option)) for option in chosen]
        if wait:
            ask_all(setting)
        else:
            do_all(setting)


class Memberships(dict[str, frozenset[str]]):
    """The groups that a host is a member of, by device; CheckFailed names a device that is not there."""

    def __init__(self, host: str, groups: dict[str, frozenset[str]]) -> None:
        super().__init__(groups)
        self._host = host

    def __missing__(self, device: str) -> frozenset[str]:
        raise CheckFailed(f"{self._host} has no device {device} that takes multicast; it has {', '.join(self)}")


def memberships(node: Node) -> Memberships:
    """The groups that a host is a member of, by device (/proc/net/igmp)."""
    return Memberships(node.name, groups_of(node.read_net("igmp")))


def groups_of(igmp_file: str) -> dict[str, frozenset[str]]:
    """The groups by device in the text of /proc/net/igmp."""
    found: dict[str, set[str]] = {}
    device = ""
    for line in igmp_file.splitlines()[1:]:
        words = line.split()
        if not line.startswith("\t"):
            device = words[1].rstrip(":")
            found[device] = set()
        else:
            # printed as a number of the host's own byte order
            found[device].add(socket.inet_ntoa(struct.pack("=I", int(words[0], 16))))
    return {name: frozenset(groups) for name, groups in found.items()}


def igmp(
    node: Node,
    interface: str,
    group: str,
    *,
    kind: int | None = None,
    count: int = 1,
    timeout: float = IGMP_DEADLINE,
) -> list[Sighting]:
    """
    Waits for IGMP messages about a group (of one type, if `kind` is given) that come in on an interface.

    Returns them, oldest first; CheckFailed when fewer than `count` came within `timeout` (s).
    """
    matching = [(IP_PROTOCOL, bytes([IGMP]))]
    if kind is not None:
        matching.append((IGMP_TYPE, bytes([kind])))
    seen = sightings.wait(node, interface, matching, tag=socket.inet_aton(group), count=count, timeout=timeout)
    if len(seen) < count:
        raise CheckFailed(
            f"{node.name} {interface} received {len(seen)} of {count} IGMP messages about {group} within {timeout:g} s",
            remedy=f"on {node.name}: tcpdump -ni {interface} igmp    # on the member: iptables -vnL OUTPUT",
        )
    return seen


def mld(
    node: Node, interface: str, group: str, *, kind: int, count: int = 1, timeout: float = IGMP_DEADLINE
) -> list[Sighting]:
    """
    Waits for MLD messages of one type about a group that come in on an interface, as `igmp` does for IGMP.

    What has no hop-by-hop options, without which a router does not look at it, is none (RFC 3810 section 5).
    """
    matching = [(ETHERTYPE, b"\x86\xdd"), (NEXT_HEADER, b"\0"), (MLD_TYPE, bytes([kind]))]
    tag = socket.inet_pton(socket.AF_INET6, group)
    seen = sightings.wait(node, interface, matching, tag=tag, count=count, timeout=timeout)
    if len(seen) < count:
        raise CheckFailed(
            f"{node.name} {interface} received {len(seen)} of {count} MLD messages of type {kind} about {group} "
            f"within {timeout:g} s",
            remedy=f"tcpdump -ni {interface} icmp6 on {node.name}; ip6tables -L OUTPUT -v on the member",
        )
    return seen
