"""
netplan (Ubuntu's /etc/netplan), which has systemd-networkd make it: one file of YAML.

It has no syntax for Geneve, flood lists and isolated ports, so that only stars and pairs can be written.
Source: netplan(5), tunnels, bridges and routes.
"""

from __future__ import annotations

from lab import tunnels
from lab.boot import common
from lab.boot.common import Files, head
from lab.errors import UsageProblem
from lab.model import NodePlan, Topology

FILE = "/etc/netplan/90-overlay.yaml"
START = f"chmod 600 {FILE} && netplan apply"
OPTIONS = {"mcast_snooping", "mcast_querier"}


def files(topology: Topology, node: NodePlan) -> Files:
    """The file of a host, by path; UsageProblem for what netplan cannot describe."""
    kind = tunnels.kind(topology.options.kind)
    common.require(topology, "netplan", ("tunnel", "bridge"), "networkd or shell")
    if OPTIONS & topology.bridge_data.keys():
        raise UsageProblem("netplan does not support a bridge's IGMP snooping: use --format=networkd or shell")
    lines = ["network:", "  version: 2", "  tunnels:"]
    for port, peer in common.ports(topology, node).items():
        settings = {
            "mode": kind.name,
            "local": node.endpoint,
            "remote": topology.node(peer).endpoint,
            "ttl": topology.options.ttl,
            "mtu": topology.mtu,
            **({"id": topology.tunnel(node.name, peer).number, "port": topology.options.port} if kind.port else {}),
            **({"mac-learning": "true"} if kind.port else {}),
        }
        lines.append(f"    {port}:")
        lines += [f"      {name}: {value}" for name, value in settings.items()]
        apart = [f'      macaddress: "{common.port_mac(topology, node, port)}"', "      link-local: []"]
        lines += _addressed(topology, node) if port == node.device else apart
    if node.holder == "bridge":
        lines += ["  bridges:", f"    {node.device}:"]
        lines.append(f"      interfaces: [{', '.join(common.ports(topology, node))}]")
        lines += [f"      mtu: {topology.mtu}", "      parameters:", "        stp: false"]
        lines += _addressed(topology, node)
    return {FILE: head("the overlay (netplan(5))") + "\n".join(lines) + "\n"}


def _addressed(topology: Topology, node: NodePlan) -> list[str]:
    """What the device with the overlay address has."""
    return [
        f'      macaddress: "{common.mac(node)}"',
        f"      addresses: [{node.overlay}]",
        "      ignore-carrier: true",
        "      accept-ra: false",
        "      routes:",
        f"        - to: {topology.multicast_route}",
        "          scope: link",
    ]
