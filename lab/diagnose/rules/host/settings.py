"""
Kernel parameters (`parameters`), and options of bridges and their ports, with which no overlay works: one row for each.

A host with another value has a finding of the row's code, in the words of `codes.json`; several parameters of one code
and interface are one finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lab.diagnose.parameters import ROWS, Parameter, Setting, below
from lab.diagnose.scene import HostScene, Scene
from lab.model import Finding

LEAST_GROUPS, GROUPS = 512, 4096  # mcast_hash_max of kernels old and new; no kernel has less than the first


def _counts(scene: Scene, host: HostScene, row: Parameter) -> bool:
    answered = not scene.planned or scene.topology.answer_broadcast_ping
    limited = host.parameter("net.ipv4.icmp_ratelimit") > 0
    counts = {"always": True, "planned": scene.planned, "answering": answered, "limited": limited}
    return {**counts, "native": scene.topology.native, "tunnels": not scene.topology.native}[row.counts]


def parameters(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """Every host has values under which an overlay works."""
    wrong: dict[tuple[str, str], list[tuple[Parameter, str]]] = {}
    for one in ROWS:
        for at in (one.on or ("",)) if _counts(scene, host, one) else ():
            device = {"device": host.plan.device, "nic": host.plan.nic}.get(at, at)
            name = one.name.format(device)
            if host.has(name) and one.wrong(host.parameter(name)):
                interface = host.plan.device if at == "all" else device
                wrong.setdefault((one.code, interface), []).append((one, name))
    for (code, interface), several in wrong.items():
        found = ", ".join(f"{name} is {host.parameter(name)} (expected {one.usual})" for one, name in several)
        usual = " ".join(f"{name}={one.usual}{one.fix_with}" for one, name in several)
        yield host.declared(code, interface, found, f"sysctl -w {usual}")


def has_small_table(options: Mapping[str, Any]) -> bool:
    """Whether a bridge with these options has room for few groups."""
    return bool(options.get("mcast_hash_max", GROUPS) < LEAST_GROUPS)


@dataclass(frozen=True)
class BridgeOption(Setting):
    """An option of the bridges between tunnels (ip-link(8))."""

    planned_too: bool = True
    """Whether only a value counts that differs from a plan's; without a plan it may be intended."""
    counts: Callable[[Mapping[str, Any]], bool] = lambda options: True
    """Whether it counts beside the other options."""


OPTIONS = (
    BridgeOption("stp-on", "stp_state", 0),
    BridgeOption("addresses-forgotten", "ageing_time", 30000, below(1), planned_too=False),  # hundredths of a second
    BridgeOption("reserved-forwarded", "group_fwd_mask", 0, planned_too=False),
    # with a full table of groups the kernel stops snooping by itself
    BridgeOption("snooping-off", "mcast_snooping", 1, below(1), counts=lambda options: not has_small_table(options)),
    BridgeOption("querier-unplanned", "mcast_querier", 0, counts=lambda options: bool(options.get("mcast_snooping"))),
)


def options(scene: Scene, bridging: HostScene) -> Iterator[Finding]:
    """Every bridge between tunnels forwards what it must and nothing more."""
    device = bridging.device if scene.joins(bridging) else None
    details = device.details if device is not None and device.kind == "bridge" else {}
    for one in OPTIONS:
        value = details.get(one.name)
        meant = one.planned_too and (not scene.planned or scene.topology.bridge_data.get(one.name) == value)
        if value is not None and one.wrong(value) and not meant and one.counts(details):
            fix = f"ip link set {bridging.plan.device} type bridge {one.name} {one.usual}"
            yield bridging.declared(one.code, bridging.plan.device, f"{one.name} is {value}; expected {one.usual}", fix)


@dataclass(frozen=True)
class PortFlag:
    """A flag of a bridge port (bridge(8)): its word, and what it must be."""

    word: str
    wanted: int
    code: str
    command: str = "bridge link set dev {port} {word} {value}"
    alone: bool = False
    """Whether it also loses packets of a bridge that has no other tunnel."""

    def is_wrong(self, value: int | None) -> bool:
        """Whether a value is not what it must be; None: this kernel has no such flag."""
        return value is not None and bool(value) != bool(self.wanted)

    def fix(self, port: str) -> str:
        """The command that sets it."""
        return self.command.format(port=port, word=self.word, value="on" if self.wanted else "off")


BY_IP = "ip link set {port} type bridge_slave {word} {value}"  # bridge(8) has no word for it
FLAGS = (
    PortFlag("bcast_flood", 1, "broadcast-not-flooded"),
    PortFlag("mcast_flood", 1, "multicast-not-flooded"),
    PortFlag("flood", 1, "unicast-not-flooded"),
    PortFlag("learning", 1, "learning-off"),
    PortFlag("hairpin", 0, "hairpin-on", alone=True),
    PortFlag("locked", 0, "port-locked", alone=True),
    PortFlag("neigh_suppress", 0, "arp-suppressed"),
    PortFlag("proxy_arp", 0, "arp-suppressed", BY_IP),
    PortFlag("proxy_arp_wifi", 0, "arp-suppressed", BY_IP),
    PortFlag("mcast_to_unicast", 0, "multicast-as-unicast"),
    PortFlag("vlan_tunnel", 0, "vlan-tunnel"),
    PortFlag("group_fwd_mask", 0, "reserved-forwarded", "ip link set {port} type bridge_slave {word} 0"),
)
LEAST_ISOLATED = 2  # ports: isolated ones do not forward to each other
ISOLATED, JOINED = PortFlag("isolated", 0, "port-isolated"), PortFlag("isolated", 1, "port-not-isolated")


def flags(scene: Scene, bridging: HostScene) -> Iterator[Finding]:
    """Every tunnel that is a port of a bridge of the overlay does what a port does."""
    for peer in scene.topology.peers(bridging.name):
        port, bridge = scene.end(bridging, peer), bridging.device
        if port is None or bridge is None or bridge.kind != "bridge" or port.master != bridge.name:
            continue
        alone = sum(bool(one.flag("isolated")) for one in bridging.seen.ports_of(bridging.plan.device)) < LEAST_ISOLATED
        for flag in (*FLAGS, JOINED if bridging.plan.isolated else ISOLATED):
            counts = flag.alone or (scene.joins(bridging) and not (flag is ISOLATED and alone))
            if counts and flag.is_wrong(port.flag(flag.word)):
                found = f"{flag.word} is {'off' if flag.wanted else 'on'}; the port to {peer}"
                yield bridging.declared(flag.code, port.name, found, flag.fix(port.name))
