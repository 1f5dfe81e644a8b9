"""
What is the same whatever tool makes the links: kernel parameters, modules, the firewall, and what is read of a plan.

A file is its path on the host and its text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lab import tunnels
from lab.clouds.firmware import Carrier
from lab.errors import UsageProblem
from lab.model import NodePlan, Topology, mac_of
from lab.output import finding_text
from lab.overlay import plan
from lab.topology.designs import MTUS

Files = dict[str, str]
"""Text by path."""
NamedFiles = Sequence[Mapping[str, Any]]
"""The files of a boot that name a part of the overlay, as the agent finds them."""
SYSCTLS, MODULES, FIREWALL = finding_text.SYSCTLS, finding_text.MODULES, "/etc/overlay.nft"
HOLDERS = ("tunnel", "bridge", "mesh", "bond", "prp")
HOLDER_MODULES: Mapping[str, tuple[str, ...]] = {"bridge": ("bridge",), "bond": ("bonding",), "prp": ("hsr",)}
WORDLESS: Mapping[str, tuple[str, ...]] = {"netplan": ("geneve",), "NetworkManager": ("geneve",)}
"""The kinds of tunnel that a tool has no words for."""
ARP_INTERVAL = 100  # ms: a lost hub is noticed after three of them
HEAD = "# Written by `overcast plan`: {what}\n"


def head(what: str) -> str:
    """The first line of a file."""
    return HEAD.format(what=what)


def sectioned(what: str, *sections: tuple[str, Mapping[str, object]]) -> str:
    """A file of sections with settings, as systemd and NetworkManager have them; a section may stand several times."""
    parts = ["\n".join([f"[{name}]", *(f"{key}={value}" for key, value in each.items())]) for name, each in sections]
    return head(what) + "\n\n".join(parts) + "\n"


def sized(topology: Topology, nic_mtu: int) -> Topology:
    """
    The same overlay with its MTU: at boot a tunnel may be there before its NIC, and cannot take it from there.

    UsageProblem for an overlay whose devices no file here can describe.
    """
    if others := [node.holder for node in topology.nodes if node.holder not in HOLDERS]:
        raise UsageProblem(f"plan does not support a {topology.name} overlay: its hosts have a {others[0]}")
    kind = tunnels.kind(topology.options.kind)
    return replace(topology, mtu=nic_mtu - kind.overhead(topology.options), arp_interval=ARP_INTERVAL)


def require(topology: Topology, tool: str, holders: Collection[str], formats: str, *, isolated: bool = False) -> None:
    """UsageProblem where the overlay's hosts have a device, or a kind of tunnel, that the tool has no words for."""
    if topology.options.kind in WORDLESS.get(tool, ()):
        raise UsageProblem(f"{tool} does not support {topology.options.kind} tunnels: use --format={formats}")
    for node in topology.nodes:
        if node.holder not in holders or (node.isolated and not isolated):
            raise UsageProblem(f"{tool} does not support a {topology.name} overlay: use --format={formats}")


def mtu(topology: Topology, node: NodePlan) -> int:
    """The MTU of the device with a host's overlay address."""
    room = topology.mtu or 0
    return MTUS[node.holder](room) if node.holder in MTUS else room


def files(topology: Topology, node: NodePlan) -> Files:
    """Kernel parameters, modules and the firewall of a host."""
    values = plan.sysctls(topology, node)
    return {
        SYSCTLS: head("answer pings to broadcast and multicast addresses (sysctl.d(5))")
        + "".join(f"{name} = {value}\n" for name, value in values.items()),
        MODULES: head("the kernel modules of the overlay's devices (modules-load.d(5))")
        + "".join(f"{name}\n" for name in modules(topology, node)),
        FIREWALL: _firewall(topology, node),
    }


def modules(topology: Topology, node: NodePlan) -> list[str]:
    """The kernel modules that make a host's devices."""
    return [tunnels.kind(topology.options.kind).module, *HOLDER_MODULES.get(node.holder, ())]


def _firewall(topology: Topology, node: NodePlan) -> str:
    """Rules that accept tunnel packets on a host that drops by default; they are active only if included."""
    kind = tunnels.kind(topology.options.kind)
    family = "ip6" if kind.over_ipv6 else "ip"
    peers = ", ".join(topology.node(peer).endpoint for peer in topology.peers(node.name))
    return (
        head("include it in the host's own input chain if that drops by default:")
        + f'#   chain input {{ ...; include "{FIREWALL}"; }}\n'
        + f"{family} saddr {{ {peers} }} {Carrier(kind.protocol, kind.port).nft} accept\n"
        + f'iifname "{node.device}" accept\n'
    )


def iptables(topology: Topology, node: NodePlan) -> str:
    """The command that has iptables accept the tunnel packets of a host's peers, and what its overlay device brings."""
    kind = tunnels.kind(topology.options.kind)
    tool = "ip6tables" if kind.over_ipv6 else "iptables"
    peers = ",".join(topology.node(peer).endpoint for peer in topology.peers(node.name))
    carried = f"{tool} -I INPUT -s {peers} {Carrier(kind.protocol, kind.port).iptables} -j ACCEPT"
    return f"{carried} && iptables -I INPUT -i {node.device} -j ACCEPT"


def mac(node: NodePlan) -> str:
    """
    The MAC address of the device with a host's overlay address.

    Pinned: a bridge would follow its ports', and networkd derives one from the device's name and the machine's id,
    which machines made from one image may share.
    """
    return mac_of(node.overlay.ip)


def port_mac(topology: Topology, node: NodePlan, port: str) -> str:
    """The MAC address of a tunnel that is a port of a bridge, pinned for the same reason: that of no other device."""
    return f"06:{list(ports(topology, node)).index(port):02x}{mac(node)[5:]}"


def ports(topology: Topology, node: NodePlan) -> Mapping[str, str]:
    """The tunnel devices of a host, each with the host at its other end (of a flood list: the first of them)."""
    found: dict[str, str] = {}
    for peer in topology.peers(node.name):
        found.setdefault(topology.port(node.name, peer), peer)
    return found
