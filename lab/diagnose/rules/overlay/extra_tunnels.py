"""Rules of unplanned tunnels: the driver's own that are up, second ones, shortcuts, layer-3 ones."""

from __future__ import annotations

from collections.abc import Iterator

from lab.diagnose.rules.overlay.tunnels import renamed
from lab.diagnose.scene import HostScene, Scene
from lab.model import Finding
from lab.overlay.recognition.readback import Device
from lab.tunnels import KINDS

LAYER3 = ("gre", "ipip", "sit")
BY_NUMBER = [name for name, kind in KINDS.items() if kind.port is not None]


def unplanned(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """Tunnels in addition to the planned ones: the driver's own that are up, second ones, shortcuts, layer-3 ones."""
    peers = [scene.hosts[peer] for peer in scene.topology.peers(host.name)]
    own = {*scene.topology.ports(host.name), *(found.name for far in peers if (found := renamed(scene, host, far)))}
    names = {far.plan.endpoint: far.name for far in scene.hosts.values()}
    for device in host.seen.devices.values():
        if device.name not in own and (device.tunnel or device.kind in (*KINDS, *LAYER3, "erspan")):
            yield from _unplanned(scene, host, device, names)


def _unplanned(scene: Scene, host: HostScene, device: Device, names: dict[str, str]) -> Iterator[Finding]:
    remote = device.tunnel.remote if device.tunnel else None
    if remote is None and device.kind not in LAYER3:
        # by its port and VNI one of VXLAN or Geneve takes what is its own: only as part of the overlay it matters
        if device.up and (device.kind not in BY_NUMBER or _joins(host, device)):
            bridged, freed = (f" and is a port of {device.master}", " nomaster") if device.master else ("", "")
            yield host.declared("fallback-tunnel-up", device.name, bridged=bridged, freed=freed)
        return
    if device.kind in LAYER3:
        if device.up and remote_of(device) in names:
            yield host.declared("layer3-tunnel", device.name, kind=device.kind, remote=remote_of(device))
        return
    far = names.get(str(remote))
    if far is None and device.master != scene.topology.bridge:
        return
    if not scene.planned and (far is None or not _joins(host, device)):
        return  # to a host that is not among the live hosts, or of another overlay
    if far is not None and not (_joins(host, device) or _joined_from(scene.hosts[far], host, device)):
        return  # for another purpose
    if far is None:
        found = f"its remote is {remote}, not a host of the overlay; its master is {device.master}"
        # not a port it would still accept what that host sends
        yield host.declared("stray-port", device.name, found, f"ip link del {device.name}")
        return
    if scene.topology.doubled and host.plan.is_hub and scene.hosts[far].plan.is_hub:
        return  # what that is with PRP is another rule's (`hubs-joined`)
    code = "attached-twice" if far in scene.topology.peers(host.name) else "spokes-meshed"
    own = scene.end(host, far) if code == "attached-twice" and device.kind not in BY_NUMBER else None
    if own and own.tunnel and device.tunnel and own.tunnel.input_key == device.tunnel.input_key:
        code = "tunnel-shadowed"
    bridged = f"; it is a port of {device.master}" if device.master else ""
    yield host.declared(code, device.name, remote=remote, far=far, bridged=bridged)


def _joins(host: HostScene, device: Device) -> bool:
    """Whether a tunnel is part of the overlay: a port of its bridge, or with an address or a route of its subnet."""
    network, addresses = host.plan.overlay.network, host.seen.addresses_of(device.name)
    routed = any(route.dev == device.name and route.to.subnet_of(network) for route in host.seen.routes)
    return device.master == host.plan.device or routed or any(one.ip in network for one in addresses)


def _joined_from(far: HostScene, host: HostScene, device: Device) -> bool:
    """Whether the other end of a tunnel is part of the overlay."""
    own = device.tunnel
    ends = [(end, end.tunnel) for end in far.seen.tunnels() if end.tunnel and end.remote == host.plan.endpoint]
    alike = [end for end, its in ends if own and (its.vni, its.input_key) == (own.vni, own.output_key)]
    return any(_joins(far, end) for end in alike)


def remote_of(device: Device) -> str | None:
    """The other end of a tunnel of a kind that is not read back as one."""
    remote = device.details.get("remote")
    return None if remote is None else str(remote)
