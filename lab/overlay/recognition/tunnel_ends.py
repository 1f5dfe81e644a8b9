"""
The two ends of a spoke's tunnel, found among everything that a hub and a spoke have.

    spoke: tunnel [address]                  or      spoke: br0 [address] <- tunnel
    hub:   bridge0 [address] <- tunnel
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface

from lab.model import Holder
from lab.overlay.recognition.readback import ConfiguredNode, Device

BRIDGE = "bridge"
NO_NETWORK = 31  # from this prefix length on a subnet has no broadcast address
LOOPBACK, DUMMY = "lo", "dummy"  # devices that may have an outer address and send nothing


@dataclass(frozen=True)
class SpokeTunnel:
    """A spoke with its end of its tunnel and the hub's, as far as they exist."""

    spoke: ConfiguredNode
    near: Device | None
    far: Device | None

    @property
    def agree(self) -> bool:
        """Whether both ends exist and are of one kind, VNI and key."""
        return self.near is not None and self.far is not None and _same_tunnel(self.near, self.far)


def own(seen: ConfiguredNode) -> set[str]:
    """A host's addresses of IPv4 and IPv6, without those that every host has."""
    return set(ipv4_of(seen)) | {
        str(one.ip) for _, one in seen.addresses6 if not one.ip.is_link_local and not one.ip.is_loopback
    }


def ipv4_of(seen: ConfiguredNode) -> list[str]:
    """A host's IPv4 addresses, without those of its loopback network."""
    return [str(one.ip) for _, one in seen.addresses if not one.ip.is_loopback]


def holder(seen: ConfiguredNode, tunnel: Device) -> str:
    """The device that the host's overlay address is on: the tunnel, or a bridge whose port it is."""
    master = seen.master_of(tunnel.name)
    if (
        master is None
        or master.kind != BRIDGE
        or (seen.addresses_of(tunnel.name) and not seen.addresses_of(master.name))
    ):
        return tunnel.name
    return master.name


def kind_of(device: str, tunnel: str) -> Holder:
    """The kind of the device that has a host's overlay address, beside the name of its tunnel."""
    return "tunnel" if device in ("", tunnel) else "bridge"


def overlay_address(seen: ConfiguredNode, device: str, network: IPv4Network | None = None) -> IPv4Interface | None:
    """
    Which of a device's addresses is the overlay's: the one in the overlay's subnet, if that is known.

    Otherwise the first one that has a subnet: a virtual IP (/32) may come before it.
    """
    found = seen.addresses_of(device)
    preferred = sorted(found, key=lambda one: (_distance(one, network), one.network.prefixlen >= NO_NETWORK))
    return preferred[0] if preferred else None


def _distance(address: IPv4Interface, network: IPv4Network | None) -> int:
    if network is None or address.network == network:
        return 0
    return 2 if address.ip not in network else 1


def of_spoke(hub: ConfiguredNode, bridge: str, network: IPv4Network | None, spoke: ConfiguredNode) -> SpokeTunnel:
    """The ends of a spoke's tunnel to a bridge of the hub: of several, those that fit each other best."""
    nears: list[Device | None] = [one for one in spoke.tunnels() if one.remote in own(hub)]
    fars: list[Device | None] = [one for one in hub.tunnels() if one.remote in own(spoke)]
    others = [
        (near, far)
        for near, far in itertools.product(nears, fars)
        if _another_overlay(hub, bridge, network, spoke, near, far)
    ]
    nears = [one for one in nears if one not in [near for near, _ in others]] or [None]
    fars = [one for one in fars if one not in [far for _, far in others]] or [None]
    pairs = [SpokeTunnel(spoke, near, far) for near, far in itertools.product(nears, fars)]
    return max(pairs, key=lambda pair: _fit(bridge, network, pair))


def _same_tunnel(near: Device, far: Device) -> bool:
    here, there = near.tunnel, far.tunnel
    if here is None or there is None or near.kind != far.kind:
        return False
    return (here.vni, here.input_key, here.output_key) == (there.vni, there.output_key, there.input_key)


def _another_overlay(
    hub: ConfiguredNode,
    bridge: str,
    network: IPv4Network | None,
    spoke: ConfiguredNode,
    near: Device | None,
    far: Device | None,
) -> bool:
    """Whether two ends are one tunnel of another overlay: of another bridge or none, with addresses of its own."""
    if near is None or far is None or far.master == bridge or not _same_tunnel(near, far):
        return False
    there, here = overlay_address(hub, holder(hub, far)), overlay_address(spoke, holder(spoke, near))
    if there is None or here is None or here.ip not in there.network:
        return False
    return network is None or here.ip not in network


def _fit(bridge: str, network: IPv4Network | None, pair: SpokeTunnel) -> tuple[bool, ...]:
    near, far = pair.near, pair.far
    address = overlay_address(pair.spoke, holder(pair.spoke, near), network) if near else None
    pinned = [(one.local, other.remote) for one, other in ((near, far), (far, near)) if one and other]
    return (
        pair.agree,
        far is not None and far.master == bridge,
        address is not None and (network is None or address.ip in network),
        address is not None,
        all(local in (None, remote) for local, remote in pinned),
    )


def nic_of(seen: ConfiguredNode, tunnel: Device) -> str | None:
    """The NIC that a tunnel's packets use."""
    device = seen.devices.get(seen.device_with(tunnel.local) or "") if tunnel.local else None
    if device is not None and device.name != LOOPBACK and device.kind != DUMMY:
        return device.name
    return (seen.device_to(tunnel.remote) if tunnel.remote else None) or (device.name if device else None)


def underlay_of(seen: ConfiguredNode, tunnel: Device, expected: str | None) -> IPv4Interface | None:
    """A tunnel's outer address: its `local`, the other end's remote, or the routing table's choice."""
    nic = nic_of(seen, tunnel)
    route = seen.route_to(tunnel.remote) if tunnel.remote else None
    wanted = [tunnel.local, expected, route.src if route else None]
    for text in wanted:
        for _, address in seen.addresses:
            if text == str(address.ip):
                return address
    return next(iter(seen.addresses_of(nic or "")), None)


def underlay6_of(seen: ConfiguredNode, tunnel: Device) -> IPv6Interface | None:
    """The address of IPv6 that the tunnel starts at, if it goes over IPv6."""
    return next((address for _, address in seen.addresses6 if str(address.ip) == tunnel.local), None)


def bridges(hub: ConfiguredNode) -> list[Device]:
    """The hub's bridges that have tunnels as ports."""
    return [
        device
        for device in hub.devices.values()
        if device.kind == BRIDGE and any(port.remote for port in hub.ports_of(device.name))
    ]


def network_of(hub: ConfiguredNode, bridge: str, spokes: Sequence[ConfiguredNode]) -> IPv4Network | None:
    """The subnet of a bridge's overlay: of the bridge's addresses' subnets the one with the most hosts."""
    found = [one.network for one in hub.addresses_of(bridge) if one.network.prefixlen < NO_NETWORK]
    hosts = [address.ip for spoke in spokes for _, address in spoke.addresses]
    return max(found, key=lambda network: sum(ip in network for ip in hosts), default=None)
