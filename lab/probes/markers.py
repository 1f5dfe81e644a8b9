"""
Markers: datagrams on the underlay, leg by leg, by which one kernel's queues are known to be empty.

They go where an overlay packet is carried, along each tunnel of its path, but need no overlay: where the overlay is
cut, they still tell that nothing more is on its way (`agent.fences`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lab.machines.node import Node
from lab.model import Network, Topology
from lab.probes import options
from lab.probes.deadlines import Flow, Lost

FEW = 8
MOST_WAYS = 64
"""Ways that have a fence each: all those of eight hosts that send to each other."""


def one_kernel(nodes: Iterable[Node]) -> bool:
    """Whether the nodes share a kernel, and with it the queues that markers speak of."""
    return len({id(node.machine) for node in nodes}) == 1


def bound(seconds: float, nodes: Collection[Node]) -> float:
    """How long a fence may take where one of a few hosts takes `seconds`: those of one kernel share its processor."""
    return seconds * max(1.0, len(nodes) / FEW) if one_kernel(nodes) else seconds


def centre_of(topology: Topology, network: Network) -> str:
    """The host that everything goes through; empty where there is none."""
    return topology.centre if network == "overlay" else ""


def forwarding(topology: Topology, network: Network) -> list[str]:
    """The hosts that markers pass: without a socket there, each would be answered by an ICMP error."""
    centre = centre_of(topology, network)
    return [centre] if centre else [hub.name for hub in topology.hubs] if network == "overlay" else []


def stages(
    topology: Topology, network: Network, senders: Sequence[str], at: Sequence[str]
) -> list[list[tuple[str, str]]]:
    """
    The fences, as (sender, receiver): one for each pair, or of many pairs one for each leg, to the centre first.

    What a sender sent has left the centre when its fence has arrived there; the centre's own fences then follow it.
    """
    every = ((sender, name) for sender in senders for name in at)
    pairs = [pair for pair in every if topology.connects(*pair, network)]
    centre = centre_of(topology, network)
    if not centre or len(senders) == 1 or len(pairs) <= MOST_WAYS:
        return [pairs]
    return [[(sender, centre) for sender in senders], [(centre, name) for name in at if name != centre]]


def legs_between(topology: Topology, network: Network, sender: str, receiver: str) -> Iterator[tuple[str, str]]:
    """The legs on the underlay, from host to host, of all paths between two hosts."""
    if network == "underlay" or topology.native:
        yield sender, receiver
        return
    for path in topology.paths(sender, receiver):
        yield from ((hop.start.host, hop.end.host) for hop in path)


def legs(
    ways: Iterable[tuple[str, str]],
    nodes: Mapping[str, Node],
    topology: Topology,
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
            "to": [topology.node(end).address("underlay"), port],
            "arrival": nodes[end].handle,
        }
        for start, end in dict.fromkeys(ways)
        if start != end and not lost.every([Flow("underlay", "unicast", start, end)])
    ]
