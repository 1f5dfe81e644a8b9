"""
What is configured in a stack: its readings less what changes by itself, and one word for all of it.

What is compared is what is read: equal fingerprints mean equal entries.  Firewalls and parameters of the whole stack
are read elsewhere (`rulesets`, `procfs`).
"""

from __future__ import annotations

import hashlib
import marshal

from lab.agent.rtnl import SKIP_STATS, Transport
from lab.agent.stack import mdb, parameters, reading, traffic, vlans
from lab.agent.stack.reading import Entry

LINK_CHANGES = {"index", "lower_up", "carrier", "operstate", "statistics"}
ADDRESS_CHANGES = {"index", "detection"}
BRIDGE_CHANGES = (
    *("root_", "bridge_id", "topology_change", "hello_timer", "tcn_timer", "gc_timer", "fdb_flush", "pad"),
    *("mcast_querier_state", "fdb_n_learned"),
)
"""Parameters of a bridge that nothing configures: which is the root, timers, counts."""
TRAFFIC_CHANGES = {"index", *traffic.COUNTERS}


def read(transport: Transport) -> dict[str, list[Entry]]:
    """The entries by reading."""
    links = reading.links(transport, SKIP_STATS)
    qdiscs = traffic.qdiscs(transport)
    own = {(link["name"], link["mac"]) for link in links}
    return {
        "links": [_link(link) for link in links],
        "ports": list(reading.ports(transport)),
        "vlans": list(vlans.entries(transport)),
        "addresses": [_without(address, ADDRESS_CHANGES) for address in reading.addresses(transport)],
        # those of IPv6's local table follow the addresses, once these are known to be unique
        "routes": [
            route
            for route in reading.routes(transport)
            if (route["family"], route["table"]) != ("inet6", reading.LOCAL_TABLE)
        ],
        "rules": list(reading.rules(transport)),
        "neighbours": [one for one in reading.neighbours(transport) if one["state"] == "permanent"],
        "fdb": [
            entry
            for entry in reading.fdb(transport)
            if entry["state"] != "learned" and (entry["dev"], entry["lladdr"]) not in own and not _listened_for(entry)
        ],
        "mdb": [entry for entry in mdb.entries(transport) if entry["permanent"]],
        # a device has its first discipline by itself, number 0; clsact and ingress are places for filters
        "qdiscs": [
            _without(qdisc, TRAFFIC_CHANGES)
            for qdisc in qdiscs
            if qdisc["handle"] != "0:" and qdisc["kind"] not in ("clsact", "ingress")
        ],
        "filters": [_filter(entry) for entry in traffic.filters(transport, qdiscs)],
        "parameters": [_without(entry, {"index"}) for entry in parameters.every(transport)],
    }


def fingerprint(transport: Transport, others: list[bytes]) -> str:
    """One word for the entries, in any order, and for `others`, which were read elsewhere."""
    entries = [marshal.dumps((what, entry), 0) for what, listed in read(transport).items() for entry in listed]
    return hashlib.sha256(b"\0".join(sorted([*entries, *others]))).hexdigest()


def _link(link: Entry) -> Entry:
    kept = _without(link, LINK_CHANGES)
    if link["kind"] == "bridge":
        kept["details"] = {name: one for name, one in link["details"].items() if not name.startswith(BRIDGE_CHANGES)}
    return kept


def _listened_for(entry: Entry) -> bool:
    """Whether the kernel made an entry for a group that the device itself listens for."""
    return not entry["dst"] and bool(int(entry["lladdr"][:2] or "0", 16) & 1)


def _filter(entry: Entry) -> Entry:
    actions = [_without(action, TRAFFIC_CHANGES) for action in entry["actions"]]
    return {**_without(entry, TRAFFIC_CHANGES), "actions": actions}


def _without(entry: Entry, names: set[str]) -> Entry:
    return {name: value for name, value in entry.items() if name not in names}
