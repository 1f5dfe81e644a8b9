"""A hub with its bridge, and every spoke with what there is of its tunnel to it: complete or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface

from lab.model import MULTICAST, Topology, TunnelOptions
from lab.overlay.recognition import complete_star, tunnel_ends
from lab.overlay.recognition.readback import ConfiguredNode, Device
from lab.overlay.recognition.tunnel_ends import SpokeTunnel


@dataclass(frozen=True)
class Star:
    """A hub with a bridge (None: it has none with tunnels), and every spoke with what there is of its tunnel."""

    hosts: Mapping[str, ConfiguredNode]
    hub: ConfiguredNode
    bridge: Device | None
    pairs: Sequence[SpokeTunnel]
    overlay: IPv4Interface | None
    otherwise: TunnelOptions
    """How tunnels are to be made where there are none."""

    @property
    def wanted(self) -> Topology | None:
        return complete_star.star(
            self.hub, self.bridge.name if self.bridge else None, self.overlay, self.pairs, self.otherwise
        )


def read(hosts: Mapping[str, ConfiguredNode], otherwise: TunnelOptions) -> Star:
    """The bridge of the hub that serves most of the spokes, and what each spoke has of a tunnel to it."""
    hub, *spokes = hosts.values()
    found = []
    for bridge in tunnel_ends.bridges(hub) or _meant(hub, spokes):
        network = tunnel_ends.network_of(hub, bridge.name, spokes)
        pairs = [tunnel_ends.of_spoke(hub, bridge.name, network, spoke) for spoke in spokes]
        overlay = tunnel_ends.overlay_address(hub, bridge.name, network)
        found.append(Star(hosts, hub, bridge, pairs, overlay, otherwise))
    if found:
        return max(found, key=_completeness)
    return Star(hosts, hub, None, [tunnel_ends.of_spoke(hub, "", None, spoke) for spoke in spokes], None, otherwise)


def _completeness(star: Star) -> tuple[int, bool, bool]:
    """Of several overlays that one is taken that has most spokes, then the one that multicast is routed to."""
    groups = star.bridge and any(
        route.dev == star.bridge.name and route.to.subnet_of(MULTICAST) for route in star.hub.routes
    )
    return sum(stands(pair) for pair in star.pairs), star.overlay is not None, bool(groups)


def _meant(hub: ConfiguredNode, spokes: Sequence[ConfiguredNode]) -> list[Device]:
    """Bridges that lack their tunnels: those with an address in the subnet of a spoke's tunnel to the hub."""
    theirs = {
        address.network
        for spoke in spokes
        for device in spoke.tunnels()
        if device.remote in tunnel_ends.own(hub)
        for address in spoke.addresses_of(tunnel_ends.holder(spoke, device))
    }
    return [
        device
        for device in hub.devices.values()
        if device.kind == tunnel_ends.BRIDGE and any(one.network in theirs for one in hub.addresses_of(device.name))
    ]


def stands(pair: SpokeTunnel) -> bool:
    """Whether a spoke can send and receive, according to its configuration."""
    if pair.near is None or pair.far is None:
        return False
    return tunnel_ends.overlay_address(pair.spoke, tunnel_ends.holder(pair.spoke, pair.near)) is not None
