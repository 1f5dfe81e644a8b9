"""Rules of traffic control: queues and filters that lose, delay, repeat or reorder, and what they did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lab.diagnose.codes import declared
from lab.diagnose.scene import HostScene, Scene
from lab.model import Finding
from lab.stack.records import Filter, Qdisc
from lab.underlay.fabric import FABRIC

SHAPERS = ("tbf", "htb", "cake", "red")  # well as long as they hold nothing back
SLOW = 100_000_000  # bit/s
UNITS = {
    **dict.fromkeys(("delay", "jitter"), " s"),
    **dict.fromkeys(("loss", "duplicate", "reorder", "corrupt"), " %"),
    "rate": " bit/s",
    "limit": "",
}
"""What a queue does to packets, and in which units."""
IMPAIRING = ("loss", "duplicate", "reorder", "corrupt", "delay", "jitter", "rate")
CHANGING = ("pedit", "nat", "vlan", "skbmod", "ct", "mpls", "ife", "tunnel_key")
ACTIONS = {"ok": "pass", "shot": "drop"}
"""The kernel's names that differ from those of tc-actions(8)."""
PASSING = ("ok", "unspec", "pipe", "reclassify")
ARRIVING = ("cloud", "decapsulation")
"""Where a packet is lost that another device has sent, and its own has not received."""
# no queues of their own: what is dropped there a filter dropped, or the queue of a class
HOOKS = ("clsact", "ingress", "prio", "ets", "mq", "mqprio")


def queues(scene: Scene) -> Iterator[Finding]:
    """A queue that drops, delays or repeats by intent, on a host or in the emulated network."""
    for node, readings, losing in _nodes(scene):
        kinds = ("netem", *(SHAPERS if losing else ()))  # of a live host, others drop what is not the overlay's
        qdiscs = [one for one in readings.get("qdiscs", ()) if scene.planned or one.kind in kinds]
        impairing = [one for one in qdiscs if _impairs(one, losing=losing)]
        roots = {qdisc.dev for qdisc in impairing if qdisc.parent == "root"}
        for qdisc in impairing:
            device = qdisc.dev
            if qdisc.parent != "root" and device in roots:
                continue  # it goes with the root
            several = len([one for one in readings["qdiscs"] if (one.dev, one.kind) == (device, qdisc.kind)]) > 1
            set_to = {name: qdisc.settings[name] for name in UNITS if qdisc.settings.get(name)}
            settings = [f"{name} {value:g}{UNITS[name]}" for name, value in set_to.items()]
            root = "root" if several or qdisc.parent == "root" else f"parent {qdisc.parent} handle {qdisc.handle}"
            late = not qdisc.drops and "delay" in set_to and {*set_to} <= {"delay", "jitter", "limit"}
            dropped = f"dropped {qdisc.drops}{': packets are late, not lost' if late else ''}"
            found = f"tc qdisc: {qdisc.kind} {qdisc.handle} {qdisc.parent} {', '.join(settings)}; {dropped}"
            code = "traffic-changed" if "corrupt" in set_to else "traffic-impaired"
            yield declared(code, node, device, found, f"tc qdisc del dev {device} {root}")


def _impairs(qdisc: Qdisc, *, losing: bool) -> bool:
    """Whether a queue is made to impair, or has dropped something, or held back where something was lost."""
    kind = qdisc.kind
    if kind in HOOKS:
        return False
    meant = kind == "plug" or (kind == "netem" and any(qdisc.settings.get(name) for name in IMPAIRING))
    slow = kind in SHAPERS and bool(qdisc.overlimits) and (losing or qdisc.settings.get("rate", SLOW) < SLOW)
    return meant or slow or bool(qdisc.drops)


def filters(scene: Scene) -> Iterator[Finding]:
    """Traffic filters on a device where something was lost at that node, or that have acted on packets."""
    for node, readings, losing in _nodes(scene):
        hooks: dict[tuple[str, str], list[Filter]] = {}
        for found in readings.get("filters", ()):
            if found.kind == "bpf" and node == FABRIC:
                continue  # what the cloud refuses, which rules of the cloud speak of
            acting = _acts(scene, found) if found.actions else losing
            if acting and (scene.planned or losing):
                hooks.setdefault((found.dev, found.direction), []).append(found)
        for (device, direction), several in hooks.items():
            first = several[0]
            hung = dict.fromkeys(f"{found.place} pref {found.priority}" for found in several)
            match = f"({first.match})" if first.kind in ("bpf", "matchall") and first.match else first.match
            what = " ".join(filter(None, (first.kind, first.name, match)))
            found = ", ".join((f"tc filter on {direction}: {what}", *map(_action, first.actions)))
            fix = " && ".join(f"tc filter del {each}" for each in hung)
            changing = any(action["kind"] in CHANGING for one in several for action in one.actions)
            yield declared("traffic-changed" if changing else "traffic-filtered", node, device, found, fix)


def _action(action: Mapping[str, Any]) -> str:
    """An action as tc(8) names it."""
    kind, verdict = action["kind"], str(action.get("verdict", ""))
    if kind == "bpf":
        return verdict
    return f"action {ACTIONS.get(verdict, verdict) if kind == 'gact' else f'{kind} {verdict}'.strip()}"


def xdp(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """An XDP program on a device that packets were sent to and never seen at: it runs before captures."""
    entered = {one.missing.interface for one in scene.losses if one.stage in ARRIVING and one.missing.node == host.name}
    for name in (host.plan.nic, *scene.topology.devices(host.name)):
        device = host.seen.devices.get(name)
        if device is not None and device.xdp and name in entered:
            yield host.declared("xdp-drops", name, mode=device.xdp)


def _acts(scene: Scene, found: Filter) -> bool:
    """Whether a filter has done something to packets; of a program that judges by itself that is not known."""
    # a policer counts what it lets pass too
    acted = [one for one in found.actions if one.get("overlimits" if one["kind"] == "police" else "packets")]
    return found.kind == "bpf" or any(_matters(scene, action) for action in acted)


def _matters(scene: Scene, action: Mapping[str, Any]) -> bool:
    verdict = str(action["verdict"])
    verdicts = {verdict, action.get("random", {}).get("verdict", verdict)}
    if verdict.startswith("mirror"):  # a copy for a capture, unless it goes where the overlay is, or comes back
        back = any(one.repeated(name) for one in scene.trial.exchanges for name in one.receivers)
        ends = [name for host in scene.hosts.values() for name in (host.plan.nic, *scene.topology.devices(host.name))]
        return back or verdict.split()[-1] in ends
    return bool(verdicts - {*PASSING}) or action["kind"] in CHANGING


def _nodes(scene: Scene) -> Iterator[tuple[str, Mapping[str, Sequence[Any]], bool]]:
    """What was read of every node, and whether something was lost there."""
    losing = {node for loss in scene.losses for node in (loss.node, loss.missing.node)}
    nodes = {host.name: host.readings for host in scene.hosts.values()}
    nodes |= {FABRIC: scene.fabric} if scene.fabric else {}
    yield from ((node, readings, node in losing) for node, readings in nodes.items())
