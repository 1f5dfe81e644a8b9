"""Rules of a VXLAN device's own table, which leads to its tunnel's remote or its peers, and of what answers from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.diagnose.scene import HostScene, Scene
from lab.model import Finding
from lab.overlay import commands
from lab.overlay.recognition.readback import Device
from lab.stack.records import ANY_MAC, FdbEntry
from lab.tunnels.kind import TunnelEnd

EXTENSIONS = {"gbp": "gbp", "remcsum_tx": "remcsum_rx"}
"""What a device sends by an option (ip-link(8)), and the option by which the other end takes it."""
GROUP = 1  # the bit in the first octet of a MAC address of a group (IEEE 802)


def elsewhere(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """Every entry of a tunnel's table leads to a host that the tunnel is for, by its port and VNI, and one floods."""
    for name in scene.topology.ports(host.name):
        device = host.seen.devices.get(name)
        if device is not None and device.tunnel is not None and device.kind == "vxlan":
            yield from _table(scene, host, device, device.tunnel)


def _table(scene: Scene, host: HostScene, device: Device, tunnel: TunnelEnd) -> Iterator[Finding]:
    peers = [peer for peer in scene.topology.peers(host.name) if scene.topology.port(host.name, peer) == device.name]
    listed = [scene.topology.node(peer).endpoint for peer in peers]
    remotes = [tunnel.remote] if tunnel.remote else listed if host.plan.holder == "mesh" else []
    own = [entry for entry in host.readings["fdb"] if entry.dev == device.name and entry.dst]
    # `endpoints` reports a wrong remote; frames of the right one are learned nevertheless
    served = (*remotes, *listed, *(scene.topology.strangers if host.plan.holder == "mesh" else ()))
    macs = {ANY_MAC, *(one.mac for each in scene.hosts.values() for one in each.seen.devices.values())}
    known = [entry for entry in own if entry.lladdr in macs or int(entry.lladdr[:2], 16) & GROUP]
    foreign = [entry for entry in known if entry.dst not in served or entry.port or entry.vni]
    flooding = [entry for entry in known if entry not in foreign and entry.lladdr == ANY_MAC]
    # of two for one remote the one that names the device's own NIC is the tunnel's
    doubled = [entry for entry in flooding if not entry.via and _times(flooding, entry.dst) > 1]
    for entry in (*foreign, *doubled):
        further = (f" port {entry.port}" if entry.port else "") + (f" vni {entry.vni}" if entry.vni else "")
        why = f"{entry.dst} is not a peer" if entry.dst not in served else "the tunnel has another port or VNI"
        why = f"a second entry for {entry.dst}, so broadcast is sent there twice" if entry in doubled else why
        to = f"{entry.dst}{further}"
        yield host.declared("vxlan-entry-elsewhere", device.name, mac=entry.lladdr, to=to, why=why)
    to_groups = [entry for entry in known if entry not in foreign and int(entry.lladdr[:2], 16) & GROUP]
    for entry in to_groups if len(remotes) > 1 else ():
        yield host.declared("vxlan-group-entry", device.name, mac=entry.lladdr, to=entry.dst)
    missing = [remote for remote in remotes if not _times(flooding, remote)]
    if missing:
        via = f" via {tunnel.link}" if tunnel.link and tunnel.remote else ""
        again = [f"bridge fdb append {ANY_MAC} dev {device.name} dst {remote}{via}" for remote in missing]
        yield host.declared("vxlan-flood-missing", device.name, fix=" && ".join(again), lacks=", ".join(missing))


def _times(flooding: Sequence[FdbEntry], remote: str) -> int:
    return sum(entry.dst == remote for entry in flooding)


def extensions(scene: Scene) -> Iterator[Finding]:
    """No end answers ARP itself (ip-link(8): proxy), or sends flags for which the other end, made without, drops."""
    dropping = {loss.node for loss in scene.losses if loss.stage == "decapsulation"}
    for host, far, device, _ in scene.made_ends():
        other, again = scene.end(far, host.name), commands.again(scene.topology, host.plan, far.name, device)
        if device.details.get("proxy"):
            yield host.declared("vxlan-proxy", device.name, fix=again)
        for option, taken in EXTENSIONS.items() if other is not None and far.name in dropping else ():
            if other is not None and device.details.get(option) and not other.details.get(taken):
                lacks = f"{far.name} {other.name} lacks {taken.replace('_', '')}"
                yield host.declared("vxlan-extended", device.name, fix=again, option=option.replace("_", ""), far=lacks)
