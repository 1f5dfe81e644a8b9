"""Rules, routes and written entries of a node, one line each, in the words of ip(8) and bridge(8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lab.diagnose.words.reading import State, details, is_group, names
from lab.overlay.readback import NUD_LEARNED, NUD_PERMANENT, ROUTE_TYPES, UNICAST

AF_INET, AF_INET6 = 2, 10
MAIN_TABLE, LOCAL_TABLE = 254, 255
TABLES = {253: "default", 254: "main", 255: "local"}
SCOPES = {0: "", 200: "scope site", 253: "scope link", 254: "scope host", 255: "scope nowhere"}
PROTOCOLS = {1: "redirect", 2: "kernel", 3: "boot", 4: "static", 9: "ra", 16: "dhcp"}
TYPES = {**ROUTE_TYPES, UNICAST: ""}
RULE_ACTIONS = {1: "", 2: "goto", 3: "nop", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
EVERYWHERE_RULES = {(0, 255), (32766, 254), (32767, 253)}  # priority and table of what every stack begins with
RTM_F_CLONED = 0x200
NTF_SELF = 0x02


def rules(state: State) -> Iterator[str]:
    """Policy routing beyond the three rules that every stack has."""
    for rule in state.get("rules", ()):
        table = rule.get("FRA_TABLE", rule.get("table"))
        priority = rule.get("FRA_PRIORITY", 0)
        bare = not any(rule.get(name) for name in ("FRA_SRC", "FRA_DST", "FRA_IIFNAME", "FRA_OIFNAME", "FRA_FWMARK"))
        if (priority, table) in EVERYWHERE_RULES and bare and rule.get("action") == 1:
            continue
        if rule["family"] not in (AF_INET, AF_INET6):  # those of multicast routing daemons
            continue
        yield f"rule{'' if rule['family'] == AF_INET else ' -6'} {policy(rule)}"


def policy(rule: Mapping[str, Any]) -> str:
    """One policy rule as ip-rule(8) lists it."""
    table = rule.get("FRA_TABLE", rule.get("table"))
    words = [f"{rule.get('FRA_PRIORITY', 0)}:"]
    words.append("not" if rule["flags"] & 2 else "")
    words.append(f"from {rule['FRA_SRC']}/{rule['src_len']}" if rule.get("FRA_SRC") else "from all")
    words.append(f"to {rule['FRA_DST']}/{rule['dst_len']}" if rule.get("FRA_DST") else "")
    words.append(f"iif {rule['FRA_IIFNAME']}" if rule.get("FRA_IIFNAME") else "")
    words.append(f"oif {rule['FRA_OIFNAME']}" if rule.get("FRA_OIFNAME") else "")
    words.append(f"fwmark {rule['FRA_FWMARK']:#x}" if rule.get("FRA_FWMARK") else "")
    action = RULE_ACTIONS.get(rule.get("action", 1), str(rule.get("action")))
    words.append(action or f"lookup {TABLES.get(table, table)}")
    return " ".join(word for word in words if word)


def routes(state: State) -> Iterator[str]:
    """Every route of every table; of IPv6 without those to the node's own addresses and to groups."""
    known = names(state)
    for route in state.get("routes6", ()):
        if route["table"] != LOCAL_TABLE:
            via = f" via {route['via']}" if route.get("via") else ""
            table = "" if route["table"] == MAIN_TABLE else f" table {route['table']}"
            yield f"route -6{table} {route['to']}{via} dev {known.get(route['index'])}"
    for route in state.get("routes", ()):
        table = route.get("RTA_TABLE", route["table"])
        if route["flags"] & RTM_F_CLONED:
            continue
        to = f"{route['RTA_DST']}/{route['dst_len']}" if route["dst_len"] else "default"
        words = [
            f"route{'' if table == 254 else f' table {TABLES.get(table, table)}'}",
            TYPES.get(route["type"], str(route["type"])),
            to,
            f"via {route['RTA_GATEWAY']}" if route.get("RTA_GATEWAY") else "",
            f"dev {known.get(route['RTA_OIF'])}" if route.get("RTA_OIF") else "",
            *(_hop(hop, known) for hop in route.get("RTA_MULTIPATH") or ()),
            f"proto {PROTOCOLS.get(route['proto'], route['proto'])}",
            SCOPES.get(route["scope"], f"scope {route['scope']}"),
            f"src {route['RTA_PREFSRC']}" if route.get("RTA_PREFSRC") else "",
            f"metric {route['RTA_PRIORITY']}" if route.get("RTA_PRIORITY") else "",
            f"mtu {route['RTA_METRICS']['RTAX_MTU']}" if (route.get("RTA_METRICS") or {}).get("RTAX_MTU") else "",
        ]
        yield " ".join(word for word in words if word)


def _hop(hop: Mapping[str, Any], known: Mapping[Any, str]) -> str:
    return f"nexthop via {hop.get('RTA_GATEWAY')} dev {known.get(hop.get('oif'))}"


def written(state: State) -> Iterator[str]:
    """Neighbours and forwarding entries that somebody wrote."""
    known = names(state)
    for entry in state.get("neighbours", ()):
        if entry["state"] & NUD_PERMANENT:
            yield f"neighbour {entry.get('NDA_DST')} lladdr {entry.get('NDA_LLADDR')} dev {known.get(entry['ifindex'])}"
    macs = {(link["index"], link.get("IFLA_ADDRESS")) for link in state.get("links", ())}
    filtering = any(details(link).get("IFLA_BR_VLAN_FILTERING") for link in state.get("links", ()))
    for entry in state.get("fdb", ()):
        mac = str(entry.get("NDA_LLADDR"))
        own = entry["flags"] & NTF_SELF and not entry.get("NDA_DST")  # addresses that the device itself listens for
        own = own or (entry["ifindex"], mac) in macs  # the bridge's note of its port's own address
        repeated = entry.get("NDA_VLAN") and not filtering
        if not (entry["state"] & NUD_LEARNED or own or repeated or is_group(mac)):
            yield forwarding(entry, known)


def forwarding(entry: Mapping[str, Any], known: Mapping[Any, str]) -> str:
    words = [
        f"fdb {entry.get('NDA_LLADDR')} dev {known.get(entry['ifindex'])}",
        f"dst {entry['NDA_DST']}" if entry.get("NDA_DST") else "",
        f"vlan {entry['NDA_VLAN']}" if entry.get("NDA_VLAN") else "",
        f"master {known.get(entry['NDA_MASTER'])}" if entry.get("NDA_MASTER") else "",
        "permanent" if entry["state"] & NUD_PERMANENT else "static" if not entry["state"] & NUD_LEARNED else "",
    ]
    return " ".join(word for word in words if word)
