"""
What a lab is made of, as data: nodes, tunnels, topologies, clouds.  No I/O.

    spoke1 --tunnel-- ( hub: bridge ) --tunnel-- spoke2      the overlay, 172.16.254.0/24
       |                    |                       |
    ===+====================+=======================+===     the cloud's network (VCN), 10.0.0.0/24
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface
from typing import Any, Literal

from lab.errors import NotApplicable

LIMITED_BROADCAST = "255.255.255.255"
ALL_HOSTS = "224.0.0.1"
MULTICAST = IPv4Network("224.0.0.0/4")
ALL_NODES = "ff02::1"
IPV6_LEAST_MTU = 1280  # RFC 8200 section 5
WITH_BROADCAST = 30  # the longest prefix that has a broadcast address (RFC 3021)
VXLAN_PORT = 4789  # RFC 7348 section 8

CLOUD = "cloud"
"""The place of what a live cloud does."""
EMULATED = re.compile(r"vcn\d*|r[1-9]")
"""The nodes of a lab that are the cloud's network and its routers."""
HOST_TOOLS = ("ip", "bridge", "tc", "sysctl", "iptables", "ebtables", "nft")

Network = Literal["overlay", "underlay"]
Role = Literal["hub", "spoke"]
Change = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class NodePlan:
    """
    A host: where it is on the cloud's network, and what it is on the overlay.

    `underlay6` is its IPv6 address there, where the overlay's tunnels end, if they go over IPv6.  `further` are its
    other IPv4 addresses: secondary ones, those of other NICs.
    """

    name: str
    role: Role
    underlay: IPv4Interface
    overlay: IPv4Interface
    device: str
    nic: str = "ens3"
    underlay6: IPv6Interface | None = None
    further: tuple[str, ...] = ()

    @property
    def is_hub(self) -> bool:
        return self.role == "hub"

    def address(self, network: Network = "overlay") -> str:
        return str((self.overlay if network == "overlay" else self.underlay).ip)

    @property
    def endpoint(self) -> str:
        """The outer address of its tunnels."""
        return str(self.underlay6.ip) if self.underlay6 else self.address("underlay")

    def broadcast(self, network: Network = "overlay") -> str:
        """The directed broadcast address of its subnet (RFC 919); NotApplicable for an underlay that has none."""
        interface = self.overlay if network == "overlay" else self.underlay
        if network == "underlay" and interface.network.prefixlen > WITH_BROADCAST:
            raise NotApplicable(f"{self.name} is {interface} on the underlay: such a prefix has no broadcast address")
        return str(interface.network.broadcast_address)

    def interface(self, network: Network = "overlay") -> str:
        return self.device if network == "overlay" else self.nic

    @property
    def underlay_mac(self) -> str:
        return mac_of(self.underlay.ip)


def mac_of(address: IPv4Address) -> str:
    """The MAC address that the lab gives a device with this address (locally administered, RFC 7042)."""
    return "02:00:" + ":".join(f"{byte:02x}" for byte in address.packed)


def ipv6_of(address: IPv4Interface) -> IPv6Interface:
    """
    The unique local address (RFC 4193) that goes with an IPv4 address, its octets readable in it.

    10.0.1.25/24 is fd00:10:0:1::25/64: one subnet of IPv6 for each of IPv4.
    """
    first, second, third, host = str(address.ip).split(".")
    return IPv6Interface(f"fd00:{first}:{second}:{third}::{host}/64")


@dataclass(frozen=True)
class Tunnel:
    """One hub-and-spoke tunnel: its device on either side."""

    spoke: str
    hub_device: str
    spoke_device: str
    number: int


@dataclass(frozen=True)
class TunnelOptions:
    """
    How every tunnel is made, under the names of ip-link(8).

    `ttl` None is `ttl inherit`; `local` False leaves the outer source address to the routing table.  `port` (dstport)
    applies to VXLAN only.  `encap_limit` applies to tunnels over IPv6 only; None leaves the option out (`encaplimit
    none`).
    """

    kind: str = "gretap"
    ttl: int | None = 64
    local: bool = True
    tos_inherit: bool = False
    tos: int = 0
    port: int = VXLAN_PORT
    key: int | None = None
    checksum: bool = False
    sequence: bool = False
    pmtudisc: bool = True
    ignore_df: bool = False
    encap_limit: int | None = 4


@dataclass(frozen=True)
class Topology:
    """
    An overlay: its nodes (the hub first), the tunnels between them, and what the hosts need besides.

    `pinned_mac`: the bridge has a MAC address of its own; without, it follows its ports' (`bridge_mac`).
    `ipv6`: IPv6 is on inside the overlay, with the link-local addresses that the kernel gives its devices.
    """

    name: str
    nodes: tuple[NodePlan, ...]
    tunnels: tuple[Tunnel, ...]
    options: TunnelOptions = field(default_factory=TunnelOptions)
    bridge: str = "bridge0"
    bridge_data: Mapping[str, int] = field(default_factory=dict)
    multicast_route: IPv4Network = MULTICAST
    answer_broadcast_ping: bool = True
    pinned_mac: bool = True
    ipv6: bool = False
    strangers: tuple[str, ...] = ()
    """Outer addresses of further hosts, which live hubs may serve: they are not judged."""

    @property
    def hub(self) -> NodePlan:
        return self.nodes[0]

    @property
    def spokes(self) -> tuple[NodePlan, ...]:
        return self.nodes[1:]

    @property
    def bridge_mac(self) -> str | None:
        """The MAC address that the bridge is given, None to leave it to the kernel (the lowest of its ports')."""
        return mac_of(self.hub.overlay.ip) if self.pinned_mac else None

    def node(self, name: str) -> NodePlan:
        return next(node for node in self.nodes if node.name == name)

    def is_bridged(self, node: NodePlan) -> bool:
        """Whether a spoke's overlay address is on a bridge of its own, with its tunnel as a port."""
        return not node.is_hub and node.device != self.tunnel_of(node.name).spoke_device

    def spoke_devices(self, node: NodePlan) -> set[str]:
        """The devices that a spoke's overlay packets pass: its tunnel, and a bridge that this is a port of."""
        return {node.device, self.tunnel_of(node.name).spoke_device}

    def tunnel_of(self, spoke: str) -> Tunnel:
        return next(tunnel for tunnel in self.tunnels if tunnel.spoke == spoke)


@dataclass(frozen=True)
class Provider:
    """
    What a cloud's network does, as its documents say: what passes, the instance's MTU, the source check.

    `source_check`: a frame whose IPv4 source is not the NIC's own address is dropped.
    """

    name: str
    title: str
    broadcast: bool
    multicast: bool
    gre: bool
    vxlan: bool
    mtu: int
    source_check: bool = True


@dataclass(frozen=True)
class Underlay:
    """The emulated cloud network: `routers` between the hub's subnet and the spokes' (0: all in one subnet)."""

    provider: Provider
    routers: int = 0

    @property
    def name(self) -> str:
        return "flat" if self.routers == 0 else f"routed({self.routers})"


def place(node: str, host: str, command: str = "") -> str:
    """
    Where to run a command: `10.0.0.25, spoke1`; the role alone where the user gave the host no other name.

    The cloud is no host of the user's: its own tools run anywhere, and only a lab's cloud has nodes to enter.
    """
    if node == CLOUD:
        return "the cloud's own tools"
    if not EMULATED.fullmatch(node):
        return f"{host}, {node}" if host and host != node else node
    if command.split(" ")[0] in HOST_TOOLS:
        return f"{node} of the emulated cloud"
    return f"a real cloud's own tools; here {node} emulates it"


@dataclass(frozen=True)
class Finding:
    """
    What is wrong, where, by what evidence, and the command that corrects it (run on `node`).

    `host` is the user's name for a live host; empty in a lab, whose hosts have no other name than `node`.
    """

    code: str
    node: str
    interface: str
    summary: str
    evidence: str
    remedy: str
    requirements: tuple[str, ...] = ()
    host: str = ""
    note: bool = False
    """Nothing is lost by it, so that no command is given."""

    @property
    def place(self) -> str:
        """Where to run the fix: the user's name for the host, and its role."""
        return place(self.node, self.host, self.remedy)

    def data(self) -> dict[str, Any]:
        """Builtins, for the results."""
        return {**vars(self), "requirements": list(self.requirements)}
