"""Settings with which no overlay works (`codes.json`): parameters of the kernel, options of bridges, flags of ports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lab.diagnose.codes import Setting, wrong
from lab.diagnose.parameters import ROWS, of_row
from lab.diagnose.scene import HostScene, Scene
from lab.model import Finding

LEAST_GROUPS, GROUPS = 512, 4096  # mcast_hash_max of kernels old and new; no kernel has less than the first
LEAST_ISOLATED = 2  # ports: isolated ones do not forward to each other


def _counts(scene: Scene, host: HostScene, setting: Setting, value: int, options: Mapping[str, Any]) -> bool:
    """Whether a setting counts at a host, `options` being the others of its bridge."""
    isolated = [one for one in host.seen.ports_of(host.plan.device) if one.flag("isolated")]
    conditions = {
        # what has no plan, or a plan with this value, may be intended
        "unplanned": scene.planned and scene.topology.bridge_data.get(setting.name) != value,
        "answering": not scene.planned or scene.topology.answer_broadcast_ping,
        "limited": host.parameter("net.ipv4.icmp_ratelimit") > 0,
        "native": scene.topology.native,
        "tunnels": not scene.topology.native,
        "snooping": bool(options.get("mcast_snooping")),
        # with a full table of groups the kernel stops snooping by itself
        "roomy": options.get("mcast_hash_max", GROUPS) >= LEAST_GROUPS,
        "joining": scene.joins(host),
        "parted": not host.plan.isolated and len(isolated) >= LEAST_ISOLATED,
        "separate": host.plan.isolated,
    }
    return all(conditions[one] for one in setting.counts)


def parameters(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """Every host has values under which an overlay works; several parameters of one code are one finding."""
    found: dict[tuple[str, str], list[tuple[Setting, str]]] = {}
    for one in ROWS:
        for name, interface in of_row(one, host.plan).items():
            value = host.parameter(name)
            if host.has(name) and one.wrong(value) and _counts(scene, host, one, value, {}):
                found.setdefault((one.code, interface), []).append((one, name))
    for (code, interface), several in found.items():
        values = ", ".join(f"{name} is {host.parameter(name)} (expected {one.usual})" for one, name in several)
        usual = " ".join(f"{name}={one.usual} {one.fix}".strip() for one, name in several)
        yield host.declared(code, interface, values, f"sysctl -w {usual}")


def options(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """Every bridge between tunnels forwards what it must and nothing more; every bond uses one tunnel at a time."""
    device = host.device
    if device is None or device.kind != host.plan.holder or not scene.joins(host):
        return
    for one, value in wrong(device.kind, device.details.get):
        if _counts(scene, host, one, value, device.details):
            fix = f"ip link set {device.name} type {device.kind} {one.name} {one.usual}"
            yield host.declared(one.code, device.name, f"{one.name} is {value}; expected {one.usual}", fix)


def flags(scene: Scene, bridging: HostScene) -> Iterator[Finding]:
    """Every tunnel that is a port of a bridge of the overlay does what a port does."""
    for peer in scene.topology.peers(bridging.name):
        port, bridge = scene.end(bridging, peer), bridging.device
        if port is None or bridge is None or bridge.kind != "bridge" or port.master != bridge.name:
            continue
        for one, value in wrong("port", port.flag):
            if _counts(scene, bridging, one, value, {}):
                found = f"{one.name} is {'off' if one.usual else 'on'}; the port leads to {peer}"
                yield bridging.declared(one.code, port.name, found, one.flag(port.name))
