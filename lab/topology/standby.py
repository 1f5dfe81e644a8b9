"""
A standby hub: VRRP (RFC 5798) decides when it has the cloud move the hub's VNIC to it.

    hub 10.0.0.197 --advertisements, unicast--> standby 10.0.0.198      a cloud's network has no multicast for them
    the hub is gone --> the standby is the master --> the cloud's API moves the VNIC --> the standby is the hub

The master has the address ROLE on `lo`, which nothing is sent to.  Without keepalived there is no election.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lab.applications import vrrp
from lab.applications.packages import missing, require
from lab.errors import CheckFailed
from lab.machines.node import Agent, Node, ask_all
from lab.model import NodePlan, Topology
from lab.stack.changes import route_add, route_del
from lab.topology.topologies import ROLE

OWNER, BACKUP = 255, 100  # priorities: the hub is the master as soon as it is there (RFC 5798 section 6.4.1)
MASTER_WITHIN = 15.0  # seconds; a standby takes over after some 3.6 advertisements that are missing


@dataclass(frozen=True)
class Standby:
    """The standby's VM, and the hub's as long as there is one."""

    nodes: Mapping[str, Node]
    """By name: the hub first."""

    def masters(self) -> list[str]:
        """Which of them have the role of the hub; NotRun where keepalived is not installed."""
        require("keepalived")
        asked = ask_all([(node, node.call(Agent.read, what="addresses")) for node in self.nodes.values()])
        found = zip(self.nodes, asked, strict=True)
        return [name for name, addresses in found if any(one["local"] == ROLE for one in addresses)]

    def await_master(self, at: int = -1, within: float = MASTER_WITHIN) -> Node:
        """The standby (`at` 0: the hub), once it is a master; CheckFailed when it is none within so many seconds."""
        require("keepalived")
        name = list(self.nodes)[at]
        if self.nodes[name].ask(Agent.await_entries, "addresses", [{"local": ROLE}], within):
            raise CheckFailed(f"{name} did not become the VRRP master within {within:g} s")
        return self.nodes[name]


def start(hub: Node, topology: Topology, plan: NodePlan, node: Node) -> Standby:
    """The standby on its node, whose NIC is there, and the election between it and the hub."""
    network = str(plan.underlay.network)
    to_hub = topology.hub.address("underlay")
    # its own NIC is for VRRP alone: what the hub's VNIC sends must leave by that, once it is there
    node.apply(
        route_add(f"{to_hub}/32", plan.nic),
        route_del("0.0.0.0/0", plan.nic),
        route_del(network, plan.nic),
    )
    standby = Standby({topology.hub.name: hub, plan.name: node})
    if not missing("keepalived"):
        take_part(hub, topology, topology.hub, plan, OWNER)
        standby.await_master(0)
        take_part(node, topology, plan, topology.hub, BACKUP)
    return standby


def take_part(node: Node, topology: Topology, own: NodePlan, peer: NodePlan, priority: int) -> None:
    text = vrrp.configuration(
        own.name,
        own.nic,
        f"{ROLE}/32 dev lo",
        priority=priority,
        every=topology.arp_interval / 1000,
        between=(own.address("underlay"), peer.address("underlay")),
        master=priority == OWNER,
    )
    vrrp.start(node, text, ready="Entering BACKUP STATE" if priority == BACKUP else "")
