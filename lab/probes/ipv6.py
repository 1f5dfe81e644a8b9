"""
The hosts' own IPv6 addresses on the overlay: what an answer is known by, and the index that a membership names.

They are read from the hosts (/proc/net/if_inet6), as the kernel made them: link-local addresses are not configured.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab.errors import CheckFailed
from lab.machines.node import Agent, Node, ask_all
from lab.model import Network, NodePlan

LINK_SCOPE = 0x20  # RT_SCOPE of if_inet6: IPV6_ADDR_LINKLOCAL
TENTATIVE, FAILED = 0x40, 0x08  # IFA_F_TENTATIVE, IFA_F_DADFAILED: in, or failed by, duplicate address detection
NOT_USABLE = TENTATIVE | FAILED
DETECTION_DEADLINE = 3.0  # seconds; detection takes one by default (RFC 4862 section 5.1)


@dataclass(frozen=True)
class LinkLocal:
    """A host's link-local address on a device, and the device's index there."""

    address: str
    index: int


def link_locals(
    nodes: Mapping[str, Node], plans: Mapping[str, NodePlan], network: Network = "overlay"
) -> dict[str, LinkLocal]:
    """
    The usable link-local address of each node's device on a network; nodes without one are left out.

    One that is still in duplicate address detection is waited for.
    """
    names = [name for name in plans if name in nodes]
    tables = _tables(nodes, names)
    if young := [name for name in names if _of_device(tables[name], plans[name].interface(network), TENTATIVE)]:
        waits = [(nodes[name], plans[name].interface(network)) for name in young]
        ask_all([(node, node.call(Agent.wait_link_local, device, DETECTION_DEADLINE)) for node, device in waits])
        tables |= _tables(nodes, young)
    found = {}
    for name, table in tables.items():
        if own := _of_device(table, plans[name].interface(network), 0):
            found[name] = own
    return found


def _tables(nodes: Mapping[str, Node], names: Sequence[str]) -> dict[str, str]:
    tables = ask_all([(nodes[name], nodes[name].call(Agent.read_net, name="if_inet6")) for name in names])
    return dict(zip(names, tables, strict=True))


def _of_device(table: str, device: str, state: int) -> LinkLocal | None:
    """The device's link-local address whose state, of those in which it is not to be used, is the one given."""
    for line in table.splitlines():
        digits, index, _, scope, flags, name = line.split()
        if name == device and int(scope, 16) == LINK_SCOPE and int(flags, 16) & NOT_USABLE == state:
            return LinkLocal(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits)), int(index, 16))
    return None


def required(found: Mapping[str, LinkLocal], name: str, plan: NodePlan) -> LinkLocal:
    """The address of a node; CheckFailed when it has none: its IPv6 is off, or its MTU is below what IPv6 needs."""
    if name not in found:
        raise CheckFailed(
            f"{name} has no IPv6 link-local address on {plan.device}, so it neither sends nor receives IPv6 on it",
            remedy=f"on {name}: ip -6 addr show dev {plan.device}; sysctl net.ipv6.conf.{plan.device}.disable_ipv6 "
            "(0 is on); its MTU must be 1280 at least",
        )
    return found[name]
