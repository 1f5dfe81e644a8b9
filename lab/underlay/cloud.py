"""The cloud's side of things, for as long as a block lasts: rules at a host's port (a security list, a blocked GRE)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from ipaddress import IPv4Address

from lab.errors import EnvironmentProblem
from lab.machines.node import Agent, Node
from lab.model import Change, NodePlan, Topology, Underlay, mac_of
from lab.stack.changes import bridge_port, filter_clear, link_del, link_set, neigh_add, neigh_del
from lab.underlay import fabric, ipv6
from lab.underlay.policy import CloudRule, gre_rules, source_rule

SETTLE = 5.0  # seconds for a NIC to become operational; in practice a few milliseconds
MEMBER_DEADLINE, BRIEFLY = 1.0, 0.05
"""Seconds until a report has arrived, which leaves within two ticks of its host's clock; where none came before."""
PortRules = tuple[tuple[CloudRule, ...], bool]
"""What a port drops in addition to the provider's drops, and whether sources are checked."""


class Cloud:
    """The emulated cloud network as an operator of the cloud would change it."""

    def __init__(self, node: Node, topology: Topology, underlay: Underlay) -> None:
        self.node = node
        self._topology = topology
        self._segments = list(fabric.segments(topology, underlay))
        self._ports = {port.node: port for segment in self._segments for port in segment.ports if port.checked}
        self._provider = underlay.provider
        self.routers = underlay.routers
        """How many routers are between the hub's subnet and the spokes'."""
        self._rules: dict[str, PortRules | None] = dict.fromkeys(self._ports, ((), True))
        self._floods = False
        self._unreported: set[str] = set()
        """The ports by which a report was waited for in vain."""

    def port_of(self, host: str) -> str:
        """The fabric's device that a host is plugged into."""
        return self._ports[host].device

    def await_members(self, joined: Mapping[str, Iterable[str]]) -> None:
        """Waits until the cloud has the hosts as members of their groups; whether it has is for tests to judge."""
        ports = {self.port_of(host): groups for host, groups in joined.items()}
        wanted = [{"group": group, "port": port} for port, groups in ports.items() for group in groups]
        deadline = BRIEFLY if self._unreported & {entry["port"] for entry in wanted} else MEMBER_DEADLINE
        missing = self.node.ask(Agent.await_entries, "mdb", wanted, deadline) if wanted else ()
        self._unreported |= {wanted[position]["port"] for position in missing}

    def passing_queries(self, host: str) -> AbstractContextManager[None]:
        """For a block, IGMP queries get to a host, as they do every few minutes in a cloud that delivers groups."""
        port = self._ports[host]
        return self.node.changed(filter_clear(port.device, "egress"), fabric.query_filter(port, self._provider))

    @contextlib.contextmanager
    def registered(self, host: str, group: str) -> Iterator[None]:
        """For a block, the host's NIC is a member of a group by the cloud's own command, whatever the host reports."""
        member = ("dev", self._segment_of(host).bridge, "port", self.port_of(host), "grp", group)
        self._mdb("add", *member, "permanent")
        try:
            yield
        finally:
            self._mdb("del", *member)

    def _mdb(self, *words: str) -> None:
        done = self.node.run("bridge", "mdb", *words)
        if done["status"] != 0:
            raise EnvironmentProblem(f"bridge mdb {' '.join(words)}: {done['errors'].strip()}")

    def set_rules(self, host: str, *extra: CloudRule, source_check: bool = True) -> None:
        """Replaces what the port of a host lets in from it: the provider's rules, and `extra` drops."""
        port = self._ports[host]
        self.node.apply(
            filter_clear(port.device, "ingress"),
            fabric.port_filter(replace(port, checked=source_check), self._provider, extra),
        )
        self._rules[host] = (extra, source_check)

    @contextlib.contextmanager
    def _with_rules(self, host: str, *extra: CloudRule, source_check: bool) -> Iterator[None]:
        """Other rules at a host's port for the block; then those again that were there."""
        before = self._rules[host]
        self.set_rules(host, *extra, source_check=source_check)
        try:
            yield
        finally:
            self._restore(host, before)

    def _restore(self, host: str, rules: PortRules | None) -> None:
        if rules is None:
            self.node.apply(filter_clear(self._ports[host].device, "ingress"))
            self._rules[host] = None
        else:
            self.set_rules(host, *rules[0], source_check=rules[1])

    def dropping(self, host: str, *rules: CloudRule) -> AbstractContextManager[None]:
        """What the host sends and a rule matches is dropped at its port."""
        before, checked = self._rules[host] or ((), False)
        return self._with_rules(host, *before, *rules, source_check=checked)

    def lose(self, host: str, *rules: CloudRule) -> None:
        """What is on its way to the host and a rule matches is lost for good, the last step before it gets there."""
        self.node.apply(self._losing(host, rules))

    def losing(self, host: str, *rules: CloudRule) -> AbstractContextManager[None]:
        """The same for a block."""
        return self.node.changed(self._losing(host, rules), filter_clear(self._ports[host].device, "egress"))

    def _losing(self, host: str, rules: tuple[CloudRule, ...]) -> Change:
        unchecked = replace(self._ports[host], checked=False)
        return fabric.port_filter(unchecked, self._provider, rules, direction="egress")

    @contextlib.contextmanager
    def parted(self, host: str, other: str) -> Iterator[None]:
        """Packets between two hosts are lost on their way, in both directions; no link of either shows it."""
        here, there = (self._ports[name].address.ip for name in (host, other))
        with self.losing(host, source_rule(there)), self.losing(other, source_rule(here)):
            yield

    @contextlib.contextmanager
    def without_gre(self, *hosts: str) -> Iterator[None]:
        """IP protocol 47 from the hosts (default: all) is dropped, as by a security list that was never opened."""
        with contextlib.ExitStack() as undoing:
            for host in hosts or self._ports:
                undoing.enter_context(self.dropping(host, *gre_rules()))
            yield

    def without_source_check(self, host: str) -> AbstractContextManager[None]:
        before, _ = self._rules[host] or ((), False)
        return self._with_rules(host, *before, source_check=False)

    def flood(self) -> None:
        """Every port delivers like a plain switch's: no filter, and broadcast, multicast and unknown unicast to all."""
        for host, port in self._ports.items():
            self._restore(host, None)
            # to a port that answers ARP itself the bridge floods nothing at all (br_flood)
            self.node.apply(bridge_port(port.device, flood=1, mcast_flood=1, bcast_flood=1, proxyarp=0))
        self._floods = True

    @contextlib.contextmanager
    def as_plain_switch(self) -> Iterator[None]:
        """The emulation is off: what a cloud refuses passes, as on a switch or a plain Linux bridge."""
        before, flooded = dict(self._rules), self._floods
        self.flood()
        try:
            yield
        finally:
            for host, port in self._ports.items():
                if not flooded:
                    self.node.apply(bridge_port(port.device, **fabric.REFUSALS))
                self._restore(host, before[host])
            self._floods = flooded

    def admit(self, plan: NodePlan, node: Node) -> None:
        """One more VM in the hub's subnet, with the same rules at its port."""
        segment = self._segments[0]
        port = fabric.FabricPort(plan.name, plan.name, plan.nic, plan.underlay, checked=True)
        self._segments[0] = replace(segment, ports=(*segment.ports, port))
        self._ports[plan.name], self._rules[plan.name] = port, ((), True)
        self._plug(plan, node)

    def reattach(self, plan: NodePlan, node: Node) -> None:
        """A host's VNIC, its address and its MAC with it, is attached to another VM; the first one has none then."""
        self.node.apply(link_del(self.port_of(plan.name)))
        self._rules[plan.name] = ((), True)
        self._plug(plan, node)

    def _plug(self, plan: NodePlan, node: Node) -> None:
        port = self._ports[plan.name]
        self.node.apply(
            *fabric.port_changes(self._segment_of(plan.name).bridge, port, self._provider, node.handle),
        )
        node.apply(*fabric.host_changes(plan))
        node.machine.batch(ipv6.host_calls(self._topology, plan, node))
        self._settle(plan.name, node, plan.nic)

    def _settle(self, host: str, node: Node, nic: str) -> None:
        for settling, device in ((self.node, self.port_of(host)), (node, nic)):
            if settling.ask(Agent.settle, devices=[device], timeout=SETTLE):
                raise EnvironmentProblem(f"{settling.name} {device} is not operational after {SETTLE:g} s")

    def stop(self, host: str) -> None:
        """The same for good."""
        self.node.apply(link_set(self.port_of(host), up=False))

    @contextlib.contextmanager
    def stopped(self, host: str, node: Node) -> Iterator[None]:
        """
        The host's VM is stopped, as the other hosts see it: its NIC has no carrier and nothing gets through.

        The cloud still has its address, so that neighbours of it stay resolved.  The host's configuration is there
        afterwards, as if its boot had restored it all.
        """
        self.stop(host)
        try:
            yield
        finally:
            self.node.apply(link_set(self.port_of(host), up=True))
            self._settle(host, node, self._ports[host].nic)

    def withdrawn(self, host: str) -> AbstractContextManager[None]:
        """The cloud removes the host's address, as when its VM was deleted: no ARP request for it is answered."""
        port, bridge = self._ports[host], self._segment_of(host).bridge
        address, mac = str(port.address.ip), mac_of(port.address.ip)
        return self.node.changed(neigh_del(bridge, address), neigh_add(bridge, address, mac))

    def assign(self, host: str, address: IPv4Address) -> None:
        """
        A secondary private address for a host's VNIC: others find it there.

        The port's source check still has only the primary address; `set_rules` or `without_source_check` lift it.
        """
        mac = mac_of(self._ports[host].address.ip)
        self.node.apply(neigh_add(self._segment_of(host).bridge, str(address), mac))

    def _segment_of(self, host: str) -> fabric.Segment:
        return next(segment for segment in self._segments if self._ports[host] in segment.ports)
