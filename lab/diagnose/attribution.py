"""
Attribution: which findings explain what a test missed.

A path is how far one datagram came, as data (`probes.paths.Path.data`).  Of the findings that can lose such a packet
(`effects`), the nearest are responsible: those at the interfaces between which it was lost, else those at the hosts
there, else those on its way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from lab.diagnose import losses
from lab.diagnose.codes import CODES, has
from lab.diagnose.effects import can_lose, can_lose_at_stage, can_lose_kind
from lab.diagnose.explain import Diagnosis
from lab.model import Finding
from lab.probes.deadlines import Flow
from lab.requirements import area_of
from lab.underlay.fabric import FABRIC

PathData = Mapping[str, Any]
OF_GROUPS = frozenset({"MCAST", "SNOOP", "PRE"})
"""The areas of requirements that are about groups."""


def wrong(error: BaseException | None) -> list[PathData]:
    """The paths of what was not received as often as expected: those that the check followed, if it followed any."""
    followed, others = ([path for path in getattr(error, of, ()) if path["problem"]] for of in ("paths", "unfollowed"))
    return followed or others


def responsible(
    diagnosis: Diagnosis, paths: Sequence[PathData], hubs: Collection[str], *, changed: bool = False
) -> list[Finding]:
    """
    The findings that explain the paths, the nearest of each; all findings where no path is known.

    `changed`: the test changed its lab, so that a packet may be lost elsewhere than in the lab that was examined.
    """
    if not paths:
        return list(diagnosis.findings)
    able = [(_able(diagnosis, path, changed=changed), path) for path in paths]
    return list(dict.fromkeys(one for findings, path in able for one in _nearest(findings, path, hubs)))


def can_stop(finding: Finding, requirements: Iterable[str], *, groups: bool) -> bool:
    """
    Whether a failure without a path can be a finding's doing; `groups`: packets to groups were part of the test.

    What concerns groups alone stops a test that had none only if it is about groups, or about what they need; what
    loses nothing fails no other requirements than its own.
    """
    requirements = set(requirements)
    own = CODES[finding.code].requirements if has(finding, "nothing") else ()
    if own and requirements.isdisjoint(own):
        return False
    return not has(finding, "groups") or groups or not OF_GROUPS.isdisjoint(map(area_of, requirements))


def _able(diagnosis: Diagnosis, path: PathData, *, changed: bool) -> Sequence[Finding]:
    """The findings that can lose what was lost, at the place where it was if any can; all if nothing was lost."""
    if path["heard"] > (path["expected"] or 0) and (twice := [one for one in diagnosis.findings if has(one, "twice")]):
        return twice
    scene, loss = diagnosis.scene, losses.of_path(path)
    if scene is None or loss is None:
        return diagnosis.findings
    here = {path["sender"], path["receiver"]} <= set(scene.topology.plans)  # the test's lab may have further hosts
    exact = [one for one in diagnosis.findings if here and loss.followed and can_lose(scene, one, loss)]
    able = [one for one in diagnosis.findings if can_lose_kind(scene, one, loss)]
    at_stage = [one for one in able if can_lose_at_stage(scene, one, loss)]
    return exact or at_stage or (able if changed else [])


def _nearest(findings: Sequence[Finding], path: PathData, hubs: Collection[str]) -> list[Finding]:
    ends = path["legs"][-2:]  # the last place where it was seen, and the one where it was not
    interfaces = {(leg["node"], leg["interface"]) for leg in ends}
    nodes = {leg["node"] for leg in ends}
    on_the_way = {path["sender"], path["receiver"], *hubs, FABRIC, *(leg["node"] for leg in path["legs"])}
    sent = [one for one in findings if has(one, "arriving")]
    of_sender = [one for one in sent if one.node == path["sender"]]
    others = [one for one in findings if one not in sent]
    pruned = path["kind"] == "multicast" and not nodes.isdisjoint(hubs)
    tiers = (
        [one for one in others if (one.node, one.interface) in interfaces],
        [one for one in others if one.node in nodes or (pruned and has(one, "pruning"))],
        [one for one in others if one.node in on_the_way],
        [one for one in others if has(one, "twice")],
    )
    return [*of_sender, *next((tier for tier in tiers if tier), [])]


def dead(paths: Iterable[PathData]) -> set[Flow]:
    """The ways on which nothing arrived that was expected."""
    return {
        Flow(path["network"], path["kind"], path["sender"], path["receiver"])
        for path in paths
        if path["expected"] and not path["heard"] and path["legs"]
    }
