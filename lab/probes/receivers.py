"""The UDP socket that each host of a listening opens: its address, its port, and the groups that it is a member of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lab.machines.base import Agent, Call
from lab.machines.node import Node
from lab.model import Network, NodePlan
from lab.probes import options
from lab.probes.fences import ANY
from lab.probes.host_state import ipv6
from lab.probes.payloads import fresh_port
from lab.stack.records import Address


@dataclass(frozen=True)
class Receivers:
    """
    The same socket on several hosts.

    `group` is one group or several, joined on the interface with the address `interface` (default: the network's own;
    0.0.0.0 leaves it to the routing table), from `source` alone if one is named, not at all with `join=False`.  A
    socket is bound to its one group, to `bind`, or to any address.  `share` lets several sockets have the port, by
    SO_REUSEADDR or SO_REUSEPORT; `all_groups` sets IP_MULTICAST_ALL (several groups: off).  A group of IPv6 is
    joined on the overlay's device.
    """

    port: int = field(default_factory=fresh_port)
    network: Network = "overlay"
    group: str | Sequence[str] | None = None
    join: bool = True
    source: str | None = None
    bind: str | None = None
    interface: str | None = None
    share: Literal["address", "port"] = "address"
    all_groups: bool | None = None

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups, joined or not."""
        return (self.group,) if isinstance(self.group, str) else tuple(self.group or ())

    @property
    def joined(self) -> tuple[str, ...]:
        """The groups that the sockets are members of."""
        return self.groups if self.join else ()

    def link_locals(self, nodes: Mapping[str, Node], plans: Mapping[str, NodePlan]) -> Mapping[str, Address]:
        """The link-local addresses of the nodes, by which groups of IPv6 are joined; nothing for others."""
        return ipv6.link_locals(dict(nodes), dict(plans), self.network) if self._is_ipv6 else {}

    def opening(self, node: Node, handle: int, plan: NodePlan, link_locals: Mapping[str, Address]) -> Call[int]:
        """The call that opens the socket on a node."""
        chosen = [options.REUSE_ADDRESS if self.share == "address" else options.REUSE_PORT]
        all_groups = False if self.all_groups is None and len(self.groups) > 1 else self.all_groups
        if all_groups is not None and not self._is_ipv6:
            chosen.append(options.multicast_all(all_groups))
        bind = self.bind
        if bind is None:
            # bound to the group, a socket receives no other groups, even if the host joined them (MCAST-10)
            bind = self.groups[0] if len(self.groups) == 1 else ANY
        kind, late = options.UDP6 if self._is_ipv6 else options.UDP, self.memberships(plan, link_locals, join=True)
        return node.call(Agent.open, handle, **kind, options=chosen, bind=[bind, self.port], late_options=late)

    def memberships(self, plan: NodePlan, link_locals: Mapping[str, Address], *, join: bool) -> list[options.Option]:
        """The options by which a host's socket joins its groups, or leaves them."""
        if self._is_ipv6:
            index = ipv6.required(dict(link_locals), plan.name, plan).index
            return [options.membership6(group, index, join=join) for group in self.joined]
        where = plan.address(self.network) if self.interface is None else self.interface
        return [options.membership(group, where, self.source, join=join) for group in self.joined]

    @property
    def _is_ipv6(self) -> bool:
        return bool(self.groups) and options.is_ipv6(self.groups[0])
