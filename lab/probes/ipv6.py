"""
The hosts' own IPv6 addresses on the overlay: what an answer is known by, and the index that a membership names.

They are read from the hosts (/proc/net/if_inet6), as the kernel made them: nobody configures a link-local address.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass

from lab.errors import CheckFailed
from lab.machines.node import Node, ask_all
from lab.model import Network, NodePlan

LINK_SCOPE = 0x20  # RT_SCOPE of if_inet6: IPV6_ADDR_LINKLOCAL
NOT_USABLE = 0x40 | 0x08  # IFA_F_TENTATIVE, IFA_F_DADFAILED: still in, or failed by, duplicate address detection


@dataclass(frozen=True)
class LinkLocal:
    """A host's link-local address on a device, and the device's index there."""

    address: str
    index: int


def link_locals(
    nodes: Mapping[str, Node], plans: Mapping[str, NodePlan], network: Network = "overlay"
) -> dict[str, LinkLocal]:
    """The usable link-local address of each node's device on a network; nodes without one are left out."""
    names = [name for name in plans if name in nodes]
    tables = ask_all([(nodes[name], nodes[name].call("read_net", name="if_inet6")) for name in names])
    found = {}
    for name, table in zip(names, tables, strict=True):
        address = _of_device(str(table), plans[name].interface(network))
        if address is not None:
            found[name] = address
    return found


def _of_device(table: str, device: str) -> LinkLocal | None:
    for line in table.splitlines():
        digits, index, _, scope, flags, name = line.split()
        if name == device and int(scope, 16) == LINK_SCOPE and not int(flags, 16) & NOT_USABLE:
            return LinkLocal(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits)), int(index, 16))
    return None


def required(found: Mapping[str, LinkLocal], name: str, plan: NodePlan) -> LinkLocal:
    """The address of a node; CheckFailed when it has none: its IPv6 is off, or its MTU is below what IPv6 needs."""
    if name not in found:
        raise CheckFailed(
            f"{name} has no IPv6 link-local address on {plan.device}, so it neither sends nor hears IPv6 there",
            remedy=f"on {name}: ip -6 addr show dev {plan.device}; sysctl net.ipv6.conf.{plan.device}.disable_ipv6 "
            "(0 is on); its MTU must be 1280 at least",
        )
    return found[name]
