"""Rules, routes and written entries of a node, one line each, in the words of ip(8) and bridge(8)."""

from __future__ import annotations

from collections.abc import Iterator

from lab.diagnose.words.devices import State, filters_vlans
from lab.records import LOCAL_TABLE, FdbEntry, Rule, is_group

TABLES = {253: "default", 254: "main", 255: "local"}
EVERYWHERE_RULES = {(0, 255), (32766, 254), (32767, 253)}  # priority and table of what every stack begins with


def rules(state: State) -> Iterator[str]:
    """Policy routing beyond the three rules that every stack has."""
    for rule in state.get("rules", ()):
        if rule == Rule(rule.family, rule.priority, rule.table) and (rule.priority, rule.table) in EVERYWHERE_RULES:
            continue
        if rule.family in ("inet", "inet6"):  # the others are those of multicast routing daemons
            yield f"rule{'' if rule.family == 'inet' else ' -6'} {policy(rule)}"


def policy(rule: Rule) -> str:
    """One policy rule as ip-rule(8) lists it."""
    mask = f"/{rule.fwmask:#x}" if rule.fwmask not in (None, 0xFFFFFFFF) else ""
    words = [
        f"{rule.priority}:",
        "not" if rule.inverted else "",
        f"from {rule.src or 'all'}",
        f"to {rule.dst}" if rule.dst else "",
        f"tos {rule.tos:#x}" if rule.tos else "",
        f"fwmark {rule.fwmark:#x}{mask}" if rule.fwmark else "",
        f"iif {rule.iif}" if rule.iif else "",
        f"oif {rule.oif}" if rule.oif else "",
        "l3mdev" if rule.l3mdev else "",
        f"uidrange {rule.uidrange}" if rule.uidrange else "",
        f"ipproto {rule.ipproto}" if rule.ipproto else "",
        f"sport {rule.sport}" if rule.sport else "",
        f"dport {rule.dport}" if rule.dport else "",
        f"{rule.action} {TABLES.get(rule.table, rule.table)}" if rule.action == "lookup" and not rule.l3mdev else "",
        f"suppress_prefixlength {rule.suppress_prefixlength}" if rule.suppress_prefixlength is not None else "",
        f"goto {rule.goto}" if rule.goto else rule.action if rule.action != "lookup" else "",
    ]
    return " ".join(word for word in words if word)


def selectors(listed: str) -> str:
    """A policy rule as ip-rule(8) takes it to add or delete it, from how it lists it."""
    return f"priority {listed.replace(':', '', 1)}"


def routes(state: State) -> Iterator[str]:
    """Every route of every table; of IPv6 without those to the node's own addresses and to groups."""
    for route in state.get("routes", ()):
        if route.family == "inet6" and route.table == LOCAL_TABLE:
            continue
        words = [
            f"route{'' if route.family == 'inet' else ' -6'}",
            "" if route.table == 254 else f"table {TABLES.get(route.table, route.table)}",
            "" if route.type == "unicast" else route.type,
            route.dst if route.prefixlen else "default",
            hop(route.via, route.dev),
            *(f"nexthop {hop(via, dev)}" for via, dev in route.nexthops),
            f"proto {route.proto}",
            "" if route.scope == "global" else f"scope {route.scope}",
            f"src {route.src}" if route.src else "",
            f"metric {route.metric}" if route.metric else "",
            f"mtu {route.mtu}" if route.mtu else "",
        ]
        yield " ".join(word for word in words if word)


def hop(via: str | None, dev: str | None) -> str:
    """Where a route leads to, as ip-route(8) takes it."""
    return " ".join(filter(None, (f"via {via}" if via else "", f"dev {dev}" if dev else "")))


def written(state: State) -> Iterator[str]:
    """Permanent neighbours and forwarding entries."""
    for one in state.get("neighbours", ()):
        if one.state == "permanent":
            yield f"neighbour {one.dst} lladdr {one.lladdr} dev {one.dev}"
    macs = {(link.name, link.mac) for link in state.get("links", ())}
    filtering = filters_vlans(state)
    for entry in state.get("fdb", ()):
        own = entry.own and not entry.dst  # addresses that the device itself listens for
        own = own or (entry.dev, entry.lladdr) in macs  # the bridge's note of its port's own address
        repeated = entry.vlan and not filtering
        if not (entry.state == "learned" or own or repeated or is_group(entry.lladdr)):
            yield forwarding(entry)


def forwarding(entry: FdbEntry) -> str:
    words = [
        f"fdb {entry.lladdr} dev {entry.dev}",
        f"dst {entry.dst}" if entry.dst else "",
        f"vlan {entry.vlan}" if entry.vlan else "",
        f"master {entry.master}" if entry.master else "",
        "" if entry.state == "learned" else entry.state,
    ]
    return " ".join(word for word in words if word)
