"""The calls that build a lab: the cloud's network, the wait for its links, and the overlay on the hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lab.errors import EnvironmentProblem
from lab.machines.base import Call
from lab.machines.node import Agent, Node, ask_all
from lab.model import Change, Topology, Underlay
from lab.overlay import plan as overlay_plan
from lab.overlay import prp
from lab.probes.host_state.ipv6 import usable
from lab.underlay import fabric, ipv6

SETTLE = 5.0  # seconds for links to become operational; in practice a few milliseconds


def underlay_steps(topology: Topology, underlay: Underlay, nodes: Mapping[str, Node]) -> list[Call[Any]]:
    """The cloud's network, and the hosts on it."""
    steps: list[tuple[Node, list[Change]]] = fabric.build(topology, underlay, nodes)
    return [
        *(node.call(Agent.apply, changes=changes) for node, changes in steps),
        *ipv6.build(topology, underlay, nodes),
    ]


def settling_calls(topology: Topology, underlay: Underlay, nodes: Mapping[str, Node]) -> list[tuple[str, Call[Any]]]:
    """By node, the call that waits until its links are operational and its addresses usable."""
    devices, addresses = fabric.late_carriers(topology, underlay), ipv6.addresses(topology, underlay)
    return [
        (
            name,
            nodes[name].call(
                Agent.settle, devices=devices.get(name, ()), addresses=addresses.get(name, ()), timeout=SETTLE
            ),
        )
        for name in {**devices, **addresses}
    ]


def require_settled(names: Sequence[str], answers: Sequence[list[str]]) -> None:
    """EnvironmentProblem when one of them was not in time; `answers` name what was not."""
    for name, down in zip(names, answers, strict=False):
        if down:
            raise EnvironmentProblem(
                f"the lab did not come up: {name} {', '.join(down)} not operational after {SETTLE:g} s"
            )


def settle_ipv6(topology: Topology, nodes: Mapping[str, Node]) -> None:
    """Returns when the overlay devices have their link-local addresses; EnvironmentProblem when they get none."""
    plans = topology.nodes
    calls = [
        (nodes[plan.name], nodes[plan.name].call(Agent.await_entries, "addresses", usable(plan.device), SETTLE))
        for plan in plans
    ]
    for plan, missing in zip(plans, ask_all(calls), strict=True):
        if missing:
            raise EnvironmentProblem(
                f"the lab did not come up: {plan.name} {plan.device} has no IPv6 address after {SETTLE:g} s"
            )


def settle_spanning_tree(topology: Topology, nodes: Mapping[str, Node]) -> None:
    """Returns when STP has blocked the tunnels that are not used; where none delivers anything, after a while."""
    for plan in topology.nodes:
        if not topology.spans(plan):
            continue
        idle = topology.idle_ports(plan.name)
        wanted = [{"dev": port, "state": "blocking"} for port in idle]
        nodes[plan.name].ask(Agent.await_entries, "ports", wanted, SETTLE)


def overlay_steps(topology: Topology, nodes: Mapping[str, Node]) -> list[tuple[Node, Call[Any]]]:
    """The overlay on hosts that have none: each call with the node that it is for."""
    steps: list[tuple[Node, Call[Any]]] = []
    for plan in topology.nodes:
        node = nodes[plan.name]
        steps.append((node, node.call(Agent.apply, changes=overlay_plan.changes(topology, plan))))
        steps.append((node, node.call(Agent.sysctl_write, values=overlay_plan.sysctls(topology, plan))))
    if changes := overlay_plan.asked_again(topology):
        node = nodes[topology.hub.name]
        steps.append((node, node.call(Agent.apply, changes=changes)))
    return steps


def standby_steps(topology: Topology, nodes: Mapping[str, Node]) -> list[tuple[Node, Call[Any]]]:
    """The hub's part on its standby, if any: it sends nothing from the hub's address until it has that."""
    if topology.standby is None:
        return []
    node, plan = nodes[topology.standby.name], replace(topology.hub, nic=topology.standby.nic)
    return [
        (node, node.call(Agent.apply, changes=overlay_plan.changes(topology, plan))),
        (node, node.call(Agent.sysctl_write, values=overlay_plan.sysctls(topology, plan))),
    ]


def first_frames(topology: Topology, nodes: Mapping[str, Node]) -> list[tuple[Node, Call[Any]]]:
    """What PRP devices send in advance, once all hosts are there to receive it."""
    doubled = [plan for plan in topology.nodes if plan.holder == "prp"]
    return [call for plan in doubled for call in prp.first_frames(nodes[plan.name], plan)]


def forwarding(underlay: Underlay, nodes: Mapping[str, Node]) -> list[Call[Any]]:
    """The routers of the cloud's network forward."""
    values = {"net.ipv4.ip_forward": "1"}
    return [nodes[name].call(Agent.sysctl_write, values=values) for name in fabric.routers(underlay)]
