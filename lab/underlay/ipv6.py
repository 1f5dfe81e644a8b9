"""
IPv6 on the cloud's network, for overlays whose tunnels go over it: every NIC has an address beside that of IPv4.

    flat        hub fd00:10::197/64, spokes in the same subnet
    routed(k)   hub - r1 - ... - rk - spokes in fd00:10:0:1::/64, forwarded by the routers

The fabric carries no multicast, and with it no neighbour discovery: who has which MAC address is configured, as the
fabric itself is.  A NIC has no link-local address, so that it sends nothing on its own.  So it is between routers: they
would discover each other only once the kernel has given both a link-local address, up to a second after their links.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lab.machines.base import Call
from lab.machines.node import Agent, Node
from lab.model import Change, NodePlan, Topology, Underlay, ipv6_of, mac_of
from lab.stack.changes import addr_add, neigh_add, route_add
from lab.underlay import fabric

EVERYWHERE = "::/0"
FORWARDING = "net.ipv6.conf.all.forwarding"
NO_LINK_LOCAL = "1"  # addr_gen_mode: IN6_ADDR_GEN_MODE_NONE


def build(topology: Topology, underlay: Underlay, nodes: Mapping[str, Node]) -> list[Call[Any]]:
    """What the hosts and routers need in addition to IPv4; nothing for an overlay over IPv4."""
    if topology.nodes[0].underlay6 is None:
        return []
    calls: list[Call[Any]] = []
    for plan in topology.nodes:
        calls += host_calls(topology, plan, nodes[plan.name])
    for name, addresses in _router_addresses(topology, underlay).items():
        calls += _on(nodes[name], addresses)
        calls.append(nodes[name].call(Agent.sysctl_write, values={FORWARDING: "1"}))
    return calls + [nodes[name].call(Agent.apply, changes=changes) for name, changes in _routing(topology, underlay)]


def addresses(topology: Topology, underlay: Underlay) -> dict[str, list[str]]:
    """The IPv6 addresses of hosts and routers; none for an overlay over IPv4."""
    if topology.nodes[0].underlay6 is None:
        return {}
    made = {plan.name: [str(plan.underlay6.ip)] for plan in topology.nodes if plan.underlay6}
    for name, pairs in _router_addresses(topology, underlay).items():
        made[name] = [address.partition("/")[0] for _, address in pairs]
    return made


def host_calls(topology: Topology, plan: NodePlan, node: Node) -> list[Call[Any]]:
    """A host's NIC: addressed, with its default route and every host of its subnet as a neighbour."""
    if plan.underlay6 is None:
        return []
    gateway = fabric.gateway_of(plan)
    known = [(ipv6_of(gateway).ip, mac_of(gateway.ip))]
    known += [
        (other.underlay6.ip, other.underlay_mac)
        for other in topology.nodes
        if other is not plan and other.underlay6 and other.underlay6.network == plan.underlay6.network
    ]
    changes: list[Change] = [route_add(EVERYWHERE, plan.nic, via=str(known[0][0]))]
    changes += [neigh_add(plan.nic, str(to), mac) for to, mac in known]
    return [*_on(node, [(plan.nic, str(plan.underlay6))]), node.call(Agent.apply, changes=changes)]


def _on(node: Node, addresses: Sequence[tuple[str, str]]) -> list[Call[Any]]:
    """IPv6 on devices of a node, each with one address that can be used at once."""
    quiet = {"accept_dad": "0", "router_solicitations": "0", "addr_gen_mode": NO_LINK_LOCAL, "disable_ipv6": "0"}
    values = {f"net.ipv6.conf.{device}.{name}": value for device, _ in addresses for name, value in quiet.items()}
    changes = [addr_add(device, address) for device, address in addresses]
    return [node.call(Agent.sysctl_write, values=values), node.call(Agent.apply, changes=changes)]


def _router_addresses(topology: Topology, underlay: Underlay) -> dict[str, list[tuple[str, str]]]:
    """The devices of each router with their addresses: its subnets', its neighbours'."""
    made: dict[str, list[tuple[str, str]]] = {name: [] for name in fabric.routers(underlay)}
    for name, device, address in fabric.legs(topology, underlay):
        made[name].append((device, str(ipv6_of(address))))
    return made


def _routing(topology: Topology, underlay: Underlay) -> list[tuple[str, list[Change]]]:
    """Who is where in the routers' subnets, and the routes between them."""
    made: dict[str, list[Change]] = {name: [] for name in fabric.routers(underlay)}
    for segment in fabric.segments(topology, underlay):
        for router in (port for port in segment.ports if port.node in made):
            made[router.node] += [
                neigh_add(router.nic, str(port.address6.ip), mac_of(port.address.ip))
                for port in segment.ports
                if port is not router and port.address6
            ]
    for left, right, near, far in fabric.wires(underlay):
        made[left].append(neigh_add(fabric.EAST, str(ipv6_of(far).ip), mac_of(far.ip)))
        made[right].append(neigh_add(fabric.WEST, str(ipv6_of(near).ip), mac_of(near.ip)))
    for name, to, device, via in fabric.routes(topology, underlay):
        made[name].append(route_add(str(ipv6_of(to).network), device, via=str(ipv6_of(via).ip)))
    return list(made.items())
