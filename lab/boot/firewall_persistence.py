"""
What of a host's own firewall is still there after a reboot (BOOT-05, BOOT-06), for the suite and for the doctor.

    firewalld: accepted at runtime only      nft, iptables: no file that a boot loads has the rule for tunnel packets
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.boot import saved_rules, zones
from lab.firewall.rules import FirewallRule
from lab.machines.base import Call
from lab.machines.node import Agent, Node
from lab.model import Finding, NodePlan, Topology


@dataclass(frozen=True)
class PersistenceResult:
    """One host's answer to one requirement: whether it applies, what is lost at boot, or why that is unknown."""

    applies: bool
    found: tuple[Finding, ...] = ()
    unread: str = ""
    proof: str = ""
    remedy: str = "--sudo"
    """What shows what is unknown."""


def calls(node: Node, topology: Topology, plan: NodePlan, rules: Sequence[FirewallRule]) -> list[Call[Any]]:
    """The questions to a host: firewalld's configuration, and those of `files_of_rules`."""
    return [node.call(Agent.firewalld), *files_of_rules(node, topology, plan, rules)]


def files_of_rules(node: Node, topology: Topology, plan: NodePlan, rules: Sequence[FirewallRule]) -> list[Call[Any]]:
    """
    The question to a host that needs a rule for tunnel packets: the files that load one.

    None to other hosts: a file of nft is loaded into a network namespace to be read.
    """
    if not saved_rules.needed(topology, plan, rules):
        return []
    return [node.call(Agent.named_at_boot, saved_rules.words(topology), firewalls=True)]


def of_firewalld(topology: Topology, plan: NodePlan, answer: Mapping[str, Any]) -> PersistenceResult:
    """What firewalld accepts of the overlay, now and after its next start (BOOT-05)."""
    if answer["unread"]:
        return PersistenceResult(True, unread=f"firewalld's configuration cannot be determined: {answer['unread']}")
    if not answer["runs"]:
        if not answer["starts"]:
            return PersistenceResult(applies=False)
        unread = "what firewalld accepts after a boot cannot be determined: it does not run now, but a boot starts it"
        return PersistenceResult(True, unread=unread, remedy="sudo firewall-offline-cmd --list-all-zones")
    lost = zones.lost(topology, plan, answer)
    proof = "firewalld's permanent configuration has what it accepts of the overlay"
    return PersistenceResult(True, lost.found, lost.unknown, proof, zones.LISTED)


def of_rules(
    topology: Topology, plan: NodePlan, rules: Sequence[FirewallRule], named: Sequence[Mapping[str, Any]] = ()
) -> PersistenceResult:
    """The rules of nft and iptables that tunnel packets need, and the files that load them (BOOT-06)."""
    needed = saved_rules.needed(topology, plan, rules)
    if not needed:
        return PersistenceResult(applies=False)
    saved = saved_rules.judged(topology, plan, needed, named)
    proof = f"the rule that accepts tunnel packets is loaded from {', '.join(saved.paths)}"
    return PersistenceResult(True, saved.found, saved.unknown, proof, saved.shown)
