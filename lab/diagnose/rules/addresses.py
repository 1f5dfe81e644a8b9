"""Rules of addresses: the overlay's own, MACs, and neighbours that somebody wrote down."""

from __future__ import annotations

from collections.abc import Iterator

from lab.diagnose.scene import HostScene, Scene
from lab.model import Finding, mac_of
from lab.overlay import commands
from lab.overlay.readback import NUD_FIXED, Device


def overlay_address(scene: Scene) -> Iterator[Finding]:
    """Every host has its overlay address, with the overlay's prefix, on its overlay device."""
    for host in scene.hosts.values():
        if host.device is None:
            continue
        plan, device = host.plan, host.plan.device
        own = [address for address in host.seen.addresses_of(device) if address.ip == plan.overlay.ip]
        if not own:
            elsewhere = host.seen.device_with(str(plan.overlay.ip))
            moved = f"ip addr del {plan.overlay} dev {elsewhere} && " if elsewhere else ""
            yield Finding(
                "overlay-address-missing" if not plan.is_hub else "hub-address-missing",
                host.name,
                device,
                f"{device} of {host.name} does not have the overlay address {plan.overlay.ip}",
                f"it is on {elsewhere}" if elsewhere else "no device has it",
                f"{moved}{commands.address(plan)} && {commands.route(scene.topology, plan)}",
                ("PRE-09", "BCAST-02"),
            )
        elif plan.overlay not in own:
            wrong = own[0]
            yield Finding(
                "prefix-mismatch",
                host.name,
                device,
                f"{device} of {host.name} is {wrong}, and the overlay is {plan.overlay.network}: "
                f"its broadcast address is {wrong.network.broadcast_address}, not {plan.broadcast()}",
                f"{wrong.network} against {plan.overlay.network}",
                f"ip addr del {wrong} dev {device} && {commands.address(plan)} && "
                f"{commands.route(scene.topology, plan)}",
                ("PRE-09", "BCAST-01"),
            )


def duplicate_address(scene: Scene) -> Iterator[Finding]:
    """No host has another one's overlay or underlay address."""
    owners = {host.plan.overlay.ip: host for host in scene.hosts.values()}
    owners.update({host.plan.underlay.ip: host for host in scene.hosts.values()})
    for host in scene.hosts.values():
        for device, address in host.seen.addresses:
            owner = owners.get(address.ip)
            if owner is None or owner is host:
                continue
            yield Finding(
                "duplicate-address",
                host.name,
                device,
                f"{host.name} has {address.ip} on {device}, and so has {owner.name}, whose it is",
                f"{address} dev {device}",
                f"ip addr del {address} dev {device}",
                ("PRE-09",),
            )


def duplicate_mac(scene: Scene) -> Iterator[Finding]:
    """No two devices of the overlay have one MAC."""
    first: dict[str, tuple[HostScene, Device]] = {}
    for host, device in _overlay_devices(scene):
        owner, other = first.setdefault(device.mac, (host, device))
        if owner is host:
            continue
        yield Finding(
            "duplicate-mac",
            host.name,
            device.name,
            f"{device.name} of {host.name} has the MAC {device.mac}, and so has {other.name} of {owner.name}",
            f"{device.mac} twice; clones of one machine image have one machine-id, from which MACs are made",
            f"ip link set {device.name} address {mac_of(host.plan.overlay.ip)}",
            ("PRE-10",),
        )


def _overlay_devices(scene: Scene) -> Iterator[tuple[HostScene, Device]]:
    hub = scene.hub
    if hub.device is not None:
        yield hub, hub.device
    for spoke in scene.spokes:
        port = scene.end(hub, spoke.name)
        if port is not None:
            yield hub, port
    for spoke in scene.spokes:
        if spoke.device is not None:
            yield spoke, spoke.device


def neighbours(scene: Scene) -> Iterator[Finding]:
    """No permanent neighbour entry gives another host's overlay address a MAC that it does not have."""
    macs = {str(host.plan.overlay.ip): host.device.mac for host in scene.hosts.values() if host.device is not None}
    nics = {host.name: host.seen.devices.get(host.plan.nic) for host in scene.hosts.values()}
    if scene.planned and scene.underlay.routers == 0:
        macs.update({str(host.plan.underlay.ip): nic.mac for host in scene.hosts.values() if (nic := nics[host.name])})
    for host in scene.hosts.values():
        for entry in host.readings["neighbours"]:
            address, mac = str(entry.get("NDA_DST")), entry.get("NDA_LLADDR")
            if not entry["state"] & NUD_FIXED or address not in macs or mac == macs[address]:
                continue
            device = str(host.names.get(entry["ifindex"]))
            yield Finding(
                "neighbour-wrong",
                host.name,
                device,
                f"{host.name} has it written down that {address} is {mac}, and it is {macs[address]}",
                f"permanent neighbour {address} lladdr {mac} dev {device}",
                f"ip neigh del {address} dev {device}",
                ("BCAST-08",),
            )


def nic(scene: Scene) -> Iterator[Finding]:
    """The NIC has the address and, in a lab, the MAC that the cloud gave it: the cloud delivers to no other."""
    for host in scene.hosts.values():
        plan, device = host.plan, host.seen.devices.get(host.plan.nic)
        if device is None or not device.up or not scene.planned:
            continue
        gateway = plan.underlay.network.network_address + 1
        if all(address.ip != plan.underlay.ip for address in host.seen.addresses_of(plan.nic)):
            has = ", ".join(str(address) for address in host.seen.addresses_of(plan.nic)) or "no address"
            yield Finding(
                "underlay-address-missing",
                host.name,
                plan.nic,
                f"{plan.nic} of {host.name} does not have the address {plan.underlay.ip} that the cloud gave it",
                f"it has {has}",
                f"ip addr replace {plan.underlay} dev {plan.nic} && "
                f"ip route replace default via {gateway} dev {plan.nic}",
                ("PRE-08", "UNDER-06"),
            )
        if device.mac != plan.underlay_mac:
            yield Finding(
                "nic-mac-changed",
                host.name,
                plan.nic,
                f"{plan.nic} of {host.name} has the MAC {device.mac}, and the cloud delivers to {plan.underlay_mac}",
                device.mac,
                f"ip link set {plan.nic} address {plan.underlay_mac}",
                ("PRE-03", "PRE-10"),
            )


RULES = (overlay_address, nic, duplicate_address, duplicate_mac, neighbours)
