"""Places in a lab, as faults speak of them: node and interface."""

from __future__ import annotations

from collections.abc import Callable

from lab.faults.fault import Named, Place
from lab.host import Host
from lab.laboratory import BuiltLab
from lab.underlay.fabric import FABRIC


def victim(lab: BuiltLab) -> Host:
    """The spoke that faults of a single spoke are put on: the last one."""
    return lab.spokes[-1]


def victim_device(lab: BuiltLab) -> tuple[str, str]:
    return victim(lab).name, victim(lab).plan.device


def victim_nic(lab: BuiltLab) -> tuple[str, str]:
    return victim(lab).name, victim(lab).plan.nic


def victim_itself(lab: BuiltLab) -> tuple[str, str]:
    return victim(lab).name, ""


def hub_port(lab: BuiltLab) -> tuple[str, str]:
    """The hub's end of the victim's tunnel."""
    return lab.hub.name, lab.topology.port(lab.hub.name, victim(lab).name)


def hub_ports(lab: BuiltLab) -> list[str]:
    """The hub's ends of all tunnels."""
    return lab.topology.ports(lab.hub.name)


def hub_bridge(lab: BuiltLab) -> tuple[str, str]:
    return lab.hub.name, lab.topology.bridge


def hub_nic(lab: BuiltLab) -> tuple[str, str]:
    return lab.hub.name, lab.hub.plan.nic


def hub_itself(lab: BuiltLab) -> tuple[str, str]:
    return lab.hub.name, ""


def cloud(lab: BuiltLab) -> tuple[str, str]:
    return FABRIC, ""


def cloud_port(lab: BuiltLab) -> tuple[str, str]:
    """The fabric's port of the hub."""
    return FABRIC, lab.hub.name


def spoke_cloud_port(lab: BuiltLab) -> tuple[str, str]:
    """The fabric's port of the first spoke."""
    return FABRIC, lab.spokes[0].name


def device(node: Callable[[BuiltLab], Host], name: str) -> Place:
    """A device of a name on a node."""
    return lambda lab: (node(lab).name, name)


def named(code: str, at: Place) -> Named:
    """The finding that the diagnosis must come to."""
    return Named(code, at)
