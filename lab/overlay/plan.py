"""
An overlay of any shape and any kind of tunnel: what each node has to change, as the article does for a star.

    hub     bridge0 with the overlay address and one tunnel per spoke as its ports
    spoke   the overlay address on its tunnel device, or on what stands over its tunnels (`model.Holder`)
    all     the multicast route to the overlay device, icmp_echo_ignore_broadcasts=0
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lab import tunnels
from lab.model import Change, Holder, NodePlan, Topology, mac_of
from lab.overlay.recognition.readback import BROADCAST_PING
from lab.stack.changes import (
    LinkKind,
    addr_add,
    bond,
    bridge,
    bridge_port,
    fdb_append,
    hsr,
    link_add,
    link_del,
    link_set,
    route_add,
)
from lab.stack.records import ANY_MAC

QUERIER, STP = "mcast_querier", "stp_state"
IGMP_VERSION = "net.ipv4.conf.{}.force_igmp_version"
ACTIVE_BACKUP = 1  # mode of a bond (linux/if_bonding.h)
PRP = 1  # protocol of an hsr device (linux/if_link.h, HSR_PROTOCOL_PRP)


def changes(topology: Topology, node: NodePlan) -> list[Change]:
    """What one node changes, in the order of the article."""
    return [
        *LINKS[node.holder](topology, node),
        *([link_set(node.device, mtu=topology.mtu)] if topology.mtu else []),
        *([] if node.holder == "nic" else [addr_add(node.device, str(node.overlay))]),
        route_add(str(topology.multicast_route), node.device),
    ]


def asked_again(topology: Topology) -> list[Change]:
    """
    What the first of several hubs does once all are there: it queries again.

    A query sent before the tunnels between hubs existed did not reach them, and the next one follows only after 31 s.
    """
    if len(topology.hubs) < 2 or not topology.bridge_data.get(QUERIER):
        return []
    return [link_set(topology.bridge, bridge(mcast_querier=value)) for value in (0, 1)]


def _queries(topology: Topology, node: NodePlan) -> bool:
    """Whether a host is the one to query: a hub, of several that are joined the first."""
    return node.is_hub and (node is topology.hub or node.name not in topology.reached(topology.hub.name))


def sysctls(topology: Topology, node: NodePlan) -> dict[str, str]:
    """Kernel parameters of one node, in the order in which they are to be set once its devices are there."""
    values = {BROADCAST_PING: "0"} if topology.answer_broadcast_ping else {}
    if node.holder == "nic":  # the cloud takes no reports of version 3, which is what a host begins with
        values[IGMP_VERSION.format(node.device)] = "2"
    # a bond's legs have no addresses, but are given its MTU, and what is switched on by default with that
    legs = topology.ports(node.name) if node.holder == "bond" else []
    return values | (_ipv6(node.device, *legs) if topology.ipv6 else {})


def _ipv6(*devices: str) -> dict[str, str]:
    """
    IPv6 on devices, and on those made later: addresses are there at once (no DAD), without router solicitations.

    On `lo` too: a host's answer to itself goes that way.
    """
    at_once = {"accept_dad": "0", "router_solicitations": "0", "disable_ipv6": "0"}
    return {
        f"net.ipv6.conf.{name}.{key}": value for name in ("default", "lo", *devices) for key, value in at_once.items()
    }


def tunnel_link(topology: Topology, node: NodePlan, peer: str) -> Change:
    """The change that creates a host's end of its tunnel to another."""
    device = topology.port(node.name, peer)
    data = _end(topology, node, topology.node(peer).endpoint, topology.tunnel(node.name, peer).number)
    if node.holder == "prp":
        return link_add(device, data, address=mac_of(node.overlay.ip))
    # a bond takes no device that is up, and brings those that it takes up itself
    return link_add(device, data, master=node.device if node.device != device else None, up=node.holder != "bond")


def _end(topology: Topology, node: NodePlan, far: str, number: int) -> LinkKind:
    return tunnels.kind(topology.options.kind).data(node.endpoint, far, node.nic, number, topology.options)


def _tunnels(topology: Topology, node: NodePlan) -> list[Change]:
    return [tunnel_link(topology, node, peer) for peer in topology.peers(node.name)]


def remade(topology: Topology, node: NodePlan, peer: str, **options: Any) -> list[Change]:
    """The changes that remove a host's end of its tunnel to another and make it again with other options."""
    other, device = replace(topology, options=replace(topology.options, **options)), topology.port(node.name, peer)
    if node.holder == "prp":  # which takes its tunnels when it is made only
        gone = [link_del(name) for name in topology.devices(node.name)]
        return [*gone, *changes(other, node)]
    if topology.spans(node):  # one after the other, as at first
        return [*(link_del(name) for name in topology.devices(node.name)), *changes(other, node)]
    # the address stays where it is not on the tunnel
    made = [tunnel_link(other, node, peer)] if node.device != device else changes(other, node)
    if node.holder == "bond" and device not in topology.idle_ports(node.name):
        made.append(link_set(node.device, bond(active_slave=device)))
    if node.is_hub and topology.bridge_data.get(STP):  # a port forwards at once that is added without STP
        made = [link_set(node.device, bridge(stp_state=0)), *made, link_set(node.device, bridge(stp_state=1))]
    return [link_del(device), *made]


def _bridge(topology: Topology, node: NodePlan) -> list[Change]:
    """A bridge over the host's tunnels; where ports are isolated, what comes by one leaves by no other."""
    others = {name: value for name, value in topology.bridge_options(node).items() if name not in (QUERIER, STP)}
    made = link_add(node.device, bridge(**others), address=topology.bridge_mac(node), up=False)
    # the querier after the rest: it counts once the response interval of the moment when it is switched on has passed
    querier = bridge(mcast_querier=topology.bridge_data.get(QUERIER, 0) if _queries(topology, node) else 0)
    # up last: with ports it has its carrier at once, without it waits for the kernel's link watch, up to a second
    first, *further = [_port(topology, node, peer) for peer in topology.peers(node.name)]
    later = [change for each in further for change in each]
    up = link_set(node.device, querier, up=True)
    stp = [link_set(node.device, bridge(stp_state=1))] if topology.bridge_data.get(STP) else []
    if topology.spans(node):
        # the first port forwards at once; the others listen first, and are blocked before they have forwarded anything
        return [made, *first, up, *stp, *later]
    return [made, *first, *later, up, *stp]


def _port(topology: Topology, node: NodePlan, peer: str) -> list[Change]:
    """A tunnel as a port of the host's bridge."""
    isolated = [bridge_port(topology.port(node.name, peer), isolated=1)] if node.isolated else []
    return [tunnel_link(topology, node, peer), *isolated]


def _bond(topology: Topology, node: NodePlan) -> list[Change]:
    """One leg carries everything until its hub answers no more: the legs are watched by ARP, not by their carrier."""
    hubs = [hub.address() for hub in topology.hubs]
    watched = bond(mode=ACTIVE_BACKUP, arp_interval=topology.arp_interval, arp_ip_target=hubs)
    made = link_add(node.device, watched, address=mac_of(node.overlay.ip), up=False)
    # before its legs, which it gives its own MTU: no tunnel takes more than its NIC leaves
    size = [link_set(node.device, mtu=topology.mtu)] if topology.mtu else []
    return [made, *size, *_tunnels(topology, node), link_set(node.device, up=True)]


def _prp(topology: Topology, node: NodePlan) -> list[Change]:
    """Every frame leaves by both legs, which have one MAC address; a receiver drops the second copy (IEC 62439-3)."""
    return [*_tunnels(topology, node), link_add(node.device, hsr(*topology.ports(node.name), proto=PRP))]


def _mesh(topology: Topology, node: NodePlan) -> list[Change]:
    """One VXLAN device without a remote: what it floods it sends to each of its peers by itself."""
    peers = topology.peers(node.name)
    device = link_add(node.device, _end(topology, node, "", topology.tunnel(node.name, peers[0]).number))
    return [device, *(fdb_append(node.device, ANY_MAC, topology.node(peer).endpoint) for peer in peers)]


def _nic(topology: Topology, node: NodePlan) -> list[Change]:
    """The NIC is there, with its address."""
    return []


LINKS: dict[Holder, Callable[[Topology, NodePlan], list[Change]]] = {
    "tunnel": _tunnels,
    "bridge": _bridge,
    "bond": _bond,
    "prp": _prp,
    "mesh": _mesh,
    "nic": _nic,
}
"""What makes the device that holds a host's overlay address, and all that it stands on."""
