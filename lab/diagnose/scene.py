"""
The scene: everything that the rules may look at, gathered once.

State is read before and after a trial, so that a counter that rose is seen; how an interface is configured comes from
`overlay.readback`, as a live host's does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lab import tunnels
from lab.diagnose import groups, losses, parameters, trial
from lab.diagnose.codes import declared
from lab.diagnose.losses import Loss
from lab.diagnose.trial import Trial
from lab.firewall.rules import FirewallRule
from lab.laboratory import BuiltLab, Lab
from lab.machines.base import Call
from lab.machines.node import Agent, Node, ask_all
from lab.model import Finding, NodePlan, Topology, Underlay
from lab.overlay.recognition import readback
from lab.overlay.recognition.readback import DEFAULT_TTL, ConfiguredNode, Device
from lab.probes.host_state import neighbour_tables
from lab.probes.host_state.neighbour_tables import FullTable
from lab.stack.records import typed
from lab.tunnels.kind import TunnelEnd
from lab.underlay.fabric import FABRIC

READINGS = (
    *("links", "ports", "addresses", "routes", "rules", "neighbours"),
    *("fdb", "mdb", "mdb_routers", "vlans", "qdiscs", "filters"),
)


@dataclass(frozen=True)
class HostScene:
    """One host: what is configured, what else is there, and what its counters did during the trial."""

    plan: NodePlan
    readings: Mapping[str, Sequence[Any]]
    sysctls: Mapping[str, str | None]
    firewall: Sequence[FirewallRule]
    counted: Mapping[str, int]
    """How much each SNMP counter rose, under nstat's names."""
    igmp: str = ""
    multicast_router: Mapping[str, Any] = field(default_factory=dict)
    """`interfaces` and `processes` of a router of multicast, empty where there is none."""

    @property
    def name(self) -> str:
        return self.plan.name

    @functools.cached_property
    def seen(self) -> ConfiguredNode:
        """What is configured."""
        return readback.seen(self.name, self.readings, self.sysctls)

    @property
    def device(self) -> Device | None:
        """The overlay device, as it is."""
        return self.seen.devices.get(self.plan.device)

    @property
    def nic(self) -> Device | None:
        """The NIC, as it is."""
        return self.seen.devices.get(self.plan.nic)

    def has(self, name: str) -> bool:
        """Whether this kernel has a parameter of this name."""
        return self.sysctls.get(name) is not None

    @property
    def inventory(self) -> str:
        """Its devices, as evidence that one is missing."""
        return f"{self.name} has the devices {', '.join(self.seen.devices)}"

    def parameter(self, name: str, device: str = "") -> int:
        """A sysctl as a number; of a device, `conf` is completed.  0 when this kernel has none."""
        full = f"net.ipv4.conf.{device}.{name}" if device else name
        value = self.sysctls.get(full)
        return int(value) if value and value.lstrip("-").isdigit() else 0

    def finding(self, code: str, interface: str, summary: str, evidence: str, fix: str = "") -> Finding:
        """A finding at this host."""
        return Finding(code, self.name, interface, summary, evidence, fix)

    def declared(
        self, code: str, interface: str, evidence: str | None = None, fix: str | None = None, **values: object
    ) -> Finding:
        """A finding at this host in the words of its code, which have its `{plan}` (`codes.declared`)."""
        return declared(code, self.name, interface, evidence, fix, plan=self.plan, **values)


@dataclass(frozen=True)
class Scene:
    """The whole overlay.  `planned`: the topology is what was to be built, not what was found."""

    topology: Topology
    underlay: Underlay
    planned: bool
    hosts: Mapping[str, HostScene]
    trial: Trial
    fabric: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Readings of the emulated cloud network; empty for a live cloud."""
    standby: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Readings of the hub's standby; empty where there is none."""
    elsewhere: Mapping[str, Sequence[Mapping[str, str]]] = field(default_factory=dict)
    """Of hosts that lack a tunnel, their tunnels in other network namespaces (`agent.foreign_namespaces`)."""
    full_tables: Sequence[FullTable] = ()
    """The tables of neighbours that were full during the trial."""

    @property
    def hub(self) -> HostScene:
        return self.hosts[self.topology.hub.name]

    @property
    def bridging(self) -> list[HostScene]:
        """The hosts whose tunnels are ports of a bridge."""
        return [self.hosts[plan.name] for plan in self.topology.nodes if plan.holder == "bridge"]

    def joins(self, host: HostScene) -> bool:
        """Whether a bridge is between tunnels; what else one with a single tunnel does is its own matter."""
        return host.plan.is_hub or len(self.topology.ports(host.name)) > 1

    @property
    def spokes(self) -> list[HostScene]:
        return [self.hosts[plan.name] for plan in self.topology.spokes]

    @functools.cached_property
    def losses(self) -> list[Loss]:
        """Every loss of the trial on the overlay whose sender captures; without those that only follow from others."""
        exchanges = self.trial.exchanges
        capturing = {sighting.node for exchange in exchanges for sighting in exchange.sightings}
        followed = [exchange for exchange in exchanges if exchange.followed]
        known = [exchange for exchange in followed if exchange.sightings or exchange.sender in capturing]
        found = [loss for exchange in known for loss in losses.losses(self.topology, exchange)]
        return [loss for loss in found if not loss.unresolved] or found

    @functools.cached_property
    def unforwarded(self) -> list[tuple[str, str]]:
        """Pairs of spokes whose datagrams the hub forwards, and whose pings or the answers to them it does not."""
        lost = {(loss.exchange.sender, loss.receiver) for loss in self.losses}
        pairs = trial.unforwarded(self.trial.pings, self.topology.centre)
        return [(pinger, name) for pinger, name in pairs if not lost & {(pinger, name), (name, pinger)}]

    def on_paths(self, sender: str, receiver: str) -> set[str]:
        """The hosts on the paths that a packet may take from one host to another, with both."""
        paths = self.topology.paths(sender, receiver)
        return {sender, receiver, *(hop.end.host for path in paths for hop in path)}

    def cut_off(self, host: HostScene) -> set[str]:
        """The hosts to which tunnel packets of a host are lost in the cloud."""
        return {loss.missing.node for loss in self.losses if (loss.stage, loss.node) == ("cloud", host.name)}

    def spends_ttl_of(self, host: HostScene) -> bool:
        """Whether the routers of the underlay spend the TTL that a host gives packets of its own."""
        routers = max(self.trial.spent, self.underlay.routers if self.planned else 0)
        return host.has(DEFAULT_TTL) and host.parameter(DEFAULT_TTL) <= routers

    def end(self, host: HostScene, peer: str) -> Device | None:
        """The device that is the host's end of its tunnel to another host, as it is."""
        return self.tunnel_device(host, self.topology.port(host.name, peer))

    def tunnel_device(self, host: HostScene, name: str) -> Device | None:
        """The device of a name, unless it is a tunnel of another kind than was planned, or carries no Ethernet."""
        device = host.seen.devices.get(name)
        if device is None or not device.tunnel:
            return device
        other = self.planned and device.kind != self.topology.options.kind
        return None if other or not device.mac else device

    def ends(self) -> Iterator[tuple[HostScene, HostScene]]:
        """Both ends of every tunnel: whose it is, and the host at the other end."""
        for tunnel in self.topology.tunnels:
            for hop in tunnel.hops:
                yield self.hosts[hop.start.host], self.hosts[hop.end.host]

    def made_ends(self) -> Iterator[tuple[HostScene, HostScene, Device, TunnelEnd]]:
        """The same of the ends that are there, with the device and the tunnel that it is."""
        for host, far in self.ends():
            device = self.end(host, far.name)
            if device is not None and device.tunnel is not None:
                yield host, far, device, device.tunnel


def gather(lab: Lab) -> Scene:
    """Reads what counts, tries, and reads it again with all that is configured."""
    before = _ask(lab, _counting)
    if isinstance(lab, BuiltLab):
        lab.forget_neighbours()  # the kernel resolves a neighbour that a test has just tried no sooner than in a second
    neighbour_tables.note(lab.nodes[name] for name in lab.plans)
    tunnel = tunnels.kind(lab.topology.options.kind).port
    rules, routes, policies, filters = (_of_all(before, what) for what in ("firewall", "routes", "rules", "filters"))
    apart = groups.apart(rules, policies, filters, tunnel)
    tried = trial.run(lab, groups.named(routes, rules, filters)[: groups.MOST], apart)
    after = _ask(lab, _everything)
    hosts = {}
    for name, plan in lab.plans.items():
        was, now = before[name], after[name]
        hosts[name] = HostScene(
            plan,
            {what: now[what] for what in READINGS},
            now["sysctls"],
            _risen_rules(was["firewall"], now["firewall"]),
            _risen(was["counters"], now["counters"]),
            now["igmp"],
            now["multicast_router"],
        )
    fabric, beside = after.get(FABRIC, {}), after.get(lab.topology.standby.name, {}) if lab.topology.standby else {}
    full = neighbour_tables.among({name: after[name]["neighbour_table"] for name in lab.plans})
    planned = isinstance(lab, BuiltLab)
    return Scene(lab.topology, lab.underlay, planned, hosts, tried, fabric, beside, _elsewhere(lab, hosts), full)


def _elsewhere(lab: Lab, hosts: Mapping[str, HostScene]) -> dict[str, Sequence[Mapping[str, str]]]:
    lacking = [name for name, host in hosts.items() if not host.seen.devices.keys() >= {*lab.topology.ports(name)}]
    nodes = [lab.nodes[name] for name in lacking]
    return dict(zip(lacking, ask_all([(node, node.call(Agent.tunnels_elsewhere)) for node in nodes]), strict=True))


Questions = dict[str, Call[Any]]


def _counting(lab: Lab, name: str) -> Questions:
    """What of a host the trial makes rise, and what it tries; the fabric is not asked."""
    node = lab.nodes[name]
    asked = {what: node.call(Agent.read, what=what) for what in ("routes", "rules", "filters")}
    return {**asked, **_counters(node)} if name in lab.plans else {}


def _of_all(before: Mapping[str, Mapping[str, Any]], what: str) -> list[Any]:
    return [one for each in before.values() if each for one in each[what]]


def _counters(node: Node) -> Questions:
    return {"counters": node.call(Agent.counters), "firewall": node.call(Agent.firewall)}


def _everything(lab: Lab, name: str) -> Questions:
    node = lab.nodes[name]
    asked: Questions = {what: node.call(Agent.read, what=what) for what in READINGS}
    if name in lab.plans:
        asked["sysctls"] = node.call(Agent.sysctl_read, names=parameters.names(lab.topology, lab.plans[name]))
        asked["igmp"] = node.call(Agent.read_net, name="igmp")
        asked["multicast_router"] = node.call(Agent.multicast_router)
        asked["neighbour_table"] = node.call(Agent.neighbour_table)
        asked |= _counters(node)
    return asked


def _ask(lab: Lab, questions: Callable[[Lab, str], Questions]) -> dict[str, dict[str, Any]]:
    """The answers of every node, one round trip a machine."""
    asked = {name: questions(lab, name) for name in lab.nodes}
    calls = [(lab.nodes[name], call) for name, each in asked.items() for call in each.values()]
    answers = iter(ask_all(calls))
    return {name: {what: typed(what, next(answers)) for what in each} for name, each in asked.items()}


def _risen(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}


def _risen_rules(before: Sequence[FirewallRule], after: Sequence[FirewallRule]) -> list[FirewallRule]:
    """The rules as they are, with `hits`: packets that each matched during the trial (None: it does not count)."""
    was = {(number, one.place, one.rule): one.packets for number, one in enumerate(before)}
    earlier = [was.get((number, one.place, one.rule)) or 0 for number, one in enumerate(after)]
    every = zip(after, earlier, strict=True)
    return [replace(one, hits=None if one.packets is None else one.packets - count) for one, count in every]
