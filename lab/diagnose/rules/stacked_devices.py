"""Rules of devices that stand on a tunnel or a NIC, or that one was put under: what arrives goes to them."""

from __future__ import annotations

from collections.abc import Iterator

from lab.diagnose.scene import HostScene, Scene
from lab.model import Finding
from lab.overlay import commands

STACKED = ("macvlan", "macvtap", "ipvlan", "ipvtap")
PASSTHRU = "passthru"  # the mode of a macvlan that takes everything that arrives
PARTED = ("vrf",)  # masters of which other rules speak


def upper(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """A device on top of the overlay's, where the host takes what arrives twice or not at all."""
    twice = any(one.network == "overlay" and one.repeated(host.name) for one in scene.trial.exchanges)
    for device in host.seen.devices.values():
        if device.kind not in STACKED or device.lower not in (host.plan.device, host.plan.nic):
            continue
        takes_all = device.details.get("mode") == PASSTHRU
        if not takes_all and not (twice and device.up and device.lower == host.plan.device):
            continue
        effect = (
            f", mode passthru: it receives all packets of {device.lower}" if takes_all else ": datagrams arrive twice"
        )
        yield host.declared("device-on-top", device.name, kind=device.kind, lower=device.lower, effect=effect)


def enslaved(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """Neither a spoke's tunnel nor a NIC with the host's address has a master: it would get all that arrives."""
    devices = [host.seen.devices.get(name) for name in dict.fromkeys((host.plan.device, host.plan.nic))]
    for device in devices:
        master = host.seen.devices.get(device.master or "") if device is not None else None
        if device is None or master is None or master.kind in PARTED:
            continue
        if master.name == scene.topology.bridge and host.plan.is_hub:
            continue  # a port of the overlay's own bridge is another rule's
        tunnel = device.name == host.plan.device
        if not tunnel and not scene.planned:
            continue
        # what a device may have lost with its master's coming and going
        again = commands.placed(scene.topology, host.plan) if tunnel else commands.placed_outside(host.plan)
        code = "spoke-tunnel-bridged" if tunnel and master.kind == "bridge" else "device-enslaved"
        yield host.declared(code, device.name, master=master.name, kind=master.kind, again=again)


RULES = (upper, enslaved)
