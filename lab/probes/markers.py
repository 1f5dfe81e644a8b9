"""
Markers: datagrams on the underlay, leg by leg, by which one kernel's queues are known to be empty.

They go where an overlay packet is carried, sender to hub and hub to receiver, but need no overlay: where the overlay is
cut, they still tell that nothing more is on its way (`agent.fences`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lab.machines.node import Node
from lab.model import NodePlan
from lab.probes import options
from lab.probes.patience import Lost, Way


def one_kernel(nodes: Iterable[Node]) -> bool:
    """Whether the nodes share a kernel, and with it the queues that markers speak of."""
    return len({id(node.machine) for node in nodes}) == 1


def hub_of(plans: Mapping[str, NodePlan]) -> str:
    """The node that everything on the overlay goes through."""
    return next(name for name, plan in plans.items() if plan.is_hub)


def legs(
    ways: Iterable[tuple[str, str]],
    nodes: Mapping[str, Node],
    plans: Mapping[str, NodePlan],
    port: int,
    lost: Lost,
) -> list[dict[str, Any]]:
    """
    The legs of the ways (from, to), each once, for the agent's `wait_for`; `port` is open at their ends.

    A leg that is known to be dead is left out: nothing is on its way there.
    """
    return [
        {
            "node": nodes[start].handle,
            "fields": dict(options.UDP),
            "to": [plans[end].address("underlay"), port],
            "arrival": nodes[end].handle,
        }
        for start, end in dict.fromkeys(ways)
        if start != end and not lost.every([Way("underlay", "unicast", start, end)])
    ]
