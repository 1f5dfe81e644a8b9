"""
A hub's standby: the host that takes the hub's address and tunnels over, and is not part of the overlay until then.

    hub      10.0.0.200 on its NIC, bridge0 <- tunnels that start at 10.0.0.200
    standby  the same tunnels without that address; or no tunnel yet, and VRRP (protocol 112) on it and on the hub
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import permutations

from lab.model import NodePlan, Topology
from lab.overlay.recognition import tunnel_ends
from lab.overlay.recognition.layouts import LAYER2, owner
from lab.overlay.recognition.readback import ConfiguredNode

Hosts = Mapping[str, ConfiguredNode]
PAIR = 2


@dataclass(frozen=True)
class Spare:
    """A hub and its standby, and what shows which is which; `why`: that they cannot be distinguished."""

    hub: str
    standby: str
    fact: str
    why: str = ""


def found(hosts: Hosts) -> Spare | None:
    """The hub and its standby, where there is one."""
    return next(_alike(hosts), None) or next(_by_vrrp(hosts), None)


def without(hosts: Hosts, spare: Spare) -> dict[str, ConfiguredNode]:
    """The other hosts, the hub first."""
    others = {name: seen for name, seen in hosts.items() if name not in (spare.hub, spare.standby)}
    return {spare.hub: hosts[spare.hub], **others}


def with_standby(topology: Topology, spare: Spare, hosts: Hosts) -> Topology:
    """The star of the hub, with the plan of its standby."""
    to = topology.spokes[0].address("underlay")
    nic = hosts[spare.standby].device_to(to) or NodePlan.nic
    own = next(iter(hosts[spare.standby].addresses_of(nic)), topology.hub.underlay)
    plan = replace(topology.hub, name=spare.standby, underlay=own, nic=nic, underlay6=None, further=())
    return replace(topology, name="standby", standby=plan)


def _alike(hosts: Hosts) -> Iterator[Spare]:
    """Two hosts whose tunnels have the same starts and ends; the one that has the address of the starts is the hub."""
    for hub, standby in _pairs(hosts, list(hosts)):
        starts = {local for _, local, _, _ in _tunnels(hosts[hub], hosts) & _tunnels(hosts[standby], hosts)}
        for start in sorted(starts & tunnel_ends.own(hosts[hub])):
            if start not in tunnel_ends.own(hosts[standby]):
                yield Spare(hub, standby, f"the same tunnels, without their start {start}")
            else:
                both = f"{hub} and {standby} have the same tunnels, and both have {start}, their start"
                yield Spare(hub, standby, "", f"{both}; which of them is the hub does not follow from their state")


def _by_vrrp(hosts: Hosts) -> Iterator[Spare]:
    """A host without a tunnel that has VRRP in common with the only other one that has it."""
    speaking = [name for name, seen in hosts.items() if seen.vrrp]
    for hub, standby in _pairs(hosts, speaking) if len(speaking) == PAIR else ():
        there = [any(device.kind in LAYER2 for device in hosts[name].leading()) for name in (hub, standby)]
        if there == [True, False]:
            yield Spare(hub, standby, "VRRP on both, and no tunnel")


def _pairs(hosts: Hosts, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Every two hosts of which no tunnel leads to the second."""
    led_to = {owner(device.remote or "", hosts) for seen in hosts.values() for device in seen.tunnels()}
    return ((one, other) for one, other in permutations(names, 2) if other not in led_to)


def _tunnels(seen: ConfiguredNode, hosts: Hosts) -> set[tuple[str, str, str, tuple[int | None, int | None]]]:
    """The kind, both ends and the numbers of each tunnel with a start that leads to another of the hosts."""
    return {
        (device.kind, device.local, device.remote, (device.vni, device.tunnel.output_key))
        for device in seen.tunnels()
        if device.tunnel and device.local and device.remote and owner(device.remote, hosts) not in (None, seen.name)
    }
