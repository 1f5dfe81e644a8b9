"""
What a lab is made of, as data: nodes, tunnels, topologies, clouds.  No I/O.

    spoke1 --tunnel-- ( hub: bridge ) --tunnel-- spoke2      the overlay, 172.16.254.0/24
       |                    |                       |
    ===+====================+=======================+===     the cloud's network (VCN), 10.0.0.0/24
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface
from typing import Any, Literal

from lab.clouds.native_multicast import Groups
from lab.errors import NotApplicable
from lab.topology.graph import Graph, Hop, HopPath, Tunnel

LIMITED_BROADCAST = "255.255.255.255"
ALL_HOSTS = "224.0.0.1"
MULTICAST = IPv4Network("224.0.0.0/4")
ALL_NODES = "ff02::1"
IPV6_LEAST_MTU = 1280  # RFC 8200 section 5
WITH_BROADCAST = 30  # the longest prefix that has a broadcast address (RFC 3021)
TICKS, PRIORITY = 100, 4096  # of a bridge: a second of its timers (USER_HZ), one step of its priority (802.1D 9.2.5)
VXLAN_PORT, GENEVE_PORT = 4789, 6081  # RFC 7348 section 8, RFC 8926 section 3.3

CLOUD = "cloud"
"""The place of what a live cloud does."""
EMULATED = re.compile(r"vcn\d*|r[1-9]")
"""The nodes of a lab that are the cloud's network and its routers."""
HOST_TOOLS = ("ip", "bridge", "tc", "sysctl", "iptables", "ebtables", "nft")

Network = Literal["overlay", "underlay"]
Role = Literal["hub", "spoke"]
Holder = Literal["tunnel", "bridge", "bond", "prp", "mesh", "nic"]
"""
The kind of device that has a host's overlay address: a tunnel; a bridge, a bond or a PRP device (IEC 62439-3) over
tunnels; a VXLAN device with a list of peers; the NIC itself, where the cloud delivers multicast.
"""
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
    holder: Holder = "tunnel"
    """The kind of `device`."""
    isolated: bool = False
    """The ports of its bridge do not forward to each other (split horizon)."""

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
class TunnelOptions:
    """
    How every tunnel is made, under the names of ip-link(8).

    `ttl` None: `ttl inherit`; `local` False: the routing table chooses the outer source.  `port` (dstport): VXLAN only.
    `df` (0 unset, 1 set, 2 inherit): VXLAN, Geneve.  `encap_limit`: over IPv6; None leaves it out (`encaplimit none`).
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
    df: int = 0
    encap_limit: int | None = 4

    def __post_init__(self) -> None:
        """A port that was not chosen follows the kind; a Geneve tunnel cannot pin its source."""
        if self.port in (VXLAN_PORT, GENEVE_PORT):
            object.__setattr__(self, "port", GENEVE_PORT if self.kind == "geneve" else VXLAN_PORT)
        if self.kind == "geneve":
            object.__setattr__(self, "local", False)


@dataclass(frozen=True)
class Topology:
    """
    An overlay: its hosts (hubs first), the tunnels between them, and what else the hosts need.

    `pinned_mac`: the bridge has a MAC address of its own; without, it follows its ports' (`bridge_mac`).
    `mtu`: of the devices with the overlay addresses; None: what the kernel derives from the NIC's.
    `arp_interval`: ms between the questions by which a bond watches its legs, and a hub's VRRP advertisements.
    `ipv6`: IPv6 is on inside the overlay, with the link-local addresses that the kernel gives its devices.
    """

    name: str
    nodes: tuple[NodePlan, ...]
    tunnels: tuple[Tunnel, ...]
    options: TunnelOptions = field(default_factory=TunnelOptions)
    bridge_data: Mapping[str, int] = field(default_factory=dict)
    multicast_route: IPv4Network = MULTICAST
    answer_broadcast_ping: bool = True
    pinned_mac: bool = True
    mtu: int | None = None
    arp_interval: int = 100
    ipv6: bool = False
    standby: NodePlan | None = None  # a VM that takes the hub's VNIC over when it is lost
    strangers: tuple[str, ...] = ()
    """Outer addresses of further hosts, which live hubs may serve: they are not judged."""

    @property
    def hub(self) -> NodePlan:
        """The first hub; NotApplicable where there is none."""
        if not self.nodes[0].is_hub:
            raise NotApplicable(f"this requires a hub; the {self.name} topology has none")
        return self.nodes[0]

    @property
    def hubs(self) -> tuple[NodePlan, ...]:
        return tuple(node for node in self.nodes if node.is_hub)

    @property
    def spokes(self) -> tuple[NodePlan, ...]:
        return tuple(node for node in self.nodes if not node.is_hub)

    @property
    def bridge(self) -> str:
        """The hub's bridge."""
        return self.hub.device

    def bridge_mac(self, node: NodePlan) -> str | None:
        """The MAC address that a bridge is given, None to leave it to the kernel (the lowest of its ports')."""
        return mac_of(node.overlay.ip) if self.pinned_mac else None

    @functools.cached_property
    def plans(self) -> dict[str, NodePlan]:
        """The hosts by their names."""
        return {node.name: node for node in self.nodes}

    def node(self, name: str) -> NodePlan:
        return self.plans[name]

    def tunnel(self, one: str, other: str) -> Tunnel:
        """The tunnel between two hosts; NotApplicable where there is none."""
        return self._hop(one, other).tunnel

    def port(self, at: str, to: str) -> str:
        """The device on one host of its tunnel to another; NotApplicable where there is none."""
        return self._hop(at, to).start.device

    def _hops(self, start: str) -> dict[str, list[Hop]]:
        if start == "hub" and start not in self.plans:
            raise NotApplicable(f"this requires a hub; the {self.name} topology has none")
        return self._graph.hops.get(start, {})

    def _hop(self, start: str, end: str) -> Hop:
        there = self._hops(start)
        self._hops(end)
        if end not in there and {start, end} <= self.plans.keys():
            raise NotApplicable(f"this requires a tunnel between {start} and {end}; the {self.name} topology has none")
        return there[end][0]

    def ports(self, at: str) -> list[str]:
        """The tunnel devices of a host."""
        hops = self._hops(at).values()
        return list(dict.fromkeys(hop.start.device for there in hops for hop in there))

    def peers(self, at: str) -> list[str]:
        """The hosts at the other ends of a host's tunnels; without tunnels, all others."""
        return self.reached(at) if self.native else list(self._hops(at))

    def idle_ports(self, at: str) -> list[str]:
        """The tunnel devices that a host does not use while the first one's hub is there: of a bond, or by STP."""
        return self.ports(at)[1:] if self.node(at).holder == "bond" or self.spans(self.node(at)) else []

    def spans(self, node: NodePlan) -> bool:
        """Whether a host's bridge has tunnels to several hubs, of which STP blocks all but the first."""
        return node.holder == "bridge" and not node.is_hub and bool(self.bridge_data.get("stp_state"))

    def bridge_options(self, node: NodePlan) -> dict[str, int]:
        """The options of a host's bridge; with STP the hubs' priorities make the first the root, the next its heir."""
        if not self.bridge_data.get("stp_state") or not node.is_hub:
            return dict(self.bridge_data)
        return {**self.bridge_data, "priority": PRIORITY * self.hubs.index(node)}

    def devices(self, at: str) -> list[str]:
        """The devices of a host that its overlay packets pass: the one with the address, and its tunnels."""
        return list(dict.fromkeys([self.node(at).device, *self.ports(at)]))

    @functools.cached_property
    def forwarders(self) -> frozenset[str]:
        """The hosts that forward packets from one tunnel to another."""
        ends = Counter(end.host for tunnel in self.tunnels for end in tunnel.ends)
        bridges = [
            node.name for node in self.nodes if node.holder == "bridge" and not node.isolated and not self.spans(node)
        ]
        return frozenset(name for name in bridges if ends[name] > 1)

    @property
    def native(self) -> bool:
        """Whether the cloud itself delivers groups: there are no tunnels, and the overlay's addresses are the NICs'."""
        return any(node.holder == "nic" for node in self.nodes)

    @property
    def restless(self) -> bool:
        """Whether hosts send all the time, by themselves: bonds that watch their legs, bridges with STP, VRRP."""
        return self.standby is not None or any(node.holder == "bond" or self.spans(node) for node in self.nodes)

    @property
    def doubled(self) -> bool:
        """Whether hosts send every frame by two tunnels, and drop the second copy of what they receive (PRP)."""
        return any(node.holder == "prp" for node in self.nodes)

    @functools.cached_property
    def _graph(self) -> Graph:
        return Graph(self.tunnels, self.forwarders)

    @functools.cached_property
    def centre(self) -> str:
        """The one host that every tunnel ends at; empty where there is none."""
        ends = [{end.host for end in tunnel.ends} for tunnel in self.tunnels]
        return next((node.name for node in self.nodes if ends and all(node.name in each for each in ends)), "")

    def paths(self, sender: str, receiver: str) -> tuple[HopPath, ...]:
        """Every path that a packet may take; a PRP device sends on all of them, any other device on one."""
        if self.node(sender).holder == "nic":
            return ((),)
        return self._graph.paths(sender, receiver)

    def flooded(self, sender: str) -> list[Hop]:
        """Every hop that a host's broadcast takes while nothing is lost."""
        idle = self.idle_ports(sender)
        hops = [hop for there in self._hops(sender).values() for hop in there if hop.start.device not in idle]
        return self._graph.flooded(hops)

    def returning(self, sender: str) -> list[Hop]:
        """The hops by which a host's broadcast comes back to it: to the tunnels that a bond does not use."""
        return [hop for hop in self.flooded(sender) if hop.end.host == sender]

    def reached(self, sender: str) -> list[str]:
        """The other hosts that one reaches on the overlay; the hubs of PRP spokes do not reach each other."""
        apart = self._apart.get(sender, ())
        return [name for name in self.plans if name != sender and name not in apart]

    def connects(self, sender: str, receiver: str, network: Network) -> bool:
        """Whether a network has a path from one host to another; to itself, and from strangers, it is taken to have."""
        if network == "underlay" or sender == receiver or sender not in self.plans:
            return True
        return receiver in self.reached(sender)

    @functools.cached_property
    def _apart(self) -> dict[str, set[str]]:
        """By hub, the other hubs that it has no path to."""
        hubs = [hub.name for hub in self.hubs]
        return {one: {other for other in hubs if other != one and not self.paths(one, other)} for one in hubs}

    def used_paths(self, sender: str, receiver: str) -> tuple[HopPath, ...]:
        """The paths that a packet takes while nothing is lost: those by the first tunnel of a bond."""
        idle = {(name, port) for name in (sender, receiver) for port in self.idle_ports(name)}
        return tuple(
            path
            for path in self.paths(sender, receiver)
            if not any((end.host, end.device) in idle for hop in path for end in (hop.start, hop.end))
        )


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
    groups: Groups | None = None  # set: members of a group receive it without an overlay


@dataclass(frozen=True)
class Underlay:
    """The emulated cloud network: `routers` between the hub's subnet and the spokes' (0: all in one subnet)."""

    provider: Provider
    routers: int = 0

    @property
    def name(self) -> str:
        return "one subnet" if self.routers == 0 else f"routers: {self.routers}"


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
    return "only in a real cloud"


@dataclass(frozen=True)
class Finding:
    """
    What is wrong, where, by what evidence, and the command that corrects it, if there is one (run on `node`).
    `host` is the user's name for a live host; empty in a lab, whose hosts have no other name than `node`.
    """

    code: str
    node: str
    interface: str
    summary: str
    evidence: str
    remedy: str = ""
    requirements: tuple[str, ...] = ()
    """Those that it breaks whatever a test sees (`boot.persistence`); a run adds those of the failed tests."""
    host: str = ""
    note: bool = False  # nothing is lost by it, so that no command is given
    rule: str = ""
    """The rule of a firewall that it is about: one place may have several, each with a fix of its own."""
    lasting: str = ""
    """The command by which the fix lasts over a reboot, where the fix does not show it (`finding_text.for_good`)."""

    @property
    def place(self) -> str:
        """Where to run the fix: the user's name for the host, and its role."""
        return place(self.node, self.host, self.remedy)

    def data(self) -> dict[str, Any]:
        """Builtins, for the results."""
        return {**vars(self), "requirements": list(self.requirements)}
