"""
Shapes of an overlay without a hub, recognised by the hosts' state.

    pair         a: tunnel [address]  ===  b: tunnel [address]
    mesh         each host: bridge [address], an isolated port for each other host
    flood-list   each host: VXLAN device [address] without a remote, an all-zeros entry for each other host

A shape is recognised although parts are missing: what remains decides.  Devices that lead to no host among these are
assigned to the host that they are meant for, so that a wrong remote is found where it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lab.overlay import ends
from lab.overlay.layouts import BUNDLES, LAYER2, owner
from lab.overlay.readback import Device, Seen
from lab.tunnels import KINDS

Hosts = Mapping[str, Seen]
Ends = dict[tuple[str, str], Device]
"""The device of a host that leads to another, by both names."""


@dataclass(frozen=True)
class Shape:
    """A shape, by its name in `lab.designs`, and what the hosts have of it."""

    name: str
    hosts: Hosts
    places: Mapping[str, Device]
    """The device that has, or should have, a host's overlay address; a host without one is missing here."""
    ends: Mapping[tuple[str, str], Device]
    strangers: tuple[tuple[str, str, str], ...] = ()
    """Host, device and address of what leads to hosts that are not among these."""


def recognise(hosts: Hosts) -> Shape | None:
    """The shape of some hosts; None where it is a star, or none that is known."""
    if len(hosts) < 2:
        return None
    return _flood_list(hosts) or _mesh(hosts) or _pair(hosts)


def _supported(device: Device, seen: Seen, remotes: Iterable[str]) -> bool:
    master = seen.devices.get(device.master or "")
    over_ipv4 = all(":" not in remote for remote in remotes)
    return (master is None or master.kind not in BUNDLES) and (over_ipv4 or KINDS[device.kind].over_ipv6)


def _flood_list(hosts: Hosts) -> Shape | None:
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
        device.master is None and _supported(device, hosts[name], floods[name]) for name, device in places.items()
    ):
        return None
    found = {(name, peer): device for name, device in places.items() for peer in hosts if peer != name}
    strangers = [
        (name, places[name].name, to) for name, each in floods.items() for to in each if owner(to, hosts) is None
    ]
    return Shape("flood-list", hosts, places, found, tuple(strangers))


def _mesh(hosts: Hosts) -> Shape | None:
    """Bridges whose ports lead to all the other hosts, or are isolated from each other."""
    found = _leading(hosts)
    places, isolated = {}, set()
    for name, seen in hosts.items():
        ports = [device for (host, _), devices in found.items() if host == name for device in devices]
        bridges = Counter(
            port.master for port in ports if seen.devices.get(port.master or "", port).kind == ends.BRIDGE
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


def _pair(hosts: Hosts) -> Shape | None:
    """Two hosts without a bridge between them; the first, and the second if it has a tunnel, has an address on it."""
    if len(hosts) > 2 or any(ends.bridges(seen) for seen in hosts.values()):
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


def _leading(hosts: Hosts) -> dict[tuple[str, str], list[Device]]:
    """The tunnels of each host to each other one."""
    found: dict[tuple[str, str], list[Device]] = {}
    for name, seen in hosts.items():
        for device in seen.tunnels():
            peer = owner(device.remote or "", hosts)
            if peer not in (None, name) and device.kind in LAYER2:
                found.setdefault((name, str(peer)), []).append(device)
    return found


def _all_supported(hosts: Hosts, found: Mapping[tuple[str, str], Sequence[Device]]) -> bool:
    return all(
        _supported(device, hosts[name], [device.remote or ""])
        for (name, _), devices in found.items()
        for device in devices
    )


def _assigned(
    name: str, hosts: Hosts, places: Mapping[str, Device], found: Mapping[tuple[str, str], Sequence[Device]]
) -> Shape:
    """
    One device for each way; one that leads elsewhere is that of a host which nothing leads to.

    Of several that lead to one host, that is meant whose number the other end has.
    """
    chosen: Ends = {}
    for (host, peer), devices in found.items():
        numbers = {device.vni for device in found.get((peer, host), ())}
        bridge = places[host].name if host in places else None
        chosen[host, peer] = max(devices, key=lambda one: (one.vni in numbers, one.master == bridge))
    strangers = []
    for host, seen in hosts.items():
        taken = {device.name for (at, _), device in chosen.items() if at == host}
        ports = seen.ports_of(places[host].name) if host in places else []
        for port in ports:
            if not port.remote or port.name in taken:
                continue
            lacking = [peer for peer in hosts if peer != host and (host, peer) not in chosen]
            meant = [peer for peer in lacking if (back := chosen.get((peer, host))) and back.vni == port.vni]
            if lacking:
                chosen[host, (meant or lacking)[0]] = port
            else:
                strangers.append((host, port.name, port.remote))
    return Shape(name, hosts, places, chosen, tuple(strangers))
