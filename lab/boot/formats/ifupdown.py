"""ifupdown (Debian's /etc/network/interfaces): one stanza that makes the devices, their address and the route."""

from __future__ import annotations

from lab.boot import common
from lab.boot.common import Files, head
from lab.boot.formats import iproute2
from lab.model import NodePlan, Topology

FILE = "/etc/network/interfaces.d/overlay"


def files(topology: Topology, node: NodePlan) -> Files:
    """The file of a host, by path."""
    *made, _, route = iproute2.made(topology, node)  # the address is ifupdown's own
    gone = iproute2.devices(topology, node)
    lines = [
        f"auto {node.device}",
        f"iface {node.device} inet static",
        f"    address {node.overlay}",
        *(f"    pre-up {command}" for command in made),
        f"    up {route}",
        f"    up sysctl -q -p {common.SYSCTLS}",
        *(f"    post-down ip link del {device}" for device in gone),
    ]
    return {FILE: head("the overlay (interfaces(5))") + "\n".join(lines) + "\n"}


def start(node: NodePlan) -> str:
    """What takes the file into use."""
    return f"ifup {node.device}"
