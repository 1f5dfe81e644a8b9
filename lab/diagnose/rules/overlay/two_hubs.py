"""Rules of two hubs, or a hub and its standby: that the second one is missing shows only when it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lab.diagnose.codes import declared
from lab.diagnose.scene import HostScene, Scene
from lab.model import TICKS, Finding
from lab.overlay import commands, failover_timers
from lab.overlay.plan import ACTIVE_BACKUP
from lab.overlay.recognition.readback import Device
from lab.topology.topologies import ROLE

KINDS = {"bond": "bond", "prp": "hsr"}
"""The kinds of link that have a host's address over two tunnels, by the names of `model.Holder`."""


def missing(scene: Scene, spoke: HostScene) -> Iterator[Finding]:
    """The device over both tunnels is there and has both."""
    kind, topology = KINDS.get(spoke.plan.holder), scene.topology
    there = [port for port in topology.ports(spoke.name) if port in spoke.seen.devices]
    if kind is None or len(there) < len(topology.ports(spoke.name)):  # other rules name the tunnels
        return
    if spoke.device is None or spoke.device.kind != kind:
        found = spoke.inventory
        code = "bond-missing" if kind == "bond" else "prp-missing"
        yield spoke.declared(code, spoke.plan.device, found, commands.over_both(topology, spoke.plan))
        return
    for port in there if kind == "bond" else ():
        master = spoke.seen.device(port).master
        if master != spoke.plan.device:
            joined = commands.joined(spoke.plan, port)
            yield spoke.declared("leg-not-bonded", port, master=master or "none", joined=joined)


def one_leg(scene: Scene, spoke: HostScene) -> Iterator[Finding]:
    """Every bond uses one tunnel at a time: both hubs forward broadcast to both, and each would arrive twice."""
    device = _bond(spoke)
    mode = device.details.get("mode", ACTIVE_BACKUP) if device is not None else ACTIVE_BACKUP
    if mode != ACTIVE_BACKUP:
        fix = f"ip link del {spoke.plan.device} && {commands.over_both(scene.topology, spoke.plan)}"
        yield spoke.declared("bond-of-both", spoke.plan.device, f"mode {mode}; expected {ACTIVE_BACKUP}", fix)


def watched(scene: Scene, spoke: HostScene) -> Iterator[Finding]:
    """Every bond sends ARP probes to all hubs: a tunnel has a carrier whatever has become of its hub."""
    if (device := _bond(spoke)) is None:
        return
    hubs = [hub.address() for hub in scene.topology.hubs]
    interval, targets = failover_timers.arp_probes(device)
    lacking = [address for address in hubs if address not in targets]
    if interval and not lacking:
        return
    found = f"arp_interval {interval}, arp_ip_target {', '.join(targets) or 'none'}; expected {', '.join(hubs)}"
    yield spoke.declared("bond-not-watching", device.name, found, commands.watching(scene.topology, spoke.plan))


def _bond(spoke: HostScene) -> Device | None:
    """The bond over a spoke's tunnels, where there is to be one, and is."""
    device = spoke.device
    return device if spoke.plan.holder == "bond" and device is not None and device.kind == "bond" else None


def one_mac(scene: Scene, spoke: HostScene) -> Iterator[Finding]:
    """Both tunnels of a PRP device have one MAC address: by it receivers tell the second copy of a frame."""
    ports = scene.topology.ports(spoke.name) if spoke.plan.holder == "prp" else ()
    legs = [device for name in ports if (device := spoke.seen.devices.get(name))]
    for device in legs[1:]:
        if device.mac != legs[0].mac:
            first, expected = legs[0].name, legs[0].mac
            yield spoke.declared("prp-mac-mismatch", device.name, first=first, expected=expected, mac=device.mac)


def apart(scene: Scene) -> Iterator[Finding]:
    """Under PRP the hubs are networks of their own: no tunnel joins them."""
    if not scene.topology.doubled:
        return
    hubs = {hub.endpoint: hub.name for hub in scene.topology.hubs}
    for name in hubs.values():
        host = scene.hosts[name]
        for port in host.seen.ports_of(host.plan.device):
            remote = port.tunnel.remote if port.tunnel and port.up else None
            if str(remote) in hubs:
                yield host.declared("hubs-joined", port.name, remote=remote, bridge=host.plan.device)


def spanning(scene: Scene, hub: HostScene) -> Iterator[Finding]:
    """Spokes do not bridge tunnels to two hubs; where they do, STP's timers are as planned."""
    topology = scene.topology
    if not any(map(topology.spans, topology.nodes)) or hub.device is None:
        return
    timers = {name: hub.device.details.get(name, 0) for name in failover_timers.STP_TIMERS}
    age, delay = (timers[name] / TICKS for name in ("max_age", "forward_delay"))
    warning = hub.declared("stp-between-hubs", hub.plan.device, max_age=age, delay=delay, silence=age + 2 * delay)
    yield replace(warning, note=True)  # nothing is lost yet
    planned = {name: topology.bridge_data[name] for name in failover_timers.STP_TIMERS if name in topology.bridge_data}
    longer = [name for name, value in planned.items() if timers[name] > value]
    if longer:
        each = (f"{name} {timers[name] / TICKS:g} s (expected {planned[name] / TICKS:g} s)" for name in longer)
        wanted = " ".join(f"{name} {value}" for name, value in planned.items())
        fix = f"ip link set {hub.plan.device} type bridge {wanted}"
        yield hub.declared("stp-timers-long", hub.plan.device, ", ".join(each), fix)


def one_master(scene: Scene, hub: HostScene) -> Iterator[Finding]:
    """Of a hub and its standby one is the VRRP master."""
    plan = scene.topology.standby
    readings = (hub.readings, scene.standby)
    if plan is not None and all(any(one.local == ROLE for one in each.get("addresses", ())) for each in readings):
        address = hub.plan.address("underlay")
        yield declared("vrrp-two-masters", plan.name, plan.nic, role=ROLE, hub=hub.name, address=address)
