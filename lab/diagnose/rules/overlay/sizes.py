"""Rules of sizes: devices of the overlay that disagree, paths that carry less than they promise."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from lab import tunnels
from lab.diagnose.effects import unexplained
from lab.diagnose.rules.cloud import fabric_name
from lab.diagnose.scene import HostScene, Scene
from lab.model import Finding
from lab.overlay.commands import path_mtu
from lab.overlay.recognition.readback import Device

FULL_SIZE = "full-size broadcast"


def _overhead(scene: Scene) -> int:
    """Octets that the tunnels put in front of a frame's packet."""
    options = scene.topology.options
    return tunnels.kind(options.kind).overhead(options)


def _room(scene: Scene) -> int:
    """The MTU that the NICs leave to the overlay: that of the smallest."""
    nics = [host.nic for host in scene.hosts.values()]
    planned = [scene.underlay.provider.mtu] if scene.planned else [nic.mtu for nic in nics if nic is not None]
    return min(planned, default=0) - _overhead(scene)


def _ends(scene: Scene) -> Iterator[tuple[HostScene, Device]]:
    for host, _, device, tunnel in scene.made_ends():
        # other rules report one that leads or starts elsewhere, or has another header
        options = scene.topology.options
        header = (tunnel.output_key, tunnel.checksum[-1], tunnel.sequence[-1])
        same = not scene.planned or header == (options.key, options.checksum, options.sequence)
        placed = tunnel.link in (None, host.plan.nic) and tunnel.local in (None, host.plan.endpoint)
        # a bond gives the devices that it takes its own MTU, as long as it has them
        if same and placed and device.master in (None, host.plan.device):
            yield host, device


def devices(scene: Scene) -> Iterator[Finding]:
    """Every device of the overlay has the MTU that the NICs leave."""
    room, ends = _room(scene), list(_ends(scene))
    found = {device.mtu for _, device in ends}
    if not scene.planned and len(found) == 1 and max(found) <= room:
        return  # all smaller: the MTU chosen for the path
    wrong = [(host, device) for host, device in ends if device.mtu != room]
    for host, device in wrong:
        yield _size(host, device, room, found)
    for host in scene.hosts.values() if not wrong else ():  # otherwise what is over them follows its ports
        over, own, ports = host.device, scene.topology.mtu or room, scene.topology.ports(host.name)
        if over is None or over.name in ports or over.mtu == own:
            continue
        if scene.topology.native and over.mtu > own:
            continue  # `cloud.mtu` reports it
        # of a port with another header than planned, another rule reports the header, which the bridge's MTU follows
        judged, held = {device.name for end, device in ends if end is host}, host.seen.ports_of(over.name)
        if over.kind == "bridge" and not held:
            continue  # a bridge without a port has the MTU of none
        if all(port.name in judged or port.mtu != over.mtu for port in held):
            yield _size(host, over, own, {each.device.mtu for each in scene.hosts.values() if each.device})


def _size(host: HostScene, device: Device, expected: int, found: Collection[int]) -> Finding:
    others = ", ".join(str(mtu) for mtu in sorted(set(found) - {device.mtu})) or expected
    return host.declared("mtu-mismatch", device.name, mtu=device.mtu, expected=expected, others=others)


def black_holes(scene: Scene, found: Sequence[Finding]) -> Iterator[Finding]:
    """Where small frames pass and full-size ones are lost on the underlay."""
    small = {(one.exchange.sender, one.receiver) for one in scene.losses if one.exchange.kind == "broadcast"}
    for loss in unexplained(scene, found):
        way = (loss.exchange.sender, loss.receiver)
        if loss.exchange.kind != FULL_SIZE or not loss.whole or way in small or loss.last is None:
            continue
        if loss.stage not in ("cloud", "encapsulation"):
            continue
        end = loss.missing.node if loss.stage == "cloud" else loss.receiver
        inside = loss.inside
        yield Finding(
            "path-mtu-black-hole",
            inside.node if inside else fabric_name(scene) if loss.stage == "cloud" else loss.node,
            inside.interface if inside else "" if loss.stage == "cloud" else loss.missing.interface,
            f"full-size frames from {loss.last.node} to {end} are lost on the underlay: the path MTU is smaller than "
            "the NICs' MTU",
            f"all {loss.lost} full-size datagrams are lost, without an ICMP error; the small ones arrive",
            f"{path_mtu(scene.hosts[end].plan.endpoint, _room(scene) + _overhead(scene))}; raise it, or set the MTU of "
            f"every overlay device to it less {_overhead(scene)}",
        )
