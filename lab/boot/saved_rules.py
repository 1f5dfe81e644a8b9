"""
Rules of nft and iptables that accept tunnel packets where the firewall drops others, and whether a boot loads them.

A rule counts as saved where a file that a boot loads names the tunnel's protocol or port, for the same tool.
firewalld and ufw keep rules of their own (`firewalld.lost`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lab import tunnels
from lab.clouds.firmware import GRE
from lab.firewall.matches import ACCEPT, PacketPattern
from lab.firewall.rules import FirewallRule
from lab.firewall.verdicts import Firewall
from lab.model import Finding, NodePlan, Topology

Named = Sequence[Mapping[str, Any]]
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


def lost(topology: Topology, node: NodePlan, rules: Sequence[FirewallRule], named: Named) -> Iterator[Finding]:
    """The first of these rules (`needed`), where no boot loads any; `named` is from `files.naming` (firewalls)."""
    saving = _saving(topology, rules, named)
    if not rules or loading(topology, rules, named):
        return
    first = rules[0]
    why = f"lost at the next boot: the {first.tool} rule that accepts tunnel packets (in no file that a boot loads)"
    fix = SAVE if first.tool != NFT else ADD.format(" ".join(first.place[1:]))
    if saving:
        file = saving[0]
        why = f"a boot does not load {file['path']}, which has the rule that accepts tunnel packets: {file['obstacle']}"
        fix = file["fix"]
    yield Finding("firewall-lost-at-boot", node.name, node.nic, why, str(first), fix, ("BOOT-06",))


def loading(topology: Topology, rules: Sequence[FirewallRule], named: Named) -> list[Mapping[str, Any]]:
    """The files that load any of these rules at boot."""
    return [file for file in _saving(topology, rules, named) if not file["obstacle"]]


def _saving(topology: Topology, rules: Sequence[FirewallRule], named: Named) -> list[Mapping[str, Any]]:
    carrier = _carrier(topology)
    return [file for file in named if any(_saves(file, rule, carrier) for rule in rules)]


def _saves(file: Mapping[str, Any], rule: FirewallRule, carrier: Sequence[str]) -> bool:
    tool = NFT if rule.tool == NFT else IPTABLES
    return (file["tool"] == tool or tool in file["words"]) and not set(carrier).isdisjoint(file["words"])
