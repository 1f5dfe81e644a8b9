"""
Several overlays on the same hosts: distinguished by their subnets, one of them chosen.

    found = overlays(seen)                    by subnet, each host's device with an address in it
    chosen(seen, "br1" or "172.17.0.0/24")    the hosts without the tunnels and bridges of the others
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Network

from lab.errors import UsageProblem
from lab.overlay.recognition import shapes, tunnel_ends
from lab.overlay.recognition.layouts import LAYER2, remotes_of
from lab.overlay.recognition.readback import ConfiguredHosts, ConfiguredNode, Device

Overlays = Mapping[IPv4Network, Mapping[str, str]]
"""By subnet, the devices with an address in it by host."""


def overlays(hosts: ConfiguredHosts) -> Overlays:
    """The subnets that two hosts or more have on their tunnels, or on a bridge, a bond or a PRP device over these."""
    found: dict[IPv4Network, dict[str, str]] = {}
    for name, seen in hosts.items():
        for holder in {_holder(seen, device) for device in _tunnels(seen)}:
            for address in seen.addresses_of(holder):
                if address.network.prefixlen < tunnel_ends.NO_NETWORK:
                    found.setdefault(address.network, {}).setdefault(name, holder)
    return {network: holders for network, holders in found.items() if len(holders) > 1}


def chosen(hosts: ConfiguredHosts, overlay: str | None) -> dict[str, ConfiguredNode]:
    """
    The hosts as if they had the overlay of a device or a subnet alone; all they have where None is chosen.

    What has no address on any host may belong to it, and stays.  UsageProblem names the overlays that there are.
    """
    if overlay is None or not hosts:
        return dict(hosts)
    found = overlays(hosts)
    matching = [network for network, holders in found.items() if overlay in (str(network), *holders.values())]
    if len(matching) != 1:
        listed = "; ".join(map(described, found.items())) or "none"
        what = "several overlays have" if matching else "no overlay has"
        raise UsageProblem(f"--overlay={overlay}: {what} that device or subnet; found {listed}")
    others = {(name, holder) for network in found if network != matching[0] for name, holder in found[network].items()}
    others -= set(found[matching[0]].items())
    return {name: _without(seen, {holder for host, holder in others if host == name}) for name, seen in hosts.items()}


def described(overlay: tuple[IPv4Network, Mapping[str, str]]) -> str:
    """An overlay as messages name it: its subnet, and the device of each host."""
    network, holders = overlay
    return f"{network} ({', '.join(f'{host} {device}' for host, device in holders.items())})"


def notes(hosts: ConfiguredHosts, network: IPv4Network | None) -> list[str]:
    """A line for each overlay of another subnet; where none could be tested, for each of several."""
    found = overlays(hosts)
    if network is None and len(found) < 2:
        return []
    return [
        f"{described(other)} is another overlay, which is not judged; --overlay={other[0]} chooses it"
        for other in found.items()
        if other[0] != network
    ]


def _tunnels(seen: ConfiguredNode) -> list[Device]:
    return [one for one in seen.devices.values() if one.kind in LAYER2 and remotes_of(seen, one)]


def _holder(seen: ConfiguredNode, tunnel: Device) -> str:
    """The device that has, or should have, the address of the overlay that a tunnel belongs to."""
    bundles = [one for one in seen.devices.values() if one.kind in shapes.OVER_TWO]
    bundle = next((one for one in bundles if tunnel in shapes.legs(seen, one)), None)
    return bundle.name if bundle else tunnel_ends.holder(seen, tunnel)


def _without(seen: ConfiguredNode, holders: set[str]) -> ConfiguredNode:
    """A host without some overlays' devices: those with the address, and the tunnels under them."""
    gone = {device.name for device in _tunnels(seen) if _holder(seen, device) in holders} | holders
    return replace(seen, devices={name: device for name, device in seen.devices.items() if name not in gone})
