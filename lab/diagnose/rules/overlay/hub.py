"""Rules of bridges between tunnels: the bridge, its ports and what they may carry, and loops of several."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from lab.diagnose.scene import HostScene, Scene
from lab.model import Finding, mac_of
from lab.overlay import commands
from lab.overlay.recognition.readback import Device

FORWARDING = 3  # the state as bridge(8) takes it


def bridge(scene: Scene, bridging: HostScene) -> Iterator[Finding]:
    """Every bridge between tunnels is there, up, and forwards what it must and nothing more."""
    device, topology, name = bridging.device, scene.topology, bridging.plan.device
    wanted = topology.bridge_mac(bridging.plan)
    if device is None or device.kind != "bridge":
        # a tunnel that is missing too is made a port when it is made
        joined = [port for port in topology.ports(bridging.name) if port in bridging.seen.devices]
        pinned = f"address {wanted} " if scene.planned and wanted else ""
        ports = "".join(f"ip link set {port} up master {name} && " for port in joined)
        made = f"ip link add {name} {pinned}type bridge && {ports}ip link set {name} up"
        placed = commands.placed(topology, bridging.plan)
        yield bridging.declared("bridge-missing", name, bridging.inventory, f"{made} && {placed}")
        return
    if not device.up:
        yield bridging.declared("bridge-down", device.name, route=commands.route(topology, bridging.plan))
    cut = any(loss.stage == "forwarding" for loss in scene.losses)
    vlans = _untagged(bridging, device)
    # frames of one VLAN pass between the bridge and all of its ports
    parted = "" in vlans.values() or len(set(vlans.values())) > 1
    if device.details.get("vlan_filtering") and (scene.planned or cut) and parted:
        listed = ", ".join(f"{port} {each or 'none'}" for port, each in vlans.items())
        yield bridging.declared("vlan-filtering", name, vlans=listed)
    of_ports = {port.mac for port in bridging.seen.ports_of(name)}
    if scene.planned and scene.joins(bridging) and (device.mac != wanted if wanted else device.mac in of_ports):
        pinned = wanted or mac_of(bridging.plan.overlay.ip)
        yield bridging.declared("bridge-mac-not-pinned", device.name, mac=device.mac, expected=pinned)


def _untagged(host: HostScene, bridge: Device) -> dict[str, str]:
    """The VLANs whose frames a bridge and its ports take and give without a tag."""
    vlans = [one for one in host.readings["vlans"] if one.pvid and one.untagged]
    names = [bridge.name, *(port.name for port in host.seen.ports_of(bridge.name))]
    return {name: ", ".join(str(one.vid) for one in vlans if one.dev == name) for name in names}


def ports(scene: Scene, bridging: HostScene) -> Iterator[Finding]:
    """Every tunnel of a host with a bridge is a port of it and does what a port does."""
    if bridging.device is not None and bridging.device.kind == "bridge":  # `bridge-missing` makes them ports
        for peer in scene.topology.peers(bridging.name):
            if (port := scene.end(bridging, peer)) is not None:
                yield from _port(scene, bridging, port, peer)


def _port(scene: Scene, host: HostScene, port: Device, peer: str) -> Iterator[Finding]:
    bridge = host.plan.device
    if port.master != bridge:
        summary = f"{host.name} {port.name}, the tunnel to {peer}, is not a port of {bridge}"
        isolated = f" && bridge link set dev {port.name} isolated on" if host.plan.isolated else ""
        fix = f"ip link set {port.name} master {bridge}{isolated}"
        found = f"its master is {port.master}" if port.master else "it has no master"
        yield host.finding("port-not-bridged", port.name, summary, found, fix)
        return
    state = port.port.state if port.port else "forwarding"
    # a port that is down is disabled for that reason alone, which another rule names
    blocked = "blocking" if port.name in scene.topology.idle_ports(host.name) else "forwarding"
    if state in ("forwarding", blocked) or not port.up or not (host.device and host.device.up):
        return
    stp = bool(host.device.details.get("stp_state"))
    if stp and state != "disabled" and scene.topology.bridge_data.get("stp_state"):  # without it a loop is closed
        return
    # a port that is protodown is disabled whatever state it is given
    fix = f"ip link set {host.plan.device} type bridge stp_state 0 && " if stp else ""
    enabled = f"bridge link set dev {port.name} state {FORWARDING}"
    fix += f"ip link set {port.name} protodown off" if port.protodown else enabled
    found = f"port state {state}, STP {'on' if stp else 'off'}" + (", protodown on" if port.protodown else "")
    yield host.declared("port-blocked", port.name, found, fix)


def strangers(scene: Scene, hub: HostScene) -> Iterator[Finding]:
    """Ports that are no tunnels of the overlay."""
    bridge = scene.topology.bridge
    for port in hub.seen.ports_of(bridge):
        a_tunnel = port.tunnel is not None or port.name in scene.topology.ports(hub.name)
        if not a_tunnel and (scene.planned or port.name == hub.plan.nic):
            yield hub.declared("stray-port", port.name, f"{port.kind or 'a NIC'}, master {bridge}")


def forwarding_entries(scene: Scene, bridging: HostScene) -> Iterator[Finding]:
    """No static entry of a bridge holds a host's MAC on another port, or for the bridge's own (permanent)."""
    ports = {peer: scene.topology.port(bridging.name, peer) for peer in scene.topology.peers(bridging.name)}
    places = {bridging.name: bridging.plan.device, **ports}
    if len(ports) == 1:  # everything else is behind the one tunnel
        places = {**dict.fromkeys(scene.hosts, *ports.values()), bridging.name: bridging.plan.device}
    owners = {host.device.mac: host for host in scene.hosts.values() if host.device and host.name in places}
    own = {device.mac for device in bridging.seen.devices.values()}
    for entry in bridging.readings["fdb"]:
        owner, port = owners.get(entry.lladdr), entry.dev
        if owner is None or not entry.master or entry.state == "learned":
            continue
        right = places[owner.name]
        # what a permanent one holds, the bridge takes for itself
        if entry.lladdr in own if entry.state == "permanent" else port == right:
            continue
        # the bridge's own entry had to make room for it
        again = f" && bridge fdb replace {entry.lladdr} dev {right} self local" if owner is bridging else ""
        # an entry of the bridge itself is not a port's
        fix = f"bridge fdb del {entry.lladdr} dev {port} {'self' if port == entry.master else 'master'}{again}"
        found = f"fdb {entry.lladdr} dev {port} static; {owner.name} is at {right}"
        yield bridging.declared("fdb-static-wrong", str(port), found, fix)


class BridgedEnd(NamedTuple):
    """One end of a tunnel that is a port of a bridge."""

    host: HostScene
    device: Device

    @property
    def bridge(self) -> tuple[str, str]:
        return self.host.name, str(self.device.master)

    def __str__(self) -> str:
        return f"{self.host.name} {self.device.name} (port of {self.device.master})"


def loops(scene: Scene) -> Iterator[Finding]:
    """A tunnel between two bridges that are joined without it: what is broadcast goes round for ever."""
    joined: dict[tuple[str, str], set[tuple[str, str]]] = {}
    counts = [each.copies(name).values() for each in scene.trial.exchanges for name in each.receivers]
    copies = f"a datagram of the trial was received up to {max(map(max, filter(None, counts)), default=0)} times"
    for near, far in sorted(_links(scene), key=lambda ends: not all(_planned(scene, end) for end in ends)):
        one, other = (joined.setdefault(end.bridge, {end.bridge}) for end in (near, far))
        if one is not other:
            one |= other
            joined |= dict.fromkeys(other, one)
        elif not (_runs_stp(near) or _runs_stp(far)):
            yield near.host.declared("loop", near.device.name, near=near, far=far, copies=copies)


def _links(scene: Scene) -> Iterator[tuple[BridgedEnd, BridgedEnd]]:
    """The tunnels whose both ends are up and ports of a bridge, each once."""
    ends = [
        BridgedEnd(host, device)
        for host in scene.hosts.values()
        for device in host.seen.tunnels()
        if device.up and device.port is not None and not device.flag("isolated")  # such ports forward nothing to others
    ]
    return ((near, far) for near, far in combinations(ends, 2) if _meet(near, far))


def _meet(near: BridgedEnd, far: BridgedEnd) -> bool:
    here, there = near.device.tunnel, far.device.tunnel
    if here is None or there is None or (here.kind, here.vni) != (there.kind, there.vni):
        return False
    addressed = (here.remote, there.remote) == (far.host.plan.endpoint, near.host.plan.endpoint)
    return addressed and here.output_key == there.input_key


def _planned(scene: Scene, end: BridgedEnd) -> bool:
    return end.device.name in scene.topology.ports(end.host.name)


def _runs_stp(end: BridgedEnd) -> bool:
    bridge = end.host.seen.devices.get(str(end.device.master))
    return bridge is not None and bool(bridge.details.get("stp_state"))
