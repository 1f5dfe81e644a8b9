"""
The agents of live hosts ask each other how far they are, so that no check waits for the controller's round trips.

    controller ── sockets ──▶ hub              a request each, and none is waited for
    controller ── wait for hub, send ──▶ spoke1 ── done? ──▶ hub

Only where a few hosts take the agents' datagrams from each other on the underlay; otherwise the controller waits.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from lab.machines.base import call
from lab.machines.node import Agent, Node, try_all
from lab.probes.markers import one_kernel
from lab.probes.payloads import AGENTS_PORT

MOST = 8
"""Hosts: each resolves all others, for which many neighbour tables are too small."""
PATIENCE = 1.0
"""Seconds for the first answers, which take an ARP exchange."""


def meet(nodes: Sequence[Node], addresses: Mapping[str, str]) -> None:
    """Has the agents answer each other at these addresses, if all of them can; otherwise changes nothing."""
    if one_kernel(nodes):
        return
    known = {node.machine.name: addresses[node.name] for node in nodes}
    others = {peer.name for node in nodes for peer in node.machine.peers} - known.keys()
    if not 1 < len(nodes) <= MOST or others or any(":" in address for address in addresses.values()):
        return
    key = secrets.token_bytes(16)
    opened = try_all([(node, node.call(Agent.meet, AGENTS_PORT, key)) for node in nodes])
    if any(why for _, why in opened):
        return
    asked = []
    for node in nodes:
        peers = [(number, known[peer.name], 1) for number, peer in enumerate(node.machine.peers)]
        asked.append((node, call(Agent.await_done, peers, PATIENCE)))
    if not any(why for _, why in try_all(asked)):
        for node in nodes:
            node.machine.peer_addresses = known
