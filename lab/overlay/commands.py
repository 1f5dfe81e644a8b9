"""
The overlay as commands that a person types: what iproute2 is told to make one part of it again.

They are what a finding tells the user to run, so each is complete: nothing in capitals to fill in.
"""

from __future__ import annotations

from collections.abc import Collection

from lab.model import NodePlan, Topology
from lab.overlay import plan
from lab.overlay.readback import Device


def parameters(topology: Topology, node: NodePlan, spoke: str) -> str:
    """The parameters of one node's end of a spoke's tunnel, from its kind on."""
    tunnel = topology.tunnel_of(spoke)
    near, far = (topology.hub, topology.node(spoke)) if node.is_hub else (node, topology.hub)
    kind = plan.kind(topology.options.kind)
    said = kind.words(near.endpoint, far.endpoint, node.nic, tunnel.number, topology.options)
    return f"type {kind.KIND} {said}"


def tunnel(topology: Topology, node: NodePlan, spoke: str, mac: str = "") -> str:
    """Makes one node's end of a spoke's tunnel, with all that stands on it; `mac` empty leaves it to the kernel."""
    device = device_of(topology, node, spoke)
    known = f"address {mac} " if mac else ""
    made = f"ip link add {device} {known}{parameters(topology, node, spoke)}"
    if node.is_hub:
        return f"{made} && ip link set {device} up master {topology.bridge}"
    # the address is on a bridge where a spoke has one
    master = f" master {node.device}" if topology.is_bridged(node) else ""
    return f"{made} && ip link set {device} up{master} && {address(node)} && {route(topology, node)}"


def hub(topology: Topology, there: Collection[str]) -> str:
    """Makes what the hub lacks: its bridge with the address, and its ends of the tunnels; `there` are its devices."""
    node, bridge = topology.hub, topology.bridge
    steps = [] if bridge in there else [f"ip link add {bridge} type bridge"]
    for each in topology.tunnels:
        exists = f"ip link set {each.hub_device} up master {bridge}"
        steps.append(exists if each.hub_device in there else tunnel(topology, node, each.spoke))
    return " && ".join([*steps, f"ip link set {bridge} up", address(node), route(topology, node)])


def again(topology: Topology, node: NodePlan, spoke: str, device: Device) -> str:
    """Replaces one node's end of a spoke's tunnel, which is `device`; the MAC stays, as other hosts may know it."""
    mac = device.mac if device.kind in plan.KINDS else ""
    return f"ip link del {device.name} && {tunnel(topology, node, spoke, mac)}"


def address(node: NodePlan) -> str:
    """Gives the node its overlay address."""
    return f"ip addr replace {node.overlay} dev {node.device}"


def route(topology: Topology, node: NodePlan) -> str:
    """Routes multicast to the overlay."""
    return f"ip route replace {topology.multicast_route} dev {node.device}"


def device_of(topology: Topology, node: NodePlan, spoke: str) -> str:
    """The device of one node's end of a spoke's tunnel."""
    tunnel = topology.tunnel_of(spoke)
    return tunnel.hub_device if node.is_hub else tunnel.spoke_device
