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
        # both tunnels of a PRP device have its address
        address = f"address {common.mac(node)} " if port == node.device or node.holder == "prp" else ""
        found.append(f"ip link add {port} {address}mtu {topology.mtu} {commands.parameters(topology, node, peer)}")
        found += [f"ip link set {port} master {node.device}"] if bridged else []
        found += [f"bridge link set dev {port} isolated on"] if node.isolated else []
        found += [f"ip link set {port} up"] if node.holder != "bond" else []  # a bond takes no device that is up
        if node.holder == "mesh":
            found += commands.flooding(topology, node)
    found += _over_both(topology, node)
    if node.holder in ("bridge", "bond", "prp"):
        found.append(f"ip link set {node.device} mtu {common.mtu(topology, node)} up")
    found.append(f"ip addr replace {node.overlay} dev {node.device}")
    found.append(commands.route(topology, node))
    return found


def _over_both(topology: Topology, node: NodePlan) -> list[str]:
    """The bond or PRP device over a host's tunnels."""
    ports = common.ports(topology, node)
    if node.holder == "bond":
        bond = f"ip link add {node.device} address {common.mac(node)} type bond mode active-backup"
        enslaved = [f"ip link set {port} master {node.device}" for port in ports]
        return [bond, commands.watching(topology, node), *enslaved]
    if node.holder == "prp":
        legs = " ".join(f"slave{number} {port}" for number, port in enumerate(ports, 1))
        return [f"ip link add {node.device} type hsr {legs} proto 1"]
    return []


def devices(topology: Topology, node: NodePlan) -> list[str]:
    """The devices that it is made of."""
    return list(dict.fromkeys([*common.ports(topology, node), node.device]))
