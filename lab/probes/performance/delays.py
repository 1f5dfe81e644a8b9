"""
How long a host that joins a group waits for its running feed, and how long the feed goes on once it leaves.

    spoke1 ==feed==> hub ==> spoke2     join, report --> first datagram        leave, report --> last datagram

Reports and datagrams are those at the receiver's overlay device, with its kernel's times: clocks of two hosts are never
compared.
Sources: RFC 3918 sections 6.1 and 6.2 (group join delay, group leave delay).
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab import groups
from lab.errors import CheckFailed
from lab.machines.base import Agent, Call, call
from lab.machines.node import Node
from lab.machines.sockets import Socket
from lab.model import Topology
from lab.probes import options
from lab.probes.capture import sightings
from lab.probes.host_state import membership, snooping
from lab.probes.payloads import fresh_port
from lab.probes.performance.load import feed

RATE = 2000.0  # datagrams a second of the feed: no delay is known better than the time between two
QUIET = 50  # of these times without a datagram: the hub does not forward the feed
STARTING, JOINING, LEAVING = 10.0, 5.0, 2.0  # seconds: until a feed runs, until it is received, past the hub's own time
TICK = 0.01  # seconds, of a bridge's times
LEFT = (3, 0x17)  # types of an IGMPv3 record (CHANGE_TO_INCLUDE) and of an IGMPv2 message (RFC 3376, RFC 2236)
UDP, TYPE_BEFORE_GROUP = 17, 4


@dataclass(frozen=True)
class Delays:
    """
    In seconds: until the first datagram since the program `called` and since the hub was sent the `report`, and from
    the report of the leave to the last datagram (`leave`).

    `report` and `leave` are None where the hub floods: the feed does not wait for reports.
    """

    called: float
    report: float | None
    leave: float | None
    beside: float
    """Datagrams a second of another feed to all hosts at the same time."""
    precision: float


def measure(
    nodes: Mapping[str, Node],
    topology: Topology,
    sender: str,
    receiver: str,
    *,
    rate: float = RATE,
    beside: float = 0.0,
    pruning: float = 0.0,
    alone: bool = True,
) -> Delays:
    """
    The delays of one receiver.  `alone`: its capture keeps nothing else, and ends with the measurement.

    `pruning` is how many seconds a hub may still flood that has just become a querier.  CheckFailed when the receiver
    gets nothing of the feed; RootNeeded where nothing can be captured.
    """
    node, plan, start = nodes[receiver], topology.node(receiver), topology.node(sender)
    port, group, every = fresh_port(), groups.fresh(), 1 / rate
    longest = pruning + STARTING + JOINING + _leaving(nodes, topology)
    with contextlib.ExitStack() as opened:
        if alone:
            opened.callback(node.machine.batch, [call(Agent.untap, [node.handle])])
            own = {"first": port, "last": port, "vxlan": topology.options.port}
            node.machine.batch([call(Agent.tap_own, nodes=[node.handle], **own)])
        if beside:
            other = (groups.fresh(), fresh_port())
            for name in set(topology.plans) - {sender}:
                joined = membership.receiver(nodes[name], topology.node(name), other[1], other[0])
                opened.enter_context(joined)
            opened.enter_context(feed(nodes[sender], start.address(), other, rate=beside, seconds=longest))
        copies = opened.enter_context(membership.receiver(nodes[sender], start, port, group))
        member = opened.enter_context(
            Socket.open(node, **options.UDP, options=[options.REUSE_ADDRESS], bind=["", port])
        )
        opened.enter_context(feed(nodes[sender], start.address(), (group, port), rate=rate, seconds=longest))
        nodes[sender].machine.batch([copies.wait(b"", STARTING)])
        prunes = _is_pruned(node, plan.device, group, QUIET * every, pruning)
        began, first = _joined_and_left(member, group, plan.address())
        if prunes:
            _await_end(nodes, topology, receiver, group)
        seen = sightings.collect([node], [socket.inet_aton(group)])
    here = [one for one in seen if one.interface == plan.device]
    reports = [one for one in here if one.outgoing and one.frame[membership.IP_PROTOCOL] == membership.IGMP]
    came = [one.time for one in here if not one.outgoing and one.frame[membership.IP_PROTOCOL] == UDP]
    joins, leaves = ([one.time for one in reports if _is_leave(one.frame, group) is leave] for leave in (False, True))
    join = leave = None
    if prunes and joins and leaves and came:
        join = min(when for when in came if when > joins[0]) - joins[0]
        leave = max(0, came[-1] - leaves[0])
    return Delays((first - began) / 1e9, _seconds(join), _seconds(leave), beside, every)


def _is_pruned(node: Node, device: str, group: str, quiet: float, within: float) -> bool:
    """Whether the hub sends a host that has not joined nothing of a feed; True at once when it does not."""
    deadline = time.monotonic() + within
    matching = [[membership.IP_PROTOCOL, bytes([UDP])]]
    wanted = node.call(Agent.wait_frames, device, matching, socket.inet_aton(group), 1, quiet)
    while node.machine.batch([call(Agent.tap, [node.handle]), wanted])[1]:
        if time.monotonic() >= deadline:
            return False
    return True


def _joined_and_left(member: Socket, group: str, address: str) -> tuple[int, int]:
    """When the program joins and when it receives the first datagram, in ns; then it leaves."""
    join, leave = (member.call(Agent.set_option, *options.membership(group, address, join=on)) for on in (True, False))
    asked: list[Call[Any]] = [call(Agent.hello), join, member.wait(b"", JOINING), leave, member.take()]
    hello, _, missing, _, (received,) = member.node.machine.batch(asked)
    if missing or not received:
        raise CheckFailed(
            f"{member.node.name} joined {group} and received nothing of its feed within {JOINING:g} s",
            remedy=f"bridge mdb show on the hub; tcpdump -ni any igmp on {member.node.name}",
        )
    return hello["time"], received[0]["time"]


def _leaving(nodes: Mapping[str, Node], topology: Topology) -> float:
    """Seconds within which a hub that prunes has stopped to forward."""
    if not topology.nodes[0].is_hub:
        return LEAVING
    bridge = nodes[topology.hub.name].link(topology.bridge).details
    count, interval = (bridge.get(f"mcast_last_member_{name}") or 0 for name in ("count", "interval"))
    return LEAVING + count * interval * TICK


def _await_end(nodes: Mapping[str, Node], topology: Topology, receiver: str, group: str) -> None:
    """Waits until the hub no longer lists the receiver."""
    wanted = snooping.members(group, [snooping.port_of(topology, receiver)])
    nodes[topology.hub.name].ask(Agent.await_entries, "mdb", wanted, _leaving(nodes, topology), False)


def _is_leave(frame: bytes, group: str) -> bool:
    """Whether an IGMP message about a group is a leave: the type of a record (v3) or message (v2) is before it."""
    return frame[frame.rindex(socket.inet_aton(group)) - TYPE_BEFORE_GROUP] in LEFT


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9
