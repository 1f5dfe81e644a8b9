"""
The star that hosts would have if everything that is missing were there: what is found stays, the rest is chosen.

Commands that complete an overlay are written from it, so that they name the hosts' own devices and addresses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network

from lab.errors import OvercastError
from lab.model import MULTICAST, VXLAN_PORT, NodePlan, Topology, TunnelOptions
from lab.overlay import placement
from lab.overlay.recognition import tunnel_ends
from lab.overlay.recognition.readback import ConfiguredNode, Device
from lab.overlay.recognition.tunnel_ends import SpokeTunnel
from lab.topology.graph import End, Tunnel
from lab.tunnels import KINDS

SUBNETS = [IPv4Network(f"172.16.{number}.0/24") for number in range(254, 239, -1)]
NOWHERE = IPv4Interface("0.0.0.0/32")


def star(
    hub: ConfiguredNode,
    bridge: str | None,
    overlay: IPv4Interface | None,
    pairs: Sequence[SpokeTunnel],
    otherwise: TunnelOptions,
) -> Topology | None:
    """
    The complete star; None where no addresses are found that the hosts reach each other by, or that are free.

    `otherwise` is how tunnels are made where there are none.
    """
    network = overlay.network if overlay else _network(hub, pairs)
    if network is None or not pairs:
        return None
    made = options((end for pair in pairs for end in (pair.far, pair.near) if end), otherwise)
    free = free_addresses(network, [hub, *(pair.spoke for pair in pairs)])
    hub_address = overlay or next(free, None)
    device = bridge or next(name for number in range(1 << 12) if (name := f"bridge{number}") not in hub.devices)
    nodes = [NodePlan(hub.name, "hub", NOWHERE, hub_address or NOWHERE, device, holder="bridge")]
    tunnels: list[Tunnel] = []
    for pair in pairs:
        device = tunnel_ends.holder(pair.spoke, pair.near) if pair.near else ""
        own = tunnel_ends.overlay_address(pair.spoke, device, network) if device else None
        tunnel = _tunnel(hub, pair, made, tunnels)
        kept = IPv4Interface((own.ip, network.prefixlen)) if own and own.ip in network else None
        address = kept or next(free, None)
        if address is None:
            return None
        port = tunnel.ends[1].device
        nodes.append(
            NodePlan(
                pair.spoke.name, "spoke", NOWHERE, address, device or port, holder=tunnel_ends.kind_of(device, port)
            )
        )
        tunnels.append(tunnel)
    topology = Topology(
        "wanted",
        tuple(nodes),
        tuple(tunnels),
        made,
        multicast_route=multicast_route(hub, bridge or ""),
    )
    return _outer(topology, hub, pairs) if hub_address else None


def _outer(topology: Topology, hub: ConfiguredNode, pairs: Sequence[SpokeTunnel]) -> Topology | None:
    """The topology with the hosts' outer addresses: those of the tunnels that exist, otherwise by their routes."""
    try:
        placed = placement.placed(topology, {hub.name: hub, **{pair.spoke.name: pair.spoke for pair in pairs}})
    except OvercastError:
        placed = None
    found: dict[str, tuple[ConfiguredNode, Device, Device | None]] = {}
    for pair in pairs:
        if pair.near is not None:
            found[pair.spoke.name] = (pair.spoke, pair.near, pair.far)
        if pair.far is not None:
            found.setdefault(hub.name, (hub, pair.far, pair.near))
    nodes = []
    for node in topology.nodes:
        known = _known(node, *found[node.name]) if node.name in found else None
        chosen = known or (placed.node(node.name) if placed else None)
        if chosen is None:
            return None
        nodes.append(chosen)
    return replace(topology, nodes=tuple(nodes))


def _known(node: NodePlan, seen: ConfiguredNode, end: Device, other: Device | None) -> NodePlan | None:
    underlay = tunnel_ends.underlay_of(seen, end, other.remote if other else None)
    nic = tunnel_ends.nic_of(seen, end)
    if underlay is None or nic is None:
        return None
    return replace(node, underlay=underlay, nic=nic, underlay6=tunnel_ends.underlay6_of(seen, end))


def _tunnel(hub: ConfiguredNode, pair: SpokeTunnel, options: TunnelOptions, others: Sequence[Tunnel]) -> Tunnel:
    """A spoke's tunnel: an end that is missing is called as the other one, or by the first name that is free."""
    taken = {tunnel.ends[0].device for tunnel in others} | set(hub.devices) | set(pair.spoke.devices)
    number = next(number for number in range(1, 1 << 12) if f"{options.kind}{number}" not in taken)
    here = [pair.near.name] if pair.near else []
    there = [pair.far.name] if pair.far else []
    given = pair.far or pair.near
    vnis = {one.vni for seen in (hub, pair.spoke) for one in seen.devices.values()}
    vnis |= {tunnel.number for tunnel in others}
    vni = given.vni if given else None
    new = f"{options.kind}{number}"
    hub_end = End(hub.name, [*there, *(name for name in here if name not in hub.devices), new][0])
    end = End(pair.spoke.name, [*here, *(name for name in there if name not in pair.spoke.devices), new][0])
    least = len(others) + 1 if pair.near and pair.far else number
    return Tunnel((hub_end, end), vni or next(one for one in range(least, 1 << 24) if one not in vnis))


def _network(hub: ConfiguredNode, pairs: Sequence[SpokeTunnel]) -> IPv4Network | None:
    """The subnet that most spokes have on their tunnels; without tunnels, one that no host has anything in."""
    found: Counter[IPv4Network] = Counter()
    for pair in pairs:
        if pair.near and (
            address := tunnel_ends.overlay_address(pair.spoke, tunnel_ends.holder(pair.spoke, pair.near))
        ):
            found[address.network] += 1
    if found:
        return found.most_common(1)[0][0]
    hosts = [hub, *(pair.spoke for pair in pairs)]
    return next((subnet for subnet in SUBNETS if not any(_uses(host, subnet) for host in hosts)), None)


def _uses(host: ConfiguredNode, subnet: IPv4Network) -> bool:
    routes = [route.to for route in host.routes if route.to.prefixlen]
    return any(subnet.overlaps(other) for other in (*routes, *(address.network for _, address in host.addresses)))


def free_addresses(network: IPv4Network, hosts: Sequence[ConfiguredNode]) -> Iterator[IPv4Interface]:
    taken = {address.ip for host in hosts for _, address in host.addresses}
    for ip in network.hosts():
        if ip not in taken:
            yield IPv4Interface((ip, network.prefixlen))


def options(tunnels: Iterable[Device], otherwise: TunnelOptions) -> TunnelOptions:
    """How most ends are made: one that differs is the one that is wrong."""
    found = Counter(map(options_of, tunnels))
    return found.most_common(1)[0][0] if found else otherwise


def options_of(end: Device) -> TunnelOptions:
    """How a tunnel is made, as its end has it."""
    tunnel = end.tunnel
    if tunnel is None:
        return TunnelOptions()
    plain = TunnelOptions(
        kind=tunnel.kind,
        ttl=tunnel.ttl,
        local=tunnel.local is not None,
        tos_inherit=tunnel.tos_inherit,
        key=tunnel.output_key,
        checksum=tunnel.checksum[1],
        sequence=tunnel.sequence[1],
        pmtudisc=tunnel.pmtudisc,
        ignore_df=tunnel.ignore_df,
        df=tunnel.df,
        tos=tunnel.tos,
        port=tunnel.port or VXLAN_PORT,
    )
    return replace(plain, encap_limit=tunnel.encap_limit) if KINDS[tunnel.kind].over_ipv6 else plain


def multicast_route(seen: ConfiguredNode, device: str) -> IPv4Network:
    """The part of the multicast range that a host routes to a device; all of it where it routes none."""
    routes = [route.to for route in seen.routes if route.dev == device and route.to.subnet_of(MULTICAST)]
    return max(routes, key=lambda network: network.num_addresses, default=MULTICAST)
