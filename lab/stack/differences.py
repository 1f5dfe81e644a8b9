"""
What is not as it was: two states (`state`) compared, each difference as one line and as the command that reverts it.

    hub gretap2 master: none → bridge0          hub rule added: 100: from all lookup 7

What only follows from another difference is left out: the address of a device that is gone, the flags of a port that
is none any more, the kernel's own route to an address.  A link-local address that the kernel
made again from another MAC address is the same one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.firewall.rules import FirewallRule
from lab.stack.state import Fields, State

MOST_LINES = 8
CHOSEN = ("active_slave", "state by STP")
"""What the kernel chooses by itself: the leg that a bond uses, the ports that a bridge with STP blocks."""
OF_DEVICE = re.compile(r"\bdev (\S+)|\.(?:conf|neigh)\.([^.]+)\.")
OF_CONF = re.compile(r"\.conf\.[^.]+\.(forwarding|disable_ipv6)$")
WRITTEN_WITH = {"net.ipv4.conf.all.forwarding": "net.ipv4.ip_forward"}
OF_A_MAC = re.compile(r"fe80::[0-9a-f:]*ff:fe[0-9a-f]{2}:[0-9a-f]+/64 dev (\S+)")
"""A link-local address that the kernel made from a MAC address (RFC 4291 appendix A)."""
OF_A_PORT = ("bridge port", "VLAN", "forwarding entry", "group")
BY_ITSELF = ("mac", "up", "master", "kind")
"""What a device cannot change without the kernel making or removing routes and entries for it."""
SHOW = {
    "link": "ip -d link",
    "bridge port": "bridge -d link",
    "VLAN": "bridge vlan",
    "address": "ip addr",
    "route": "ip route show table all",
    "IPv6 route": "ip -6 route show table all",
    "rule": "ip rule",
    "IPv6 rule": "ip -6 rule",
    "neighbour": "ip neigh show nud permanent",
    "forwarding entry": "bridge fdb",
    "group": "bridge mdb",
    "sysctl": "sysctl -a",
    "qdisc": "tc qdisc",
    "filter": "tc filter show dev DEVICE ingress",
    "firewall rule": "iptables-save; nft list ruleset",
}
COMMANDS = {
    "address": "ip addr",
    "route": "ip route",
    "IPv6 route": "ip -6 route",
    "neighbour": "ip neigh",
    "forwarding entry": "bridge fdb",
    "group": "bridge mdb",
    "VLAN": "bridge vlan",
}
NUMBERS = {"state", "priority", "cost", "mcast_router", "group_fwd_mask", "mcast_max_groups"}
SWITCHES = {"arp", "multicast", "promisc", "allmulticast", "protodown"}
TEXTS = {"mtu", "txqueuelen", "alias", "group"}


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was.  `name` "" is the whole entry, which was (or is) not there: None."""

    node: str
    subject: str
    key: str
    name: str
    was: Any
    now: Any
    entry: Fields = field(default_factory=dict, compare=False)
    """All fields of the entry as it was, or as it is where it was not there."""

    def __str__(self) -> str:
        if not self.name:
            what = "added" if self.was is None else "removed"
            return f"{self.node} {self.subject} {what}: {self.key}"
        subject = "" if self.subject in ("link", "sysctl") else f"{self.subject} "
        name = "" if self.name == "value" else f" {self.name}"
        return f"{self.node} {subject}{self.key}{name}: {_shown(self.was)} → {_shown(self.now)}"

    @property
    def device(self) -> str:
        """The device that it is about; "" where there is none."""
        if self.subject in ("link", "bridge port"):
            return self.key
        found = OF_DEVICE.search(self.key)
        return (found.group(1) or found.group(2) or "").replace("/", ".") if found else ""


def compared(before: State, after: State) -> list[Difference]:
    """Everything that is not as it was, of the nodes in `before`."""
    return [difference for node in before for difference in _of_node(node, before[node], after[node])]


def but_towards(planned: State, found: list[Difference]) -> list[Difference]:
    """Those that are not merely a step back to the state that was planned."""
    return [one for one in found if not _as_planned(planned[one.node][one.subject].get(one.key), one)]


def configured(found: list[Difference]) -> list[Difference]:
    """Those that were configured; the kernel chose the others by itself."""
    return [one for one in found if one.name not in CHOSEN]


def lines(found: list[Difference]) -> list[str]:
    """One line for each difference, with its fix; of many the first."""
    more = len(found) - MOST_LINES
    shown = [f"{one}; fix: {reverting(one)}" for one in found[:MOST_LINES]]
    return [*shown, *([f"and {more} more"] if more > 0 else [])]


def _as_planned(planned: Fields | None, one: Difference) -> bool:
    if not one.name:
        return (planned is None) is (one.now is None)
    return planned is not None and planned.get(one.name) == one.now


def _of_node(node: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    found = [one for subject, was in before.items() for one in _of_subject(node, subject, was, after.get(subject, was))]
    gone = {one.key for one in found if one.subject == "link" and not one.name}
    moved = {one.key for one in found if one.subject == "link" and one.name in BY_ITSELF}
    rehung = {one.key for one in found if one.subject == "link" and one.name == "master"}
    readdressed = {one.device for one in found if one.subject == "address"}
    made_again = _made_again(found)
    written = {(one.key, one.now) for one in found if one.subject == "sysctl" and one.name}
    return [
        one
        for one in found
        if one.subject == "link"
        or not (
            one.device in gone
            or (one.subject == "address" and one.key in made_again)
            or (one.subject in OF_A_PORT and one.device in rehung)
            or (one.entry.get("proto") == "kernel" and one.device in moved | readdressed)
            or (one.subject == "bridge port" and one.name == "state" and one.device in moved)
            or (one.subject == "sysctl" and any((other, one.now) in written for other in _setting(one.key)))
        )
    ]


def _made_again(found: list[Difference]) -> set[str]:
    """The link-local addresses that the kernel replaced by those of other MAC addresses, and these."""
    made = [one for one in found if one.subject == "address" and not one.name and OF_A_MAC.match(one.key)]
    went, came = ({one.device for one in made if (one.now is None) is removed} for removed in (True, False))
    return {one.key for one in made if one.device in went & came}


def _setting(parameter: str) -> list[str]:
    """The parameters that set this one too when they are written."""
    of_all = OF_CONF.sub(r".conf.all.\1", parameter)
    return [other for other in (of_all, WRITTEN_WITH.get(of_all)) if other and other != parameter]


def _of_subject(
    node: str, subject: str, before: Mapping[str, Fields], after: Mapping[str, Fields]
) -> Iterator[Difference]:
    kept = [[key for key in one if key in other] for one, other in ((before, after), (after, before))]
    if subject == "firewall rule" and kept[0] != kept[1]:
        was_first, now_first = next((was, now) for was, now in zip(*kept, strict=True) if was != now)
        yield Difference(node, subject, "order", "value", was_first, now_first)
    for key in {**before, **after}:
        was, now = before.get(key), after.get(key)
        if was is None or now is None:
            yield Difference(node, subject, key, "", was, now, was or now or {})
            continue
        for name in {**was, **now}:
            if not name.startswith("_") and was.get(name) != now.get(name):
                yield Difference(node, subject, key, name, was.get(name), now.get(name), was)


def reverting(one: Difference) -> str:
    """The command that puts one thing back, or that shows it where there is no such command."""
    return _reverting(one) or SHOW[one.subject].replace("DEVICE", one.device)


def _reverting(one: Difference) -> str:
    whole = not one.name or one.name == "number"
    added = one.now > (one.was or 0) if one.name == "number" else one.was is None
    if one.subject == "sysctl":
        return f"sysctl -w {one.key}='{one.was}'" if one.name and one.was is not None else ""
    if one.subject == "link":
        return f"ip link del {one.key}" if whole and added else _of_link(one)
    if one.subject == "bridge port" and one.name:
        value = one.was if one.name in NUMBERS or one.was is None else "on" if one.was else "off"
        return f"bridge link set dev {one.key} {one.name} {value}" if value is not None else ""
    if one.subject.endswith("rule") and one.subject != "firewall rule" and whole:
        ip = "ip" if one.subject == "rule" else "ip -6"
        return f"{ip} rule {'del' if added else 'add'} {one.entry['_entry'].selectors}"
    if one.subject == "qdisc":
        return f"tc qdisc del {one.key.rpartition(' ')[0]}" if whole and added else ""
    if one.subject == "filter" and whole and added:
        entry = one.entry["_entry"]
        return f"tc filter del dev {entry.dev} {entry.direction} pref {entry.priority}"
    if one.subject == "firewall rule" and whole:
        return _of_firewall(one.entry.get("_entry"), added)
    if one.subject in COMMANDS:
        taken = whole and added
        verb = "del" if taken else "add" if whole or one.subject == "VLAN" else "replace"
        words = " ".join(_word(name, value) for name, value in one.entry.items() if value and not taken)
        return " ".join(filter(None, (COMMANDS[one.subject], verb, one.key, words)))
    return ""


def _of_link(one: Difference) -> str:
    if one.name == "master":
        return f"ip link set {one.key} {f'master {one.was}' if one.was else 'nomaster'}"
    if one.name == "up":
        return f"ip link set {one.key} {'up' if one.was else 'down'}"
    if one.name == "mac":
        return f"ip link set {one.key} address {one.was}"
    if one.name == "xdp":
        return f"ip link set {one.key} xdp off" if one.now else ""
    if one.name in SWITCHES:
        return f"ip link set {one.key} {one.name} {'on' if one.was else 'off'}"
    if one.name in TEXTS:
        return f"ip link set {one.key} {one.name} '{one.was or ''}'"
    if one.name in one.entry and one.entry.get("kind") == "bridge":
        return f"ip link set {one.key} type bridge {one.name} {one.was}"
    return ""


def _of_firewall(entry: FirewallRule | None, added: bool) -> str:
    if not entry:
        return ""
    chain = f"{entry.family} {entry.table} {entry.chain}"
    if entry.tool == "nft":
        if not entry.rule:
            return ""
        return f"nft delete rule {chain} handle {entry.handle}" if added else f"nft add rule {chain} {entry.rule}"
    head = f"{entry.tool} -t {entry.table}"
    if not entry.rule:
        return f"{head} -P {entry.chain} {'ACCEPT' if added else entry.verdict}"
    return f"{head} {'-D' if added else '-A'} {entry.chain} {entry.rule}"


def _word(name: str, value: Any) -> str:
    return name if value is True else f"{name} {value}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value is None or value == "" else str(value)
