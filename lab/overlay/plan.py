"""
The overlay as the article sets it up, for any kind of tunnel: what each node has to change.

    hub     bridge0 with the overlay address and one tunnel per spoke as its ports
    spoke   the overlay address on its tunnel device
    all     the multicast route to the overlay device, icmp_echo_ignore_broadcasts=0
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lab import tunnels
from lab.changes import addr_add, bridge, link_add, link_del, link_set, route_add
from lab.model import Change, NodePlan, Topology

BROADCAST_PING = "net.ipv4.icmp_echo_ignore_broadcasts"
QUERIER = "mcast_querier"


def changes(topology: Topology, node: NodePlan) -> list[Change]:
    """What one node changes, in the order of the article."""
    return (_hub_links(topology) if node.is_hub else _spoke_links(topology, node)) + [
        addr_add(node.device, str(node.overlay)),
        route_add(str(topology.multicast_route), node.device),
    ]


def sysctls(topology: Topology, node: NodePlan) -> dict[str, str]:
    """Kernel parameters of one node, in the order in which they are to be set once its devices are there."""
    values = {BROADCAST_PING: "0"} if topology.answer_broadcast_ping else {}
    return values | (_ipv6(node.device) if topology.ipv6 else {})


def _ipv6(device: str) -> dict[str, str]:
    """
    IPv6 on a device, and on those made later: addresses are there at once (no DAD), and nobody asks for routers.

    On `lo` too: a host's answer to itself goes that way.
    """
    at_once = {"accept_dad": "0", "router_solicitations": "0", "disable_ipv6": "0"}
    return {
        f"net.ipv6.conf.{name}.{key}": value for name in ("default", "lo", device) for key, value in at_once.items()
    }


def tunnel_link(topology: Topology, node: NodePlan, peer: str) -> Change:
    """The change that creates a host's end of its tunnel to another."""
    device, number, options = topology.port(node.name, peer), topology.tunnel(node.name, peer).number, topology.options
    far = topology.node(peer).endpoint
    data = tunnels.kind(options.kind).data(node.endpoint, far, node.nic, number, options)
    return link_add(device, data, master=node.device if node.device != device else None)


def remade(topology: Topology, node: NodePlan, peer: str, **options: Any) -> list[Change]:
    """The changes that remove a host's end of its tunnel to another and make it again with other options."""
    other, device = replace(topology, options=replace(topology.options, **options)), topology.port(node.name, peer)
    # the address stays where it is not on the tunnel
    made = [tunnel_link(other, node, peer)] if node.device != device else changes(other, node)
    return [link_del(device), *made]


def _hub_links(topology: Topology) -> list[Change]:
    others = {name: value for name, value in topology.bridge_data.items() if name != QUERIER}
    made = link_add(topology.bridge, bridge(**others), address=topology.bridge_mac or None, up=False)
    ports = [tunnel_link(topology, topology.hub, peer) for peer in topology.peers(topology.hub.name)]
    # the querier after the rest: it counts once the response interval of the moment when it is switched on has passed
    querier = bridge(mcast_querier=topology.bridge_data.get(QUERIER, 0))
    # up last: with ports it has its carrier at once, without it waits for the kernel's link watch, up to a second
    return [made, *ports, link_set(topology.bridge, querier, up=True)]


def _spoke_links(topology: Topology, node: NodePlan) -> list[Change]:
    tunnels = [tunnel_link(topology, node, peer) for peer in topology.peers(node.name)]
    if node.holder == "tunnel":
        return tunnels
    return [link_add(node.device, bridge(), up=True), *tunnels]
