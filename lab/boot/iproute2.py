"""The commands of ip(8) and bridge(8) that make a host's part of an overlay, and those that take it away, in order."""

from __future__ import annotations

from lab.boot import common
from lab.model import NodePlan, Topology
from lab.overlay import commands


def made(topology: Topology, node: NodePlan) -> list[str]:
    """What makes it; nothing of it may be there yet."""
    found = []
    bridged = node.holder == "bridge"
    if bridged:
        data = " ".join(f"{name} {value}" for name, value in topology.bridge_data.items())
        found.append(f"ip link add {node.device} address {common.mac(node)} type bridge {data}".rstrip())
    for port, peer in common.ports(topology, node).items():
        address = f"address {common.mac(node)} " if port == node.device else ""
        found.append(f"ip link add {port} {address}mtu {topology.mtu} {commands.parameters(topology, node, peer)}")
        found += [f"ip link set {port} master {node.device}"] if bridged else []
        found += [f"bridge link set dev {port} isolated on"] if node.isolated else []
        found.append(f"ip link set {port} up")
        if node.holder == "mesh":
            found += commands.flooding(topology, node)
    if bridged:
        found.append(f"ip link set {node.device} mtu {topology.mtu} up")
    found.append(f"ip addr replace {node.overlay} dev {node.device}")
    found.append(commands.route(topology, node))
    return found


def devices(topology: Topology, node: NodePlan) -> list[str]:
    """The devices that it is made of."""
    return list(dict.fromkeys([*common.ports(topology, node), node.device]))
