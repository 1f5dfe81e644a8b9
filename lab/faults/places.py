"""Places in a lab, as faults speak of them: node and interface."""

from __future__ import annotations

from collections.abc import Callable

from lab.faults.fault import Place
from lab.host import Host
from lab.laboratory import BuiltLab
from lab.overlay.carrier import carrier_of
from lab.underlay.fabric import FABRIC

Who = Callable[[BuiltLab], Host]


def victim(lab: BuiltLab) -> Host:
    """The spoke that faults of a single spoke are put on: the last one."""
    return lab.spokes[-1]


def hub(lab: BuiltLab) -> Host:
    return lab.hub


def first_spoke(lab: BuiltLab) -> Host:
    return lab.spokes[0]


def names(lab: BuiltLab, host: Host) -> dict[str, str]:
    """What a command on a host, or the name of an interface there, may have in braces."""
    return {
        "device": host.plan.device,
        "nic": host.plan.nic,
        "own": host.address(),
        "overlay": str(host.plan.overlay),
        "broadcast": lab.everyone,
        "groups": str(lab.topology.multicast_route),
        "underlay": host.address("underlay"),
        "network": str(host.plan.underlay.network),
        "hub": lab.hub.address(),
        "remote": lab.hub.address("underlay"),
        "port": lab.topology.port(lab.hub.name, victim(lab).name),
        "first": first_spoke(lab).address(),
        "carrier": carrier_of(lab.topology.options.kind, ()).iptables,
    }


def device(who: Who, name: str) -> Place:
    """A device of a name on a host."""
    return lambda lab: (who(lab).name, name.format(**names(lab, who(lab))))


victim_device, victim_nic, victim_itself = (device(victim, name) for name in ("{device}", "{nic}", ""))
hub_bridge, hub_port, hub_nic, hub_itself = (device(hub, name) for name in ("{device}", "{port}", "{nic}", ""))


def hub_ports(lab: BuiltLab) -> list[str]:
    """The hub's ends of all tunnels."""
    return lab.topology.ports(lab.hub.name)


def cloud(lab: BuiltLab) -> tuple[str, str]:
    return FABRIC, ""


def cloud_port(who: Who) -> Place:
    """The fabric's port of a host."""
    return lambda lab: (FABRIC, who(lab).name)
