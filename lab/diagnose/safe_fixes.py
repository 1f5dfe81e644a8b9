"""
Fixes that could cut what passes: one that removes or replaces something needs a proof that something is lost there.

    careful(scene, findings)      the same findings, without the commands that have no such proof
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from lab.diagnose.scene import HostScene, Scene
from lab.diagnose.trial import Exchange
from lab.model import Finding

REMOVING = re.compile(r"(?<![\w-])(nomaster|del|delete|down|flush|replace|-[DFX])(?![\w-])")
PART = re.compile(r"&&|;|\|")
LINK = re.compile(r"ip link (?:del|set) (\S+)")
RESTORED = r"ip link (?:add|set) (?:\S+ name )?{}\b.*(?: type | up| master )"
UNTOUCHED = "nothing was lost there: no command is given, as it could cut what passes"


def careful(scene: Scene, findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings; of one whose fix removes something where nothing is lost, only what was found."""
    harmed = set(_harmed(scene))
    for finding in findings:
        host = scene.hosts.get(finding.node)
        if host is None or host.name in harmed or not _is_risky(scene, host, finding.remedy):
            yield finding
        else:
            yield replace(finding, remedy="", note=True, evidence=f"{finding.evidence}; {UNTOUCHED}")


def removes(command: str) -> bool:
    """Whether a command takes something away or puts something else in its place."""
    return REMOVING.search(command.partition("#")[0]) is not None


def _is_risky(scene: Scene, host: HostScene, command: str) -> bool:
    """
    Whether a command could cut something that passes.

    Of hosts whose plan is known, whatever is not planned may go; not a planned device or address that is in use.
    """
    if not removes(command):
        return False
    return True if not scene.planned else any(_takes_planned(scene, host, command))


def _takes_planned(scene: Scene, host: HostScene, command: str) -> Iterator[bool]:
    devices = scene.topology.devices(host.name)
    parts = [part.strip() for part in PART.split(command)]
    for number, part in enumerate(parts):
        link = LINK.match(part)
        if link and removes(part) and link[1] in devices:
            restored = re.compile(RESTORED.format(re.escape(link[1])))
            yield "nomaster" in part or not any(restored.match(later) for later in parts[number + 1 :])
        moved = part.startswith(f"ip addr del {host.plan.overlay} ")
        yield moved and all(address != host.plan.overlay for address in host.seen.addresses_of(host.plan.device))


def _harmed(scene: Scene) -> Iterator[str]:
    """The hosts where something was lost, refused, repeated or rewritten during the trial."""
    every = list(scene.hosts)
    for loss in scene.losses:
        yield from (loss.node, loss.missing.node, *([loss.last.node] if loss.last else []))
        if loss.unresolved:
            yield from scene.on_paths(loss.exchange.sender, loss.receiver)
    for exchange in scene.trial.exchanges:
        yield from _of_exchange(scene, exchange)
        if exchange.network == "overlay" and not all(map(exchange.in_order, exchange.heard or ())):
            yield from every
    for answers in (*scene.trial.pings, *scene.trial.pings6):
        mute = [name for name in every if name != answers.pinger and not answers.counts.get(name)]
        yield from ([answers.pinger, *mute] if mute else [])
        if not answers.counts.get(answers.pinger):
            yield answers.pinger
    for stream in scene.trial.streams:
        yield from ((stream.client, stream.server) if stream.refused else ())


def _of_exchange(scene: Scene, exchange: Exchange) -> Iterator[str]:
    if exchange.network == "underlay" and not (scene.planned and exchange.kind == "unicast"):
        return  # which clouds do not deliver, or live hosts do not take
    if exchange.refused:
        yield exchange.sender
        return
    lost = [name for name in exchange.receivers if exchange.lost(name)]
    if lost and (exchange.network == "underlay" or not exchange.sightings):
        yield from (name for receiver in lost for name in scene.on_paths(exchange.sender, receiver))
    if exchange.network == "overlay" and exchange.sources - {scene.hosts[exchange.sender].plan.address()}:
        yield exchange.sender
