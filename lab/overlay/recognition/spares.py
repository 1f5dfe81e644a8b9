"""
A hub's standby: the host that takes the hub's address and tunnels over, and is not part of the overlay until then.

    hub      10.0.0.200 on its NIC, bridge0 <- tunnels that start at 10.0.0.200
    standby  the same tunnels without that address; or no tunnel yet, and VRRP (protocol 112) on it and on the hub

A host that has that address is the hub also if its own tunnels are missing.

Where VRRP runs on both and both have the address, both are masters: a finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import permutations

from lab.model import Finding, NodePlan, Topology
from lab.overlay.recognition import tunnel_ends
from lab.overlay.recognition.layouts import LAYER2, owner
from lab.overlay.recognition.readback import ConfiguredHosts, ConfiguredNode

PAIR = 2
UNDECIDED = "which of them is the hub does not follow from their state"
NO_MASTER = "VRRP runs on both and has made neither of them the master (to see why: journalctl -u keepalived)"
NO_VRRP = "VRRP does not run on both of them, so that neither takes it over (to see it: systemctl status keepalived)"
TWO_MASTERS = "vrrp-two-masters"


@dataclass(frozen=True)
class Spare:
    """A hub and its standby, and what shows which is which; `why`: that they cannot be distinguished."""

    hub: str
    standby: str
    fact: str
    why: str = ""
    start: str = ""
    """The address at which the tunnels of both start."""
    both_masters: bool = False
    """Whether VRRP runs on both, and both have that address."""


def found(hosts: ConfiguredHosts) -> Spare | None:
    """The hub and its standby, where there is one."""
    return next(_alike(hosts), None) or next(_by_start(hosts), None) or next(_by_vrrp(hosts), None)


def without(hosts: ConfiguredHosts, spare: Spare) -> dict[str, ConfiguredNode]:
    """The other hosts, the hub first."""
    others = {name: seen for name, seen in hosts.items() if name not in (spare.hub, spare.standby)}
    return {spare.hub: hosts[spare.hub], **others}


def with_standby(topology: Topology, spare: Spare, hosts: ConfiguredHosts) -> Topology:
    """The star of the hub, with the plan of its standby."""
    to = topology.spokes[0].address("underlay")
    nic = hosts[spare.standby].device_to(to) or NodePlan.nic
    own = next(iter(hosts[spare.standby].addresses_of(nic)), topology.hub.underlay)
    plan = replace(topology.hub, name=spare.standby, underlay=own, nic=nic, underlay6=None, further=())
    return replace(topology, name="standby", standby=plan)


def _alike(hosts: ConfiguredHosts) -> Iterator[Spare]:
    """Two hosts whose tunnels have the same starts and ends; the one that has the address of the starts is the hub."""
    for hub, standby in _pairs(hosts, list(hosts)):
        starts = {local for _, local, _, _ in _tunnels(hosts[hub], hosts) & _tunnels(hosts[standby], hosts)}
        for start in sorted(starts):
            have = [name for name in (hub, standby) if start in tunnel_ends.own(hosts[name])]
            if have == [hub]:
                yield Spare(hub, standby, f"the same tunnels, without their start {start}", start=start)
            elif have != [standby]:
                which = f"both have {start}, their start" if have else f"neither has {start}, their start"
                vrrp = "" if all(hosts[name].vrrp for name in (hub, standby)) else NO_VRRP
                rest = UNDECIDED if have else vrrp or NO_MASTER
                why = f"{hub} and {standby} have the same tunnels, and {which}; {rest}"
                yield Spare(hub, standby, "", why, start, both_masters=bool(have) and not vrrp)


def _by_start(hosts: ConfiguredHosts) -> Iterator[Spare]:
    """A host whose tunnels start at the address of another one without such tunnels, which the spokes' lead to."""
    for hub, standby in _pairs(hosts, list(hosts)):
        foreign = {
            local
            for _, local, remote, _ in _tunnels(hosts[standby], hosts)
            if any(device.remote == local for device in hosts[str(owner(remote, hosts))].tunnels())
        }
        for start in sorted(foreign & tunnel_ends.own(hosts[hub]) - tunnel_ends.own(hosts[standby])):
            if not any(device.local == start for device in hosts[hub].tunnels()):
                yield Spare(hub, standby, f"its tunnels start at {start}, an address of {hub}", start=start)


def _by_vrrp(hosts: ConfiguredHosts) -> Iterator[Spare]:
    """A host without a tunnel that has VRRP in common with the only other one that has it."""
    speaking = [name for name, seen in hosts.items() if seen.vrrp]
    for hub, standby in _pairs(hosts, speaking) if len(speaking) == PAIR else ():
        there = [any(device.kind in LAYER2 for device in hosts[name].leading()) for name in (hub, standby)]
        if there == [True, False]:
            yield Spare(hub, standby, "VRRP on both, and no tunnel")


def _pairs(hosts: ConfiguredHosts, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Every two hosts of which no tunnel leads to the second."""
    led_to = {owner(device.remote or "", hosts) for seen in hosts.values() for device in seen.tunnels()}
    return ((one, other) for one, other in permutations(names, 2) if other not in led_to)


def _tunnels(seen: ConfiguredNode, hosts: ConfiguredHosts) -> set[tuple[str, str, str, tuple[int | None, int | None]]]:
    """The kind, both ends and the numbers of each tunnel with a start that leads to another of the hosts."""
    return {
        (device.kind, device.local, device.remote, (device.vni, device.tunnel.output_key))
        for device in seen.tunnels()
        if device.tunnel and device.local and device.remote and owner(device.remote, hosts) not in (None, seen.name)
    }


def two_masters(spare: Spare, hosts: ConfiguredHosts, *, at: str = "", why: str = "", fix: str = "") -> Finding:
    """
    The finding of a hub and a standby that are both VRRP masters; `at` receives no advertisements of the other one.

    `why` and `fix`: what is known of the reason, and the command for it.
    """
    at = at or spare.standby
    peer = spare.hub if at == spare.standby else spare.standby
    address = source(spare, hosts[peer])
    found = (
        f"{spare.start} is on {at} and on {peer}",
        why or f"the firewalls on {at} must accept protocol 112 from {address}",
        f"then restart keepalived on {peer}: it requests the address from the cloud only when it becomes the master",
    )
    fix = fix or f"iptables -I INPUT -s {address} -p 112 -j ACCEPT"
    summary = f"{at} and {peer} are both VRRP masters; expected one"
    return Finding(TWO_MASTERS, at, nic(spare, hosts[at]), summary, "; ".join(found), fix)


def nic(spare: Spare, seen: ConfiguredNode) -> str:
    """The device that has the address of a master."""
    return seen.device_with(spare.start) or ""


def source(spare: Spare, seen: ConfiguredNode) -> str:
    """The address that a master's advertisements come from: the first one of its NIC."""
    return str(seen.addresses_of(nic(spare, seen))[0].ip)
