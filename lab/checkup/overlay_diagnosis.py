"""The overlay of live hosts, diagnosed as a failed test of the suite is: the same trial, scene, rules and findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab import live
from lab.checkup.check import Check
from lab.checkup.live_host import ALL, LiveHost
from lab.diagnose import scene
from lab.diagnose.explain import explain
from lab.diagnose.scene import Scene
from lab.errors import OvercastError
from lab.machines.hosts import HostSpec
from lab.model import Finding, Underlay
from lab.overlay.layouts import NOT_UNDERSTOOD, Layout


@dataclass(frozen=True)
class LiveDiagnosis:
    """The findings about the overlay; `skipped` is the reason why there was no trial."""

    findings: tuple[Finding, ...] = ()
    skipped: str = ""
    layout: Layout | None = None
    notes: tuple[str, ...] = ()
    scene: Scene | None = None
    """What the diagnosis looked at; None where no datagrams were sent."""


def diagnose(hosts: Mapping[str, LiveHost], specs: Sequence[HostSpec], underlay: Underlay) -> LiveDiagnosis:
    """Reads the overlay from its hosts, a star's hub first, and tries it: datagrams are sent, nothing is changed."""
    nodes, seen = {role: host.node for role, host in hosts.items()}, {role: host.seen for role, host in hosts.items()}
    looked = live.looked(nodes, seen, underlay)
    found = live.named(looked.findings, specs)
    if looked.layout:
        return LiveDiagnosis(layout=looked.layout)
    if looked.lab is None:
        return LiveDiagnosis(found, "no datagrams were sent: no overlay that could be tested was found")
    try:
        gathered = scene.gather(looked.lab)
        tried = explain(gathered, known=found)
    except (OvercastError, OSError) as problem:
        return LiveDiagnosis(found, f"not tried: {getattr(problem, 'message', problem)}")
    return LiveDiagnosis((*found, *live.named(tried, specs)), notes=looked.notes, scene=gathered)


def checks(diagnosed: LiveDiagnosis) -> list[Check]:
    """The findings as lines of a report."""
    made = [
        Check(
            "warning" if finding.note else "problem",
            finding.node or ALL,
            finding.code,
            f"{finding.interface}: {finding.summary}".removeprefix(": ") + f" ({finding.evidence})",
            finding.remedy or None,
            lasting=finding.lasting,
        )
        for finding in diagnosed.findings
    ]
    made += [Check("warning", ALL, "not judged", note) for note in diagnosed.notes]
    if diagnosed.layout:
        made.append(Check("warning", ALL, NOT_UNDERSTOOD, "\n".join(diagnosed.layout.lines)))
    if diagnosed.skipped:
        made.append(Check("warning", ALL, "overlay", diagnosed.skipped))
    return made
