"""
How many groups a hub forwards to their members alone, and how many one socket may join.

    spoke1 --one datagram to each group--> hub --> spoke2: member of all        the hub's own stack: gets none of them

A bridge that is to list more groups than mcast_hash_max switches its snooping off and floods every group from then on.
So this is measured in labs only, and last.
Sources: RFC 3918 section 7.1 (multicast group capacity); ip-link(8), bridge; ip-sysctl, igmp_max_memberships.
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab import groups
from lab.machines.base import Agent, Call, call
from lab.machines.node import Node
from lab.machines.sockets import Socket
from lab.model import NodePlan, Topology
from lab.probes import options
from lab.probes.host_state import membership
from lab.probes.payloads import fresh_port

MOST = 8192  # groups that are tried
AT_ONCE = 200  # datagrams in a row: an ordinary receive buffer holds them
SETTLING, ARRIVING = 3.0, 1.0  # seconds for a report to be listed, and for datagrams to arrive
MEMBERSHIPS = "net.ipv4.igmp_max_memberships"


@dataclass(frozen=True)
class Capacity:
    """The most groups that were forwarded to the member alone, what happened with one more, and the fix."""

    groups: int
    limit: str
    remedy: str
    per_socket: int
    """Groups that one socket of the member could join."""


def measure(nodes: Mapping[str, Node], topology: Topology, sender: str, member: str) -> Capacity:
    """Joins in steps until the hub's bridge lists no more; the bridge no longer snoops after that."""
    hub, bridge = nodes[topology.hub.name], topology.bridge
    most = int(hub.link(bridge).details["mcast_hash_max"])
    with contextlib.ExitStack() as opened:
        joining = _Joining(opened, nodes[member], topology.node(member))
        forwarded = 0
        while forwarded < MOST:
            room = most - len(_listed(hub) - set(joining.groups))  # entries of others may expire meanwhile
            wanted = max(room, forwarded + 1) if forwarded else room // 2
            joining.join(min(wanted, MOST) - len(joining.groups))
            listed = _listed_in_time(hub, bridge, joining.groups)
            if not listed or not _reaches_the_member_alone(nodes, topology, sender, joining):
                floods = not hub.link(bridge).details["mcast_snooping"]
                then = (
                    "switches its snooping off and floods every group" if floods else "sends some to others or to none"
                )
                limit = f"with {len(joining.groups):,} groups, hub {bridge} {then} (mcast_hash_max {most})"
                fix = f"ip link set {bridge} type bridge mcast_hash_max {2 * most}" + " mcast_snooping 1" * floods
                return Capacity(forwarded, limit, fix, joining.per_socket)
            forwarded = len(joining.groups)
    return Capacity(forwarded, f"not reached: {MOST} groups were the most that was tried", "", joining.per_socket)


class _Joining:
    """The member's sockets: the first has a port and receives, and each joins as many groups as it may."""

    def __init__(self, opened: contextlib.ExitStack, node: Node, plan: NodePlan) -> None:
        self._opened, self._node, self._address = opened, node, plan.address()
        self.port = fresh_port()
        self.receiver = self._socket(bind=["", self.port])
        self.groups: list[str] = []
        self.per_socket = self._fill(self.receiver)

    def _socket(self, **fields: Any) -> Socket:
        return self._opened.enter_context(Socket.open(self._node, **options.UDP, **fields))

    def _fill(self, one: Socket) -> int:
        """Joins groups with one socket until the kernel refuses; returns how many."""
        while len(self.groups) < MOST:
            group = groups.fresh(groups.ORGANIZATION)
            try:
                self._node.machine.batch([one.call(Agent.set_option, *options.membership(group, self._address))])
            except OSError as refusal:
                if refusal.errno != errno.ENOBUFS:
                    raise
                break
            self.groups.append(group)
        return len(self.groups)

    def join(self, count: int) -> None:
        """Joins so many further groups, with further sockets."""
        while count > 0:
            fresh = groups.several(min(count, self.per_socket))
            self._socket(late_options=[options.membership(group, self._address) for group in fresh])
            self.groups += fresh
            count -= len(fresh)


def _listed(hub: Node) -> set[str]:
    return {entry.group for entry in hub.read("mdb")}


def _listed_in_time(hub: Node, bridge: str, wanted: Sequence[str]) -> bool:
    """Whether the hub lists all of the groups before the deadline, and still snoops."""
    deadline = time.monotonic() + SETTLING
    while not set(wanted) <= _listed(hub):
        if time.monotonic() > deadline or not hub.link(bridge).details["mcast_snooping"]:
            return False
    return bool(hub.link(bridge).details["mcast_snooping"])


def _reaches_the_member_alone(nodes: Mapping[str, Node], topology: Topology, sender: str, joining: _Joining) -> bool:
    """Whether a datagram to each group reaches the member, and next to none of them the hub's own stack."""
    hub, start = nodes[topology.hub.name], topology.node(sender)
    before = hub.statistics(topology.bridge)["rx_packets"]
    received: set[bytes] = set()
    with membership.sender(nodes[sender], start.address()) as sending:
        for first in range(0, len(joining.groups), AT_ONCE):
            chosen = joining.groups[first : first + AT_ONCE]
            datagrams = [[group.encode(), [group, joining.port]] for group in chosen]
            nodes[sender].machine.batch([sending.call(Agent.send_each, datagrams)])
            waiting: list[Call[Any]] = [
                call(Agent.wait_for, [[joining.receiver.handle, chosen[-1].encode()]], ARRIVING)
            ]
            _, taken = joining.receiver.node.machine.batch([*waiting, joining.receiver.take()])
            received |= {one["payload"] for one in taken[0]}
    flooded = hub.statistics(topology.bridge)["rx_packets"] - before
    return received == {group.encode() for group in joining.groups} and flooded < len(joining.groups) / 2
