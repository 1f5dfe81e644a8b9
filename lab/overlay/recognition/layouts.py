"""
Layouts of an overlay that are not understood: what gives them away, and what of them is shown.

A star and other shapes (`shapes`) are understood, whatever their names and numbers.  Chained hubs, a bond over two
tunnels to one hub and the like may work as well; they are neither judged nor changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lab.overlay.recognition import tunnel_ends
from lab.overlay.recognition.readback import ConfiguredNode, Device
from lab.overlay.recognition.tunnel_ends import SpokeTunnel
from lab.tunnels import KINDS

NOT_UNDERSTOOD = "layout not understood"
SUPPORTED = (
    "supported: one hub with a bridge; one tunnel (gretap, ip6gretap; VXLAN, Geneve over IPv4) from each spoke to it, "
    "its hub end a port of that bridge; overlay addresses on the bridge and on the spokes' tunnels, or on a spoke's "
    "bridge with the tunnel as its port; a pair (one tunnel with addresses at its ends); a mesh (on each host a bridge "
    "with the address and an isolated port for each other host); flood lists (on each host a VXLAN device with the "
    "address and an all-zeros entry for each other host); two hubs (each with a bridge; on the others an "
    "active-backup bond, a PRP device or a bridge with STP, with the address, over a tunnel to either hub)"
)
LAYER2 = tuple(KINDS)
BUNDLES = ("bond", "team", "hsr")


@dataclass(frozen=True)
class Layout:
    """A layout that is not understood: why, and a line for each host."""

    why: str
    hosts: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        return [f"{NOT_UNDERSTOOD}: {self.why}", *(f"  {host}" for host in self.hosts), SUPPORTED]


def described(why: str, hosts: Mapping[str, ConfiguredNode]) -> Layout:
    """The layout of some hosts, which is not understood for a reason."""
    return Layout(why, tuple(_host(seen, hosts) for seen in hosts.values()))


def _host(seen: ConfiguredNode, hosts: Mapping[str, ConfiguredNode]) -> str:
    tunnels = [device for device in seen.devices.values() if device.kind in LAYER2 and _is_used(seen, device)]
    if not tunnels:
        return f"{seen.name}: no tunnel"
    return f"{seen.name}: " + "; ".join(_tunnel(seen, device, hosts) for device in tunnels)


def _is_used(seen: ConfiguredNode, device: Device) -> bool:
    """Whether a device is more than the one that a driver makes by itself."""
    return bool(device.remote or seen.floods.get(device.name) or device.up)


def _tunnel(seen: ConfiguredNode, device: Device, hosts: Mapping[str, ConfiguredNode]) -> str:
    remotes = remotes_of(seen, device)
    to = ", ".join(_named(address, hosts) for address in remotes) or "no remote"
    master = f", port of {device.master}" if device.master else ""
    place = tunnel_ends.holder(seen, device)
    addresses = ", ".join(map(str, seen.addresses_of(place))) or "no address"
    return f"{device.name} ({device.kind}) → {to}{master}, {addresses}" + (
        f" on {place}" if place != device.name else ""
    )


def remotes_of(seen: ConfiguredNode, device: Device) -> tuple[str, ...]:
    """Where a device sends what it floods."""
    own = [device.remote] if device.remote else []
    return tuple(dict.fromkeys([*own, *seen.floods.get(device.name, ())]))


def _named(address: str, hosts: Mapping[str, ConfiguredNode]) -> str:
    name = owner(address, hosts)
    return f"{address} ({name})" if name else f"{address} (not among the hosts)"


def owner(address: str, hosts: Mapping[str, ConfiguredNode]) -> str | None:
    """The one host that has an address."""
    names = [seen.name for seen in hosts.values() if address in tunnel_ends.own(seen)]
    return names[0] if len(names) == 1 else None


def another(
    hub: ConfiguredNode, bridge: str | None, pairs: Sequence[SpokeTunnel], hosts: Mapping[str, ConfiguredNode]
) -> str | None:
    """Why the hosts have another layout than a star; None where they have one, or one that is half-configured."""
    return next(_reasons(hub, bridge, pairs, hosts), None)


def _reasons(
    hub: ConfiguredNode, bridge: str | None, pairs: Sequence[SpokeTunnel], hosts: Mapping[str, ConfiguredNode]
) -> Iterator[str]:
    incomplete = [pair for pair in pairs if pair.near is None or pair.far is None]
    for seen in [*(pair.spoke for pair in incomplete), *([hub] if incomplete else [])]:
        for device in seen.devices.values():
            if device.kind == "vxlan" and device.up and not device.remote:
                lists = ", ".join(seen.floods.get(device.name, ())) or "nothing"
                yield f"{seen.name} {device.name} is a VXLAN device without a remote; it floods to {lists}"
    for pair in pairs:
        yield from _past_the_hub(hub, pair, hosts)
        for end, seen in ((pair.near, pair.spoke), (pair.far, hub)):
            yield from _end(end, seen)
    if bridge is None:
        for device in hub.tunnels():
            if device.kind in LAYER2 and (address := tunnel_ends.overlay_address(hub, tunnel_ends.holder(hub, device))):
                yield f"{hub.name} {device.name} is not a port of a bridge and has an address itself, {address}"


def _past_the_hub(hub: ConfiguredNode, pair: SpokeTunnel, hosts: Mapping[str, ConfiguredNode]) -> Iterator[str]:
    """Tunnels of a spoke to other hosts than the hub, unless they belong to another overlay."""
    spoke = pair.spoke
    place = tunnel_ends.holder(spoke, pair.near) if pair.near else None
    for device in spoke.tunnels():
        for remote in remotes_of(spoke, device):
            name = owner(remote, hosts)
            if name is None or name in (hub.name, spoke.name) or device is pair.near:
                continue
            if (
                pair.far
                and not pair.near
                and not any(one.remote in tunnel_ends.own(spoke) for one in hosts[name].tunnels())
            ):
                continue  # the hub's end is there, and nothing leads back: a wrong remote
            # of a spoke whose tunnel to the hub is complete, a tunnel apart is another overlay's
            if place is None or pair.far is None or device.master == place or not spoke.addresses_of(device.name):
                yield f"{spoke.name} {device.name} leads to {name}, not to the hub"


def _end(end: Device | None, seen: ConfiguredNode) -> Iterator[str]:
    if end is None or end.tunnel is None:
        return
    if not KINDS[end.kind].over_ipv6 and ":" in str(end.remote):
        yield f"{seen.name} {end.name} is {KINDS[end.kind].carrier.upper()} over IPv6"
    master = seen.devices.get(end.master or "")
    if master is not None and master.kind in BUNDLES:
        yield f"{seen.name} {end.name} is part of {master.name}, a {master.kind} device"
