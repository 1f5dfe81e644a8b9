"""
Live hosts as a lab: the same hosts, probes and checks; the cloud's network is the cloud's, and nothing is changed.

    seen = live.look({"hub": machine, "spoke1": machine, ...})
    seen.findings                                   what is half-configured or contradictory
    with seen.lab.listen(["spoke2"]) as heard: ...  None when there is no overlay to test
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lab.clouds import firmware
from lab.clouds.providers import provider
from lab.diagnose.rules.overlay import vrrp_masters
from lab.errors import EnvironmentProblem, RootNeeded
from lab.firewall.verdicts import Firewall
from lab.laboratory import Lab
from lab.machines.base import Machine, call
from lab.machines.live.hosts import HostSpec
from lab.machines.node import Agent, Node, Observed, ask_all
from lab.model import Finding, Topology, Underlay
from lab.overlay.recognition import incomplete, readback, several_overlays, spares
from lab.overlay.recognition.detection import DetectedOverlay, tried, understand
from lab.overlay.recognition.layouts import Layout, described
from lab.probes import agent_sync, options
from lab.probes.capture import paths
from lab.probes.capture.sightings import Sighting
from lab.probes.deadlines import LIVE_MOST, Flow, Learnt
from lab.probes.host_state import in_use, ipv6, snooping
from lab.probes.listening import Listening
from lab.probes.payloads import FIRST_PORT, LAST_PORT, PROBES_FROM
from lab.stack.records import typed

DISCARD = 9
"""The discard port, on which no program listens (RFC 863)."""

Plain = Literal["UDP", "TCP", "ICMP"]
"""What tests compare tunnel packets with on the underlay."""
MOST_ERRORS = 32
"""Errors that a tunnel can remember: hosts send at most six at once, and then one a second (icmp_ratelimit)."""


class LiveLab(Lab):
    """A lab of live hosts, each on a machine of its own."""

    def __init__(
        self, machines: Mapping[str, Machine], topology: Topology, underlay: Underlay, nodes: Mapping[str, Node]
    ) -> None:
        super().__init__(topology, underlay, nodes)
        for machine in machines.values():
            machine.peers, machine.peer_addresses = [other for other in machines.values() if other is not machine], {}
        if topology.strangers:
            self.hosts.update({name: replace(host, alone=False) for name, host in self.hosts.items()})
        self.whole, self.all_nodes = topology, nodes
        """The overlay with the hosts that have no tunnel, and the nodes of all hosts."""
        self.prunes = False
        """Whether the hub sends a group to the members alone that it has heard of."""
        self._learnt = Learnt()
        self._rooted = all(machine.facts["uid"] == 0 for machine in machines.values())
        own = {"first": PROBES_FROM, "last": LAST_PORT - 1, "vxlan": topology.options.port}
        ask_all([(node, call(Agent.tap_own, nodes=[node.handle], **own)) for node in self.tapped])
        agent_sync.meet(list(self.nodes.values()), {name: plan.endpoint for name, plan in self.plans.items()})

    @property
    def tapped(self) -> Sequence[Node]:
        """Every host, when all of them let the agent capture (root)."""
        return list(self.nodes.values()) if self._rooted else ()

    def frames(self, tags: Sequence[bytes] | None = None) -> list[Sighting]:
        if not self._rooted:
            raise RootNeeded("captures")
        return paths.of_hosts(self.topology, super().frames(tags))

    def listen(self, *positional: Any, **fields: Any) -> Listening:
        entered = {"on_entry": lambda listening: self.await_listed(listening.joined, listening.at)}
        return super().listen(*positional, **{"grace": self._learnt.seconds, **entered, **fields})

    def _ended(self, listening: Listening) -> None:
        super()._ended(listening)
        if listening.sent and listening.datagrams and not listening.unproved:
            self._learnt.note(listening.took)

    def await_listed(self, groups: Iterable[str], at: Iterable[str]) -> None:
        """Where the hub prunes, waits for the reports of hosts that have just joined; one may never come."""
        ports = [snooping.port_of(self.topology, name) for name in at] if self.prunes else []
        for group in filter(snooping.is_listed, groups if ports else ()):
            self.hub.node.ask(Agent.await_entries, "mdb", snooping.members(group, ports), LIVE_MOST)

    @functools.cached_property
    def closed_ways(self) -> tuple[str, ...]:
        """
        The ways (`hub to spoke1`) on the underlay where plain UDP, the control of every silence, is not let in.

        Of the hosts that tests send from: more would fill the neighbour tables.
        """
        with self.listen(self.plans, network="underlay", patience=None) as heard:
            sent = {
                (host.name, other): host.udp.send(to=self[other].address("underlay")).payload
                for host in self.senders
                for other in self.others(host)
            }
        return tuple(f"{name} to {other}" for (name, other), one in sent.items() if one not in heard.payloads[other])

    def require_all(self) -> None:
        """MachineLost when a host does not answer: a missing packet then proves nothing about the overlay."""
        ask_all([(node, call(Agent.hello)) for node in self.nodes.values()])

    def require_open_underlay(self) -> None:
        """EnvironmentProblem where hosts take no UDP from each other: there a silence proves nothing."""
        if self.closed_ways:
            raise closed("UDP", self.closed_ways)


def closed(protocol: Plain, ways: Iterable[str]) -> EnvironmentProblem:
    """Why the cloud's network cannot be tested where hosts drop a protocol that their overlay does not need."""
    what = "ICMP echo" if protocol == "ICMP" else f"{protocol} ports {FIRST_PORT}-{LAST_PORT - 1}"
    return EnvironmentProblem(
        f"the hosts drop each other's plain {protocol} on the underlay ({', '.join(ways)}): a loss there would "
        "not show what the cloud drops",
        remedy=f"for the test, allow {what} between the hosts, in the hosts' firewalls and in the cloud's rules",
    )


@dataclass(frozen=True)
class LiveOverlay:
    """What was found on live hosts."""

    lab: LiveLab | None
    findings: tuple[Finding, ...]
    seen: Mapping[str, readback.ConfiguredNode]
    layout: Layout | None = None
    """Set: the hosts' layout is not understood, so that they are not judged."""
    notes: tuple[str, ...] = ()
    """What else was found on the hosts and is not judged."""


def look(machines: Mapping[str, Machine], underlay: Underlay, overlay: str | None = None) -> LiveOverlay:
    """Reads the overlay of live hosts, hubs first, all at once; of several the chosen one (`several`)."""
    nodes = {name: Observed.home(name, machine) for name, machine in machines.items()}
    return looked(nodes, readback.read(list(nodes.values())), underlay, overlay=overlay)


def looked(
    nodes: Mapping[str, Observed],
    seen: Mapping[str, readback.ConfiguredNode],
    underlay: Underlay,
    lost: Collection[Flow] = (),
    overlay: str | None = None,
) -> LiveOverlay:
    """The overlay of live hosts, hubs first, from what was read of them; `lost` is not waited for again."""
    everything, seen = seen, several_overlays.chosen(seen, overlay)
    machines = {name: node.machine for name, node in nodes.items()}
    understood = by_delivery(understand(seen), machines, nodes, seen, lost)
    understood = replace(understood, findings=tuple(_located(understood.findings, nodes, seen)))
    network = understood.topology.nodes[0].overlay.network if understood.topology else None
    understood = replace(understood, notes=(*understood.notes, *several_overlays.notes(everything, network)))
    if understood.topology is None:
        return LiveOverlay(None, understood.findings, seen, understood.layout, understood.notes)
    kept = {node.name: nodes[node.name] for node in understood.topology.nodes}
    in_use.avoid(list(kept.values()))
    if understood.topology.ipv6:  # an address that is in duplicate address detection cannot be sent from
        ipv6.link_locals(kept, {plan.name: plan for plan in understood.topology.nodes})
    lab = LiveLab(machines, understood.topology, underlay, kept)
    lab.whole, lab.all_nodes = understood.whole or lab.topology, nodes
    lab.lost.ways |= set(lost)
    lab.prunes = any(snooping.prunes(seen[hub.name].devices[hub.plan.device].details) for hub in lab.hubs)
    _use_up_errors(lab)
    return LiveOverlay(lab, understood.findings, seen, notes=understood.notes)


def _located(
    findings: Sequence[Finding], nodes: Mapping[str, Observed], seen: Mapping[str, readback.ConfiguredNode]
) -> list[Finding]:
    """
    The findings, with what only the hosts themselves can answer.

    A tunnel that is missing may be in another network namespace of its host; a firewall may have made two VRRP masters.
    """
    asked = [
        node for name, node in nodes.items() if (name, "tunnel-missing") in {(one.node, one.code) for one in findings}
    ]
    answers = ask_all([(node, node.call(Agent.tunnels_elsewhere)) for node in asked])
    there = {node.name: answer for node, answer in zip(asked, answers, strict=True)}
    located = [incomplete.in_other_namespace(finding, there.get(finding.node, ())) for finding in findings]
    return [_with_firewalls(one, nodes, seen) if one.code == spares.TWO_MASTERS else one for one in located]


def _with_firewalls(
    finding: Finding, nodes: Mapping[str, Observed], seen: Mapping[str, readback.ConfiguredNode]
) -> Finding:
    """The finding of two VRRP masters, with the firewall that drops one's advertisements, where root can read it."""
    spare = spares.found(seen)
    if spare is None:
        return finding
    asked = [nodes[name] for name in (spare.standby, spare.hub) if nodes[name].rooted]
    answers = ask_all([(node, node.call(Agent.firewall)) for node in asked])
    rules = {node.name: Firewall(typed("firewall", one)) for node, one in zip(asked, answers, strict=True)}
    return vrrp_masters.explained(spare, seen, rules)


def by_delivery(
    understood: DetectedOverlay,
    machines: Mapping[str, Machine],
    nodes: Mapping[str, Node],
    seen: Mapping[str, readback.ConfiguredNode],
    lost: Collection[Flow] = (),
) -> DetectedOverlay:
    """
    The same, unless a host that findings speak of exchanges broadcasts with another: then its layout is another one.

    A configuration that looks wrong and delivers is not a fault: a fix might cut what passes.
    """
    topology = tried(seen) if understood.accused else None
    if topology is None:
        return understood
    names = [plan.name for plan in topology.nodes]
    lab = LiveLab(machines, topology, Underlay(provider("oci")), {name: nodes[name] for name in names})
    lab.lost.ways |= set(lost)
    passing = _broadcasts(lab)
    for name, finding in understood.accused.items():
        others = [other for other in names if {(name, other), (other, name)} <= passing]
        if others:
            why = (
                f"{name} and {others[0]} exchange broadcasts, although {finding or 'no tunnel between them was found'}"
            )
            return DetectedOverlay(None, (), described(why, seen))
    return understood


def _broadcasts(lab: LiveLab) -> set[tuple[str, str]]:
    """Sender and receiver of every broadcast on the overlay that arrives."""
    payloads = {}
    with lab.listen(lab.plans, patience=None) as heard:
        for name, host in lab.hosts.items():
            payloads[name] = host.udp.send(to=host.plan.broadcast(), lost_if_refused=True).payload
    return {
        (sender, receiver)
        for sender, payload in payloads.items()
        for receiver in lab.others(sender)
        if payload in heard.payloads[receiver]
    }


def named(findings: Iterable[Finding], specs: Iterable[HostSpec]) -> tuple[Finding, ...]:
    """The findings with the names that the user gave the hosts."""
    names = {spec.role: spec.destination for spec in specs}
    return tuple(replace(finding, host=names.get(finding.node, "")) for finding in findings)


def cloud(host: Machine) -> firmware.DetectedCloud | None:
    """The cloud that a host's firmware names; None when it names none that is known here."""
    node = Observed.home(host.name, host)
    return firmware.detect(node.ask(Agent.examine, modules=[], sysctls=[])["dmi"])


def _use_up_errors(lab: LiveLab) -> None:
    """
    Sends what makes the tunnels forget the ICMP errors that they got while the other end was not there yet.

    For each error of the last 30 s, the sender of another packet gets an error for an unreachable destination, although
    the packet is sent (ip_tunnel.c, err_count): the first TCP connections over a new overlay fail by that.
    """
    burst, to, chosen = [b""] * MOST_ERRORS, [lab.everyone, DISCARD], [options.BROADCAST]
    calls = [
        (node, node.call(Agent.send_many, burst, to, **options.UDP, options=chosen)) for node in lab.nodes.values()
    ]
    # where there is no way to the overlay, the tests say so
    with contextlib.suppress(OSError):
        ask_all(calls)
