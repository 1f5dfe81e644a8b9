"""What a star lacks: ends, ports and addresses that are missing or contradict each other, with what completes it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network

from lab.model import Finding, Topology
from lab.overlay import commands
from lab.overlay.recognition import complete_star, layouts, tunnel_ends
from lab.overlay.recognition.readback import ConfiguredNode, Device
from lab.overlay.recognition.stars import Star
from lab.overlay.recognition.tunnel_ends import SpokeTunnel


def findings(star: Star) -> Iterator[Finding]:
    whole = star.wanted
    if star.bridge is None:
        yield _without_bridge(star, whole)
        if star.hub.tunnels():
            return
    elif star.overlay is None:
        yield _without_address(star, star.bridge)
    for pair in star.pairs:
        yield from of_pair(star, whole, pair)


def _without_bridge(star: Star, whole: Topology | None) -> Finding:
    """The hub has no bridge with tunnels, and its tunnels, if there are any, have no addresses."""
    hub, names = star.hub, [device.name for device in star.hub.tunnels() if device.kind in layouts.LAYER2]
    fix = commands.whole(whole, whole.hub, hub.devices) if whole else ""
    if not names:
        summary = f"{hub.name} has no tunnel; expected one to each spoke"
        return Finding("tunnel-missing", hub.name, "", summary, f"devices: {', '.join(hub.devices)}", fix)
    listed = ", ".join(names)
    summary, found = f"no tunnel of {hub.name} ({listed}) is a port of a bridge", f"master of {listed}: none"
    return Finding("port-not-bridged", hub.name, names[0], summary, found, fix)


def _without_address(star: Star, bridge: Device) -> Finding:
    """The hub's bridge has no address: it may be on one of its ports."""
    hub = star.hub
    on_ports = [(port, address) for port in hub.ports_of(bridge.name) for address in hub.addresses_of(port.name)]
    moved = next(iter(on_ports), None)
    whole = complete_star.star(hub, bridge.name, moved[1] if moved else None, star.pairs, star.otherwise)
    taken = f"ip addr del {moved[1]} dev {moved[0].name} && " if moved else ""
    fix = f"{taken}{commands.placed(whole, whole.hub)}" if whole else ""
    summary = f"{hub.name} {bridge.name} has no IPv4 address; expected the hub's overlay address"
    found = ", ".join(f"{address} is on {port.name}" for port, address in on_ports) or "no port has one either"
    return Finding("hub-address-missing", hub.name, bridge.name, summary, found, fix)


def of_pair(star: Star, whole: Topology | None, pair: SpokeTunnel) -> Iterator[Finding]:
    near, far, spoke, hub = pair.near, pair.far, pair.spoke, star.hub
    if near is None:
        yield _spoke_end(star, whole, pair)
    if far is None and star.bridge is not None:
        yield _hub_end(star, star.bridge, whole, pair)
    if far is not None and star.bridge is not None and far.master != star.bridge.name:
        summary = f"{hub.name} {far.name}, the tunnel to {spoke.name}, is not a port of {star.bridge.name}"
        fix = f"ip link set {far.name} master {star.bridge.name}"
        found = f"its master is {far.master}" if far.master else "it has no master"
        yield Finding("port-not-bridged", hub.name, far.name, summary, found, fix)
    if near is not None and far is not None:
        yield from _different_parameters(hub, far, spoke, near)
    if near is not None:
        yield from _spoke_address(star, whole, spoke, near)


def _spoke_end(star: Star, whole: Topology | None, pair: SpokeTunnel) -> Finding:
    spoke, addresses = pair.spoke, ", ".join(sorted(tunnel_ends.own(star.hub)))
    network = star.overlay.network if star.overlay else None
    # a tunnel elsewhere is this overlay's if it has an address there, or none at all
    astray = [
        device
        for device in spoke.tunnels()
        if device.kind in layouts.LAYER2
        and (
            (own := tunnel_ends.overlay_address(spoke, tunnel_ends.holder(spoke, device), network)) is None
            or own.network == network
        )
    ]
    if not astray or whole is None:
        fix = commands.tunnel(whole, whole.node(spoke.name), star.hub.name) if whole else ""
        summary = f"{spoke.name} has no tunnel to {star.hub.name}"
        return Finding("tunnel-missing", spoke.name, "", summary, f"devices: {', '.join(spoke.devices)}", fix)
    wrong = astray[0]
    fix = _again(star, pair, replace(pair, near=wrong), spoke, wrong)
    summary = f"{spoke.name} {wrong.name} has the remote {wrong.remote}; expected an address of {star.hub.name}"
    return Finding("tunnel-remote-mismatch", spoke.name, wrong.name, summary, f"{star.hub.name} has {addresses}", fix)


def _again(star: Star, pair: SpokeTunnel, meant: SpokeTunnel, seen: ConfiguredNode, wrong: Device) -> str:
    """Makes an end again that leads elsewhere, in the star with the ends that are meant."""
    whole = replace(star, pairs=[meant if one is pair else one for one in star.pairs]).wanted
    peer = star.hub.name if seen is pair.spoke else pair.spoke.name
    return commands.again(whole, whole.node(seen.name), peer, wrong) if whole else ""


def in_other_namespace(finding: Finding, tunnels: Sequence[Mapping[str, str]]) -> Finding:
    """The finding of a tunnel that is missing, unless the host has it in another network namespace (`elsewhere`)."""
    steps = finding.remedy.split(" && ")
    moved = []
    for number, step in enumerate(steps):
        made = re.match(r"ip link add (\S+) .* remote (\S+) ", step)
        for one in tunnels if made and finding.code == "tunnel-missing" else ():
            if made and one["remote"] == made[2]:
                # `$$` is the process number of the shell that the command is pasted into, on the host itself
                steps[number] = f"nsenter --net={one['path']} ip link set {one['device']} netns $$ name {made[1]}"
                moved.append(one)
    if not moved:
        return finding
    where = f"{moved[0]['path']}{f', of {program}' if (program := moved[0]['program']) else ''}"
    return replace(
        finding,
        code="tunnel-elsewhere",
        interface=moved[0]["device"],
        summary=f"{finding.node} {moved[0]['device']}, the tunnel to {moved[0]['remote']}, is in another network "
        f"namespace ({where}); expected in the host's own",
        evidence=f"{finding.evidence}; the kernel makes no second tunnel to that remote",
        remedy=" && ".join(steps),
    )


def _hub_end(star: Star, bridge: Device, whole: Topology | None, pair: SpokeTunnel) -> Finding:
    hub, spoke, near = star.hub, pair.spoke, pair.near
    remotes = ", ".join(f"{device.name} {device.remote}" for device in hub.tunnels())
    # the kernel makes no second VXLAN device of one VNI: the one that there is leads elsewhere
    same = [device for device in hub.tunnels() if near and device.vni and device.vni == near.vni]
    summary = f"{hub.name} has no tunnel whose remote is an address of {spoke.name}"
    found = f"{spoke.name} has {', '.join(sorted(tunnel_ends.own(spoke)))}; {hub.name} has {remotes}"
    if same:
        fix = _again(star, pair, replace(pair, far=same[0]), hub, same[0])
        return Finding("tunnel-remote-mismatch", hub.name, same[0].name, summary, found, fix)
    fix = commands.tunnel(whole, whole.hub, spoke.name) if whole else ""
    return Finding("tunnel-missing", hub.name, "", summary, found, fix)


def _different_parameters(hub: ConfiguredNode, far: Device, spoke: ConfiguredNode, near: Device) -> Iterator[Finding]:
    if far.tunnel is None or near.tunnel is None:
        return
    here, there = near.tunnel, far.tunnel
    if (here.input_key, here.output_key) != (there.output_key, there.input_key):
        evidence = f"{spoke.name} {near.name}: ikey {here.input_key} okey {here.output_key}; "
        evidence += f"{hub.name} {far.name}: ikey {there.input_key} okey {there.output_key}"
        remedy = f"ip link set {near.name} type {near.kind} "
        remedy += "nokey" if there.input_key is None else f"ikey {there.output_key} okey {there.input_key}"
        yield Finding("tunnel-key-mismatch", spoke.name, near.name, "the tunnel's keys differ", evidence, remedy)
    for name, mine, theirs, word in (
        ("checksum", here.checksum, there.checksum, "csum"),
        ("sequence", here.sequence, there.sequence, "seq"),
    ):
        if mine[0] != theirs[1] or mine[1] != theirs[0]:
            found = f"{spoke.name} {near.name} in/out {mine}; {hub.name} {far.name} in/out {theirs}"
            fix = f"ip link set {near.name} type {near.kind} {'' if theirs[0] else 'no'}{word}"
            summary = f"GRE {name} is on at one end only"
            yield Finding(f"tunnel-{name}-mismatch", spoke.name, near.name, summary, found, fix)


def _spoke_address(star: Star, whole: Topology | None, spoke: ConfiguredNode, near: Device) -> Iterator[Finding]:
    device = tunnel_ends.holder(spoke, near)
    own = tunnel_ends.overlay_address(spoke, device, star.overlay.network if star.overlay else None)
    plan = whole.node(spoke.name) if whole else None
    completed = commands.placed(whole, plan) if whole and plan else ""
    overlay = star.overlay or (whole.hub.overlay if whole else None)
    if own is None or star.overlay is not None:
        network = overlay.network if overlay else None
        yield from of_address(spoke.name, device, own, network, f"as {star.hub.name} has", completed)


def of_address(
    host: str, device: str, own: IPv4Interface | None, network: IPv4Network | None, why: str, completed: str
) -> Iterator[Finding]:
    """An overlay address that is missing, or in another subnet than expected."""
    if own is None:
        summary = f"{host} {device} has no IPv4 address; expected one" + (f" in {network}" if network else "")
        yield Finding("overlay-address-missing", host, device, summary, "no IPv4 address on it", completed)
    elif own.network != network:
        summary = f"{host} {device} has {own}; expected an address in {network}, {why}"
        fix = f"ip addr del {own} dev {device} && {completed}" if completed else ""
        yield Finding("prefix-mismatch", host, device, summary, f"{own.network} against {network}", fix)
