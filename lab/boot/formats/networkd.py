"""
systemd-networkd: a .netdev file for each device, a .network file for what it carries.

`Independent=yes` leaves the NIC's own files alone (a Geneve tunnel is always so).  networkd forgets a route whose link
has lost its carrier, and does not set it again (systemd issues 6088 and 10143): `ConfigureWithoutCarrier=` and
`IgnoreCarrierLoss=` keep it.
Sources: systemd.netdev(5), systemd.network(5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lab import tunnels
from lab.boot import common
from lab.boot.common import Files, sectioned
from lab.model import NodePlan, Topology
from lab.stack.records import ANY_MAC

FOLDER = "/etc/systemd/network"
START = "systemctl enable systemd-networkd && systemctl restart systemd-networkd"
OPTIONS = {"mcast_snooping": "MulticastSnooping", "mcast_querier": "MulticastQuerier"}


def files(topology: Topology, node: NodePlan) -> Files:
    """The files of a host, by path."""
    common.require(topology, "networkd", ("tunnel", "bridge", "mesh", "bond"), "shell or ifupdown", isolated=True)
    found: Files = {}
    for port in common.ports(topology, node):
        found[f"{FOLDER}/50-{port}.netdev"] = _tunnel(topology, node, port)
        if port != node.device:
            found[f"{FOLDER}/50-{port}.network"] = _port(topology, node, port)
    if node.holder in OVER_PORTS:
        found[f"{FOLDER}/50-{node.device}.netdev"] = OVER_PORTS[node.holder](topology, node)
    found[f"{FOLDER}/50-{node.device}.network"] = _addressed(topology, node)
    return found


def _tunnel(topology: Topology, node: NodePlan, port: str) -> str:
    peer = common.ports(topology, node)[port]
    kind = tunnels.kind(topology.options.kind)
    far = "" if node.holder == "mesh" else topology.node(peer).endpoint
    section, values = kind.networkd(node.endpoint, far, topology.tunnel(node.name, peer).number, topology.options)
    made = {"Name": port, "Kind": kind.name, "MTUBytes": topology.mtu}
    if port == node.device:
        made["MACAddress"] = common.mac(node)
    elif node.holder == "bridge":
        made["MACAddress"] = common.port_mac(topology, node, port)
    to = f"to {peer}" if far else "to all other hosts"
    return sectioned(f"the tunnel {to}", ("NetDev", made), (section, values))


def _port(topology: Topology, node: NodePlan, port: str) -> str:
    master = "Bond" if node.holder == "bond" else "Bridge"
    bridged = {master: node.device, "LinkLocalAddressing": "no", **WITHOUT_CARRIER}
    isolated = [("Bridge", {"Isolated": "yes"})] if node.isolated else []
    return sectioned(f"a port of the {master.lower()}", ("Match", {"Name": port}), ("Network", bridged), *isolated)


def _bridge(topology: Topology, node: NodePlan) -> str:
    made = {"Name": node.device, "Kind": "bridge", "MACAddress": common.mac(node), "MTUBytes": topology.mtu}
    chosen = {OPTIONS[name]: value for name, value in topology.bridge_data.items() if name in OPTIONS}
    return sectioned("the bridge of the tunnels", ("NetDev", made), ("Bridge", {"STP": "no", **chosen}))


def _bond(topology: Topology, node: NodePlan) -> str:
    made = {"Name": node.device, "Kind": "bond", "MACAddress": common.mac(node), "MTUBytes": topology.mtu}
    hubs = " ".join(hub.address() for hub in topology.hubs)
    watched = {"ARPIntervalSec": f"{topology.arp_interval}ms", "ARPIPTargets": hubs}
    return sectioned("the bond of the tunnels", ("NetDev", made), ("Bond", {"Mode": "active-backup", **watched}))


OVER_PORTS: Mapping[str, Callable[[Topology, NodePlan], str]] = {"bridge": _bridge, "bond": _bond}
WITHOUT_CARRIER = {"ConfigureWithoutCarrier": "yes", "IgnoreCarrierLoss": "yes"}


def _addressed(topology: Topology, node: NodePlan) -> str:
    network = {"Address": node.overlay, "IPv6AcceptRA": "no", **WITHOUT_CARRIER}
    entries: list[tuple[str, Mapping[str, object]]] = []
    if node.holder == "mesh":
        peers = [topology.node(peer).endpoint for peer in topology.peers(node.name)]
        entries = [("BridgeFDB", {"MACAddress": ANY_MAC, "Destination": peer}) for peer in peers]
    return sectioned(
        "the overlay's address, and the route of multicast",
        ("Match", {"Name": node.device}),
        ("Network", network),
        ("Route", {"Destination": topology.multicast_route, "Scope": "link"}),
        *entries,
    )
