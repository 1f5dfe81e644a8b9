"""
Shapes of an overlay that are not a star, recognised by the hosts' state.

    pair         a: tunnel [address]  ===  b: tunnel [address]
    mesh         each host: bridge [address], an isolated port for each other host
    flood-list   each host: VXLAN device [address] without a remote, an all-zeros entry for each other host
    two-hubs     each spoke: bond, PRP device or bridge with STP [address] over a tunnel to each of two hubs:
                 bridge [address]

A shape is recognised although parts are missing: what remains decides.  Devices that lead to no host among these are
assigned to the host that they are meant for, so that a wrong remote is found where it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network

from lab.model import Holder
from lab.overlay.plan import ACTIVE_BACKUP
from lab.overlay.recognition import spanning, tunnel_ends
from lab.overlay.recognition.layouts import BUNDLES, LAYER2, owner
from lab.overlay.recognition.readback import ConfiguredHosts, ConfiguredNode, Device
from lab.overlay.recognition.spanning import LeadingDevices
from lab.tunnels import KINDS

Ends = dict[tuple[str, str], Device]
"""The device of a host that leads to another, by both names."""

SPANNING = "two-hubs-stp"
HOLDERS: Mapping[str, Holder] = {
    "pair": "tunnel",
    "mesh": "bridge",
    "flood-list": "mesh",
    "two-hubs-bond": "bond",
    "two-hubs-prp": "prp",
    SPANNING: "bridge",
}
"""The kind of device that has the address of a host that is not a hub."""
OVER_TWO = {"bond": "two-hubs-bond", "hsr": "two-hubs-prp"}
"""The shape whose spokes have a device of a kind of link."""
HUBS = 2


@dataclass(frozen=True)
class Shape:
    """A shape, by its name in `lab.topology.designs`, and what the hosts have of it."""

    name: str
    hosts: ConfiguredHosts
    places: Mapping[str, Device]
    """The device that has, or should have, a host's overlay address; a host without one is missing here."""
    ends: Mapping[tuple[str, str], Device]
    strangers: tuple[tuple[str, str, str], ...] = ()
    """Host, device and address of what leads to hosts that are not among these."""
    hubs: tuple[str, ...] = ()

    def holder(self, host: str) -> Holder:
        """The kind of device that has a host's address."""
        return "bridge" if host in self.hubs else HOLDERS[self.name]

    def joins(self, one: str, other: str) -> bool:
        """Whether a tunnel is to join two hosts: any without a hub; else a spoke and a hub, or hubs without PRP."""
        count = len({one, other} & set(self.hubs))
        return not self.hubs or count == 1 or (count == HUBS and self.holder("") != "prp")


def recognise(hosts: ConfiguredHosts) -> Shape | None:
    """The shape of some hosts; None where it is a star, or none that is known."""
    if len(hosts) < 2:
        return None
    return _flood_list(hosts) or _two_hubs(hosts) or _mesh(hosts) or _pair(hosts)


def unsupported(hosts: ConfiguredHosts) -> str:
    """Why hosts with several tunnels and STP have a shape that is not understood; empty where they have none such."""
    return spanning.unsupported(hosts, _leading(hosts))


def legs(seen: ConfiguredNode, bundle: Device) -> list[Device]:
    """The tunnels of a bond or a PRP device."""
    slaves = [bundle.details.get(name) for name in ("slave1", "slave2")]
    return [one for one in seen.devices.values() if one.tunnel and (one.master == bundle.name or one.name in slaves)]


def _over_two(seen: ConfiguredNode) -> Device | None:
    """The bond or the PRP device of a spoke with two hubs."""
    for device in seen.devices.values():
        right = device.kind == "hsr" or (device.kind == "bond" and device.details.get("mode") == ACTIVE_BACKUP)
        if right and device.master is None and legs(seen, device):
            return device
    return None


def _two_hubs(hosts: ConfiguredHosts) -> Shape | None:
    """Two hosts with a bridge, others with a bond, a PRP device or a bridge with STP over tunnels to them."""
    found = _leading(hosts)
    if hubs := spanning.hubs(hosts, found):
        places = {name: device for name in hosts if (device := _bridge(name, hosts, found, set()))}
        return _assigned(SPANNING, hosts, places, found, hubs) if _all_supported(hosts, found) else None
    placed = {name: device for name, seen in hosts.items() if (device := _over_two(seen))}
    kinds = Counter(device.kind for device in placed.values())
    led_to = {peer for (host, peer) in found if host in placed}
    hubs = tuple(name for name in hosts if name not in placed and (name in led_to or tunnel_ends.bridges(hosts[name])))
    if not placed or len(hubs) != HUBS or not all(_carries(one) for devices in found.values() for one in devices):
        return None
    kind = kinds.most_common(1)[0][0]
    places = {name: device for name, device in placed.items() if device.kind == kind}
    networks = {one.network for name, device in places.items() for one in hosts[name].addresses_of(device.name)}
    places |= {name: device for name in hubs if (device := _bridge(name, hosts, found, networks))}
    return _assigned(OVER_TWO[kind], hosts, places, found, hubs)


def _bridge(
    name: str, hosts: ConfiguredHosts, found: LeadingDevices, networks: Collection[IPv4Network]
) -> Device | None:
    """A host's bridge over most of its tunnels to the others, or with an address in one of some subnets."""
    seen = hosts[name]
    own = {device.name for (host, _), devices in found.items() if host == name for device in devices}

    def fit(bridge: Device) -> tuple[int, bool]:
        placed = any(one.network in networks for one in seen.addresses_of(bridge.name))
        return sum(port.name in own for port in seen.ports_of(bridge.name)), placed

    bridges = [device for device in seen.devices.values() if device.kind == tunnel_ends.BRIDGE and any(fit(device))]
    return max(bridges, key=fit, default=None)


def _supported(device: Device, seen: ConfiguredNode) -> bool:
    master = seen.devices.get(device.master or "")
    return master is None or master.kind not in BUNDLES


def _carries(device: Device, remotes: Iterable[str] = ()) -> bool:
    """Whether its kind of tunnel is understood over the addresses that it leads to."""
    over_ipv4 = all(":" not in remote for remote in (*remotes, device.remote or ""))
    return over_ipv4 or KINDS[device.kind].over_ipv6


def _flood_list(hosts: ConfiguredHosts) -> Shape | None:
    """Two VXLAN devices or more without a remote, at least one of which floods to another of these hosts."""
    candidates = {
        name: [device for device in seen.devices.values() if device.kind == "vxlan" and not device.remote]
        for name, seen in hosts.items()
    }
    known = {
        (name, device.name): [
            to for to in hosts[name].floods.get(device.name, ()) if owner(to, hosts) not in (None, name)
        ]
        for name, devices in candidates.items()
        for device in devices
    }
    numbers = Counter(
        device.vni for name, devices in candidates.items() for device in devices if known[name, device.name]
    )
    if not numbers:
        return None
    number = numbers.most_common(1)[0][0]
    places = {}
    for name, devices in candidates.items():
        fitting = [device for device in devices if known[name, device.name] or device.vni == number]
        if fitting:
            places[name] = max(fitting, key=lambda one: (len(known[name, one.name]), one.vni == number))
    floods = {name: hosts[name].floods.get(device.name, ()) for name, device in places.items()}
    if len(places) < 2 or not all(
        device.master is None and _carries(device, floods[name]) for name, device in places.items()
    ):
        return None
    found = {(name, peer): device for name, device in places.items() for peer in hosts if peer != name}
    strangers = [
        (name, places[name].name, to) for name, each in floods.items() for to in each if owner(to, hosts) is None
    ]
    return Shape("flood-list", hosts, places, found, tuple(strangers))


def _mesh(hosts: ConfiguredHosts) -> Shape | None:
    """Bridges whose ports lead to all the other hosts, or are isolated from each other."""
    found = _leading(hosts)
    places, isolated = {}, set()
    for name, seen in hosts.items():
        ports = [device for (host, _), devices in found.items() if host == name for device in devices]
        bridges = Counter(
            port.master for port in ports if seen.devices.get(port.master or "", port).kind == tunnel_ends.BRIDGE
        )
        if bridges:
            places[name] = seen.devices[str(bridges.most_common(1)[0][0])]
            if any(port.flag("isolated") for port in seen.ports_of(places[name].name) if port.tunnel):
                isolated.add(name)
    bridged = [
        (host, peer)
        for (host, peer), devices in found.items()
        if host in places and any(device.master == places[host].name for device in devices)
    ]
    count = len(hosts)
    split = len(isolated) >= max(2, count - 1)
    complete = count > 2 and 3 * len(bridged) > 2 * count * (count - 1)
    stp = any(device.details.get("stp_state") for device in places.values())
    if not (split or (complete and not stp)) or not _all_supported(hosts, found):
        return None
    return _assigned("mesh", hosts, places, found)


def _pair(hosts: ConfiguredHosts) -> Shape | None:
    """Two hosts without a bridge between them; the first, and the second if it has a tunnel, has an address on it."""
    if len(hosts) > 2 or any(tunnel_ends.bridges(seen) for seen in hosts.values()):
        return None
    found = _leading(hosts)
    first = next(iter(hosts))
    if not found or not _all_supported(hosts, found):
        return None
    places: dict[str, Device] = {}
    for name, seen in hosts.items():
        own = next((devices for (host, _), devices in found.items() if host == name), [])
        own = own or [device for device in seen.tunnels() if device.kind in LAYER2 and not device.master]
        placed = [device for device in own if seen.addresses_of(device.name)]
        if device := next(iter([*placed, *own]), None):
            places[name] = device
    if first not in places or not hosts[first].addresses_of(places[first].name):
        return None
    one, other = hosts
    both = {(name, peer): places[name] for name, peer in ((one, other), (other, one)) if name in places}
    return Shape("pair", hosts, places, both)


def _leading(hosts: ConfiguredHosts) -> dict[tuple[str, str], list[Device]]:
    """The tunnels of each host to each other one."""
    found: dict[tuple[str, str], list[Device]] = {}
    for name, seen in hosts.items():
        for device in seen.tunnels():
            peer = owner(device.remote or "", hosts)
            if peer not in (None, name) and device.kind in LAYER2:
                found.setdefault((name, str(peer)), []).append(device)
    return found


def _all_supported(hosts: ConfiguredHosts, found: LeadingDevices) -> bool:
    each = [(hosts[name], device) for (name, _), devices in found.items() for device in devices]
    return all(_supported(device, seen) and _carries(device) for seen, device in each)


def _assigned(
    name: str, hosts: ConfiguredHosts, places: Mapping[str, Device], found: LeadingDevices, hubs: tuple[str, ...] = ()
) -> Shape:
    """
    One device for each way; one that leads elsewhere is that of a host which nothing leads to.

    Of several that lead to one host, that is meant whose number the other end has.
    """
    chosen: Ends = {}
    shape = Shape(name, hosts, places, chosen, hubs=hubs)
    ports = {host: legs(hosts[host], place) for host, place in places.items()}
    for (host, peer), devices in found.items():
        if shape.joins(host, peer):
            numbers = {device.vni for device in found.get((peer, host), ())}
            own = ports.get(host, ())
            chosen[host, peer] = max(devices, key=lambda one: (one.vni in numbers, one in own))
    strangers = []
    for host, own in ports.items():
        taken = {device.name for (at, _), device in chosen.items() if at == host}
        for port in own:
            remote = port.remote
            if remote is None or port.name in taken:
                continue
            others = [peer for peer in hosts if peer != host and shape.joins(host, peer)]
            lacking = [peer for peer in others if (host, peer) not in chosen]
            meant = [peer for peer in lacking if (back := chosen.get((peer, host))) and back.vni == port.vni]
            if lacking:
                chosen[host, (meant or lacking)[0]] = port
            elif owner(remote, hosts) is None:
                strangers.append((host, port.name, remote))
    return replace(shape, strangers=tuple(strangers))
