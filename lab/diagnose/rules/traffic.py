"""Rules of traffic control: queues and filters that lose, delay, repeat or reorder, and what they did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lab.diagnose.scene import Scene
from lab.model import Finding

SHAPERS = ("netem", "tbf", "htb", "cake", "red", "plug")
OWN_FILTER = "vcn"


def queues(scene: Scene) -> Iterator[Finding]:
    """A queue that drops, delays or repeats by intent, on a host or in the emulated network."""
    for node, readings, names in _nodes(scene):
        for qdisc in readings.get("qdiscs", ()):
            kind = str(qdisc.get("kind"))
            if kind not in SHAPERS or not (scene.planned or kind == "netem"):
                continue
            device = str(names.get(qdisc.get("index", 0), qdisc.get("device")))
            options = {name: value for name, value in (qdisc.get("options") or {}).items() if value}
            yield Finding(
                "traffic-impaired",
                node,
                device,
                f"{device} of {node} has a {kind} queue",
                ", ".join(f"{name} {value}" for name, value in options.items()) or kind,
                f"tc qdisc del dev {device} root",
                ("APP-06", "PERF-03"),
            )


def filters(scene: Scene) -> Iterator[Finding]:
    """A traffic filter on a host's device, where something was lost at that host."""
    losing = {loss.node for loss in scene.losses}
    for node, readings, names in _nodes(scene):
        if node not in scene.hosts or not (scene.planned or node in losing):
            continue
        told = set()
        for found in readings.get("filters", ()):
            device = str(names.get(found.get("index", 0), found.get("device")))
            direction = str(found.get("direction", "ingress"))
            if (device, direction) in told:
                continue
            told.add((device, direction))
            yield Finding(
                "traffic-filtered",
                node,
                device,
                f"a traffic filter is at work on {device} of {node}, {direction}",
                f"{found.get('kind')} {found.get('name') or ''} {found.get('actions') or ''}".strip(),
                f"tc filter del dev {device} {direction}",
                ("PRE-04",),
            )


def _nodes(scene: Scene) -> Iterator[tuple[str, Mapping[str, Sequence[Any]], Mapping[int, str]]]:
    for host in scene.hosts.values():
        yield host.name, host.readings, host.names
    if scene.fabric:
        names = {link["index"]: str(link.get("IFLA_IFNAME")) for link in scene.fabric.get("links", ())}
        yield "vcn", scene.fabric, names


RULES = (queues, filters)
