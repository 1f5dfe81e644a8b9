"""
A rule of a firewall: what it matches and what it does, read once, whichever tool lists it.

    -p udp --dport 53 -j DROP                          iptables, ip6tables, ebtables, arptables: text
    [{"match": ...}, {"drop": null}]                   nft: JSON
        --> Branch((protocol is 17, port is 53), "drop")

A rule that is not understood becomes a match without values, which leaves open whether it holds.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lab.firewall import nft, xtables
from lab.firewall.matches import DROP, EITHER, Branch, Match, PacketPattern, Value

QUOTED_LENGTH = 200
FAMILIES = {"ip": ("ip",), "ip6": ("ip6",), "inet": ("ip", "ip6"), "arp": ("arp",)}
"""The Ethernet types that a family sees; of others any."""


@dataclass(frozen=True)
class FirewallRule:
    """A rule of a firewall as its tool writes it, or (`rule` empty) the policy of a chain; see `agent.firewalls`."""

    tool: str
    family: str
    table: str
    chain: str = ""
    hook: str = ""
    rule: str = ""
    verdict: str = ""
    """Of a policy."""
    packets: int | None = None
    bytes: int | None = None
    handle: int | None = None
    position: int = 0
    expr: Sequence[Any] = ()
    """The statements of a rule of nft, with the elements of the sets and maps that it names."""
    unread: str = ""
    """Why this firewall could not be read."""
    hits: int | None = None
    """How many packets it matched during a trial; None: it does not count."""

    def __str__(self) -> str:
        place = " ".join(filter(None, (self.tool, self.family, self.table, self.chain)))
        return f"{place}: {self.rule or f'policy {self.verdict}'}"

    @property
    def quoted(self) -> str:
        """As evidence: its table, its chain and its own words."""
        said = f"-A {self.chain} {self.rule}" if self.rule else f"policy {self.verdict} of {self.chain}"
        return f"{self.table}: {said}"[:QUOTED_LENGTH]

    @property
    def counted(self) -> str:
        """As evidence, with what it matched during the trial."""
        packets = f"{self.hits} packet{'' if self.hits == 1 else 's'}"
        hits = "has no counter" if self.hits is None else f"matched {packets} during the test"
        return f"{self.quoted} ({self.tool}) {hits}"

    @property
    def place(self) -> tuple[str, str, str, str]:
        """Its chain."""
        return self.tool, self.family, self.table, self.chain

    @functools.cached_property
    def branches(self) -> tuple[Branch, ...]:
        """What it matches, with what it then does; a map of verdicts has several."""
        if self.unread:
            return ()
        if not self.rule:
            return (Branch((), self.verdict.lower()),)
        try:
            return tuple(nft.branches(self.expr) if self.tool == "nft" else [xtables.branch(self.rule, self.family)])
        except (ValueError, LookupError, TypeError, AttributeError):  # not as this iptables or nft would write it
            return (Branch((Match("text"),), EITHER),)

    @property
    def drops(self) -> bool:
        """Whether it may end what it matches; a queue's reader is unknown."""
        return any(branch.action in (DROP, EITHER) for branch in self.branches)

    @functools.cached_property
    def calls(self) -> tuple[str, ...]:
        """The chains that it may jump to."""
        return tuple(branch.target for branch in self.branches if branch.target)

    def sets(self, *fields: str) -> list[Match]:
        """The fields of packets that it changes, with what to."""
        return [one for branch in self.branches for one in branch.sets if one.field in fields]

    @property
    def _changing(self) -> Sequence[Branch]:
        """The branches that drop packets, or change them; of a rule that does neither all."""
        chosen = [one for one in self.branches if one.action in (DROP, EITHER) or one.sets]
        return chosen or self.branches

    def matches(self, *fields: str) -> list[Match]:
        """What packets it changes or drops: the matches on these fields, or all."""
        return [one for branch in self._changing for one in branch.matches if not fields or one.field in fields]

    def names(self, **values: Value) -> bool:
        """Whether a match is explicitly for this value of a field: no wide range, nor all but another value."""
        packet = PacketPattern(**values)
        found = [one for one in self.matches(*values) if not one.negated and one.narrow]
        return any(one.holds(packet) for one in found)

    def takes(self, packet: PacketPattern) -> bool | None:
        """Whether it drops or changes such a packet; None: unknown."""
        if packet.ethertype not in FAMILIES.get(self.family, (packet.ethertype,)):
            return False
        held = [branch.holds(packet) for branch in self._changing]
        return True if True in held else None if None in held else False
