"""
The state of nodes, read all at once, and as text that a network engineer reads.

Every reading is made for itself: a node that is half set up, or a live host without root, shows what it can, and names
what it could not.

    taken = snapshot.take(lab.nodes.values())
    print(snapshot.text(taken))
    print(snapshot.activity(snapshot.take(lab.nodes.values()), before=taken))    what was counted meanwhile
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lab.diagnose import scene, words
from lab.diagnose.words import activities, tunnels
from lab.machines.base import Call
from lab.machines.node import Agent, Node, try_all
from lab.records import typed

READINGS = (*scene.READINGS, "parameters")
FILES = ("igmp", "igmp6", "dev_mcast", "xfrm_stat")
SYSCTLS = (
    *scene.PARAMETERS,
    *(f"net.ipv4.conf.all.{name}" for name in scene.PER_DEVICE),
    "net.ipv6.icmp.echo_ignore_multicast",
    "net.ipv6.conf.all.disable_ipv6",
)
"""To read one takes 0.3 ms in a guest; those of each device come in one piece (`parameters`)."""
CARRIERS = (" gre ", "dport=4789 ")
"""What a line of /proc/net/nf_conntrack about a tunnel holds."""

State = dict[str, Any]
Taken = dict[str, State]


def take(nodes: Iterable[Node], addresses: Iterable[str] = ()) -> Taken:
    """
    The state of each node by name and subject, and why a subject is missing (`unread`), in one round trip a machine.

    `addresses`: whose connections are listed, in addition to those of tunnels.
    """
    words = [*CARRIERS, *(f"{end}={address} " for address in addresses for end in ("src", "dst"))]
    asked = [(node, what, call) for node in nodes for what, call in _subjects(node, words)]
    taken: Taken = {node.name: {"unread": {}} for node, _, _ in asked}
    answers = try_all([(node, call) for node, _, call in asked])
    for (node, what, _), (answer, why) in zip(asked, answers, strict=True):
        if why is None:
            taken[node.name][what] = typed(what, answer)
        else:
            taken[node.name]["unread"][what] = why
    return taken


def _subjects(node: Node, words: Sequence[str]) -> list[tuple[str, Call[Any]]]:
    return [
        *((what, node.call(Agent.read, what=what)) for what in READINGS),
        *((name, node.call(Agent.read_net, name=name)) for name in FILES),
        ("sysctls", node.call(Agent.sysctl_read, names=list(SYSCTLS))),
        ("counters", node.call(Agent.counters)),
        ("firewall", node.call(Agent.firewall)),
        ("connections", node.call(Agent.read_net, name="nf_conntrack", words=list(words))),
    ]


def text(taken: Mapping[str, Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """A snapshot for the eye: what is configured, then what was learned and counted (since `before`, if given)."""
    return f"{configuration(taken)}\n\n{activity(taken, before)}"


def configuration(taken: Mapping[str, Mapping[str, Any]]) -> str:
    """The configuration as text: equal texts, equal configurations."""
    nodes = ["\n".join([f"=== {name} ===", *words.configured(state)]) for name, state in taken.items()]
    return "\n\n".join([*nodes, *tunnels.tables(taken)])


def activity(taken: Mapping[str, Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """What the nodes learned and counted by themselves; with `before`, counters as far as they rose since."""
    since = " since the last look" if before else ""
    return "\n\n".join(
        "\n".join(
            [f"=== {name}: learned and counted{since} ===", *activities.lines(state, (before or {}).get(name, {}))]
        )
        for name, state in taken.items()
    )
