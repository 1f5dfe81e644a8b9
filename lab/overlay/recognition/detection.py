"""
Which devices on which hosts are the overlay: both ends of every tunnel paired, the topology made from what is there.

A half-configured overlay is understood as far as it goes: what is missing or contradictory is a finding with the
command that completes it, and the topology holds the hosts that can be sent to.  What is neither a star nor another
shape (`shapes`) is a layout that is not understood (`layouts`): it is described, and no command is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Interface

from lab.model import IPV6_LEAST_MTU, Finding, NodePlan, Role, Topology, TunnelOptions
from lab.overlay.recognition import (
    complete_shape,
    complete_star,
    incomplete,
    layouts,
    shapes,
    spares,
    stars,
    tunnel_ends,
)
from lab.overlay.recognition.layouts import Layout
from lab.overlay.recognition.readback import BROADCAST_PING, IPV6_OFF, ConfiguredNode, Device
from lab.overlay.recognition.shapes import Shape
from lab.overlay.recognition.spares import Spare
from lab.overlay.recognition.stars import Star
from lab.overlay.recognition.tunnel_ends import SpokeTunnel


@dataclass(frozen=True)
class DetectedOverlay:
    """The overlay that was found (None: none that could be tested), and what is wrong with it."""

    topology: Topology | None
    findings: tuple[Finding, ...]
    layout: Layout | None = None
    """Set: the hosts have a layout that is not understood; there is neither a topology nor a finding then."""
    notes: tuple[str, ...] = ()
    """What else was found and is not judged."""
    accused: Mapping[str, str] = field(default_factory=dict)
    """The hosts that are not part of the overlay or only partly, each with what its first finding states, if any."""
    whole: Topology | None = None
    """The same overlay with all that is missing, by which the findings complete it; None where that is unknown."""


def understand(hosts: Mapping[str, ConfiguredNode], otherwise: TunnelOptions | None = None) -> DetectedOverlay:
    """Reads an overlay out of its hosts, a star's hub first; `otherwise`: how tunnels are made where there are none."""
    if shape := shapes.recognise(hosts):
        return _shaped(shape, otherwise or TunnelOptions())
    if spare := spares.found(hosts):
        return _beside(spare, hosts, otherwise)
    star = stars.read(hosts, otherwise or TunnelOptions())
    bridge = star.bridge.name if star.bridge else None
    if why := shapes.unsupported(hosts) or layouts.another(star.hub, bridge, star.pairs, hosts):
        return DetectedOverlay(None, (), layouts.described(why, hosts))
    findings, whole = tuple(incomplete.findings(star)), star.wanted
    complete = [pair for pair in star.pairs if stars.stands(pair)]
    found = {pair.spoke.name: next(incomplete.of_pair(star, whole, pair), None) for pair in star.pairs}
    accused = {name: one.summary if one else "" for name, one in found.items() if one or star.bridge is None}
    topology = None
    if star.bridge is not None and star.overlay is not None and complete:
        topology = _topology(star, star.bridge, star.overlay, complete)
    return DetectedOverlay(topology, findings, notes=tuple(_notes(star)), accused=accused, whole=whole)


def _beside(spare: Spare, hosts: Mapping[str, ConfiguredNode], otherwise: TunnelOptions | None) -> DetectedOverlay:
    """The star of a hub without its standby."""
    if spare.both_masters:
        return DetectedOverlay(None, (spares.two_masters(spare, hosts),))
    if spare.why:
        return DetectedOverlay(None, (), layouts.described(spare.why, hosts))
    star = understand(spares.without(hosts, spare), otherwise)
    topology = spares.with_standby(star.topology, spare, hosts) if star.topology else None
    note = f"{spare.standby} is the standby of {spare.hub} ({spare.fact}) and is not judged"
    return replace(star, topology=topology, notes=(note, *star.notes))


def _shaped(shape: Shape, otherwise: TunnelOptions) -> DetectedOverlay:
    topology, findings, accused, whole = complete_shape.read(shape, otherwise)
    if topology is not None:
        used = any(_has_ipv6(shape.hosts[plan.name], plan.device) for plan in topology.nodes)
        topology = replace(topology, ipv6=used)
    return DetectedOverlay(
        topology, tuple(findings), notes=tuple(complete_shape.notes(shape)), accused=accused, whole=whole
    )


def tried(hosts: Mapping[str, ConfiguredNode]) -> Topology | None:
    """
    A topology to try deliveries with, whatever the hosts' layout; None where fewer than two have an overlay address.

    Hosts without an address in the subnet that most have are left out; it has no tunnels.
    """
    placed: list[tuple[ConfiguredNode, Device, IPv4Interface]] = []
    spare = None if shapes.recognise(hosts) else spares.found(hosts)
    for seen in (spares.without(hosts, spare) if spare else hosts).values():
        for device in seen.devices.values():
            if device.kind in layouts.LAYER2 and (
                address := tunnel_ends.overlay_address(seen, tunnel_ends.holder(seen, device))
            ):
                placed.append((seen, device, address))
    networks = [address.network for _, _, address in placed]
    nodes: dict[str, NodePlan] = {}
    for seen, device, address in placed:
        if address.network != max(networks, key=networks.count) or seen.name in nodes:
            continue
        role: Role = "spoke" if nodes else "hub"
        underlay, nic = (
            tunnel_ends.underlay_of(seen, device, None) or address,
            tunnel_ends.nic_of(seen, device) or device.name,
        )
        nodes[seen.name] = NodePlan(seen.name, role, underlay, address, tunnel_ends.holder(seen, device), nic)
    return Topology("tried", tuple(nodes.values()), ()) if len(nodes) > 1 else None


def _topology(star: Star, bridge: Device, overlay: IPv4Interface, pairs: Sequence[SpokeTunnel]) -> Topology | None:
    """The overlay of the spokes whose ends are complete, with the addresses that they have."""
    whole = complete_star.star(star.hub, bridge.name, overlay, pairs, star.otherwise)
    if whole is None:
        return None
    nodes: list[NodePlan] = []
    for plan in whole.nodes:
        seen = star.hosts[plan.name]
        own = overlay if plan.is_hub else tunnel_ends.overlay_address(seen, plan.device, overlay.network) or overlay
        further = tuple(one for one in tunnel_ends.ipv4_of(seen) if one not in (str(plan.underlay.ip), str(own.ip)))
        nodes.append(replace(plan, overlay=own, further=further))
    return replace(
        whole,
        name="star",
        nodes=tuple(nodes),
        answer_broadcast_ping=star.hub.sysctls.get(BROADCAST_PING) == "0",
        strangers=tuple(remote for _, remote in _strangers(star, bridge)),
        ipv6=any(_has_ipv6(star.hosts[plan.name], plan.device) for plan in nodes),
    )


def _has_ipv6(seen: ConfiguredNode, device: str) -> bool:
    """Whether IPv6 is used on a device, or would be, but for an MTU below what IPv6 needs."""
    if any(name == device for name, _ in seen.addresses6):
        return True
    return seen.devices[device].mtu < IPV6_LEAST_MTU and seen.sysctls.get(IPV6_OFF) == "0"


def _notes(star: Star) -> Iterator[str]:
    """What is on the hub and is not judged: tunnels to hosts that are not among these."""
    for port, remote in _strangers(star, star.bridge) if star.bridge else ():
        yield f"{star.hub.name} {port} leads to {remote}, which is not among the hosts and is not judged"


def _strangers(star: Star, bridge: Device) -> list[tuple[str, str]]:
    """The bridge's tunnels to hosts that are not among these, with their remotes."""
    own = {address for seen in star.hosts.values() for address in tunnel_ends.own(seen)}
    ports = [(port.name, port.remote) for port in star.hub.ports_of(bridge.name)]
    return [(name, remote) for name, remote in ports if remote and remote not in own]
