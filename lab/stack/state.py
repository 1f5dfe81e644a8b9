"""
The state of a lab, as far as tests may change it: compared before and after, so that nothing leaks between tests.

Only configuration counts; counters, learned entries and resolved neighbours change by themselves.  The
keys and the fields of an entry are the words with which ip(8), bridge(8), tc(8) and iptables(8) make it.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lab.diagnose import parameters
from lab.machines.base import Call
from lab.machines.node import Agent, Node, ask_all
from lab.stack.records import FdbEntry, typed
from lab.topology.topologies import ROLE

SYSCTLS = (
    # connections are counted by the kernel, and their number has a limit once the module that tracks them is loaded
    *(name for name in parameters.STACK if name not in (parameters.CONNECTIONS, parameters.MOST_CONNECTIONS)),
    *parameters.STACK_OF_IPV6,
    "net.ipv4.igmp_link_local_mcast_reports",
    "net.ipv4.igmp_qrv",
    "net.ipv4.ip_no_pmtu_disc",
    "net.ipv4.ipfrag_low_thresh",
    "net.ipv4.ping_group_range",
    "net.ipv6.icmp.ratelimit",
    *(f"net.ipv4.conf.{scope}.{name}" for scope in parameters.EVERYWHERE for name in parameters.PER_DEVICE),
    *(f"net.ipv6.conf.{scope}.{name}" for scope in parameters.EVERYWHERE for name in ("disable_ipv6", "forwarding")),
)
"""Those of a stack; each device's own are read in one piece (`agent.configured`)."""
COUNTING = ("seq_nr",)
"""What a device counts among the parameters of its kind: the frames that a PRP device has sent."""
OF_STP = ("ageing_time",)
"""What a bridge with STP changes for a while: after each change of a port's state."""
Fields = Mapping[str, Any]
State = Mapping[str, Mapping[str, Mapping[str, Fields]]]
"""By node, subject and key; a field whose name begins with `_` is not compared."""


def of(nodes: Mapping[str, Node]) -> State:
    """What is configured on every node, by node, subject and key."""
    calls: list[tuple[Node, Call[Any]]] = []
    for node in nodes.values():
        calls.append((node, node.call(Agent.configured)))
        calls.append((node, node.call(Agent.firewall)))
        calls.append((node, node.call(Agent.sysctl_read, names=list(SYSCTLS))))
    answers = iter(ask_all(calls))
    state = {}
    for name in nodes:
        readings = {what: typed(what, entries) for what, entries in next(answers).items()}
        readings.update(firewall=typed("firewall", next(answers)), sysctls=next(answers))
        state[name] = {subject: dict(entries(readings)) for subject, entries in SUBJECTS.items()}
    return state


def fingerprint(nodes: Mapping[str, Node]) -> tuple[object, ...]:
    """
    The same state as one value that is cheap to take and to compare.

    Equal: nothing was left changed.  Unequal: `differences` of two states lists the changes.
    """
    return tuple(ask_all([(node, node.call(Agent.fingerprint, sysctls=list(SYSCTLS))) for node in nodes.values()]))


Readings = Mapping[str, Any]
Entries = Iterator[tuple[str, Fields]]


def _links(readings: Readings) -> Entries:
    for link in readings["links"]:
        own = (*COUNTING, *(OF_STP if link.details.get("stp_state") else ()))
        configured = {name: value for name, value in link.details.items() if name not in own}
        yield link.name, {**vars(link), **configured, "details": None}


def _ports(readings: Readings) -> Entries:
    spanning = {link.name for link in readings["links"] if link.details.get("stp_state")}
    for port in readings["ports"]:
        yield port.dev, {"state by STP" if port.master in spanning else "state": port.state, **port.flags}


def _vlans(readings: Readings) -> Entries:
    for entry in readings["vlans"]:
        yield f"vid {entry.vid} dev {entry.dev}", {"pvid": entry.pvid, "untagged": entry.untagged}


def _addresses(readings: Readings) -> Entries:
    for one in readings["addresses"]:
        if (one.dev, one.local) == ("lo", ROLE):  # which VRRP gives to a hub or its standby
            continue
        peer = f" peer {one.peer}" if one.peer else ""
        yield f"{one.local}{peer}/{one.prefixlen} dev {one.dev}", {"broadcast": one.broadcast, "scope": one.scope}


def _routes(family: str, readings: Readings) -> Entries:
    for route in readings["routes"]:
        if route.family == family and route.src != ROLE:
            scope = {"scope": None if route.scope == "global" else route.scope}
            yield str(route), {"proto": route.proto, **scope, "src": route.src, "mtu": route.mtu}


def _rules(family: str, readings: Readings) -> Entries:
    # one that stands there twice is two
    counted = Counter(rule for rule in readings["rules"] if rule.family == family)
    return ((str(rule), {"number": count, "_entry": rule}) for rule, count in counted.items())


def _neighbours(readings: Readings) -> Entries:
    for one in readings["neighbours"]:
        yield f"{one.dst} dev {one.dev}", {"lladdr": one.lladdr}


def _forwarding(readings: Readings) -> Entries:
    return ((_entry(entry), {}) for entry in readings["fdb"])


def _entry(entry: FdbEntry) -> str:
    words = (
        f"{entry.lladdr} dev {entry.dev}",
        f"dst {entry.dst}" if entry.dst else "",
        f"port {entry.port}" if entry.port else "",
        f"vni {entry.vni}" if entry.vni else "",
        f"via {entry.via}" if entry.via else "",
        f"vlan {entry.vlan}" if entry.vlan else "",
        "master" if entry.master else "self",
        entry.state,
    )
    return " ".join(filter(None, words))


def _groups(readings: Readings) -> Entries:
    for entry in readings["mdb"]:
        words = (f"src {entry.source}" if entry.source else "", f"vid {entry.vid}" if entry.vid else "", "permanent")
        yield " ".join(filter(None, (f"dev {entry.bridge} port {entry.port} grp {entry.group}", *words))), {}


def _qdiscs(readings: Readings) -> Entries:
    for qdisc in readings["qdiscs"]:
        parent = qdisc.parent if qdisc.parent == "root" else f"parent {qdisc.parent}"
        yield f"dev {qdisc.dev} {parent} {qdisc.kind}", qdisc.settings


def _filters(readings: Readings) -> Entries:
    counted = Counter(map(str, readings["filters"]))
    for entry in readings["filters"]:
        yield str(entry), {"program": entry.program, "number": counted[str(entry)], "_entry": entry}


def _firewall(readings: Readings) -> Entries:
    counted = Counter(str(rule) for rule in readings["firewall"] if not rule.unread)
    for rule in readings["firewall"]:
        if rule.unread:
            which = " ".join(filter(None, (rule.tool, rule.family, rule.table)))
            yield f"{which}: not read: {rule.unread}", {}
        elif rule.rule or rule.verdict != "ACCEPT":
            yield str(rule), {"number": counted[str(rule)], "_entry": rule}


def _sysctls(readings: Readings) -> Entries:
    for name, value in readings["sysctls"].items():
        yield name, {"value": value}
    for entry in readings["parameters"]:
        device = entry.device.replace(".", "/")
        for tree, values in (("ipv4.conf", entry.ipv4), ("ipv6.conf", entry.ipv6), ("ipv4.neigh", entry.neighbours)):
            for name, value in values.items():
                yield f"net.{tree}.{device}.{name}", {"value": str(value)}


SUBJECTS: Mapping[str, Callable[[Readings], Entries]] = {
    "link": _links,
    "bridge port": _ports,
    "VLAN": _vlans,
    "address": _addresses,
    "route": functools.partial(_routes, "inet"),
    "IPv6 route": functools.partial(_routes, "inet6"),
    "rule": functools.partial(_rules, "inet"),
    "IPv6 rule": functools.partial(_rules, "inet6"),
    "neighbour": _neighbours,
    "forwarding entry": _forwarding,
    "group": _groups,
    "sysctl": _sysctls,
    "qdisc": _qdiscs,
    "filter": _filters,
    "firewall rule": _firewall,
}
