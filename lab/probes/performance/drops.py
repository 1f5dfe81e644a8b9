"""
Where packets are dropped and counted: queues, devices, and the backlog of each kernel, read before and after.

A queue (tbf, fq, pfifo) counts in its qdisc, a device in its statistics, and a processor that gets more packets from
the wire than it can take in the second column of /proc/net/softnet_stat (net.core.netdev_max_backlog).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lab.machines.base import Call
from lab.machines.node import Agent, Node, ask_all
from lab.model import Topology
from lab.stack.records import typed

BACKLOG = "softnet_stat"
COUNTERS = ("rx_dropped", "tx_dropped", "rx_errors", "tx_errors", "rx_fifo_errors", "rx_missed_errors")
Counted = Mapping[tuple[str, str, str], int]
"""Packets dropped, by host, device and what dropped them."""


@dataclass(frozen=True)
class Drop:
    """Packets that `what` of a device dropped on a host; the device is empty for the host's kernel."""

    host: str
    device: str
    what: str
    packets: int


def read(nodes: Mapping[str, Node], topology: Topology) -> Counted:
    """What every host has counted so far, at its NIC and the devices of the overlay."""
    calls: list[tuple[Node, Call[object]]] = []
    for name in topology.plans:
        node = nodes[name]
        calls += [(node, node.call(Agent.read, what="links")), (node, node.call(Agent.read, what="qdiscs"))]
        calls += [(node, node.call(Agent.read_net, BACKLOG))]
    answers = iter(ask_all(calls))
    found: dict[tuple[str, str, str], int] = {}
    for name, plan in topology.plans.items():
        concerned = {plan.nic, *topology.devices(name)}
        for link in typed("links", next(answers)):
            if link.name in concerned:
                found |= {(name, link.name, counter): link.statistics.get(counter, 0) for counter in COUNTERS}
        for qdisc in typed("qdiscs", next(answers)):
            if qdisc.dev in concerned:
                key = (name, qdisc.dev, f"queue {qdisc.kind}")
                found[key] = found.get(key, 0) + qdisc.drops
        lines = str(next(answers)).splitlines()
        found[name, "", "backlog"] = sum(int(line.split()[1], 16) for line in lines)
    return found


def between(before: Counted, after: Counted) -> tuple[Drop, ...]:
    """What was dropped from one reading to the next, most first."""
    found = [Drop(*key, packets=count - before.get(key, 0)) for key, count in after.items()]
    return tuple(sorted((one for one in found if one.packets > 0), key=lambda one: -one.packets))
