"""
The emulated cloud network (VCN): it delivers unicast, answers ARP itself, and floods nothing.

    flat        hub, spokes -- ports of one bridge `vcn`
    routed(k)   hub -- bridge `vcn0` -- r1 - ... - rk -- bridge `vcn1` -- spokes

A segment is a bridge whose ports flood neither broadcast nor multicast nor unknown unicast and learn nothing: the
fabric has an entry for every MAC, as a cloud does, and answers neighbour requests from it (bridge(8) proxy_arp).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface

from lab.machines.node import Node
from lab.model import Change, NodePlan, Provider, Topology, Underlay, ipv6_of, mac_of
from lab.stack.changes import (
    addr_add,
    bridge,
    bridge_port,
    fdb_replace,
    filter_add,
    link_add,
    link_set,
    neigh_add,
    route_add,
    veth,
)
from lab.underlay.policy import NO_QUERIES, CloudRule, port_program

FABRIC = "vcn"
REFUSALS = {"flood": 0, "mcast_flood": 0, "bcast_flood": 0, "learning": 0, "proxyarp": 1}
MEMBERS_ALONE = {"mcast_router": 0, "fastleave": 1}
UNENDING = 100 * 60 * 60 * 24  # a day, of a bridge's timers (USER_HZ)
SNOOPING = bridge(mcast_query_response_interval=1, mcast_membership_interval=UNENDING, mcast_igmp_version=2)
"""A cloud that delivers groups: it sends them to members alone, and to others nothing."""
OWN_MAC = "02:01:00:00:00:01"
EAST, WEST = "east", "west"  # a router's devices towards its neighbours, as if the hub were in the west
QUIET = {"net.ipv6.conf.all.disable_ipv6": "1", "net.ipv6.conf.default.disable_ipv6": "1"}


@dataclass(frozen=True)
class FabricPort:
    """A fabric port and the NIC plugged into it; IPv6 passes where the NIC has an address of it."""

    device: str
    node: str
    nic: str
    address: IPv4Interface
    checked: bool  # the source check holds for hosts, not for routers
    address6: IPv6Interface | None = None


@dataclass(frozen=True)
class Segment:
    """One subnet of the fabric."""

    bridge: str
    ports: tuple[FabricPort, ...]
    gateway: IPv4Interface
    routed: bool


def routers(underlay: Underlay) -> tuple[str, ...]:
    return tuple(f"r{number}" for number in range(1, underlay.routers + 1))


def segments(topology: Topology, underlay: Underlay) -> tuple[Segment, ...]:
    """The subnets that the nodes of a topology are in."""
    by_network: dict[IPv4Network, list[NodePlan]] = {}
    for node in topology.nodes:
        by_network.setdefault(node.underlay.network, []).append(node)
    made = []
    for number, nodes in enumerate(by_network.values()):
        gateway = gateway_of(nodes[0])
        has_ipv6 = any(node.underlay6 for node in nodes)
        ports = [
            FabricPort(node.name, node.name, node.nic, node.underlay, checked=True, address6=node.underlay6)
            for node in nodes
        ]
        if underlay.routers:
            router = routers(underlay)[0 if number == 0 else -1]
            gateway6 = ipv6_of(gateway) if has_ipv6 else None
            ports.append(
                FabricPort(f"{router}-{number}", router, f"subnet{number}", gateway, checked=False, address6=gateway6)
            )
        bridge = FABRIC if underlay.routers == 0 else f"{FABRIC}{number}"
        made.append(Segment(bridge, tuple(ports), gateway, bool(underlay.routers)))
    return tuple(made)


def segment_changes(segment: Segment, provider: Provider, handles: Mapping[str, int]) -> list[Change]:
    """What the fabric's own namespace needs for one segment: the bridge, its ports, who is where."""
    # pinned: a bridge that takes a port's MAC over drops every configured neighbour (NETDEV_CHANGEADDR)
    mac = OWN_MAC if segment.routed else mac_of(segment.gateway.ip)
    snooping = SNOOPING if provider.groups else bridge(mcast_snooping=0)
    changes = [link_add(segment.bridge, snooping, mtu=provider.mtu, address=mac)]
    if provider.groups:  # after the response interval, which a new querier lets pass before it prunes
        changes.append(link_set(segment.bridge, bridge(mcast_querier=1)))
    if not segment.routed:
        changes.append(addr_add(segment.bridge, str(segment.gateway)))
    for port in segment.ports:
        changes += port_changes(segment.bridge, port, provider, handles[port.node])
    return changes


def port_changes(segment: str, port: FabricPort, provider: Provider, handle: int) -> list[Change]:
    """One port of a segment with the NIC plugged into it, which is made in the node with this handle."""
    mac = mac_of(port.address.ip)
    nic = veth(port.nic, handle, mtu=provider.mtu, address=mac)
    return [
        link_add(port.device, nic, mtu=provider.mtu, master=segment),
        bridge_port(port.device, **REFUSALS, **(MEMBERS_ALONE if provider.groups else {})),
        fdb_replace(port.device, mac),
        neigh_add(segment, str(port.address.ip), mac),
        port_filter(port, provider),
        *([query_filter(port, provider)] if provider.groups else []),
    ]


def query_filter(port: FabricPort, provider: Provider) -> Change:
    """No query of the fabric's bridge gets to a host by itself (`policy.Queries`)."""
    unchecked = replace(port, checked=False)
    return port_filter(unchecked, replace(provider, groups=None), (NO_QUERIES,), direction="egress")


def port_filter(
    port: FabricPort, provider: Provider, extra: tuple[CloudRule, ...] = (), *, direction: str = "ingress"
) -> Change:
    program = port_program(
        provider,
        port.address.ip if port.checked else None,
        extra,
        ipv6=port.address6 is not None,
        address6=port.address6.ip if port.address6 and port.checked else None,
    )
    return filter_add(port.device, direction, program, "vcn")


def host_changes(node: NodePlan) -> list[Change]:
    """A cloud VM's NIC: up, addressed, with the default route that every cloud VM has."""
    gateway = str(gateway_of(node).ip)
    return [
        link_set(node.nic, up=True),
        addr_add(node.nic, str(node.underlay)),
        route_add("0.0.0.0/0", node.nic, via=gateway),
    ]


def gateway_of(node: NodePlan) -> IPv4Interface:
    """The address of the subnet's router: the first one, as every cloud has it."""
    network = node.underlay.network
    return IPv4Interface((network.network_address + 1, network.prefixlen))


def wires(underlay: Underlay) -> Iterator[tuple[str, str, IPv4Interface, IPv4Interface]]:
    """Every two neighbouring routers and their addresses, the nearer one of the hub's first: EAST of it, WEST."""
    for number, (left, right) in enumerate(itertools.pairwise(routers(underlay))):
        yield left, right, IPv4Interface(f"10.1.{number}.1/30"), IPv4Interface(f"10.1.{number}.2/30")


def legs(topology: Topology, underlay: Underlay) -> Iterator[tuple[str, str, IPv4Interface]]:
    """Every router's devices with their addresses: in its subnets, and towards its neighbours."""
    names = routers(underlay)
    for segment in segments(topology, underlay):
        yield from ((port.node, port.nic, port.address) for port in segment.ports if port.node in names)
    for left, right, near, far in wires(underlay):
        yield from ((left, EAST, near), (right, WEST, far))


def routes(topology: Topology, underlay: Underlay) -> Iterator[tuple[str, IPv4Interface, str, IPv4Interface]]:
    """Every router's way to the subnet at either end: the subnet's gateway, the device and the next router."""
    parts = segments(topology, underlay)
    for left, right, near, far in wires(underlay):
        yield from ((left, parts[-1].gateway, EAST, far), (right, parts[0].gateway, WEST, near))


def router_changes(
    topology: Topology, underlay: Underlay, handles: Mapping[str, int]
) -> list[tuple[str, list[Change]]]:
    """What each router needs: its subnet legs, the transit to its neighbour, routes both ways."""
    names, mtu = routers(underlay), underlay.provider.mtu
    made: dict[str, list[Change]] = {name: [] for name in names}
    for left, right, near, far in wires(underlay):
        wire = veth(WEST, handles[right], mtu=mtu, address=mac_of(far.ip))
        made[left].append(link_add(EAST, wire, mtu=mtu, address=mac_of(near.ip)))
    for name, device, address in legs(topology, underlay):
        made[name] += [link_set(device, up=True), addr_add(device, str(address))]
    # every link exists before any route is added: a veth belongs to two routers
    routed = [
        (name, [route_add(str(to.network), device, via=str(via.ip))])
        for name, to, device, via in routes(topology, underlay)
    ]
    return [*made.items(), *routed]


def build(topology: Topology, underlay: Underlay, nodes: Mapping[str, Node]) -> list[tuple[Node, list[Change]]]:
    """The steps that make the fabric, in order, for the nodes of one machine."""
    handles = {name: node.handle for name, node in nodes.items()}
    fabric: list[Change] = []
    for segment in segments(topology, underlay):
        fabric += segment_changes(segment, underlay.provider, handles)
    steps = [(nodes[FABRIC], fabric)]
    steps += [(nodes[name], changes) for name, changes in router_changes(topology, underlay, handles)]
    steps += [(nodes[node.name], host_changes(node)) for node in topology.nodes]
    return steps


def stacks(topology: Topology, underlay: Underlay) -> Sequence[str]:
    """The names of the namespaces of a lab: the fabric's, the routers', the hosts'."""
    return [FABRIC, *routers(underlay), *(node.name for node in topology.nodes)]


def late_carriers(topology: Topology, underlay: Underlay) -> dict[str, list[str]]:
    """The devices, by node, whose other end comes up after them: they transmit only once the kernel has noticed."""
    ports = [port.device for segment in segments(topology, underlay) for port in segment.ports]
    return {FABRIC: ports, **{name: [EAST] for name in routers(underlay)[:-1]}}
