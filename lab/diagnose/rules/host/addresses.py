"""Rules of addresses: the overlay's own, MACs, and permanent neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface

from lab.diagnose.scene import HostScene, Scene
from lab.model import Finding, mac_of
from lab.overlay import commands
from lab.overlay.recognition.readback import Device


def overlay_address(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """
    Every host has its overlay address on its overlay device, as planned.

    The kernel never sends from one of scope `host` (ip-address(8)); programs ask for the broadcast address.
    """
    if host.device is None:
        return
    plan, device = host.plan, host.plan.device
    placed = commands.placed(scene.topology, plan)
    own = [entry for entry in host.readings["addresses"] if (entry.dev, entry.local) == (device, plan.address())]
    if not own:
        elsewhere = [(name, address) for name, address in host.seen.addresses if address.ip == plan.overlay.ip]
        moved = "".join(f"ip addr del {address} dev {name} && " for name, address in elsewhere)
        found = f"{plan.overlay.ip} is on {elsewhere[0][0]}" if elsewhere else f"no device has {plan.overlay.ip}"
        code = "hub-address-missing" if plan.is_hub else "overlay-address-missing"
        # behind others it would not be the one that packets are sent from
        taken = {each.overlay.ip for each in scene.topology.nodes}
        others = [one for one in host.seen.addresses_of(device) if one.ip not in taken]
        moved += "".join(f"ip addr del {one} dev {device} ; " for one in others)
        behind = "".join(f" && ip addr add {one} dev {device}" for one in others)
        yield host.declared(code, device, found, f"{moved}{placed}{behind}")
    elif all(entry.prefixlen != plan.overlay.network.prefixlen for entry in own):
        wrong = IPv4Interface((own[0].local, own[0].prefixlen))
        peer = f"{wrong.ip} peer {own[0].peer}/{own[0].prefixlen}" if own[0].peer else wrong
        yield host.declared("prefix-mismatch", device, wrong=wrong, peer=peer, placed=placed)
    for entry in own:
        if entry.scope == "host":
            yield host.declared("overlay-address-scope", device, placed=placed)
        if entry.prefixlen == plan.overlay.network.prefixlen and entry.broadcast not in (None, plan.broadcast()):
            yield host.declared("broadcast-address-wrong", device, broadcast=entry.broadcast, placed=placed)


def misplaced(scene: Scene) -> Iterator[Finding]:
    """
    No address is on a device that must not have it: the overlay address on another one too, another host's, or one of
    a network that overlaps the overlay's, as one of Docker's may (172.16.0.0/12).
    """
    owners: dict[IPv4Address, HostScene] = {}
    for host in scene.hosts.values():
        owners.setdefault(host.plan.overlay.ip, host)
        owners.setdefault(host.plan.underlay.ip, host)
    planned = {plan.overlay.ip for plan in scene.topology.nodes}
    for host in scene.hosts.values():
        plan, own = host.plan, host.plan.overlay.network
        has_own = any(name == plan.device and address.ip == plan.overlay.ip for name, address in host.seen.addresses)
        for name, address in host.seen.addresses:
            owner, elsewhere, after = owners.get(address.ip, host), name != plan.device, ""
            if owner is not host:
                outer = address.ip == owner.plan.underlay.ip and elsewhere and name != plan.nic
                code = "endpoint-taken" if outer else "duplicate-address"
                fact = f"{host.name} {name} has {address.ip}, which is {owner.name}'s address"
                if not elsewhere:  # as found, it is the only one there; the host's own address may go with it
                    found = address == plan.overlay
                    after = f" && {_another(scene, host) if found else commands.placed(scene.topology, plan)}"
            elif elsewhere and has_own and address.ip == plan.overlay.ip:
                code = "overlay-address-twice"
                fact = f"{host.name} {name} has the overlay address {address.ip}; expected it only on {plan.device}"
            elif elsewhere and address.ip not in planned and address.network.overlaps(own):
                code = "network-overlaps"
                fact = f"{host.name} {name} has the network {address.network}, which overlaps the overlay's {own}"
                after = f"    # then give {name} a network of its own"
            else:
                continue
            yield host.finding(code, name, fact, f"{address} dev {name}", f"ip addr del {address} dev {name}{after}")


def source(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """What a host sends into the overlay is from its overlay address, where it has that at all."""
    plan, device = host.plan, host.plan.device
    addresses = host.seen.addresses_of(device)
    route = host.seen.route_to(str(plan.overlay.network.network_address + 1 + plan.is_hub))
    if plan.overlay not in addresses or route is None or route.dev != device:
        return
    # what has no receiver's address to choose by, groups and the limited broadcast, is from the first address
    outside = plan.overlay.ip not in addresses[0].network
    chosen = str(addresses[0].ip) if outside else route.src
    if chosen in (None, plan.address()):
        return
    first = next((address for address in addresses if str(address.ip) == chosen), None)
    again = f"ip route replace {plan.overlay.network} dev {device} src {plan.address()}"
    if first is not None:
        # the first address of a subnet is what the kernel sends from, and takes those behind it with it
        again = f"ip addr del {first} dev {device} ; {commands.placed(scene.topology, plan)}"
        again += f" && ip addr add {first} dev {device}" if outside else ""
    what = "multicast and packets to 255.255.255.255" if outside else "packets into the overlay"
    found = f"{what} have the source {chosen}; expected {plan.address()}"
    found += f": replies to {chosen} do not return by the overlay" if outside else ""
    yield host.declared("overlay-source-foreign", device, found, again)


def _another(scene: Scene, host: HostScene) -> str:
    """Gives a host an overlay address that no host of the overlay has, and the multicast route, which went with it."""
    network, used = host.plan.overlay.network, {each.plan.overlay.ip for each in scene.hosts.values()}
    free = next((address for address in network.hosts() if address not in used), host.plan.overlay.ip)
    plan = replace(host.plan, overlay=IPv4Interface((free, network.prefixlen)))
    return commands.placed(scene.topology, plan)


def nic(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """The NIC has the address and, in a lab, the MAC that the cloud gave it: the cloud delivers to no other."""
    plan, device = host.plan, host.nic
    if device is None and scene.planned:
        yield _nic_missing(host)
    if device is None or not device.up or not scene.planned:
        return
    if all(address.ip != plan.underlay.ip for address in host.seen.addresses_of(plan.nic)):
        has = ", ".join(map(str, host.seen.addresses_of(plan.nic))) or "no address"
        yield host.declared("underlay-address-missing", plan.nic, has=has, placed=commands.placed_outside(plan))
    if device.mac != plan.underlay_mac:
        yield host.declared("nic-mac-changed", plan.nic, mac=device.mac, expected=plan.underlay_mac)


def _nic_missing(host: HostScene) -> Finding:
    plan = host.plan
    found = host.inventory
    name = next((device.name for device in host.seen.devices.values() if device.mac == plan.underlay_mac), None)
    if name is None:
        return host.declared("nic-missing", plan.nic, found, "")
    again = f"ip link set {name} down && ip link set {name} name {plan.nic} && ip link set {plan.nic} up"
    again = f"{again} && {commands.placed_outside(plan)}"
    return host.declared("nic-missing", plan.nic, f"{found}; {name} has its MAC", again)


def duplicate_mac(scene: Scene) -> Iterator[Finding]:
    """No two devices of the overlay have one MAC."""
    first: dict[str, tuple[HostScene, Device]] = {}
    for host, device in _overlay_devices(scene):
        owner, other = first.setdefault(device.mac, (host, device))
        if owner is not host:
            own = mac_of(host.plan.overlay.ip)
            yield host.declared("duplicate-mac", device.name, mac=device.mac, at=f"{owner.name} {other.name}", own=own)


def _overlay_devices(scene: Scene) -> Iterator[tuple[HostScene, Device]]:
    hub, pinned = scene.hub, scene.topology.bridge_mac(scene.hub.plan) if scene.planned else None
    own = [(hub, hub.device)] if hub.device is not None else []
    moved = own if pinned and own and own[0][1].mac != pinned else []  # then another device had the MAC first
    yield from own if not moved else ()
    for spoke in scene.spokes:
        port = scene.end(hub, spoke.name)
        if port is not None:
            yield hub, port
    for spoke in scene.spokes:
        if spoke.device is not None:
            yield spoke, spoke.device
    yield from moved


def neighbours(scene: Scene) -> Iterator[Finding]:
    """No permanent neighbour entry gives another host's address a MAC that it does not have."""
    for host in scene.hosts.values():
        macs = _macs(scene, host)
        for entry in host.readings["neighbours"]:
            expected, device = macs.get(entry.dst), str(entry.dev)
            if not entry.fixed or expected in (None, entry.lladdr):
                continue
            if not host.seen.devices[device].arp:
                continue  # the kernel's own entry for a device without ARP
            # a network without multicast resolves no IPv6 neighbour
            kept = f"ip neigh replace {entry.dst} lladdr {expected} dev {device} nud permanent"
            fix = kept if ":" in entry.dst else f"ip neigh del {entry.dst} dev {device}"
            found = f"permanent neighbour {entry.dst} lladdr {entry.lladdr} dev {device}; the correct MAC is {expected}"
            yield host.declared("neighbour-wrong", device, found, fix)


def _macs(scene: Scene, host: HostScene) -> dict[str, str]:
    """The MACs of the other hosts' addresses; a live cloud may have a router answer for a NIC that can be reached."""
    cut = scene.cut_off(host)
    found = {}
    for other in scene.hosts.values():
        if other.device is not None:
            found[other.plan.address()] = other.device.mac
        near = other.plan.underlay.ip in host.plan.underlay.network and (scene.planned or other.name in cut)
        if other.nic is not None and near:
            found |= dict.fromkeys((other.plan.address("underlay"), other.plan.endpoint), other.nic.mac)
    return found
