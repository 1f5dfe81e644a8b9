"""The cloud's side of things, for as long as a block lasts: rules at a host's port (a security list, a blocked GRE)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from ipaddress import IPv4Address

from lab.machines.node import Node
from lab.model import Topology, Underlay, mac_of
from lab.underlay import fabric
from lab.underlay.policy import Rule, gre_rule, port_program


class Cloud:
    """The emulated cloud network as an operator of the cloud would change it."""

    def __init__(self, node: Node, topology: Topology, underlay: Underlay) -> None:
        self.node = node
        self._segments = fabric.segments(topology, underlay)
        self._ports = {port.node: port for segment in self._segments for port in segment.ports if port.checked}
        self._provider = underlay.provider

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

    @contextlib.contextmanager
    def dropping(self, host: str, *rules: Rule) -> Iterator[None]:
        """What the host sends and a rule matches is dropped at its port."""
        self.set_rules(host, *rules)
        try:
            yield
        finally:
            self.set_rules(host)

    @contextlib.contextmanager
    def without_gre(self, *hosts: str) -> Iterator[None]:
        """IP protocol 47 from the hosts (default: all) is dropped, as by a security list that was never opened."""
        with contextlib.ExitStack() as undoing:
            for host in hosts or self._ports:
                undoing.enter_context(self.dropping(host, gre_rule()))
            yield

    @contextlib.contextmanager
    def without_source_check(self, host: str) -> Iterator[None]:
        self.set_rules(host, source_check=False)
        try:
            yield
        finally:
            self.set_rules(host)

    def flood(self) -> None:
        """Every port delivers like a plain switch's: no filter, and broadcast, multicast and unknown unicast to all."""
        for port in self._ports.values():
            self.node.apply(
                ("filter_clear", {"device": port.device, "direction": "ingress"}),
                # to a port that answers ARP itself the bridge floods nothing at all (br_flood)
                ("bridge_port", {"device": port.device, "flood": 1, "mcast_flood": 1, "bcast_flood": 1, "proxyarp": 0}),
            )

    @contextlib.contextmanager
    def as_plain_switch(self) -> Iterator[None]:
        """The emulation is off: what a cloud refuses passes, as on a switch or a plain Linux bridge."""
        self.flood()
        try:
            yield
        finally:
            for host, port in self._ports.items():
                self.node.apply(("bridge_port", {"device": port.device, **fabric.REFUSALS}))
                self.set_rules(host)

    def assign(self, host: str, address: IPv4Address) -> None:
        """
        A secondary private address for a host's VNIC: others find it there.

        The port's source check still knows the primary address only; `set_rules` or `without_source_check` lift it.
        """
        mac = mac_of(self._ports[host].address.ip)
        self.node.apply(("neigh_add", {"device": self._segment_of(host).bridge, "to": str(address), "lladdr": mac}))

    def _segment_of(self, host: str) -> fabric.Segment:
        return next(segment for segment in self._segments if self._ports[host] in segment.ports)
