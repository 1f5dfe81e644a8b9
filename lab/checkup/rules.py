"""
Reads the rules of a firewall as iptables-save(8) and `nft list ruleset` write them.

A part that is not understood becomes an unknown condition (`verdicts.unknown`), never an omitted one.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network

from lab.checkup import verdicts
from lab.checkup.verdicts import ACCEPT, DROP, Chain, Condition, Firewall, Rule
from lab.records import FirewallRule

# iptables: options that ask nothing, with the number of words that follow them
SILENT = {"-m": 1, "--match": 1, "--comment": 1}
PASSING = frozenset(
    {
        *("LOG", "NFLOG", "ULOG", "AUDIT", "TRACE", "TEE", "LED", "IDLETIMER", "RATEEST"),
        *("MARK", "CONNMARK", "SECMARK", "CONNSECMARK", "HMARK", "CLASSIFY", "DSCP", "TOS", "TTL", "TCPMSS"),
        *("SET", "CT", "NOTRACK", "CHECKSUM"),
    }
)
"""Targets that let a packet go on to the next rule."""

ADDRESS_TYPES = {"LOCAL": "unicast", "BROADCAST": "broadcast", "MULTICAST": "multicast"}
PACKET_TYPES = {"unicast": "unicast", "host": "unicast", "broadcast": "broadcast", "multicast": "multicast"}
FIB_TYPES = {"local": "unicast", "broadcast": "broadcast", "multicast": "multicast"}
# nft: words of a statement that neither ask nor end anything
NFT_WORDS = re.compile(r'"(?:[^"\\]|\\.)*"|\{|\}|[^\s,{}"]+|,')
NFT_SKIPPED = {"counter": r"counter( packets \d+ bytes \d+)?", "comment": r'comment "[^"]*"'}
NFT_LOG = r'log( (prefix "[^"]*"|level \w+|group \d+|flags [\w ,]+|snaplen \d+|queue-threshold \d+))*'
VERDICTS = {"accept": ACCEPT, "drop": DROP, "reject": DROP, "return": "return", "continue": "continue"}


def firewall(entries: Sequence[FirewallRule]) -> Firewall:
    """The firewall whose rules and policies the agent lists."""
    chains = []
    for chain in verdicts.grouped(entries):
        first = chain[0]
        policy = next((str(entry.verdict) for entry in chain if not entry.rule), "ACCEPT")
        rules: list[Rule] = []
        for entry in chain:
            if entry.rule:
                rules += _read(entry.rule, nft if entry.tool == "nft" else iptables)
        table = f"{first.family} {first.table}"
        if first.table != "nat":  # it changes addresses, and decides nothing
            chains.append(Chain(first.tool, table, first.chain, first.hook, policy.lower(), tuple(rules)))
    unread = [
        f"the rules of {entry.tool} {entry.table}".strip() + f" were not read: {entry.unread}"
        for entry in entries
        if entry.unread and entry.family not in ("ip6", "bridge")
    ]
    return Firewall(tuple(chains), tuple(unread))


def _read(text: str, reader: Callable[[str], list[Rule]]) -> list[Rule]:
    try:
        return reader(text)
    except (ValueError, IndexError):  # not as this iptables or nft would write it
        return [Rule((verdicts.unknown,), "either", "", text)]


def iptables(text: str) -> list[Rule]:
    """One rule, as iptables-save writes it after `-A CHAIN`."""
    words = shlex.split(text)
    conditions: list[Condition] = []
    protocol = 0
    negated = False
    while words:
        word = words.pop(0)
        if word == "!":
            negated = True
            continue
        if word in ("-j", "--jump", "-g", "--goto"):
            action, target = _target(words.pop(0), goto=word in ("-g", "--goto"))
            return [Rule(tuple(conditions), action, target, text)]
        if word in SILENT:
            del words[: SILENT[word]]
            continue
        values = []
        while words and not words[0].startswith("-") and words[0] != "!":
            values.append(words.pop(0))
        if word in ("-p", "--protocol") and values:
            protocol = verdicts.protocol_number(values[0]) or 0
        condition = _iptables(word, values[0] if values else "", protocol)
        conditions.append(verdicts.negated(condition) if negated else condition)
        negated = False
    return [Rule(tuple(conditions), "continue", "", text)]


def _target(name: str, *, goto: bool) -> tuple[str, str]:
    simple = {"ACCEPT": ACCEPT, "DROP": DROP, "REJECT": DROP, "RETURN": "return"}
    if name in simple:
        return simple[name], ""
    if name in PASSING:
        return "continue", ""
    if name in ("NFQUEUE", "QUEUE", "SYNPROXY", "STEAL"):
        return "either", ""
    return "goto" if goto else "jump", name


def _iptables(option: str, value: str, protocol: int) -> Condition:
    if option in ("-p", "--protocol"):
        return verdicts.always(True) if value == "all" else verdicts.protocol_is(verdicts.protocol_number(value))
    if option in ("-i", "--in-interface"):
        return verdicts.interface_is("incoming", _pattern(value))
    if option in ("-o", "--out-interface"):
        return verdicts.interface_is("outgoing", _pattern(value))
    if option in ("-s", "--source"):
        return verdicts.address_in("source", *_networks(value.split(",")))
    if option in ("-d", "--destination"):
        return verdicts.address_in("destination", *_networks(value.split(",")))
    if option in ("--dport", "--dports", "--destination-port") and protocol:
        return verdicts.port_in(protocol, *_ports(value.replace(":", "-").split(",")))
    if option in ("--ctstate", "--state"):
        return verdicts.state_is(*value.lower().split(","))
    if option == "--dst-type" and value in ADDRESS_TYPES:
        return verdicts.kind_is(ADDRESS_TYPES[value])
    if option == "--pkt-type" and value in PACKET_TYPES:
        return verdicts.kind_is(PACKET_TYPES[value])
    return verdicts.unknown


def _pattern(name: str) -> str:
    return name[:-1] + "*" if name.endswith("+") else name


def _networks(words: Sequence[str]) -> list[IPv4Network]:
    return [IPv4Network(word, strict=False) for word in words]


def _ports(words: Sequence[str]) -> list[tuple[int, int]]:
    pairs = [word.partition("-") for word in words]
    return [(int(low or 0), int(high or 65535) if dash else int(low)) for low, dash, high in pairs]


def nft(text: str) -> list[Rule]:
    """One rule, as `nft list ruleset` writes it; several when it has a verdict map."""
    return list(_Line(text).rules())


class _Line:
    """A line of nft, word by word."""

    def __init__(self, text: str) -> None:
        self.text = text
        shortened = re.sub(NFT_LOG, "", text)
        for pattern in NFT_SKIPPED.values():
            shortened = re.sub(pattern, "", shortened)
        self.words = NFT_WORDS.findall(shortened)
        self.conditions: list[Condition] = []

    def rules(self) -> Iterator[Rule]:
        while self.words:
            word = self.words.pop(0)
            if word in VERDICTS:
                yield self._rule(VERDICTS[word])
                return
            if word in ("jump", "goto"):
                yield self._rule(word, self.words.pop(0))
                return
            if word == "queue":
                yield self._rule("either")
                return
            if word == "vmap":
                continue
            field = self._field(word)
            if self.words[:1] == ["vmap"]:
                yield from self._map(field)
                return
            if field is None:
                self.conditions.append(verdicts.unknown)
                continue
            opposite = self.words[:1] == ["!="]
            if self.words and self.words[0] in ("!=", "=="):
                self.words.pop(0)
            condition = self._condition(field, self._values())
            self.conditions += IMPLIED.get(field.split()[0], ())
            self.conditions.append(verdicts.negated(condition) if opposite else condition)
        yield self._rule("continue")

    def _rule(self, action: str, target: str = "", *more: Condition) -> Rule:
        return Rule((*self.conditions, *more), action, target, self.text)

    def _field(self, word: str) -> str | None:
        """What is asked about, when it is understood; takes all its words."""
        for longer in FIELDS:
            if [word, *self.words[: len(longer) - 1]] == list(longer):
                del self.words[: len(longer) - 1]
                return " ".join(longer)
        return None

    def _values(self) -> list[str]:
        """One value, several with commas, or a set in braces."""
        taken: list[str] = []
        if self.words[:1] == ["{"]:
            end = self.words.index("}")
            taken = self.words[1:end]
            del self.words[: end + 1]
        elif self.words:
            taken.append(self.words.pop(0))
            while self.words[:1] == [","]:
                taken += [self.words.pop(0), self.words.pop(0)]
        return [word.strip('"') for word in taken if word != ","]

    def _map(self, field: str | None) -> Iterator[Rule]:
        """`FIELD vmap { key : verdict, ... }`: a rule for each."""
        self.words.pop(0)
        if self.words[:1] != ["{"]:
            yield self._rule("either")
            return
        self.conditions += IMPLIED.get(field.split()[0], ()) if field else ()
        inside = " ".join(self.words[1 : self.words.index("}")])
        for pair in inside.split(","):
            key, _, verdict = pair.partition(" : ")
            action, *target = verdict.split()
            condition = self._condition(field, [key.strip().strip('"')]) if field else verdicts.unknown
            yield self._rule(VERDICTS.get(action, action), "".join(target), condition)

    def _condition(self, field: str, values: list[str]) -> Condition:
        if any(value.startswith("@") for value in values):  # a named set: what is in it is not in the list of rules
            return verdicts.unknown
        try:
            return FIELDS_READ[field](values)
        except (ValueError, KeyError):  # a word for it that is not known here
            return verdicts.unknown


def _kinds(names: Mapping[str, str], values: Sequence[str]) -> Condition:
    return verdicts.kind_is(*(names[value] for value in values))


FIELDS_READ: dict[str, Callable[[Sequence[str]], Condition]] = {
    **dict.fromkeys(("iifname", "iif", "meta iifname"), lambda values: verdicts.interface_is("incoming", *values)),
    **dict.fromkeys(("oifname", "oif", "meta oifname"), lambda values: verdicts.interface_is("outgoing", *values)),
    **dict.fromkeys(
        ("ip protocol", "meta l4proto"),
        lambda values: verdicts.protocol_is(*map(verdicts.protocol_number, values)),
    ),
    "ip saddr": lambda values: verdicts.address_in("source", *_networks(values)),
    "ip daddr": lambda values: verdicts.address_in("destination", *_networks(values)),
    "tcp dport": lambda values: verdicts.port_in(6, *_ports(values)),
    "udp dport": lambda values: verdicts.port_in(17, *_ports(values)),
    "ct state": lambda values: verdicts.state_is(*values),
    "ct status": lambda values: verdicts.always(False) if set(values) <= {"dnat", "snat"} else verdicts.unknown,
    "fib daddr type": lambda values: _kinds(FIB_TYPES, values),
    "pkttype": lambda values: _kinds(PACKET_TYPES, values),
    "meta pkttype": lambda values: _kinds(PACKET_TYPES, values),
    "meta nfproto": lambda values: verdicts.always("ipv4" in values),
    **dict.fromkeys(
        ("icmp type", "icmpv6 type", "ip6 saddr", "ip6 daddr", "tcp sport"), lambda values: verdicts.unknown
    ),
}
FIELDS = tuple(tuple(name.split()) for name in FIELDS_READ)
IMPLIED: dict[str, tuple[Condition, ...]] = {
    "tcp": (verdicts.protocol_is(6),),
    "udp": (verdicts.protocol_is(17),),
    "icmp": (verdicts.protocol_is(1),),
    "icmpv6": (verdicts.always(False),),
    "ip6": (verdicts.always(False),),
}
"""The additional condition of a match on a header's field: that there is such a header."""
