"""
The state of nodes, read all at once, and as text that a network engineer reads.

Every reading is made for itself: a node that is half set up, or a live host without root, shows what it can, and lists
what it could not.

    taken = snapshot.take(lab.nodes.values())
    print(snapshot.text(taken))
    print(snapshot.activity(snapshot.take(lab.nodes.values()), before=taken))    what was counted meanwhile
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lab.diagnose import parameters, scene
from lab.machines.base import Call
from lab.machines.node import Agent, Node, try_all
from lab.probes.host_state.membership import groups_of
from lab.stack import state
from lab.stack.records import typed

READINGS = (*scene.READINGS, "parameters")
FILES = ("igmp", "xfrm_stat")
SYSCTLS = (
    *parameters.STACK,
    *(f"net.ipv4.conf.all.{name}" for name in parameters.PER_DEVICE),
    "net.ipv6.icmp.echo_ignore_multicast",
    "net.ipv6.conf.all.disable_ipv6",
)
"""To read one takes 0.3 ms in a guest; those of each device come in one piece (`parameters`)."""
CARRIERS = (" gre ", "dport=4789 ", "dport=6081 ")
"""What a line of /proc/net/nf_conntrack about a tunnel holds."""
CONSTANTS = ("IpForwarding", "IpDefaultTTL", "TcpRtoAlgorithm", "TcpRtoMin", "TcpRtoMax", "TcpMaxConn")
"""What the kernel lists among its counters and does not count."""
LEFT_OUT = ("name", "index", "statistics", "details")
WIDTH = 116

NodeState = Mapping[str, Any]
Taken = dict[str, dict[str, Any]]


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


def text(taken: Mapping[str, NodeState], before: Mapping[str, NodeState] | None = None) -> str:
    """A snapshot for the eye: what is configured and learned, then what was counted (since `before`, if given)."""
    return f"{configuration(taken)}\n\n{activity(taken, before)}"


def configuration(taken: Mapping[str, NodeState]) -> str:
    """What is configured and what was learned, in the words of `state`: what is off or not set is left out."""
    return "\n\n".join("\n".join([f"=== {name} ===", *_configured(found)]) for name, found in taken.items())


def _configured(found: NodeState) -> Iterator[str]:
    readings = {what: found.get(what, ()) for what in (*READINGS, "firewall")} | {"sysctls": found.get("sysctls", {})}
    for subject, entries in state.SUBJECTS.items():
        for key, fields in entries(readings):
            shown = {name: value for name, value in fields.items() if name not in LEFT_OUT and name[0] != "_"}
            if subject != "sysctl" or shown["value"] not in (None, "0"):
                yield " ".join(filter(None, (subject, key, *map(_field, shown, shown.values()))))
    yield from (f"not read: {what}: {why}" for what, why in found.get("unread", {}).items())


def _field(name: str, value: Any) -> str:
    if value is True:
        return name
    return f"{name} {value}" if value and (name, value) != ("number", 1) else ""


def activity(taken: Mapping[str, NodeState], before: Mapping[str, NodeState] | None = None) -> str:
    """What the nodes counted and are members of; with `before`, counters as far as they rose since."""
    since = " since the last look" if before else ""
    return "\n\n".join(
        "\n".join([f"=== {name}: counted{since} ===", *_counted(found, (before or {}).get(name, {}))])
        for name, found in taken.items()
    )


def _counted(found: NodeState, before: NodeState) -> Iterator[str]:
    for device, groups in groups_of(found.get("igmp", "")).items():
        yield f"member dev {device}: {', '.join(sorted(groups))}"
    yield from (f"connection {' '.join(line.split())}" for line in str(found.get("connections", "")).splitlines())
    now, was = _counters(found), _counters(before)
    for what, counts in now.items():
        risen = {key: value - was.get(what, {}).get(key, 0) for key, value in counts.items()}
        if line := ", ".join(f"{key} {value}" for key, value in risen.items() if value):
            yield from textwrap.wrap(f"counted {what}: {line}", WIDTH, subsequent_indent="  ")


def _counters(found: NodeState) -> dict[str, dict[str, int]]:
    """Everything of a node that counts, by what it is."""
    counted: dict[str, dict[str, int]] = {link.name: dict(link.statistics) for link in found.get("links", ())}
    for qdisc in found.get("qdiscs", ()):
        counted[f"qdisc {qdisc.kind} {qdisc.handle} dev {qdisc.dev} {qdisc.parent}"] = {"drops": qdisc.drops}
    for rule in found.get("firewall", ()):
        matched = counted.setdefault(str(rule), {"packets": 0})
        matched["packets"] += rule.packets or 0
    for entry in found.get("filters", ()):
        counted[f"filter {entry.handle} {entry}"] = {
            "packets": sum(action.get("packets", 0) for action in entry.actions[:1])
        }
    names = [name for name in found.get("counters", {}) if name not in CONSTANTS]
    counted["kernel"] = {name: found["counters"][name] for name in names}
    lines = [line.split() for line in str(found.get("xfrm_stat", "")).splitlines()]
    counted["IPsec"] = {name: int(value) for name, value in lines}
    return counted
