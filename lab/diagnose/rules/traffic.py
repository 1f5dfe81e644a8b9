"""Rules of traffic control: queues and filters that lose, delay, repeat or reorder, and what they did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lab.diagnose.scene import Scene
from lab.model import Finding
from lab.underlay.fabric import FABRIC

SHAPERS = ("netem", "tbf", "htb", "cake", "red", "plug")
SETTINGS = {
    "loss": " %",
    "duplicate": " %",
    "reorder": " %",
    "corrupt": " %",
    "delay": " s",
    "jitter": " s",
    "rate": " bit/s",
    "limit": "",
}
CLSACT = "ffff:"
HOOKS = ("clsact", "ingress")  # no queues: what is dropped there a filter dropped


def queues(scene: Scene) -> Iterator[Finding]:
    """A queue that drops, delays or repeats by intent, on a host or in the emulated network."""
    for node, readings in _nodes(scene):
        for qdisc in readings.get("qdiscs", ()):
            overflown = qdisc["kind"] not in HOOKS and bool(qdisc.get("drops"))
            meant = qdisc["kind"] in SHAPERS or overflown
            if not meant or not (scene.planned or qdisc["kind"] == "netem"):
                continue
            device = qdisc["device"]
            several = (
                len([one for one in readings["qdiscs"] if (one["device"], one["kind"]) == (device, qdisc["kind"])]) > 1
            )
            settings = [f"{name} {qdisc[name]:g}{unit}" for name, unit in SETTINGS.items() if qdisc.get(name)]
            root = (
                "root" if several or qdisc["parent"] == "root" else f"parent {qdisc['parent']} handle {qdisc['handle']}"
            )
            yield Finding(
                "traffic-impaired",
                node,
                device,
                f"{device} of {node} has a {qdisc['kind']} queue: {', '.join(settings) or 'it holds packets back'}",
                f"tc qdisc: {qdisc['kind']} {qdisc['handle']} {qdisc['parent']}, dropped {qdisc.get('drops', 0)}",
                f"tc qdisc del dev {device} {root}",
                ("APP-06", "PERF-02", "PERF-03"),
            )


def filters(scene: Scene) -> Iterator[Finding]:
    """A traffic filter on a host's device, where something was lost at that host."""
    losing = {node for loss in scene.losses for node in (loss.node, loss.missing.node)}
    for node, readings in _nodes(scene):
        told = set()
        for found in readings.get("filters", ()):
            hook = (found["device"], found["direction"])
            if hook in told or node not in scene.hosts or not (scene.planned or node in losing):
                continue
            told.add(hook)
            device, direction = hook
            actions = ", ".join(f"{action['kind']} {action.get('verdict', '')}".strip() for action in found["actions"])
            # what hangs on clsact is named by its direction, what hangs on another queue by its handle
            where = direction if found["parent"] == CLSACT else f"parent {found['parent']}"
            yield Finding(
                "traffic-filtered",
                node,
                device,
                f"a traffic filter is at work on {device} of {node}, {direction}",
                f"tc filter: {found['kind']} {found['name']} {found['match']} {actions}".replace("  ", " ").strip(),
                f"tc filter del dev {device} {where}",
                ("PRE-04",),
            )


def _nodes(scene: Scene) -> Iterator[tuple[str, Mapping[str, Sequence[Any]]]]:
    for host in scene.hosts.values():
        yield host.name, host.readings
    if scene.fabric:
        yield FABRIC, scene.fabric


RULES = (queues, filters)
