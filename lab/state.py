"""
The state of a lab, as far as tests may change it: compared before and after, so that nothing leaks between tests.

Only what somebody configured counts; counters, learned entries and resolved neighbours come and go by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.laboratory import Lab
from lab.machines.base import Call
from lab.machines.node import Node, ask_all
from lab.overlay.readback import IFF_MULTICAST, IFF_UP, NUD_LEARNED, RTM_F_CLONED

SYSCTLS = (
    "net.ipv4.icmp_echo_ignore_broadcasts",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_default_ttl",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.default.rp_filter",
    "net.ipv4.conf.all.force_igmp_version",
    "net.ipv4.igmp_max_memberships",
    "net.bridge.bridge-nf-call-iptables",
    "net.ipv6.icmp.echo_ignore_multicast",
)
READINGS = ("links", "bridge_ports", "addresses", "routes", "rules", "fdb")
PORT_FLAGS = ("STATE", "MODE", "LEARNING", "UNICAST_FLOOD", "MCAST_FLOOD", "BCAST_FLOOD", "ISOLATED", "PROXYARP")

State = Mapping[str, Mapping[str, Any]]


def of(lab: Lab) -> State:
    """What is configured on every node of the lab, by node and subject."""
    return of_nodes(lab.nodes)


def of_nodes(nodes: Mapping[str, Node]) -> State:
    calls: list[tuple[Node, Call]] = []
    for node in nodes.values():
        calls += [(node, node.call("read", what=what)) for what in READINGS]
        calls.append((node, node.call("sysctl_read", names=list(SYSCTLS))))
    answers = iter(ask_all(calls))
    state = {}
    for name in nodes:
        readings = {what: next(answers) for what in READINGS}
        state[name] = _configured(readings, next(answers))
    return state


def fingerprint(lab: Lab) -> tuple[object, ...]:
    """
    The same state as one value that is cheap to take and to compare.

    Equal: nothing was left changed.  Unequal: `differences` of two states says what, if anything.
    """
    return fingerprint_of_nodes(lab.nodes)


def fingerprint_of_nodes(nodes: Mapping[str, Node]) -> tuple[object, ...]:
    calls: list[tuple[Node, Call]] = []
    for node in nodes.values():
        calls.append((node, node.call("fingerprint")))
        calls.append((node, node.call("sysctl_read", names=list(SYSCTLS))))
    return tuple(tuple(answer.items()) if isinstance(answer, dict) else answer for answer in ask_all(calls))


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was; None: it was not, or is not, there."""

    node: str
    subject: str
    key: Any
    was: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.node} {self.subject} {self.key}: was {self.was!r}, is {self.now!r}"


def compared(before: State, after: State) -> list[Difference]:
    """Everything that is not as it was, of the nodes in `before`."""
    return [
        Difference(node, subject, key, was.get(key), now.get(key))
        for node in before
        for subject, was in before[node].items()
        for now in (after[node][subject],)
        for key in {**was, **now}
        if was.get(key) != now.get(key)
    ]


def differences(before: State, after: State) -> list[str]:
    """One line for each thing that is not as it was."""
    return [str(difference) for difference in compared(before, after)]


def _configured(readings: Mapping[str, list[Any]], sysctls: Mapping[str, Any]) -> dict[str, dict[Any, Any]]:
    names = {link["index"]: link.get("IFLA_IFNAME") for link in readings["links"]}
    return {
        "link": {
            link.get("IFLA_IFNAME"): (
                link["flags"] & (IFF_UP | IFF_MULTICAST),
                link.get("IFLA_MTU"),
                link.get("IFLA_ADDRESS"),
                names.get(link.get("IFLA_MASTER")),
                _kind(link),
            )
            for link in readings["links"]
        },
        "port": {
            names.get(port["index"]): {
                flag: (port.get("IFLA_PROTINFO") or {}).get("IFLA_BRPORT_" + flag) for flag in PORT_FLAGS
            }
            for port in readings["bridge_ports"]
        },
        "address": {
            (names.get(address["index"]), address.get("IFA_ADDRESS")): address["prefixlen"]
            for address in readings["addresses"]
        },
        "route": {
            (route.get("RTA_TABLE"), route.get("RTA_DST"), route["dst_len"], names.get(route.get("RTA_OIF"))): (
                route.get("RTA_GATEWAY"),
                route["type"],
            )
            for route in readings["routes"]
            if route["family"] == 2 and not route["flags"] & RTM_F_CLONED
        },
        "rule": {
            (rule["family"], rule.get("FRA_PRIORITY", 0), rule.get("FRA_TABLE", rule.get("table"))): tuple(
                (name, str(value)) for name, value in sorted(rule.items()) if name.startswith("FRA_")
            )
            for rule in readings["rules"]
        },
        "static forwarding entry": {
            (names.get(entry["ifindex"]), entry.get("NDA_LLADDR")): entry.get("NDA_DST")
            for entry in readings["fdb"]
            if not entry["state"] & NUD_LEARNED and not str(entry.get("NDA_LLADDR")).startswith(("01:00:5e", "33:33"))
        },
        "sysctl": dict(sysctls),
    }


def _kind(link: Mapping[str, Any]) -> tuple[Any, Any]:
    info = link.get("IFLA_LINKINFO") or {}
    data = info.get("IFLA_INFO_DATA")
    if not isinstance(data, dict):  # a kind that pyroute2 has no map for
        return info.get("IFLA_INFO_KIND"), None
    kept = {name: value for name, value in data.items() if name.startswith(("IFLA_GRE", "IFLA_VXLAN"))}
    bridge = {name: data.get(name) for name in ("IFLA_BR_STP_STATE", "IFLA_BR_MCAST_SNOOPING", "IFLA_BR_MCAST_QUERIER")}
    return info.get("IFLA_INFO_KIND"), kept or bridge
