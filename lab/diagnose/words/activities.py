"""
What a node learned and counted by itself: neighbours, forwarding entries, groups, connections, counters.

With an earlier state of the node, counters are given as far as they rose since then.
"""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any

from lab.diagnose.words import filtering
from lab.diagnose.words.devices import State
from lab.diagnose.words.routing import forwarding
from lab.probes.membership import groups_of
from lab.records import Filter, is_group

EVERYWHERE_GROUPS = {"224.0.0.1", "ff02::1", "ff01::1"}
TELLING = (
    *("IcmpInErrors", "IcmpInDestUnreachs", "IcmpInTimeExcds", "IcmpInRedirects"),
    *("IcmpOutDestUnreachs", "IcmpOutTimeExcds"),
    *("IpInHdrErrors", "IpInAddrErrors", "IpInDiscards", "IpOutDiscards", "IpOutNoRoutes"),
    *("IpFragFails", "IpReasmFails", "IpReasmTimeout"),
    *("UdpNoPorts", "UdpInErrors", "UdpRcvbufErrors", "UdpSndbufErrors", "UdpInCsumErrors"),
    *("TcpExtIPReversePathFilter", "IpExtInNoRoutes", "IpExtInTruncatedPkts", "IpExtInCsumErrors"),
)
"""The counters of what went wrong; `IcmpMsgInType3` and the like tell which ICMP errors came back."""
CONSTANTS = ("IpForwarding", "IpDefaultTTL", "TcpRtoAlgorithm", "TcpRtoMin", "TcpRtoMax", "TcpMaxConn")
TRAFFIC = ("rx_packets", "tx_packets")
WIDTH = 116


def lines(state: State, before: State) -> list[str]:
    """Every line about one node."""
    return [
        *_neighbours(state),
        *_learned(state),
        *_groups(state),
        *(f"connection {' '.join(line.split())}" for line in str(state.get("connections", "")).splitlines()),
        *_devices(state, before),
        *_queued(state, before),
        *_matched(state, before),
        *_counters(state, before),
    ]


def _neighbours(state: State) -> Iterator[str]:
    for one in state.get("neighbours", ()):
        if not one.fixed:  # groups need no resolution; what was written is configured
            lladdr = f"lladdr {one.lladdr} " if one.lladdr else ""
            yield f"neighbour {one.dst} {lladdr}dev {one.dev} {one.state.upper()}"


def _learned(state: State) -> Iterator[str]:
    for entry in state.get("fdb", ()):
        if entry.state == "learned" and not is_group(entry.lladdr):
            yield forwarding(entry)


def _groups(state: State) -> Iterator[str]:
    for entry in state.get("mdb", ()):
        source = f" src {entry.source}" if entry.source else ""
        kept = "permanent" if entry.permanent else "learned"
        yield f"mdb {entry.bridge} port {entry.port} grp {entry.group}{source} {kept}"
    for entry in state.get("mdb_routers", ()):
        yield f"mdb {entry['bridge']} router port {entry['port']}"
    joined: dict[str, list[str]] = {
        device: sorted(groups) for device, groups in groups_of(state.get("igmp", "")).items()
    }
    for line in str(state.get("igmp6", "")).splitlines():
        _, device, group, *_ = line.split()
        joined.setdefault(device, []).append(str(IPv6Address(bytes.fromhex(group))))
    for device, groups in joined.items():
        beyond = [group for group in groups if group not in EVERYWHERE_GROUPS]
        if beyond:
            yield f"member dev {device}: {', '.join(beyond)}"
    yield from _unexplained(state, {device: {_mac_of(group) for group in groups} for device, groups in joined.items()})


def _unexplained(state: State, explained: Mapping[str, Collection[str]]) -> Iterator[str]:
    """The group MACs that devices listen to for another reason than membership."""
    others: dict[str, list[str]] = defaultdict(list)
    for line in str(state.get("dev_mcast", "")).splitlines():
        _, device, _, _, mac = line.split()
        if mac not in explained.get(device, ()):
            others[device].append(":".join(mac[at : at + 2] for at in range(0, len(mac), 2)))
    for device, macs in others.items():
        yield f"maddr dev {device}: {', '.join(macs)}"


def _mac_of(group: str) -> str:
    """RFC 1112 and RFC 2464."""
    address = ip_address(group)
    if address.version == 6:
        return "3333" + address.packed[-4:].hex()
    return "01005e" + bytes([address.packed[1] & 0x7F, *address.packed[2:]]).hex()


def _devices(state: State, before: State) -> Iterator[str]:
    """Packets, and whatever else a device counted that is no traffic."""
    was = {link.name: link.statistics for link in before.get("links", ())}
    for link in state.get("links", ()):
        risen = _risen(link.statistics, was.get(link.name, {}))
        shown = {key: value for key, value in risen.items() if key in TRAFFIC or not key.endswith(("packets", "bytes"))}
        if shown:
            yield f"counted {link.name}: " + ", ".join(f"{key} {value}" for key, value in shown.items())


def _queued(state: State, before: State) -> Iterator[str]:
    was = {(qdisc.dev, qdisc.handle, qdisc.parent): qdisc.drops for qdisc in before.get("qdiscs", ())}
    for qdisc in state.get("qdiscs", ()):
        drops = qdisc.drops - was.get((qdisc.dev, qdisc.handle, qdisc.parent), 0)
        if drops:
            yield f"counted qdisc {qdisc.kind} dev {qdisc.dev}: drops {drops}"


def _matched(state: State, before: State) -> Iterator[str]:
    """The firewall rules that matched anything, and the tc filters whose actions did."""
    was: dict[str, int] = {}
    for entry in before.get("firewall", ()):
        if entry.packets:
            was[filtering.rule(entry)] = was.get(filtering.rule(entry), 0) + entry.packets
    for entry in state.get("firewall", ()):
        if entry.unread:
            continue
        packets = (entry.packets or 0) - was.get(filtering.rule(entry), 0)
        if packets > 0 and (entry.rule or entry.verdict != "ACCEPT"):
            yield f"matched {packets}: {filtering.rule(entry)}"
    acted = {_acting(entry): _hits(entry) for entry in before.get("filters", ())}
    for entry in state.get("filters", ()):
        hits = _hits(entry) - acted.get(_acting(entry), 0)
        if hits > 0:
            yield f"matched {hits}: filter dev {entry.dev} {entry.direction} {entry.kind} {entry.match}"


def _acting(entry: Filter) -> tuple[Any, ...]:
    return (entry.dev, entry.direction, entry.parent, entry.priority, entry.handle)


def _hits(entry: Filter) -> int:
    return sum(action.get("packets", 0) for action in entry.actions[:1])


def _counters(state: State, before: State) -> Iterator[str]:
    risen = _risen(state.get("counters", {}), before.get("counters", {}))
    telling = {key: value for key, value in risen.items() if key in TELLING or key.startswith("IcmpMsgOutType3")}
    for key, value in telling.items():
        yield f"counted {key} {value}"
    rest = ", ".join(f"{key} {value}" for key, value in risen.items() if key not in (*telling, *CONSTANTS))
    if rest:
        yield from textwrap.wrap(f"counted {rest}", WIDTH, subsequent_indent="  ")
    for line in str(state.get("xfrm_stat", "")).splitlines():
        name, value = line.split()
        if value != "0":
            yield f"counted {name} {value}"


def _risen(now: Mapping[str, Any], was: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from before (zero, if there is no before), by how much."""
    return {key: value - was.get(key, 0) for key, value in now.items() if value != was.get(key, 0)}
