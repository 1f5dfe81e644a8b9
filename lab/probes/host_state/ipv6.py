"""
The hosts' own IPv6 addresses on the overlay: what an answer is known by, and the index that a membership names.

They are read from the hosts, as the kernel made them: link-local addresses are not configured.
"""

from __future__ import annotations

from collections.abc import Mapping

from lab.errors import CheckFailed
from lab.machines.node import Agent, Node, ask_all
from lab.model import Network, NodePlan
from lab.stack.records import Address, typed

TENTATIVE = "tentative"
DETECTION_DEADLINE = 3.0  # seconds; detection takes one by default (RFC 4862 section 5.1)


def usable(device: str) -> list[dict[str, str]]:
    """The entry that a usable link-local address of a device is, for the agent's `await_entries`."""
    return [{"dev": device, "family": "inet6", "scope": "link", "detection": ""}]


def link_locals(
    nodes: Mapping[str, Node], plans: Mapping[str, NodePlan], network: Network = "overlay"
) -> dict[str, Address]:
    """
    The usable link-local address of each node's device on a network; nodes without one are left out.

    One that is still in duplicate address detection is waited for.
    """
    devices = {name: plan.interface(network) for name, plan in plans.items() if name in nodes}
    found = _read(nodes, devices)
    if young := {name: devices[name] for name, own in found.items() if any(one.detection == TENTATIVE for one in own)}:
        wait = ((nodes[name], usable(device)) for name, device in young.items())
        ask_all([(node, node.call(Agent.await_entries, "addresses", of, DETECTION_DEADLINE)) for node, of in wait])
        found |= _read(nodes, young)
    return {name: one for name, own in found.items() for one in reversed(own) if not one.detection}


def _read(nodes: Mapping[str, Node], devices: Mapping[str, str]) -> dict[str, list[Address]]:
    """The link-local addresses of a device of each node."""
    answers = ask_all([(nodes[name], nodes[name].call(Agent.read, "addresses")) for name in devices])
    return {
        name: [one for one in typed("addresses", read) if (one.dev, one.family, one.scope) == (device, "inet6", "link")]
        for (name, device), read in zip(devices.items(), answers, strict=True)
    }


def required(found: Mapping[str, Address], name: str, plan: NodePlan) -> Address:
    """The address of a node; CheckFailed when it has none: its IPv6 is off, or its MTU is below what IPv6 needs."""
    if name not in found:
        raise CheckFailed(
            f"{name} has no IPv6 link-local address on {plan.device}, so it neither sends nor receives IPv6 on it",
            remedy=f"on {name}: ip -6 addr show dev {plan.device}; sysctl net.ipv6.conf.{plan.device}.disable_ipv6 "
            "(0 is on); its MTU must be 1280 at least",
        )
    return found[name]
