"""The cloud's side of things, for as long as a block lasts: rules at a host's port (a security list, a blocked GRE)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from ipaddress import IPv4Address

from lab.machines.node import Node
from lab.model import Topology, Underlay, mac_of
from lab.underlay import fabric
from lab.underlay.policy import Rule, gre_rule, port_program

PortRules = tuple[tuple[Rule, ...], bool]
"""What is dropped at a port besides what the provider drops, and whether sources are checked."""


class Cloud:
    """The emulated cloud network as an operator of the cloud would change it."""

    def __init__(self, node: Node, topology: Topology, underlay: Underlay) -> None:
        self.node = node
        self._segments = fabric.segments(topology, underlay)
        self._ports = {port.node: port for segment in self._segments for port in segment.ports if port.checked}
        self._provider = underlay.provider
        self._rules: dict[str, PortRules | None] = dict.fromkeys(self._ports, ((), True))
        self._floods = False

    def port_of(self, host: str) -> str:
        """The fabric's device that a host is plugged into."""
        return self._ports[host].device

    def set_rules(self, host: str, *extra: Rule, source_check: bool = True) -> None:
        """Replaces what the port of a host lets in from it: the provider's rules, and `extra` drops."""
        port = self._ports[host]
        program = port_program(self._provider, port.address.ip if source_check else None, extra)
        self.node.apply(
            ("filter_clear", {"device": port.device, "direction": "ingress"}),
            ("filter_add", {"device": port.device, "direction": "ingress", "program": program, "name": "vcn"}),
        )
        self._rules[host] = (extra, source_check)

    @contextlib.contextmanager
    def _with_rules(self, host: str, *extra: Rule, source_check: bool) -> Iterator[None]:
        """Other rules at a host's port for the block; then those again that were there."""
        before = self._rules[host]
        self.set_rules(host, *extra, source_check=source_check)
        try:
            yield
        finally:
            self._restore(host, before)

    def _restore(self, host: str, rules: PortRules | None) -> None:
        if rules is None:
            self.node.apply(("filter_clear", {"device": self._ports[host].device, "direction": "ingress"}))
            self._rules[host] = None
        else:
            self.set_rules(host, *rules[0], source_check=rules[1])

    @contextlib.contextmanager
    def dropping(self, host: str, *rules: Rule) -> Iterator[None]:
        """What the host sends and a rule matches is dropped at its port."""
        before, checked = self._rules[host] or ((), False)
        with self._with_rules(host, *before, *rules, source_check=checked):
            yield

    @contextlib.contextmanager
    def without_gre(self, *hosts: str) -> Iterator[None]:
        """IP protocol 47 from the hosts (default: all) is dropped, as by a security list that was never opened."""
        with contextlib.ExitStack() as undoing:
            for host in hosts or self._ports:
                undoing.enter_context(self.dropping(host, gre_rule()))
            yield

    @contextlib.contextmanager
    def without_source_check(self, host: str) -> Iterator[None]:
        before, _ = self._rules[host] or ((), False)
        with self._with_rules(host, *before, source_check=False):
            yield

    def flood(self) -> None:
        """Every port delivers like a plain switch's: no filter, and broadcast, multicast and unknown unicast to all."""
        for host, port in self._ports.items():
            self._restore(host, None)
            # to a port that answers ARP itself the bridge floods nothing at all (br_flood)
            flags = {"flood": 1, "mcast_flood": 1, "bcast_flood": 1, "proxyarp": 0}
            self.node.apply(("bridge_port", {"device": port.device, **flags}))
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
                    self.node.apply(("bridge_port", {"device": port.device, **fabric.REFUSALS}))
                self._restore(host, before[host])
            self._floods = flooded

    def assign(self, host: str, address: IPv4Address) -> None:
        """
        A secondary private address for a host's VNIC: others find it there.

        The port's source check still knows the primary address only; `set_rules` or `without_source_check` lift it.
        """
        mac = mac_of(self._ports[host].address.ip)
        self.node.apply(("neigh_add", {"device": self._segment_of(host).bridge, "to": str(address), "lladdr": mac}))

    def _segment_of(self, host: str) -> fabric.Segment:
        return next(segment for segment in self._segments if self._ports[host] in segment.ports)
