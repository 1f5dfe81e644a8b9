"""
Live hosts examined: their prerequisites, and the overlay that is there, diagnosed as the suite would; nothing changes.

    connected = ssh.reach(specs, Login(sudo=True))
    for check in examination.examine(specs, connected).checks: ...
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lab import live
from lab.boot import firewall_persistence, persistence
from lab.checkup import boot_checks, host_checks, live_host, pair_checks, underlay_checks, underlay_probe
from lab.checkup.check import Check, CheckState
from lab.checkup.live_host import ALL, LiveHost
from lab.checkup.underlay_probe import UnderlayEnd, UnderlayPath
from lab.clouds import firmware
from lab.clouds.firmware import Carrier
from lab.clouds.providers import PROVIDERS
from lab.diagnose import scene
from lab.diagnose.explain import explain
from lab.diagnose.scene import Scene
from lab.errors import OvercastError
from lab.machines.live.hosts import HostSpec
from lab.machines.live.ssh import Connected
from lab.model import Finding, NodePlan, Provider, Topology, Underlay
from lab.overlay.recognition import several_overlays
from lab.overlay.recognition.detection import understand
from lab.overlay.recognition.layouts import NOT_UNDERSTOOD
from lab.overlay.recognition.readback import carrier_of
from lab.topology import designs
from lab.tunnels import DEFAULT, KINDS

TIME = 60.0
"""
Seconds that everything after the connecting may take, together: 3 in practice, 20 on a busy machine with firewalld.

The trial of an overlay has its own deadlines.
"""
UNKNOWN_CLOUD = PROVIDERS["oci"]
"""What the trial expects of a cloud that neither the user nor the firmware names."""


@dataclass(frozen=True)
class Examined:
    """Everything that was looked at, and what is wrong with the overlay: the findings are among the checks too."""

    checks: tuple[Check, ...]
    findings: tuple[Finding, ...] = ()
    scene: Scene | None = None
    """What the diagnosis of the overlay looked at; None where there was none, of which a check gives the reason."""
    understood: bool = True
    """Whether the hosts have a layout that can be judged, if any."""


@dataclass(frozen=True)
class Expectations:
    """What the user wants of the overlay; None: as it is found."""

    tunnel: str | None = None
    """The kind of tunnel; gretap where there is none."""
    cloud: Provider | None = None
    """The one that the hosts are in; None: the one that their firmware names."""
    topology: str | None = None
    overlay: str | None = None
    """The device or subnet of one of several overlays."""


def examine(specs: Sequence[HostSpec], connected: Connected, wanted: Expectations = Expectations()) -> Examined:
    """What is as expected on the hosts, what is not, and what could not be looked at."""
    deadline = time.monotonic() + TIME
    every, lost = live_host.look(connected.machines, specs, deadline)
    seen = several_overlays.chosen({role: host.seen for role, host in every.items()}, wanted.overlay)
    hosts = {role: replace(host, seen=seen[role]) for role, host in every.items()}
    made = [*_unreached(specs, connected), *(_lost(role, problem) for role, problem in lost.items())]
    understood = understand({role: host.seen for role, host in hosts.items()}) if len(hosts) > 1 else None
    topology = understood.topology if understood else None
    plans = topology.plans if topology else {}
    whole = persistence.sized(understood.whole, seen) if understood and understood.whole else None
    hubs = [spec.role for spec in specs if spec.is_hub or spec.standby]
    bridges = {name for name, plan in plans.items() if plan.holder == "bridge"}
    tunnel = wanted.tunnel or _kind(hosts, topology)
    carrier = carrier_of(tunnel, [host.seen for host in hosts.values()])
    kinds = designs.kinds(wanted.topology or (topology.name if topology else ""))
    for role, host in hosts.items():
        hub, over = role in (*hubs, *bridges), () if role in hubs else kinds
        made += host_checks.checks(host, plans.get(role), tunnel, carrier, wanted.cloud, hub=hub, over=over)
    if not hosts:
        return Examined(tuple(made))
    booted, silent = _booted(hosts, whole, deadline)
    made += [_lost(role, problem) for role, problem in silent.items()]
    there = {role: host for role, host in hosts.items() if role not in silent}
    for role, (files, manager, *about_firewall) in booted.items():
        if topology is not None and (plan := plans.get(role)):
            with_mtu = persistence.sized(topology, seen)
            made.append(boot_checks.overlay(hosts[role].spec, with_mtu, plan, files, manager, seen[role]))
            made += boot_checks.firewall(hosts[role], topology, plan, *about_firewall)
    if set(hubs) - there.keys():
        unread = "the overlay, and the network between the hosts, were not examined: the hub was not reached"
        return Examined((*made, Check("warning", ALL, "overlay", unread)))
    if KINDS[tunnel].over_ipv6:
        unprobed = "not tried over IPv6, which this overlay goes over: the probes are packets of IPv4"
        crossings, late = [Check("warning", ALL, str(carrier), unprobed)], dict[str, OvercastError]()
    else:
        crossed, late = underlay_probe.cross(list(_ways(there, plans, hubs, carrier)), deadline)
        crossings = [check for each in crossed for check in underlay_checks.checks(each)]
    found = _diagnosed({role: host for role, host in there.items() if role not in late}, specs, wanted.cloud)
    made += pair_checks.checks(hosts, topology, found.findings)
    findings = tuple(persistence.kept(whole, found.findings, booted)) if whole else found.findings
    made += [*map(_line, findings), *found.checks]
    made += [*(_lost(role, problem) for role, problem in late.items()), *crossings]
    made += _unplaced(hosts, plans, carrier)
    return replace(found, checks=tuple(made), findings=findings)


def _booted(
    hosts: Mapping[str, LiveHost], topology: Topology | None, deadline: float
) -> tuple[dict[str, list[Any]], dict[str, OvercastError]]:
    """
    The files of a boot that name the overlay, their tool, and what is read of the firewall, of each of its hosts.

    Also returns the hosts that were lost meanwhile.
    """
    if topology is None:
        return {}, {}
    plans = {role: topology.plans[role] for role in hosts if role in topology.plans}

    def ask(role: str) -> list[Any]:
        (node, firewall), plan = (hosts[role].node, hosts[role].firewall), plans[role]
        rules = firewall.rules if firewall else ()
        about = [*persistence.calls(node, topology, plan), *firewall_persistence.calls(node, topology, plan, rules)]
        return node.machine.batch(about)

    return live_host.each({role: hosts[role].node.machine for role in plans}, ask, deadline)


def _line(finding: Finding) -> Check:
    """The line of a finding, with the command by which its fix lasts over a reboot, where files do that."""
    found = f"{finding.interface}: {finding.summary}".removeprefix(": ") + f" ({finding.evidence})"
    state: CheckState = "warning" if finding.note else "problem"
    return Check(state, finding.node or ALL, finding.code, found, finding.remedy or None, lasting=finding.lasting)


def _warned(what: str, found: str) -> Check:
    return Check("warning", ALL, what, found)


def _diagnosed(hosts: Mapping[str, LiveHost], specs: Sequence[HostSpec], cloud: Provider | None) -> Examined:
    """
    The overlay, where there are two hosts, and tunnels on any of them, diagnosed as a failed test of the suite is.

    It is read from its hosts, a star's hub first, and tried: datagrams are sent, nothing is changed.
    """
    if len(hosts) < 2 or not any(host.seen.leading() for host in hosts.values()):
        return Examined(())
    sighted = firmware.detect(next(iter(hosts.values())).details["dmi"])
    underlay = Underlay(cloud or (sighted.provider if sighted else UNKNOWN_CLOUD))
    nodes, seen = {role: host.node for role, host in hosts.items()}, {role: host.seen for role, host in hosts.items()}
    looked = live.looked(nodes, seen, underlay)
    found = live.named(looked.findings, specs)
    if looked.layout:
        return Examined((_warned(NOT_UNDERSTOOD, "\n".join(looked.layout.lines)),), understood=False)
    if looked.lab is None:
        return Examined(
            (_warned("overlay", "no datagrams were sent: no overlay that could be tested was found"),), found
        )
    try:
        gathered = scene.gather(looked.lab)
        tried = explain(gathered, known=found)
    except (OvercastError, OSError) as problem:
        return Examined((_warned("overlay", f"not tried: {getattr(problem, 'message', problem)}"),), found)
    notes = tuple(_warned("not judged", note) for note in looked.notes)
    return Examined(notes, (*found, *live.named(tried, specs)), gathered)


def _unreached(specs: Sequence[HostSpec], connected: Connected) -> Iterator[Check]:
    roles = [spec.role for spec in specs if spec.role not in connected.machines]
    for role, failure in zip(roles, connected.failures, strict=True):
        yield Check(
            "problem", role, "host", f"not reached: {failure.message}", failure.remedy, at="", problem="not reached"
        )


def _lost(role: str, problem: OvercastError) -> Check:
    return Check("problem", role, "host", problem.message, problem.remedy, at="", problem="not examined")


def _kind(hosts: Mapping[str, LiveHost], topology: Topology | None) -> str:
    if topology is not None:
        return topology.options.kind
    return next((device.kind for host in hosts.values() for device in host.seen.leading()), DEFAULT)


def _place(host: LiveHost, plan: NodePlan | None) -> UnderlayEnd | None:
    nic = host.seen.devices.get(plan.nic) if plan else host.nic
    address = str(plan.underlay.ip) if plan else host.address
    return UnderlayEnd(host, address, nic.mtu) if nic is not None and address is not None else None


def _ways(
    hosts: Mapping[str, LiveHost], plans: Mapping[str, NodePlan], hubs: Sequence[str], carrier: Carrier
) -> Iterator[UnderlayPath]:
    """Both directions between the hub and every spoke; between any two hosts where there is no hub."""
    # a standby sends no tunnel packets as long as there is a hub
    there = {role: host for role, host in hosts.items() if not host.spec.standby}
    places = {role: _place(host, plans.get(role)) for role, host in there.items()}
    for one, other in itertools.combinations(places, 2):
        first, second = places[one], places[other]
        if first is not None and second is not None and (not hubs or {one, other} & set(hubs)):
            yield UnderlayPath(first, second, carrier)
            yield UnderlayPath(second, first, carrier)


def _unplaced(hosts: Mapping[str, LiveHost], plans: Mapping[str, NodePlan], carrier: Carrier) -> Iterator[Check]:
    for role, host in hosts.items():
        if _place(host, plans.get(role)) is None:
            found = "not tested: no tunnel and no default route, from which its address on the cloud's network follows"
            yield Check("warning", role, str(carrier), found, "ip route")
