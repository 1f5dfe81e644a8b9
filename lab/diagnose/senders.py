"""
The hosts that a trial sends from: all; of many, those that stand for the others and those that lose most.

And how it listens.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from lab.errors import CheckFailed
from lab.host import Host
from lab.laboratory import Lab
from lab.machines.node import Agent
from lab.probes.host_state import snooping
from lab.probes.listening import Listening

BURST = 12  # datagrams: one lost by chance is distinguished from a leg that loses all
MOST_SENDERS = 4
MOST_SUSPECTS = 2
GRACE = 0.2  # seconds, as `fences.GRACE`; a diagnosis may be less patient than a verdict
Listen = Callable[..., Listening]


def few(lab: Lab) -> list[Host]:
    """All hosts; of many the first and the last, who stand for the others, and those that a test just lost most of."""
    every = list(lab.hosts.values())
    if len(every) <= MOST_SENDERS:
        return every
    few = [*every[: MOST_SENDERS - 1], every[-1]]
    lost = Counter(name for listening in lab.ended for pair in listening.lost() for name in pair)
    worst = [lab[name] for name, _ in lost.most_common(MOST_SENDERS) if name in lab.hosts]
    return [*few, *(host for host in worst if host not in few)][: MOST_SENDERS + MOST_SUSPECTS]


def joined(lab: Lab, among: Sequence[Host]) -> list[tuple[Host, Host]]:
    """The pairs of these hosts that a tunnel joins, both ways."""
    names = {host.name for host in among}
    hops = [hop for tunnel in lab.topology.tunnels for hop in tunnel.hops]
    ends = [(hop.start.host, hop.end.host) for hop in hops]
    return [(lab[one], lab[other]) for one, other in ends if {one, other} <= names]


def impatient(lab: Lab) -> Listen:
    """How the trial listens: for a short time, and where the hub may prune, from when it has heard of the members."""
    pruning = [hub for hub in lab.hubs if _prunes(hub)]

    def await_listed(listening: Listening) -> None:
        for hub in pruning:
            ports = [snooping.port_of(lab.topology, name, hub.name) for name in listening.at]
            for group in filter(snooping.is_listed, listening.joined):
                hub.node.ask(Agent.await_entries, "mdb", snooping.members(group, ports), GRACE)

    waiting: dict[str, Any] = {"on_entry": await_listed} if pruning else {}
    return functools.partial(lab.listen, grace=GRACE, patience=None, **waiting)


def _prunes(hub: Host) -> bool:
    """Whether the hub's bridge snoops and there is a querier: itself, or a host behind a port."""
    try:
        bridge = hub.node.link(hub.plan.device).details
    except CheckFailed:
        return False
    return bool(bridge.get("mcast_snooping")) and (snooping.prunes(bridge) or bool(hub.node.read("mdb_routers")))
