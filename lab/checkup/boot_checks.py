"""What a reboot makes otherwise of a live host's part of the overlay, and of its firewall, as lines of the doctor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lab.boot import firewall_persistence, persistence
from lab.boot.common import NamedFiles
from lab.checkup.check import Check
from lab.checkup.live_host import LiveHost
from lab.machines.live.hosts import HostSpec
from lab.model import NodePlan, Topology
from lab.overlay.recognition.readback import ConfiguredNode

WHAT = "after a reboot"
FIREWALL = "firewall after a reboot"


def overlay(
    spec: HostSpec,
    topology: Topology,
    node: NodePlan,
    named: NamedFiles,
    manager: str,
    seen: ConfiguredNode | None = None,
) -> Check:
    """The first thing of the overlay that a boot makes otherwise, or the files that make it."""
    for found in persistence.findings(topology, node, named, manager, seen):
        here = "" if found.remedy == persistence.written(topology, manager) else None
        return Check("warning", spec.role, WHAT, found.summary, found.remedy, at=here)
    for file in persistence.undetermined(topology, node, named):
        return Check("warning", spec.role, WHAT, f"{file['path']}: {file['obstacle']}", file["fix"])
    if any(not persistence.naming(named, word) for word in persistence.parts(topology, node)):
        hidden = f"cannot be determined: {', '.join(persistence.unread(named))} is readable for root only"
        fix = f"--sudo, or in --hosts: {spec.variant(sudo='true')}"
        return Check("warning", spec.role, WHAT, hidden, fix, at="")
    paths = ", ".join(persistence.files(topology, node, named))
    return Check("ok", spec.role, WHAT, f"its devices and the multicast route are named in {paths}")


def firewall(
    host: LiveHost, topology: Topology, plan: NodePlan, firewalld: Mapping[str, Any], named: NamedFiles = ()
) -> Iterator[Check]:
    """What of a host's firewall is lost at boot; without root, rules cannot be read (`host_checks`)."""
    kept = [firewall_persistence.of_firewalld(topology, plan, firewalld)]
    if host.firewall:
        kept.append(firewall_persistence.of_rules(topology, plan, host.firewall.rules, named))
    for one in kept:
        if one.applies and one.unread:
            yield Check(
                "warning", host.role, FIREWALL, one.unread, one.remedy, at="" if one.remedy == "--sudo" else None
            )
        elif one.applies and not one.found:
            yield Check("ok", host.role, FIREWALL, one.proof)
        for lost in one.found:
            yield Check("warning", host.role, FIREWALL, f"{lost.summary} ({lost.evidence})", lost.remedy)
