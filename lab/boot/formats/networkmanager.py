"""
NetworkManager (RHEL, Oracle Linux, Fedora): a keyfile for each device.

It has no words for Geneve, entries of a flood list and isolated ports, so that only stars and pairs can be written.
Sources: nm-settings-keyfile(5), nm-settings(5): ip-tunnel, vxlan, bridge, bridge-port, ipv4.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from lab import tunnels
from lab.boot import common
from lab.boot.common import Files, sectioned
from lab.errors import UsageProblem
from lab.model import NodePlan, Topology

FOLDER = "/etc/NetworkManager/system-connections"
START = f"chmod 600 {FOLDER}/overlay-* && nmcli connection reload"
GRETAP = 10  # NMIPTunnelMode
ON = "autoconnect=true"
OPTIONS = {"mcast_snooping": "multicast-snooping", "mcast_querier": "multicast-querier"}
NAMES = uuid.UUID("5a2f0c0e-6c55-4d5b-9d36-8a5c1f1f7d11")
"""Where the connections' identifiers come from: a file that is written again has the same."""


def files(topology: Topology, node: NodePlan) -> Files:
    """The files of a host, by path; UsageProblem for what NetworkManager cannot describe."""
    common.require(topology, "NetworkManager", ("tunnel", "bridge"), "networkd or shell")
    if tunnels.kind(topology.options.kind).over_ipv6:
        raise UsageProblem(
            "NetworkManager files for tunnels over IPv6 are not supported: use --format=networkd or shell"
        )
    found = {_path(port): _tunnel(topology, node, port) for port in common.ports(topology, node)}
    if node.holder == "bridge":
        chosen = {OPTIONS[name]: value for name, value in topology.bridge_data.items() if name in OPTIONS}
        sections: dict[str, Mapping[str, object]] = {
            "connection": _connection(node.device, "bridge"),
            "bridge": {"stp": "false", "mac-address": common.mac(node), **chosen},
            "ethernet": {"mtu": topology.mtu},
            **_addressed(topology, node),
        }
        found[_path(node.device)] = sectioned("the bridge of the tunnels", *sections.items())
    return found


def zoned(files: Files, node: NodePlan, zone: str) -> Files:
    """The same files with the firewalld zone of the device with the overlay address, which is the default zone else."""
    path = _path(node.device)
    return {**files, path: files[path].replace(ON, f"{ON}\nzone={zone}")} if path in files else files


def _path(device: str) -> str:
    return f"{FOLDER}/overlay-{device}.nmconnection"


def _connection(device: str, kind: str) -> dict[str, object]:
    name = f"overlay-{device}"
    return {"id": name, "uuid": uuid.uuid5(NAMES, name), "type": kind, "interface-name": device, "autoconnect": "true"}


def _tunnel(topology: Topology, node: NodePlan, port: str) -> str:
    peer = common.ports(topology, node)[port]
    far, options = topology.node(peer).endpoint, topology.options
    made: dict[str, Mapping[str, object]]
    if options.kind == "gretap":
        tunnel = {"mode": GRETAP, "local": node.endpoint, "remote": far, "ttl": options.ttl, "mtu": topology.mtu}
        made = {"connection": _connection(port, "ip-tunnel"), "ip-tunnel": tunnel}
    else:
        number = topology.tunnel(node.name, peer).number
        vxlan = {"id": number, "local": node.endpoint, "remote": far, "destination-port": options.port}
        made = {
            "connection": _connection(port, "vxlan"),
            "vxlan": {**vxlan, "ttl": options.ttl, "learning": "true"},
            "ethernet": {"mtu": topology.mtu},
        }
    if port != node.device:
        bridged = {"master": node.device, "slave-type": "bridge"}
        made["connection"] = {**made["connection"], **bridged}
        return sectioned(f"the tunnel to {peer}", *made.items())
    made["ethernet"] = {**made.get("ethernet", {}), "cloned-mac-address": common.mac(node)}
    return sectioned(f"the tunnel to {peer}", *made.items(), *_addressed(topology, node).items())


def _addressed(topology: Topology, node: NodePlan) -> dict[str, Mapping[str, object]]:
    """What the device with the overlay address has."""
    ipv4 = {"method": "manual", "address1": node.overlay, "route1": topology.multicast_route, "never-default": "true"}
    return {"ipv4": ipv4, "ipv6": {"method": "link-local"}}
