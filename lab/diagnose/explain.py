"""
Explains what is wrong with an overlay: from one trial and the state of its hosts to findings.

    for finding in explain(scene.gather(lab, planned=True)):
        print(finding.node, finding.summary, finding.remedy)

Every rule is asked; findings at the places where something was lost come first.  A loss that no rule explains is told
as the place where it ended: no guess.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from lab.diagnose import rules
from lab.diagnose.caution import careful
from lab.diagnose.effects import can_lose
from lab.diagnose.legs import Loss
from lab.diagnose.scene import Scene
from lab.model import Finding
from lab.probes.patience import Kind, Way
from lab.underlay.fabric import FABRIC

Rule = Callable[[Scene], Iterable[Finding]]


@functools.cache
def known() -> tuple[Rule, ...]:
    """Every rule, by the names of their modules."""
    modules = sorted(module.name for module in pkgutil.iter_modules(rules.__path__))
    return tuple(
        rule for name in modules for rule in getattr(importlib.import_module(f"{rules.__name__}.{name}"), "RULES", ())
    )


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a lab, and the ways on which everything was lost."""

    findings: tuple[Finding, ...] = ()
    lost: frozenset[Way] = frozenset()


def diagnose(scene: Scene) -> Diagnosis:
    """The findings, and what the trial showed to be lost for whoever would wait for it."""
    kinds: dict[str, Kind] = {"broadcast": "broadcast", "multicast": "multicast", "unicast": "unicast"}
    dead = {
        Way(one.network, kinds[one.kind], one.sender, receiver)
        for one in scene.trial.exchanges
        if one.kind in kinds and (one.network, one.kind) != ("underlay", "broadcast")
        for receiver in one.receivers
        if len(one.lost(receiver)) == len(one.sent) and (not one.refused or one.kind == "unicast")
    }
    return Diagnosis(explain(scene), frozenset(dead))


def explain(scene: Scene) -> tuple[Finding, ...]:
    """What is wrong, each once, those at the place of a loss first."""
    found: dict[tuple[str, str, str, str], Finding] = {}
    for rule in known():
        for finding in rule(scene):
            found.setdefault((finding.code, finding.node, finding.interface, finding.remedy), finding)
    findings = [_with_loss(finding, scene.losses) for finding in careful(scene, found.values())]
    findings.sort(key=lambda finding: not _at_a_loss(finding, scene.losses))
    return (*findings, *whereabouts(scene, findings))


def _at_a_loss(finding: Finding, losses: Sequence[Loss]) -> list[Loss]:
    """The losses at a finding's node that can be its doing."""
    return [
        loss for loss in losses if finding.node in (loss.node, loss.missing.node) and can_lose(finding, loss, losses)
    ]


def _with_loss(finding: Finding, losses: Sequence[Loss]) -> Finding:
    """The finding with the loss that ended at its interface, or at its node, as part of its evidence."""
    at_node = _at_a_loss(finding, losses)
    exact = [loss for loss in at_node if finding.interface in (loss.missing.interface, _last(loss))]
    chosen = next(iter([*exact, *at_node]), None)
    return replace(finding, evidence=f"{finding.evidence}; {chosen}") if chosen else finding


def _last(loss: Loss) -> str:
    return loss.last.interface if loss.last else ""


def whereabouts(scene: Scene, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Where what no rule explains was lost, repeated or put out of order."""
    findings = list(findings)
    told: set[tuple[str, str, str]] = set()
    losses = scene.losses
    if losses and all(loss.unresolved for loss in losses):
        ends = [{loss.exchange.sender, loss.receiver} for loss in losses]
        common = [name for name in scene.hosts if all(name in both for both in ends)]
        explained = {one.node for one in findings if can_lose(one, losses[0], losses)}
        if common and not explained & {scene.hub.name}.union(*ends):
            yield _unresolved(scene, common[-1], losses)
            return
    for loss in losses:
        key = (loss.stage, loss.missing.node, loss.missing.interface)
        able = [one for one in findings if can_lose(one, loss, losses)]
        ports = {one.interface for one in able if one.node == FABRIC}
        if key in told or {one.node for one in able} & _near(scene, loss) or _by_the_cloud(loss, ports):
            continue
        told.add(key)
        yield _lost(loss)
    if not findings and not told:
        others = [*_disturbed(scene), *_refused(scene)]
        yield from others or _silent(scene)


def _by_the_cloud(loss: Loss, ports: set[str]) -> bool:
    """Whether the emulated cloud is at fault at a port of those between whom a loss is."""
    return bool(ports & {FABRIC, loss.missing.node, *([loss.last.node] if loss.last else [])})


def _near(scene: Scene, loss: Loss) -> set[str]:
    """Who is on the way of what was lost; spokes reach each other by the hub."""
    places = {loss.node, loss.missing.node, loss.exchange.sender, loss.receiver}
    if not places & {scene.hub.name}:
        places.add(scene.hub.name)
    if loss.last is not None:
        places.add(loss.last.node)
    if loss.inside is not None:
        places.add(loss.inside.node)
    return places


def _unresolved(scene: Scene, name: str, losses: Sequence[Loss]) -> Finding:
    return Finding(
        "neighbour-unresolved",
        name,
        scene.hosts[name].plan.device,
        f"broadcast passes, and ARP between {name} and the others does not: unicast is never sent",
        "; ".join(str(loss) for loss in losses[:2]),
        "",
        ("BCAST-08",),
    )


def _lost(loss: Loss) -> Finding:
    inside = loss.inside
    node = inside.node if inside else loss.missing.node
    interface = inside.interface if inside else loss.missing.interface or (loss.last.interface if loss.last else "")
    some = "" if loss.whole else "part of "
    return Finding(
        f"lost-at-{loss.stage}" if loss.whole else f"partly-lost-at-{loss.stage}",
        node,
        interface,
        f"{some}what {loss.exchange.sender} sends to {loss.receiver} ends at {node}",
        str(loss) + (f"; it left {loss.bare} without a tunnel" if loss.bare else ""),
        "",
    )


def _refused(scene: Scene) -> Iterator[Finding]:
    """Datagrams that a kernel did not send, connections that came to nothing."""
    for exchange in scene.trial.exchanges:
        if exchange.refused and exchange.network == "overlay":
            yield Finding(
                "sending-refused",
                exchange.sender,
                scene.hosts[exchange.sender].plan.device,
                f"{exchange.sender} does not send a {exchange}",
                exchange.refused,
                "",
                ("BCAST-01", "MCAST-01"),
            )
            return
    for stream in scene.trial.streams:
        if stream.refused:
            yield Finding(
                "stream-refused",
                stream.server,
                scene.hosts[stream.server].plan.device,
                f"{stream.client} and {stream.server} exchange datagrams inside the overlay and no TCP",
                stream.refused,
                "",
                ("MTU-03",),
            )
            return


def _silent(scene: Scene) -> Iterator[Finding]:
    """Hosts that hear everything, and whose answers to a ping are heard by nobody."""
    pings = scene.trial.pings if scene.topology.answer_broadcast_ping else ()
    for pinger, name in scene.unforwarded[:1] if pings else ():
        yield Finding(
            "ping-unanswered",
            scene.hub.name,
            scene.topology.bridge,
            f"{scene.hub.name} forwards datagrams between {pinger} and {name}, and no broadcast pings or their answers",
            f"{pinger} has an answer from {scene.hub.name} and none from {name}",
            "",
            ("ICMP-01",),
        )
        return
    for name, host in scene.hosts.items():
        asked = [answers for answers in pings if answers.pinger != name]
        asks = [answers for answers in pings if answers.pinger == name]
        mute = asked and not any(answers.counts.get(name) for answers in asked)
        deaf = asks and not any(answers.others for answers in asks)
        if mute or deaf:
            yield Finding(
                "ping-unanswered",
                name,
                host.plan.device,
                f"{name} {'answers nobody who pings' if mute else 'gets no answer from anybody when it pings'} "
                "everybody on the overlay, and datagrams pass both ways",
                f"{len(asked if mute else asks)} broadcast pings, no answer",
                "",
                ("ICMP-01",),
            )
            return


def _disturbed(scene: Scene) -> Iterator[Finding]:
    """Copies and order: an exchange that lost nothing may still not be as it was sent."""
    for exchange in scene.trial.exchanges:
        for receiver in exchange.receivers:
            heard = (exchange.heard or {}).get(receiver, ())
            if exchange.network != "overlay" or not heard:
                continue
            if any(count > 1 for count in exchange.copies(receiver).values()):
                yield Finding(
                    "duplicated",
                    receiver,
                    "",
                    f"{receiver} hears {exchange} more than once",
                    f"{len(heard)} copies of {len(exchange.sent)} datagrams",
                    "",
                    ("BCAST-06",),
                )
                return
            if list(heard) != [payload for payload in exchange.sent if payload in heard]:
                yield Finding(
                    "reordered",
                    receiver,
                    "",
                    f"{receiver} hears {exchange} out of order",
                    f"{len(heard)} datagrams, not in the order in which they were sent",
                    "",
                    ("APP-06",),
                )
                return
