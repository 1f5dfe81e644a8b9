"""
What a host's firewall would do with a packet, worked out from its rules.

It is worked out, not tried, for what a probe cannot show: a packet that comes after minutes of silence, one that the
bridge hands to the FORWARD chain, one from a host without raw packets.  A condition of a rule that is not
understood leaves both answers open, and the verdict is then `None`: unknown, never a guess.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lab.firewall.matches import ACCEPT, CONTINUE, DROP, EITHER, GOTO, RETURN, Branch, PacketPattern
from lab.firewall.rules import FirewallRule

FALL = "fall through"
DEEPEST = 32
"""Chains that jump to chains; the kernel allows no more than 16 (nftables)."""
MARKS = {"firewalld": "firewalld", "ufw": "ufw-"}
"""What programs that keep rules leave their mark by (`Firewall.has_chain`)."""
Outcomes = Mapping[str, FirewallRule]
"""Everything that may come of a packet, each with the rule that it is due to."""


@dataclass(frozen=True)
class Verdict:
    """`passes` None: unknown.  `why`: the `rule` that drops it; `base` is in the hook's chain, which leads there."""

    passes: bool | None
    why: str = ""
    base: FirewallRule | None = None
    rule: FirewallRule | None = None


@dataclass(frozen=True)
class Firewall:
    """All of a host's firewall that packets of some families meet; those of IPv4, if not said otherwise."""

    rules: Sequence[FirewallRule]
    families: tuple[str, ...] = ("ip", "inet")

    @functools.cached_property
    def chains(self) -> Mapping[tuple[str, ...], list[FirewallRule]]:
        """The rules and the policy of each chain; a nat table changes addresses, and decides nothing."""
        found: dict[tuple[str, ...], list[FirewallRule]] = {}
        for rule in self.rules:
            if rule.family in self.families and rule.table != "nat" and not rule.unread:
                found.setdefault(rule.place, []).append(rule)
        return found

    @property
    def tools(self) -> set[str]:
        return {tool for tool, *_ in self.chains}

    def has_chain(self, beginning: str) -> bool:
        """Whether there is a table of this name, or a chain whose name begins so: what a tool leaves its mark by."""
        return any(table == beginning or chain.startswith(beginning) for _, _, table, chain in self.chains)

    @property
    def manager(self) -> str:
        """The program that keeps the rules, by the chains that it makes; "" where there is none."""
        return next((name for name, mark in MARKS.items() if self.has_chain(mark)), "")

    def of(self, packet: PacketPattern, hook: str) -> Verdict:
        """The verdict of all the chains of a hook (`input`, `forward`): a packet has to get through every one."""
        unread = [one for one in self.rules if one.unread and one.family not in ("ip6", "bridge")]
        if unread:
            why = (f"the rules of {one.tool} {one.table}".strip() + f" were not read: {one.unread}" for one in unread)
            return Verdict(None, "; ".join(why))
        doubt = ""
        for verdict in self.verdicts(packet, hook):
            if verdict.passes is False:
                return verdict
            doubt = doubt or verdict.why
        return Verdict(None, doubt) if doubt else Verdict(True)

    def verdicts(self, packet: PacketPattern, *hooks: str) -> Iterator[Verdict]:
        """The verdict of each chain of some hooks, whatever the others do with the packet."""
        return (self.through(chain, packet) for chain in self.chains.values() if chain[0].hook in hooks)

    def through(self, chain: Sequence[FirewallRule], packet: PacketPattern) -> Verdict:
        """The verdict of one chain, with those that it jumps to."""
        outcomes = self._walk(chain, packet, 0)
        dropping = outcomes.get(DROP)
        if dropping is None:
            return Verdict(True)
        return Verdict(False if len(outcomes) == 1 else None, _why(dropping), chain[0], dropping)

    def _walk(self, chain: Sequence[FirewallRule], packet: PacketPattern, depth: int) -> Outcomes:
        first = chain[0]
        policy = next((one for one in chain if not one.rule), FirewallRule(*first.place, verdict="ACCEPT"))
        end = policy.branches[0].action if first.hook else FALL
        found: dict[str, FirewallRule] = {}
        for rule, branch in ((one, branch) for one in chain if one.rule for branch in one.branches):
            matched = branch.holds(packet)
            if matched is False:
                continue
            for mark in branch.sets:
                if mark.field == "mark":
                    packet = replace(packet, mark=mark.values[0][0] if matched and mark.values else None)
            outcomes = self._outcomes(rule, branch, packet, depth)
            returned = branch.action in (RETURN, GOTO)
            if returned and FALL in outcomes:
                outcomes = {**{one: why for one, why in outcomes.items() if one != FALL}, end: policy}
            ended = {one: why for one, why in outcomes.items() if one != FALL or returned}
            if matched and (returned or FALL not in outcomes):
                # what certainly ends it is the better reason than what may have
                return {**found, **ended} if len(ended) == 1 else {**ended, **found}
            found = {**ended, **found}
        return {**found, end: policy}

    def _outcomes(self, rule: FirewallRule, branch: Branch, packet: PacketPattern, depth: int) -> Outcomes:
        if branch.action in (ACCEPT, DROP):
            return {branch.action: rule}
        if branch.action == EITHER:
            return {ACCEPT: rule, DROP: rule}
        called = self.chains.get((*rule.place[:3], branch.target))
        if branch.action in (RETURN, CONTINUE) or not called or depth >= DEEPEST:
            return {FALL: rule}
        return self._walk(called, packet, depth + 1)


def _why(rule: FirewallRule) -> str:
    said = f"{rule.chain}: {rule.rule}" if rule.rule else f"no rule of {rule.chain} accepts it, policy {rule.verdict}"
    return f"{said} ({rule.tool})"
