"""
Where an overlay is set up on live hosts: on which of their addresses, and existing configuration that it would touch.

    topology = placed(topologies.star(2), seen)       with the hosts' own addresses and NICs
    in_the_way(topology, seen)                            what exists already, each with the command that shows it
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_network

from lab.errors import EnvironmentProblem, UsageProblem
from lab.model import MULTICAST, Change, NodePlan, Topology
from lab.overlay.recognition.readback import ConfiguredNode, Device
from lab.overlay.recognition.tunnel_ends import LOOPBACK
from lab.stack.changes import route_del
from lab.stack.records import Route

NOT_UNICAST = {
    "unspecified": IPv4Network("0.0.0.0/8"),
    "loopback": IPv4Network("127.0.0.0/8"),
    "multicast": MULTICAST,
    "limited broadcast": IPv4Network("255.255.255.255/32"),
    "reserved": IPv4Network("240.0.0.0/4"),
}
"""What no host has as its address on a network (RFC 6890, RFC 1112), by name."""


@dataclass(frozen=True)
class Obstacle:
    """Something that exists on a host where the overlay would go."""

    node: str
    found: str
    show: str
    """The command that shows it."""
    route: Route | None = None
    """Set: a route, which can make room and be put back exactly as it was; nothing else can."""

    def __str__(self) -> str:
        return f"{self.node}: {self.found} (to see it: {self.show})"

    def set_aside(self) -> Change:
        assert self.route is not None
        return route_del(str(self.route.to), self.route.dev)


def readdressed(topology: Topology, subnet: IPv4Network) -> Topology:
    """The same overlay in another subnet, but for NICs, which keep theirs; UsageProblem when that is too small."""
    if topology.native:
        return topology
    require_suited(subnet, len(topology.nodes))
    nodes = tuple(
        replace(node, overlay=IPv4Interface((subnet.network_address + number, subnet.prefixlen)))
        for number, node in enumerate(topology.nodes, 1)
    )
    return replace(topology, nodes=nodes)


def not_unicast(address: str) -> str:
    """Why no host can have an address, or an address of a subnet; empty where one can."""
    network = ip_network(address)
    if isinstance(network, IPv4Network):
        return next((why for why, reserved in NOT_UNICAST.items() if network.overlaps(reserved)), "")
    found = {
        "unspecified": network.is_unspecified,
        "loopback": network.is_loopback,
        "multicast": network.is_multicast,
    }
    return next((why for why, is_so in found.items() if is_so), "")


def require_suited(subnet: IPv4Network, hosts: int) -> None:
    """UsageProblem for an overlay's subnet that is not one of unicast addresses, or is too small for its hosts."""
    if why := not_unicast(str(subnet)):
        raise UsageProblem(
            f"--overlay-subnet={subnet}: expected a subnet of unicast addresses, e.g. 172.16.253.0/24; "
            f"found {why} addresses ({NOT_UNICAST[why]})"
        )
    if subnet.num_addresses < hosts + 2:
        raise UsageProblem(f"--overlay-subnet={subnet}: expected a subnet for {hosts} hosts, e.g. 172.16.253.0/24")


def require_apart(topology: Topology) -> None:
    """UsageProblem where the overlay's subnet contains an address of the underlay: routes would be ambiguous."""
    for node in topology.nodes:
        subnet = node.overlay.network
        if node.underlay.ip in subnet and not topology.native:
            raise UsageProblem(
                f"--overlay-subnet={subnet} contains the underlay address {node.underlay.ip} of {node.name}"
                "; expected a subnet that the underlay does not use, e.g. 172.16.253.0/24"
            )


def placed(topology: Topology, seen: Mapping[str, ConfiguredNode]) -> Topology:
    """
    The topology with the addresses and NICs by which each spoke reaches the hub, and the hub each spoke; without a hub,
    or with two, by which each host reaches those that it has a tunnel to.

    Hosts that were not seen are left out.  EnvironmentProblem when no address of the hub serves all the others;
    UsageProblem for tunnels over IPv6, since no option names which of the hosts' addresses they are to use.
    """
    if any(node.underlay6 for node in topology.nodes):
        raise UsageProblem(
            f"--provision does not support {topology.options.kind}: use gretap, vxlan or geneve, or set the overlay "
            "up by hand and test it without --provision"
        )
    if len(topology.hubs) != 1:
        return _between_ends(topology, seen)
    if spare := topology.standby:
        others = {name: host for name, host in seen.items() if name != spare.name}
        moving = _moving(others[topology.hub.name], seen[spare.name])
        star = _around(replace(topology, standby=None), others, moving)
        return _with_standby(star, seen[spare.name])
    return _around(topology, seen, [*_own_addresses(next(iter(seen.values())))])


def _around(
    topology: Topology, seen: Mapping[str, ConfiguredNode], addresses: Sequence[tuple[str, IPv4Interface]]
) -> Topology:
    """The star at the first of these addresses of the hub that serves all spokes."""
    hub, *spokes = seen.values()
    for nic, address in addresses:
        ways = [_way(spoke, address.ip) for spoke in spokes]
        there = [way for way in ways if way is not None and _leads(hub, way[1].ip, nic)]
        if len(there) == len(spokes):
            found = dict(zip(seen, [(nic, address), *there], strict=True))
            return _at(topology, found)
    tried = ", ".join(str(address.ip) for _, address in _own_addresses(hub)) or "none"
    raise EnvironmentProblem(
        f"expected an address of the hub with routes to and from every spoke; found none "
        f"(the hub's addresses: {tried})",
        remedy=_routes_to_look_at(hub, spokes),
    )


def _moving(hub: ConfiguredNode, spare: ConfiguredNode) -> Sequence[tuple[str, IPv4Interface]]:
    """
    The hub's addresses of which the standby can have one: where both run VRRP, the one that it has moved to the hub.

    That is in addition to the first address of a NIC, which a cloud does not move.  EnvironmentProblem when the hub has
    none or several.
    """
    own = [*_own_addresses(hub)]
    if not (hub.vrrp and spare.vrrp):
        return own
    further, beside = _further(hub), _further(spare)
    if not further and beside:
        raise EnvironmentProblem(
            f"VRRP runs on {hub.name} and {spare.name}, and the address that it moves is on the standby: "
            f"{_listed(spare, beside)}; expected it on the hub",
            remedy=f"name the host that has {beside[0][1].ip} first in --hosts",
        )
    if len(further) > 1:
        raise EnvironmentProblem(
            f"expected one address that VRRP moves from the hub to {spare.name}; found {_listed(hub, further)}",
            remedy="set the overlay up by hand at the address that moves, and test it without --provision",
        )
    return further or own


def _further(host: ConfiguredNode) -> list[tuple[str, IPv4Interface]]:
    """The addresses of a host's NICs that follow the first one of the NIC."""
    return [one for one in _own_addresses(host) if one[0] != LOOPBACK and host.addresses_of(one[0])[0] != one[1]]


def _listed(host: ConfiguredNode, addresses: Sequence[tuple[str, IPv4Interface]]) -> str:
    return ", ".join(f"{host.name} {nic} {address.ip}" for nic, address in addresses)


def _with_standby(star: Topology, spare: ConfiguredNode) -> Topology:
    """The star with the plan of the host that takes the hub's place: the NIC by which it reaches the spokes."""
    ways = {way for spoke in star.spokes if (way := _way(spare, spoke.underlay.ip))}
    if len(ways) != 1 or not all(_way(spare, spoke.underlay.ip) for spoke in star.spokes):
        raise EnvironmentProblem(
            f"expected one NIC of {spare.name} with a route to every spoke; "
            f"found {', '.join(sorted(nic for nic, _ in ways)) or 'none'}",
            remedy="; ".join(f"on {spare.name}: ip route get {spoke.underlay.ip}" for spoke in star.spokes),
        )
    ((nic, own),) = ways
    return replace(star, standby=replace(star.hub, name=spare.name, underlay=own, nic=nic))


def _between_ends(topology: Topology, seen: Mapping[str, ConfiguredNode]) -> Topology:
    """The topology with an address of each host that its peers have a route to, by the NIC that leads back to them."""
    found = {}
    peers = {name: [peer for peer in topology.peers(name) if peer in seen] for name in seen}
    for name, host in seen.items():
        others = [seen[peer] for peer in peers[name]]
        reachable = [one for one in _own_addresses(host) if all(_way(other, one[1].ip) for other in others)]
        if not reachable:
            raise EnvironmentProblem(
                f"expected an address of {name} to which its tunnel peers have a route; found none",
                remedy=_routes_to_look_at(host, others),
            )
        found[name] = reachable[0]
    for name, (nic, _) in found.items():
        astray = [other for other in peers[name] if not _leads(seen[name], found[other][1].ip, nic)]
        if astray:
            raise EnvironmentProblem(
                f"expected a route from {name} to {found[astray[0]][1].ip} ({astray[0]}) by {nic}; found none",
                remedy=_routes_to_look_at(seen[name], [seen[other] for other in astray]),
            )
    return _at(topology, found)


def _at(topology: Topology, found: Mapping[str, tuple[str, IPv4Interface]]) -> Topology:
    """The topology of the hosts whose NIC and address are found."""
    nodes = [
        replace(node, nic=found[node.name][0], underlay=found[node.name][1])
        for node in topology.nodes
        if node.name in found
    ]
    tunnels = tuple(one for one in topology.tunnels if all(end.host in found for end in one.ends))
    return replace(topology, nodes=tuple(nodes), tunnels=tunnels)


def _routes_to_look_at(hub: ConfiguredNode, spokes: Sequence[ConfiguredNode]) -> str:
    """The commands that show which way there is between the hub and the spokes."""
    first = {seen.name: next((str(address.ip) for _, address in _own_addresses(seen)), "") for seen in (hub, *spokes)}
    looks = [f"on {spoke.name}: ip route get {first[hub.name]}" for spoke in spokes if first[hub.name]]
    looks += [f"on {hub.name}: ip route get {first[spoke.name]}" for spoke in spokes if first[spoke.name]]
    looks += [f"on {name}: ip addr   (it has no address)" for name, address in first.items() if not address]
    return "; ".join(looks)


def in_the_way(topology: Topology, seen: Mapping[str, ConfiguredNode]) -> list[Obstacle]:
    """Everything on the hosts that the overlay would touch: devices, tunnels, addresses, routes."""
    hosts = {str(address.ip): name for name, host in seen.items() for _, address in host.addresses}
    found: list[Obstacle] = []
    places = [(node, node.name) for node in topology.nodes]
    if spare := topology.standby:
        places.append((topology.hub, spare.name))
        found += [
            Obstacle(spare.name, f"{address} is on {device}, the hub's address", f"ip addr show dev {device}")
            for device, address in seen[spare.name].addresses
            if address.ip == topology.hub.underlay.ip
        ]
    for node, name in places:
        host = seen[name]
        devices = [device for device in host.devices.values() if device.name in topology.devices(node.name)]
        devices += [device for device in _overlays(host, hosts, node) if device not in devices]
        found += [_device(host, device, hosts) for device in devices]
        named = {device.name for device in devices}
        found += [
            Obstacle(name, f"{address} is on {device}", f"ip addr show dev {device}")
            for device, address in host.addresses
            if device not in named and address.network.overlaps(node.overlay.network)
        ]
        found += [
            _route(name, route)
            for route in host.routes
            if route.dev not in named and route.to.prefixlen and _diverts(node, route)
        ]
    return found


def _own_addresses(host: ConfiguredNode) -> Iterator[tuple[str, IPv4Interface]]:
    """NIC and address, the host's address in the cloud first: that of the device of the default route."""
    default = host.default_route
    outside = [(name, address) for name, address in host.addresses if not address.ip.is_loopback]
    yield from sorted(outside, key=lambda one: default is None or one[0] != default.dev)


def _way(host: ConfiguredNode, target: IPv4Address) -> tuple[str, IPv4Interface] | None:
    """By which NIC and with which address a host reaches another."""
    route = host.route_to(str(target))
    if route is None or route.dev is None:
        return None
    own = host.addresses_of(route.dev)
    near = IPv4Address(route.via) if route.via else target
    # as the kernel chooses: the route's source, else the first address in the next hop's subnet, else the first
    for address in (
        *(address for address in own if str(address.ip) == route.src),
        *(address for address in own if near in address.network),
        *own,
    ):
        return route.dev, address
    return None


def _leads(host: ConfiguredNode, target: IPv4Address, nic: str) -> bool:
    route = host.route_to(str(target))
    return route is not None and route.dev == nic


def _overlays(host: ConfiguredNode, hosts: Mapping[str, str], node: NodePlan) -> Sequence[Device]:
    """Tunnels between these hosts under other names, and bridges with tunnels as ports, where one is to be."""
    between = [device for device in host.leading() if hosts.keys() & set(host.remotes(device.name))]
    bridges = [
        device
        for device in host.devices.values()
        if node.holder == "bridge"
        and device.kind == "bridge"
        and any(port.tunnel for port in host.ports_of(device.name))
    ]
    return [*between, *bridges]


def _device(host: ConfiguredNode, device: Device, hosts: Mapping[str, str]) -> Obstacle:
    what = f"there is a device {device.name}" + (f" ({device.kind})" if device.kind else "")
    if far := device.remote:
        what = f"there is a tunnel {device.name} ({device.kind}) to {hosts.get(far, far)}"
    return Obstacle(host.name, what, f"ip -d link show dev {device.name}")


def _diverts(node: NodePlan, route: Route) -> bool:
    """Whether traffic of this route would go another way with the overlay, or the other way round."""
    return route.to.overlaps(node.overlay.network) or route.to.overlaps(MULTICAST)


def _route(name: str, route: Route) -> Obstacle:
    where = (f" via {route.via}" if route.via else "") + (f" dev {route.dev}" if route.dev else "")
    movable = route if route.dev is not None else None
    return Obstacle(name, f"there is a route {route.to}{where}", f"ip route show {route.to}", movable)
