"""
What a host's firewall would do with a packet, worked out from its rules.

It is worked out, not tried, for what a probe cannot show: a packet that comes after minutes of silence, one that the
bridge hands to the FORWARD chain, one from a host without raw packets.  A condition of a rule that is not
understood leaves both answers open, and the verdict is then `None`: unknown, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from lab.records import FirewallRule

Kind = Literal["unicast", "broadcast", "multicast"]
ACCEPT, DROP, FALL = "accept", "drop", "fall through"
DEEPEST = 32
"""Chains that jump to chains; the kernel allows no more than 16 (nftables)."""


@dataclass(frozen=True)
class Packet:
    """What rules ask about.  None: it can be any, so that a rule about it matches or not."""

    protocol: int
    incoming: str | None = None
    outgoing: str | None = None
    source: str | None = None
    destination: str | None = None
    port: int | None = None
    kind: Kind = "unicast"
    state: str = "new"


Condition = Callable[[Packet], bool | None]
"""Whether it holds; None if unknown."""


def unknown(packet: Packet) -> None:
    """A condition that is not understood."""


@dataclass(frozen=True)
class Rule:
    """One rule: its match, and its action: `accept`, `drop`, `return`, `continue`, `jump`, `goto`, `either`."""

    conditions: tuple[Condition, ...]
    action: str
    target: str = ""
    text: str = ""

    def matches(self, packet: Packet) -> bool | None:
        """False as soon as one condition fails, whatever the others are."""
        held = [condition(packet) for condition in self.conditions]
        return False if False in held else None if None in held else True


@dataclass(frozen=True)
class Chain:
    """A chain of one table; `hook` is empty for one that is only jumped to."""

    tool: str
    table: str
    name: str
    hook: str
    policy: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Verdict:
    """`passes` None: unknown.  `why`: the rule, or the rules, that decide; `chain` the one that drops it."""

    passes: bool | None
    why: str = ""
    chain: Chain | None = None


@dataclass(frozen=True)
class Firewall:
    """All of a host's firewall."""

    chains: tuple[Chain, ...]
    unread: tuple[str, ...] = ()
    """What is there and could not be read, with why."""

    @property
    def tools(self) -> set[str]:
        return {chain.tool for chain in self.chains}

    def has_chain(self, beginning: str) -> bool:
        """Whether there is a table of this name, or a chain whose name begins so: what a tool leaves its mark by."""
        return any(beginning in chain.table.split() or chain.name.startswith(beginning) for chain in self.chains)

    def of(self, packet: Packet, hook: str) -> Verdict:
        """The verdict of all the chains of a hook (`input`, `forward`): a packet has to get through every one."""
        if self.unread:
            return Verdict(None, "; ".join(self.unread))
        doubt = ""
        for chain in self.chains:
            if chain.hook != hook:
                continue
            outcomes = self._walk(chain, packet, 0)
            if set(outcomes) == {DROP}:
                return Verdict(False, outcomes[DROP], chain)
            if DROP in outcomes:
                doubt = doubt or outcomes[DROP]
        return Verdict(None, doubt) if doubt else Verdict(True)

    def _walk(self, chain: Chain, packet: Packet, depth: int) -> dict[str, str]:
        """Everything that may come out of a chain, each with the rule that it is due to."""
        end = chain.policy if chain.hook else FALL
        found: dict[str, str] = {}
        for rule in chain.rules:
            matched = rule.matches(packet)
            if matched is False:
                continue
            outcomes = self._outcomes(chain, rule, packet, end, depth)
            for outcome, why in outcomes.items():
                if outcome != FALL or rule.action in ("return", "goto"):
                    found.setdefault(outcome, why)
            if matched and FALL not in outcomes:
                return found
            if matched and rule.action in ("return", "goto"):
                return found
        found.setdefault(end, f"the policy of {chain.name} ({chain.tool})")
        return found

    def _outcomes(self, chain: Chain, rule: Rule, packet: Packet, end: str, depth: int) -> Mapping[str, str]:
        text = f"{chain.name}: {rule.text} ({chain.tool})"
        if rule.action in (ACCEPT, DROP):
            return {rule.action: text}
        if rule.action == "either":
            return {ACCEPT: text, DROP: text}
        if rule.action == "return":
            return {end: f"the policy of {chain.name} ({chain.tool})"}
        if rule.action in ("jump", "goto") and depth < DEEPEST:
            wanted = (chain.tool, chain.table, rule.target)
            called = next((one for one in self.chains if (one.tool, one.table, one.name) == wanted), None)
            outcomes = self._walk(called, packet, depth + 1) if called else {FALL: text}
            if rule.action == "goto" and FALL in outcomes:
                return {**{key: why for key, why in outcomes.items() if key != FALL}, end: outcomes[FALL]}
            return outcomes
        return {FALL: text}


# conditions, as both languages of rules need them


def negated(condition: Condition) -> Condition:
    def opposite(packet: Packet) -> bool | None:
        held = condition(packet)
        return None if held is None else not held

    return opposite


def protocol_is(*numbers: int | None) -> Condition:
    """A None among the numbers is a protocol that is not known here: none of those that are asked about."""
    return lambda packet: packet.protocol in numbers


def interface_is(which: Literal["incoming", "outgoing"], *patterns: str) -> Condition:
    def condition(packet: Packet) -> bool | None:
        name = packet.incoming if which == "incoming" else packet.outgoing
        return None if name is None else any(fnmatchcase(name, pattern) for pattern in patterns)

    return condition


def address_in(which: Literal["source", "destination"], *networks: IPv4Network) -> Condition:
    def condition(packet: Packet) -> bool | None:
        address = packet.source if which == "source" else packet.destination
        if address is not None:
            return any(IPv4Address(address) in network for network in networks)
        return True if any(network.prefixlen == 0 for network in networks) else None

    return condition


def port_in(protocol: int, *ranges: tuple[int, int]) -> Condition:
    def condition(packet: Packet) -> bool | None:
        if packet.protocol != protocol:
            return False
        return None if packet.port is None else any(low <= packet.port <= high for low, high in ranges)

    return condition


def state_is(*states: str) -> Condition:
    return lambda packet: packet.state in states


def kind_is(*kinds: str) -> Condition:
    return lambda packet: packet.kind in kinds


def always(held: bool) -> Condition:
    return lambda packet: held


PROTOCOLS = {"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "sctp": 132}


def protocol_number(word: str) -> int | None:
    """The number of a protocol as rules write it; None for one that is not known here."""
    return int(word) if word.isdigit() else PROTOCOLS.get(word)


def grouped(rules: Sequence[FirewallRule]) -> Iterator[list[FirewallRule]]:
    """The entries that the agent gives of a firewall, chain by chain, of the families that IPv4 meets."""
    chains: dict[tuple[str, str, str], list[FirewallRule]] = {}
    for rule in rules:
        if rule.family in ("ip", "inet") and not rule.unread:
            chains.setdefault((rule.tool, f"{rule.family} {rule.table}", rule.chain), []).append(rule)
    yield from chains.values()
