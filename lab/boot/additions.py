"""
The command that adds what a host's files lack to the tool that makes the rest: one line, for the host's own shell.

    gretap1 by /etc/systemd/network/10-vpn.network, no multicast route  ──▶  10-vpn.network.d/multicast.conf
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from lab.boot import networkd
from lab.model import NodePlan, Topology
from lab.overlay import commands

Named = Sequence[Mapping[str, Any]]
DROP_IN = "multicast.conf"


def command(topology: Topology, node: NodePlan, named: Named, lacking: Collection[str]) -> str:
    """
    What adds the multicast route, where a tool's file has the device with the overlay address; "" where none has.

    `named` are the files that a boot uses, with the words that they name; `lacking` are the words that none names.
    """
    if {*lacking} != {str(topology.multicast_route.network_address)}:
        return ""
    files = [file for file in named if node.device in file["words"] and file["tool"] in ROUTES]
    return next(filter(None, (ROUTES[file["tool"]](topology, node, file["path"]) for file in files)), "")


def _networkd(topology: Topology, node: NodePlan, path: str) -> str:
    folder = f"{path}.d" if path.endswith(".network") else ""
    settings = [f"{name}={value}" for name, value in networkd.WITHOUT_CARRIER.items()]
    lines = ["[Network]", *settings, "[Route]", f"Destination={topology.multicast_route}", "Scope=link"]
    text = f"printf '%s\\n' {' '.join(map(shlex.quote, lines))} | sudo tee {folder}/{DROP_IN}"
    return f"sudo mkdir -p {folder} && {text} && sudo networkctl reload" if folder else ""


def _netplan(topology: Topology, node: NodePlan, path: str) -> str:
    """To the unit that netplan generates: of a file of its own it would need the whole device."""
    return _networkd(topology, node, f"{networkd.FOLDER}/10-netplan-{node.device}.network")


def _network_manager(topology: Topology, node: NodePlan, path: str) -> str:
    connection = f'"$(nmcli -g GENERAL.CONNECTION device show {node.device})"'
    changed = f"sudo nmcli connection modify {connection} +ipv4.routes {topology.multicast_route}"
    return f"{changed} && sudo nmcli device reapply {node.device}"


def _ifupdown(topology: Topology, node: NodePlan, path: str) -> str:
    line = f"    up {commands.route(topology, node)}"
    return f"sudo sed -i '/^iface {node.device} inet /a\\{line}' {path}"


ROUTES: Mapping[str, Callable[[Topology, NodePlan, str], str]] = {
    "systemd-networkd": _networkd,
    "netplan": _netplan,
    "NetworkManager": _network_manager,
    "ifupdown": _ifupdown,
}
