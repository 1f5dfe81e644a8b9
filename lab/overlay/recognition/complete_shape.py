"""
An overlay of a shape (`shapes`), as its hosts should have it: what is found stays, the rest is chosen.

The topology is the complete one, so that the diagnosis names what is missing of it.  A host that cannot take part yet,
without the device or an address in the subnet, is a finding, and not in the topology.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface
from itertools import combinations

from lab.model import Finding, Holder, NodePlan, Topology, TunnelOptions
from lab.overlay import commands, failover_timers
from lab.overlay.recognition import complete_star, incomplete, tunnel_ends
from lab.overlay.recognition.readback import BROADCAST_PING, ConfiguredNode
from lab.overlay.recognition.shapes import SPANNING, Shape
from lab.topology.graph import End, Tunnel
from lab.topology.topologies import LEAST_TIMERS

BRIDGE = "bridge0"
MISSING: dict[Holder, tuple[str, str]] = {
    "tunnel": ("tunnel-missing", "tunnel to the other host"),
    "bridge": ("bridge-missing", "bridge over tunnels to the others"),
    "mesh": ("tunnel-missing", "VXLAN device that floods to the others"),
    "bond": ("bond-missing", "bond over tunnels to both hubs"),
    "prp": ("prp-missing", "PRP device over tunnels to both hubs"),
}
"""The code of a finding, and what a host lacks, by the kind of device that is to have its address."""


@dataclass(frozen=True)
class Outside:
    """Where a host's tunnels start on the underlay."""

    address: IPv4Interface
    nic: str
    address6: IPv6Interface | None = None


def read(
    shape: Shape, otherwise: TunnelOptions
) -> tuple[Topology | None, list[Finding], dict[str, str], Topology | None]:
    """The topology of hosts that can take part, the findings of the others, what each one's first is, and the whole."""
    network = _network(shape)
    outside = {name: there for name in shape.hosts if (there := _outside(shape, name))}
    if network is None or len(outside) < 2:
        return None, [], {}, None
    whole = _whole(shape, network, outside, otherwise)
    found = {name: list(_findings(shape, whole, name, network)) for name in shape.hosts}
    lacking = [name for name, each in found.items() if each or name not in outside]
    able = [node for node in whole.nodes if node.name not in lacking]
    joined = tuple(one for one in whole.tunnels if not {end.host for end in one.ends} & set(lacking))
    topology = replace(whole, nodes=tuple(able), tunnels=joined) if len(able) > 1 else None
    accused = {name: each[0].summary for name, each in found.items() if each}
    return topology, [finding for each in found.values() for finding in each], accused, whole


def notes(shape: Shape) -> list[str]:
    """What leads to hosts that are not among these."""
    return [
        f"{host} {device} leads to {to}, which is not among the hosts and is not judged"
        for host, device, to in shape.strangers
    ]


def _network(shape: Shape) -> IPv4Network | None:
    """The subnet that most hosts have on their devices."""
    found: Counter[IPv4Network] = Counter()
    for name, device in shape.places.items():
        if address := tunnel_ends.overlay_address(shape.hosts[name], device.name):
            found[address.network] += 1
    return found.most_common(1)[0][0] if found else None


def _outside(shape: Shape, name: str) -> Outside | None:
    """By which address the others know a host, or its own tunnels start; otherwise its route to them."""
    seen, own = shape.hosts[name], tunnel_ends.own(shape.hosts[name])
    starts = [device for (host, _), device in shape.ends.items() if host == name]
    leads = [remote for (_, to), device in shape.ends.items() if to == name if (remote := device.remote)]
    listed = [
        to
        for other, device in shape.places.items()
        if shape.name == "flood-list" and other != name
        for to in shape.hosts[other].floods.get(device.name, ())
    ]
    locals_ = [device.local for device in starts if device.local]
    votes = Counter(one for one in (*leads, *listed, *locals_) if one in own)
    peers = [one for other, there in shape.hosts.items() if other != name for one in tunnel_ends.own(there)]
    if not votes:
        return _by_route(seen, peers)
    text = votes.most_common(1)[0][0]
    remote = next((device.remote for device in starts if device.remote), None) or next(iter(peers), "")
    holder = seen.devices.get(seen.device_with(text) or "")
    outward = holder is not None and holder.name != tunnel_ends.LOOPBACK and holder.kind != tunnel_ends.DUMMY
    nic = holder.name if holder is not None and outward else seen.device_to(remote)
    address6 = next((one for _, one in seen.addresses6 if str(one.ip) == text), None)
    address = next((one for _, one in seen.addresses if str(one.ip) == text), None)
    address = address or next(iter(seen.addresses_of(nic or "")), None)
    return Outside(address, nic, address6) if address is not None and nic is not None else None


def _by_route(seen: ConfiguredNode, peers: list[str]) -> Outside | None:
    for peer in peers:
        route = seen.route_to(peer)
        if route is not None and route.dev and (own := seen.addresses_of(route.dev)):
            return Outside(next((one for one in own if str(one.ip) == route.src), own[0]), route.dev)
    return None


def _whole(shape: Shape, network: IPv4Network, outside: dict[str, Outside], otherwise: TunnelOptions) -> Topology:
    """The complete overlay of the hosts whose outer addresses are known."""
    hosts = [shape.hosts[name] for name in outside]
    free = complete_star.free_addresses(network, hosts)
    options = complete_star.options(shape.ends.values(), otherwise)
    tunnels = _tunnels(shape, list(outside), options.kind)
    nodes: list[NodePlan] = []
    routes: Counter[IPv4Network] = Counter()
    for name, there in sorted(outside.items(), key=lambda one: one[0] not in shape.hubs):
        seen, place = shape.hosts[name], shape.places.get(name)
        device = place.name if place else _device(shape, name, tunnels)
        own = tunnel_ends.overlay_address(seen, device, network)
        address = own if own and own.ip in network else next(free, complete_star.NOWHERE)
        kept = IPv4Interface((address.ip, network.prefixlen))
        further = tuple(one for one in tunnel_ends.ipv4_of(seen) if one not in (str(there.address.ip), str(kept.ip)))
        nodes.append(
            NodePlan(
                name,
                "hub" if name in shape.hubs else "spoke",
                there.address,
                kept,
                device,
                there.nic,
                there.address6,
                further,
                shape.holder(name),
                isolated=shape.name == "mesh" or _is_split(shape, name),
            )
        )
        routes[complete_star.multicast_route(seen, device)] += 1
    two_legged = shape.hubs and shape.name != SPANNING
    bundles = [place for name, place in shape.places.items() if two_legged and name not in shape.hubs]
    intervals = [
        interval for each in bundles if each.kind == "bond" and (interval := failover_timers.arp_probes(each)[0])
    ]
    return Topology(
        shape.name,
        tuple(nodes),
        tuple(tunnels),
        options,
        bridge_data=LEAST_TIMERS if shape.name == SPANNING else {},
        mtu=_most(each.mtu for each in bundles),
        arp_interval=_most(intervals) or Topology.arp_interval,
        multicast_route=routes.most_common(1)[0][0],
        answer_broadcast_ping=any(seen.sysctls.get(BROADCAST_PING) == "0" for seen in hosts),
        strangers=tuple(dict.fromkeys(to for _, _, to in shape.strangers)),
    )


def _is_split(shape: Shape, name: str) -> bool:
    """Whether a spoke of two hubs with STP forwards nothing between its tunnels."""
    ports = [device for (at, _), device in shape.ends.items() if at == name]
    return shape.name == SPANNING and name not in shape.hubs and all(port.flag("isolated") for port in ports)


def _most(values: Iterable[int]) -> int | None:
    return next((value for value, _ in Counter(values).most_common(1)), None)


def _device(shape: Shape, name: str, tunnels: list[Tunnel]) -> str:
    """What the device that a host lacks is called: as the other hosts' is, or as its end of its tunnel."""
    if shape.name == "pair":
        return next(end.device for one in tunnels for end in one.ends if end.host == name)
    alike = [place.name for host, place in shape.places.items() if (host in shape.hubs) == (name in shape.hubs)]
    return Counter(alike).most_common(1)[0][0] if alike else BRIDGE


def _tunnels(shape: Shape, names: list[str], kind: str) -> list[Tunnel]:
    """The tunnels between the hosts, those in use first; an end that is missing gets a free name."""
    taken = {name: set(shape.hosts[name].devices) for name in names}
    numbers = {device.vni for device in shape.ends.values()}
    unused = (number for number in range(1, 1 << 24) if number not in numbers)
    made = []
    in_use = {(host, place.details.get("active_slave")) for host, place in shape.places.items()}

    def is_idle(pair: tuple[str, str]) -> bool:
        if shape.name == SPANNING:
            return shape.hubs[0] not in pair
        found = {(at, end.name) for at, to in (pair, pair[::-1]) if (end := shape.ends.get((at, to)))}
        return not found & in_use

    for one, other in sorted((pair for pair in combinations(names, 2) if shape.joins(*pair)), key=is_idle):
        both = [
            End(at, found.name if (found := shape.ends.get((at, to))) else _new(shape, at, kind, taken))
            for at, to in ((one, other), (other, one))
        ]
        known = [shape.ends[at, to] for at, to in ((one, other), (other, one)) if (at, to) in shape.ends]
        number = next((vni for device in known if (vni := device.vni)), None)
        made.append(Tunnel((both[0], both[1]), number or next(unused)))
    return made


def _new(shape: Shape, at: str, kind: str, taken: dict[str, set[str]]) -> str:
    if shape.name == "flood-list":
        return _device(shape, at, [])
    name = next(name for number in range(1, 1 << 12) if (name := f"{kind}{number}") not in taken[at])
    taken[at].add(name)
    return name


def _findings(shape: Shape, whole: Topology, name: str, network: IPv4Network) -> Iterator[Finding]:
    """Why a host cannot take part."""
    seen, place, plan = shape.hosts[name], shape.places.get(name), whole.plans.get(name)
    if place is None:
        code, what = MISSING[shape.holder(name)]
        there = commands.whole(whole, plan, seen.devices) if plan else ""
        device, found = plan.device if plan else "", f"devices: {', '.join(seen.devices)}"
        yield Finding(code, name, device, f"{name} has no {what}", found, there)
        return
    own = tunnel_ends.overlay_address(seen, place.name, network)
    completed = commands.placed(whole, plan) if plan else ""
    yield from incomplete.of_address(name, place.name, own, network, "as most hosts have", completed)
