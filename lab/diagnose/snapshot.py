"""The state of a node as text that a network engineer reads: links, ports, addresses, routes, neighbours, sysctls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lab.machines.node import Node

READINGS = ("links", "bridge_ports", "addresses", "routes", "neighbours", "fdb")
SYSCTLS = (
    "net.ipv4.icmp_echo_ignore_broadcasts",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_default_ttl",
    "net.ipv4.conf.all.rp_filter",
    "net.bridge.bridge-nf-call-iptables",
)
TELLING = (
    "IcmpInTimeExcds",
    "IcmpInDestUnreachs",
    "IcmpOutDestUnreachs",
    "IpFragFails",
    "IpReasmFails",
    "UdpRcvbufErrors",
    "TcpExtIPReversePathFilter",
)
NUD_NOARP = 0x40


def take(nodes: Iterable[Node]) -> dict[str, dict[str, Any]]:
    """The state of each node, by name and subject."""
    taken = {}
    for node in nodes:
        state: dict[str, Any] = {what: node.read(what) for what in READINGS}
        state["sysctls"] = node.ask("sysctl_read", names=list(SYSCTLS))
        state["counters"] = node.counters()
        state["igmp"] = node.ask("read_net", name="igmp")
        taken[node.name] = state
    return taken


def text(taken: Mapping[str, Mapping[str, Any]]) -> str:
    """A snapshot for the eye."""
    return "\n\n".join("\n".join([f"=== {name} ===", *_node(state)]) for name, state in taken.items())


def _node(state: Mapping[str, Any]) -> list[str]:
    names = {link["index"]: link.get("IFLA_IFNAME") for link in state["links"]}
    lines = [_link(link, names) for link in state["links"]]
    lines += [
        f"address {entry.get('IFA_ADDRESS')}/{entry['prefixlen']} dev {names.get(entry['index'])}"
        for entry in state["addresses"]
    ]
    lines += [
        f"route {route.get('RTA_DST', 'default')}/{route['dst_len']} dev {names.get(route.get('RTA_OIF'))}"
        + (f" via {route['RTA_GATEWAY']}" if route.get("RTA_GATEWAY") else "")
        for route in state["routes"]
        if route["family"] == 2 and route["table"] == 254
    ]
    lines += [
        f"neighbour {entry.get('NDA_DST')} lladdr {entry.get('NDA_LLADDR')} dev {names.get(entry['ifindex'])}"
        for entry in state["neighbours"]
        if not entry["state"] & NUD_NOARP  # groups and broadcast, which need no resolution
    ]
    lines += [
        f"fdb {entry.get('NDA_LLADDR')} dev {names.get(entry['ifindex'])}"
        for entry in state["fdb"]
        if entry.get("NDA_MASTER")
    ]
    lines += [f"sysctl {name} = {value}" for name, value in state["sysctls"].items() if value is not None]
    lines += [f"counter {name} = {state['counters'][name]}" for name in TELLING if state["counters"].get(name)]
    return lines


def _link(link: Mapping[str, Any], names: Mapping[Any, Any]) -> str:
    info = link.get("IFLA_LINKINFO") or {}
    data = info.get("IFLA_INFO_DATA")
    tunnel = " ".join(
        f"{name.split('_', 2)[2].lower()} {value}"
        for name, value in (data.items() if isinstance(data, dict) else ())
        if name.startswith(("IFLA_GRE_", "IFLA_VXLAN_")) and value not in (None, 0)
    )
    words = [
        f"link {link.get('IFLA_IFNAME')}",
        info.get("IFLA_INFO_KIND") or "",
        "up" if link["flags"] & 1 else "DOWN",
        f"mtu {link.get('IFLA_MTU')}",
        f"address {link.get('IFLA_ADDRESS')}",
        f"master {names.get(link['IFLA_MASTER'])}" if link.get("IFLA_MASTER") else "",
        tunnel,
    ]
    return " ".join(word for word in words if word)
