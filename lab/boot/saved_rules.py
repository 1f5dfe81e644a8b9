"""
Rules of nft and iptables that accept tunnel packets where the firewall drops others, and whether a boot loads them.

A rule counts as saved where the rules that a boot loads accept a tunnel packet that arrives (`lab.firewall`).
firewalld and ufw keep rules of their own (`firewalld.lost`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab import tunnels
from lab.boot.common import NamedFiles
from lab.clouds.firmware import GRE
from lab.firewall.matches import ACCEPT, PacketPattern
from lab.firewall.rules import FirewallRule
from lab.firewall.verdicts import Firewall
from lab.model import Finding, NodePlan, Topology

NFT, IPTABLES = "nft", "iptables"
SAVE = (
    "sudo apt-get install -y iptables-persistent && sudo netfilter-persistent save    # or as the distribution has it"
)
ADD = "sudo nft list chain {}    # then add the rule to /etc/nftables.conf, and: sudo systemctl enable nftables"


def words(topology: Topology) -> list[str]:
    """What files that load such a rule name: the tunnel's protocol or port, and a firewall's tool."""
    return [*_carrier(topology), NFT, IPTABLES]


def _carrier(topology: Topology) -> list[str]:
    return [str(topology.options.port)] if tunnels.kind(topology.options.kind).port else ["gre", str(GRE)]


def needed(topology: Topology, node: NodePlan, rules: Sequence[FirewallRule]) -> list[FirewallRule]:
    """The rules for tunnel packets without which a host's firewall would drop them; none where others let them in."""
    kind, options = tunnels.kind(topology.options.kind), topology.options
    firewall = Firewall(rules)
    if kind.over_ipv6 or firewall.manager:
        return []
    port = options.port if kind.port else None
    for peer in topology.peers(node.name):
        there = topology.node(peer).endpoint
        packet = PacketPattern(kind.protocol, node.nic, None, there, node.endpoint, port, "unicast", "new")
        accepting = [rule for rule in rules if rule.rule and _accepts(rule, packet)]
        others = [rule for rule in rules if rule not in accepting]
        if firewall.of(packet, "input").passes and Firewall(others).of(packet, "input").passes is False:
            # a rule that does not name the tunnel cannot be looked up by the tunnel's words
            return accepting if all(_names(rule, kind.protocol, port) for rule in accepting) else []
    return []


def _accepts(rule: FirewallRule, packet: PacketPattern) -> bool:
    return any(branch.action == ACCEPT and branch.holds(packet) for branch in rule.branches)


def _names(rule: FirewallRule, protocol: int, port: int | None) -> bool:
    return rule.names(port=port) if port else rule.names(protocol=protocol)


@dataclass(frozen=True)
class SavedResult:
    """What a boot's rules do with tunnel packets: the findings, why that is unknown, and the files that accept them."""

    found: tuple[Finding, ...] = ()
    unknown: str = ""
    shown: str = ""
    """The command that shows what is not known."""
    paths: tuple[str, ...] = ()


def judged(topology: Topology, node: NodePlan, rules: Sequence[FirewallRule], named: NamedFiles) -> SavedResult:
    """Whether the rules that a boot loads accept tunnel packets as these do (`needed`); `named`: `files.naming`."""
    used = [file for file in named if not file["obstacle"]]
    packet = _packet(topology, node)
    loaded = _loaded(used)
    verdict = Firewall(loaded).of(packet, "input")
    accepting = tuple(file["path"] for file in used if _accepting(file, packet))
    if verdict.passes and accepting:
        return SavedResult(paths=accepting)
    unsure = [file["path"] for file in used if file.get("unsure")]
    if verdict.passes is None or unsure:
        why = verdict.why or "its commands may not run, or are not read"
        paths = unsure or [file["path"] for file in used if file["rules"] or file["changes"]]
        unknown = f"whether {', '.join(paths)} accepts tunnel packets cannot be determined: {why}"
        return SavedResult(unknown=unknown, shown=f"sudo cat {' '.join(paths)}    # compare: sudo nft list ruleset")
    first = rules[0]
    summary = f"lost at the next boot: the {first.tool} rule that accepts tunnel packets (in no file that a boot loads)"
    fix = SAVE if first.tool != NFT else ADD.format(" ".join(first.place[1:]))
    unused = [file for file in named if file["obstacle"] and _accepting(file, packet)]
    if verdict.passes is False:
        summary = f"the rules that a boot loads drop tunnel packets: {verdict.why}"
    elif unused:
        path, why = unused[0]["path"], unused[0]["obstacle"]
        summary = f"a boot does not load {path}, which has the rule that accepts tunnel packets: {why}"
        fix = unused[0]["fix"]
    finding = Finding("firewall-lost-at-boot", node.name, node.nic, summary, str(first), fix, ("BOOT-06",))
    return SavedResult((finding,))


def _packet(topology: Topology, node: NodePlan) -> PacketPattern:
    """A tunnel packet that arrives from the first of a host's peers."""
    kind, options = tunnels.kind(topology.options.kind), topology.options
    there = topology.node(next(iter(topology.peers(node.name)))).endpoint
    port = options.port if kind.port else None
    return PacketPattern(kind.protocol, node.nic, None, there, node.endpoint, port, "unicast", "new")


def _accepting(file: Mapping[str, Any], packet: PacketPattern) -> bool:
    """Whether a rule of a file, in a chain for what arrives or one that another calls, accepts a packet."""
    return any(rule.rule and rule.hook in ("input", "") and _accepts(rule, packet) for rule in _own(file))


def _own(file: Mapping[str, Any]) -> list[FirewallRule]:
    """The rules that one file loads or adds."""
    added = [_made(change) for change in file["changes"] if change["how"] in ("-A", "-I")]
    return [*(FirewallRule(**rule) for rule in file["rules"]), *added]


def _made(change: Mapping[str, Any]) -> FirewallRule:
    return FirewallRule(**{key: value for key, value in change.items() if key != "how"})


def _loaded(used: NamedFiles) -> list[FirewallRule]:
    """The rules after a boot: those of files, and then what commands change."""
    rules = [FirewallRule(**rule) for file in used for rule in file["rules"]]
    for change in (change for file in used for change in file["changes"]):
        made, how = _made(change), change["how"]
        if how == "-F":
            flushed = (made.table, made.chain)
            rules = [one for one in rules if not one.rule or one.tool == NFT or (one.table, one.chain or "") != flushed]
        elif how == "-D":
            rules = [one for one in rules if (one.place, one.rule) != (made.place, made.rule)]
        elif how == "-P":
            rules = [made, *(one for one in rules if one.rule or one.place != made.place)]
        else:
            rules = [made, *rules] if how == "-I" else [*rules, made]
    return rules
