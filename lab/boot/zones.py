"""
What firewalld accepts of an overlay now, and after its next start, by the zones that its NIC and its device are in.

    packet ─▶ zone of its source, or of its interface: by a connection's file, by firewalld's own, or the default one

Source: firewalld.zones(5), firewalld.richlanguage(5), firewalld.direct(5).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from lab import tunnels
from lab.model import Finding, NodePlan, Topology

ACCEPT = "ACCEPT"
OPTIONS = {"protocols": "protocol", "ports": "port", "services": "service", "rich rules": "rich-rule", "direct": "rule"}
"""The entries that may accept tunnel packets, each with the option of firewall-cmd(1)."""
LISTED = "firewall-cmd --list-all-zones; firewall-cmd --permanent --list-all-zones"
ELEMENT = re.compile(
    r"\b(port|protocol|service|source-port|icmp-type|icmp-block|masquerade|forward-port|tcp-mss-clamp)\b"
    r'(?: (?:value|name|port)="([^"]*)")?(?: protocol="(\w+)")?'
)
SOURCE = re.compile(r'\bsource (NOT )?(?:address|mac|ipset)="([^"]+)"')
Arriving = tuple[NodePlan, str, str]
"""A host, the interface at which packets arrive, and their source."""
ZoneEntry = tuple[str, str, str]
"""A zone or policy, a kind of entry, and its value (`lab.agent.firewall.firewalld`)."""


@dataclass(frozen=True)
class LostZones:
    """What firewalld's next start closes, and why that is unknown."""

    found: tuple[Finding, ...] = ()
    unknown: str = ""


@dataclass(frozen=True)
class Configuration:
    """firewalld's entries at one time, with the zone of an interface that is in none."""

    entries: Sequence[ZoneEntry]
    default: str
    services: Mapping[str, Sequence[str]]
    """The ports and protocols of each service."""

    def of(self, name: str, *kinds: str) -> list[str]:
        return [value for zone, kind, value in self.entries if zone == name and kind in kinds]

    def zone_of(self, device: str) -> str:
        """The zone that firewalld itself has an interface in."""
        for zone, kind, value in self.entries:
            if kind == "interfaces" and fnmatch.fnmatch(device, re.sub(r"\+$", "*", value)):
                return zone
        return self.default

    def zones_of(self, address: str, zones: Sequence[str]) -> list[str]:
        """The zones that a packet from an address may be in if its interface is in `zones`: a source comes first."""
        held = [(zone, _within(address, value)) for zone, kind, value in self.entries if kind == "sources"]
        certain = [zone for zone, within in held if within]
        doubtful = [zone for zone, within in held if within is None]
        return list(dict.fromkeys([*(certain[:1] or zones), *doubtful]))

    def accepts(self, zone: str, address: str, carried: Sequence[str]) -> bool | None:
        """Whether a packet of a protocol or port that arrives in a zone is accepted; None: not determined."""
        ruling = [zone, *(name for name in self.policies if self._applies(name, zone))]
        rules = [value for name in ruling for value in self.of(name, "rich rules")]
        results = [self._by_rule(rule, address, carried) for rule in rules]
        results += [_by_direct(rule, carried) for rule in self.of("direct", "direct")]
        if None in results:
            return None
        if ACCEPT in self.of(zone, "target"):
            return True
        for name in ruling:
            if any(_carries(value, carried) for value in self.of(name, "ports", "protocols")):
                return True
            given = [one for service in self.of(name, "services") for one in self.services.get(service, ())]
            if any(_carries(one, carried) for one in given):
                return True
        return True in results

    @property
    def policies(self) -> list[str]:
        """The policies, which have other zones as their ends."""
        return list(dict.fromkeys(name for name, kind, _ in self.entries if kind == "egress-zones"))

    def _applies(self, policy: str, zone: str) -> bool:
        arriving, there = self.of(policy, "ingress-zones"), self.of(policy, "egress-zones")
        return not {zone, "ANY"}.isdisjoint(arriving) and not {"HOST", "ANY"}.isdisjoint(there)

    def _by_rule(self, rule: str, address: str, carried: Sequence[str]) -> bool | None:
        """What a rich rule does with a packet: it accepts it (True), is for others (False), may drop it (None)."""
        family = re.search(r'family="ipv(\d)"', rule)
        if family and int(family[1]) != ip_address(address).version:
            return False
        element = ELEMENT.search(SOURCE.sub("", rule))
        if element:
            what, value, protocol = element.groups()
            given = (
                self.services.get(value, ()) if what == "service" else [f"{value}/{protocol}" if protocol else value]
            )
            if what not in ("port", "protocol", "service") or not any(_carries(one, carried) for one in given):
                return False
        if source := SOURCE.search(rule):
            held = _within(address, source[2])
            if held is None:
                return None
            if held == bool(source[1]):
                return False
        if re.search(r"\b(?:destination|limit) ", rule):
            return None
        return True if re.search(r"\baccept\b", rule) else None if re.search(r"\b(?:drop|reject)\b", rule) else False


def _within(address: str, network: str) -> bool | None:
    """Whether an address is in a network; None: that of an ipset or a MAC address is not known."""
    try:
        return ip_address(address) in ip_network(network, strict=False)
    except ValueError:
        return None


def _carries(entry: str, carried: Sequence[str]) -> bool:
    """Whether a protocol or a port, which may be one of a range, is the tunnel's."""
    first, _, last = entry.partition("/")[0].partition("-")
    if "/" in entry and last.isdigit() and first.isdigit():
        kind = entry.partition("/")[2]
        return any(one.endswith(f"/{kind}") and int(first) <= int(one.split("/")[0]) <= int(last) for one in carried)
    return entry in carried


def _by_direct(rule: str, carried: Sequence[str]) -> bool | None:
    """What a direct rule does with tunnel packets, as `_by_rule` has it."""
    names = [one.partition("/")[0] for one in carried]
    if not any(word in names for word in rule.split()) or " INPUT " not in rule:
        return False
    return True if rule.endswith("-j ACCEPT") and " -s " not in rule and "!" not in rule else None


def lost(topology: Topology, node: NodePlan, firewall: Mapping[str, Any]) -> LostZones:
    """What firewalld accepts of the overlay until its next start only; `firewall` is from `agent.firewalld.read`."""
    services = firewall["services"]
    now = Configuration([_entry(one) for one in firewall["runtime"]], firewall["default"]["runtime"], services)
    then = Configuration([_entry(one) for one in firewall["permanent"]], firewall["default"]["permanent"], services)
    assigned = firewall["assigned"]
    kind = tunnels.kind(topology.options.kind)
    carried = [f"{topology.options.port}/udp"] if kind.port else ["gre", "47"]
    found: dict[str, Finding] = {}
    unknown: list[str] = []
    for peer in topology.peers(node.name):
        one = topology.node(peer).endpoint
        before, after = _taking((now, then), one, node.nic, assigned)
        accepted = {then.accepts(zone, one, carried) for zone in after}
        if accepted == {True} or now.accepts(before, one, carried) is False:
            continue
        if accepted != {False}:
            unknown.append(_doubt(node.nic, after, assigned))
            continue
        for finding in _closed((node, node.nic, one), before, after[0], (now, then), carried, assigned):
            found.setdefault(finding.rule, finding)
    for peer in topology.reached(node.name):
        one = str(topology.node(peer).overlay.ip)
        before, after = _taking((now, then), one, node.device, assigned)
        kept = {_keeps((now, before), (then, zone)) for zone in after}
        if kept == {True}:
            continue
        if kept != {False}:
            unknown.append(_doubt(node.device, after, assigned))
            continue
        finding = _moved((node, node.device, one), before, after[0], (now, then), assigned)
        found.setdefault(finding.rule, finding)
    return LostZones(tuple(found.values()), next(iter(unknown), ""))


def _taking(
    times: tuple[Configuration, Configuration], address: str, device: str, assigned: Sequence[Mapping[str, str]]
) -> tuple[str, list[str]]:
    """The zone that takes a packet from an address at a device now, and those that may take it after a boot."""
    now, then = times
    before, *_ = now.zones_of(address, [now.zone_of(device)])
    return before, then.zones_of(address, _zones(then, device, assigned))


def _entry(given: Sequence[str]) -> ZoneEntry:
    zone, kind, value = given
    return zone, kind, value


def _zones(then: Configuration, device: str, assigned: Sequence[Mapping[str, str]]) -> list[str]:
    """The zones that a device may be in after a boot."""
    given = [one for one in assigned if one["device"] == device]
    certain = [one["zone"] or then.default for one in given if not one["doubt"]]
    doubtful = [one["zone"] or then.default for one in given if one["doubt"]]
    return list(dict.fromkeys([*(certain or [then.zone_of(device)]), *doubtful]))


def _doubt(device: str, zones: Sequence[str], assigned: Sequence[Mapping[str, str]]) -> str:
    """Why it is unknown what firewalld accepts at boot."""
    given = [one for one in assigned if one["device"] == device]
    why = next((one["doubt"] for one in given if one["doubt"]), "")
    if not why and len(zones) > 1 and given:
        why = "several files give it a zone: " + ", ".join(one["path"] for one in given)
    why = why or "a rule or a source of it is not evaluated"
    return f"whether zone {' or '.join(zones)} of {device} accepts it after a boot cannot be determined: {why}"


def _keeps(before: tuple[Configuration, str], after: tuple[Configuration, str]) -> bool | None:
    """Whether a zone accepts after a boot all that a zone accepts now."""
    now, then = before[0], after[0]
    kinds = ("services", "ports", "protocols", "source-ports", "rich rules")
    if ACCEPT in then.of(after[1], "target"):
        rules = [rule for rule in then.of(after[1], "rich rules") if not rule.endswith("accept")]
        return None if rules and rules != now.of(before[1], "rich rules") else True
    if ACCEPT in now.of(before[1], "target"):
        return False
    if before[1] == after[1]:
        return True  # other entries of a zone are not the overlay's
    return {*now.of(before[1], *kinds)} <= {*then.of(after[1], *kinds)}


def _closed(
    arriving: Arriving,
    before: str,
    after: str,
    times: tuple[Configuration, Configuration],
    carried: Sequence[str],
    assigned: Sequence[Mapping[str, str]],
) -> Iterator[Finding]:
    """The findings where tunnel packets are accepted now, and not after a boot: entries of the runtime, or the zone."""
    (node, device, _), (now, then) = arriving, times
    if before != after:
        yield _moved(arriving, before, after, times, assigned)
        return
    entries = [one for one in now.entries if one[1] in OPTIONS and one not in then.entries]
    named = [one for one in entries if _names(one, now.services, carried)]
    for zone, kind, value in named:
        summary = f"firewalld has {OPTIONS[kind]} {value} in {zone} at runtime only: lost at the next boot or reload"
        where = "--policy" if zone in now.policies else "--zone"
        fix = f"sudo firewall-cmd --permanent {where}={zone} --add-{OPTIONS[kind]}='{value}'"
        if kind == "direct":
            fix = f"sudo firewall-cmd --permanent --direct --add-rule {value}"
        yield Finding(
            "firewall-lost-at-boot", node.name, "", summary, LISTED, fix, ("BOOT-05",), rule=f"{zone} {value}"
        )
    if not named:
        target = next(iter(now.of(before, "target")), "default")
        summary = f"firewalld's zone {before} accepts tunnel packets at runtime only: lost at the next boot or reload"
        fix = f"sudo firewall-cmd --permanent --zone={before} --set-target={target}"
        yield Finding("firewall-lost-at-boot", node.name, device, summary, LISTED, fix, ("BOOT-05",), rule=before)


def _names(entry: ZoneEntry, services: Mapping[str, Sequence[str]], carried: Sequence[str]) -> bool:
    _, kind, value = entry
    if kind == "services":
        return any(_carries(one, carried) for one in services.get(value, ()))
    if kind in ("ports", "protocols"):
        return _carries(value, carried)
    return any(f'"{one.partition("/")[0]}"' in value or f" {one.partition('/')[0]} " in value for one in carried)


def _moved(
    arriving: Arriving,
    before: str,
    after: str,
    times: tuple[Configuration, Configuration],
    assigned: Sequence[Mapping[str, str]],
) -> Finding:
    """The finding about packets that are in another zone after a boot."""
    (node, device, address), (now, then) = arriving, times
    by = next((one for one in assigned if one["device"] == device and not one["doubt"]), None)
    summary = f"firewalld has {device} in zone {before} at runtime only: after a boot or reload it is in {after}"
    bound = any(kind == "interfaces" and value == device for _, kind, value in then.entries)
    how = "change" if bound else "add"
    fix = f"sudo firewall-cmd --permanent --zone={before} --{how}-interface='{device}'"
    evidence = LISTED
    if by:
        fix, evidence = by["change"].format(zone=before), f"{by['path']} has zone {by['zone'] or after} for it"
    given = [one for one in now.of(before, "sources") if _within(address, one)]
    if given and given[0] not in then.of(before, "sources"):
        summary = f"firewalld has source {given[0]} in {before} at runtime only: lost at the next boot or reload"
        fix, evidence = f"sudo firewall-cmd --permanent --zone={before} --add-source='{given[0]}'", LISTED
    if before == after:
        summary = f"firewalld's zone {before} of {device} accepts less after a boot or reload: its target is another"
        fix = f"sudo firewall-cmd --permanent --zone={before} --set-target={ACCEPT}"
    return Finding(
        "firewall-lost-at-boot", node.name, device, summary, evidence, fix, ("BOOT-05",), rule=f"{before} {device}"
    )
