"""The conditions of a firewall's rules, whichever tool lists them, and the packets that they are asked about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import ip_network
from typing import Any

ACCEPT, DROP, RETURN, CONTINUE, EITHER, JUMP, GOTO = "accept", "drop", "return", "continue", "either", "jump", "goto"
NARROW = 16
"""As many values a range may have that is for an application, and not for most of what there is."""
NUMBERS = ("port", "length", "mark", "tos", "ttl")
Value = Any


def _numbers(words: str) -> dict[str, int]:
    return {name: int(number) for name, _, number in (each.partition("=") for each in words.split())}


def by_word(table: Mapping[str, str], separator: str | None = None) -> dict[str, str]:
    """What each of the words means, of a table that has the words by their meaning."""
    return {word: meaning for meaning, words in table.items() for word in words.split(separator)}


PROTOCOLS = _numbers(
    "icmp=1 igmp=2 ipencap=4 tcp=6 udp=17 dccp=33 ipv6=41 gre=47 esp=50 ah=51 icmpv6=58 ipv6-icmp=58 "
    "ospf=89 pim=103 vrrp=112 carp=112 sctp=132 udplite=136"
)
ICMP = _numbers(
    "echo-reply=0 destination-unreachable=3 echo-request=8 time-exceeded=11 frag-needed=4 "
    "mld-listener-query=130 mld-listener-report=131 mld-listener-done=132 mld2-listener-report=143"
)
ETHERTYPES = {"ipv4": "ip", "ipv6": "ip6", "0x0800": "ip", "0x86dd": "ip6", "0x0806": "arp", "vlan": "8021q"}
KINDS = {"local": "unicast", "host": "unicast"}


@dataclass(frozen=True)
class PacketPattern:
    """What rules ask about.  None: it can be any, so that a rule about it matches or not."""

    protocol: int | None = None
    incoming: str | None = None
    outgoing: str | None = None
    source: str | None = None
    destination: str | None = None
    port: int | None = None
    kind: str | None = "unicast"
    state: str = "new"
    ethertype: str = "ip"
    icmp: str | None = None
    """Type and code: `8/0`."""
    length: int | None = None
    mark: int | None = None
    tos: int | None = None
    status: str = ""


@dataclass(frozen=True)
class Match:
    """A field has one of these values: ranges of numbers, or words with wildcards.  None: it is not understood."""

    field: str
    values: tuple[Value, ...] | None = None
    negated: bool = False
    mask: int = -1

    def holds(self, packet: PacketPattern) -> bool | None:
        """Whether a packet has it; None: unknown."""
        value = getattr(packet, self.field, None)
        if value is None or self.values is None:
            return None
        if self.field in ("source", "destination"):
            value = number_of(value)[0]
        return any(_is(value, one, self.mask) for one in self.values) is not self.negated

    @property
    def narrow(self) -> bool:
        """Whether it is for a few values."""
        return all(isinstance(one, str) or one[1] - one[0] < NARROW for one in self.values or ())


@dataclass(frozen=True)
class Branch:
    """Under which conditions a rule does what: `accept`, `drop`, `return`, `continue`, `jump`, `goto`, `either`."""

    matches: tuple[Match, ...]
    action: str
    target: str = ""
    sets: tuple[Match, ...] = ()
    """What it changes of a packet."""

    def holds(self, packet: PacketPattern) -> bool | None:
        """False as soon as one condition fails, whatever the others are."""
        held = [one.holds(packet) for one in self.matches]
        return False if False in held else None if None in held else True


def _is(value: Any, wanted: Value, mask: int) -> bool:
    if isinstance(wanted, str):
        return fnmatchcase(str(value), wanted)
    low, high = wanted
    return bool(low <= value & mask <= high)


def number_of(address: str) -> tuple[int, int]:
    """The first and last address of a network, as numbers."""
    network = ip_network(address, strict=False)
    return int(network.network_address), int(network.broadcast_address)


def read(field: str, text: str) -> Value:
    """A value of a field, as rules write it; ValueError when it is not understood.  Of other fields it is the word."""
    if field in ("source", "destination"):
        low, dash, high = text.partition("-")
        return (number_of(low)[0], number_of(high)[1]) if dash else number_of(low)
    if field == "protocol":
        number = PROTOCOLS[text] if text in PROTOCOLS else int(text)
        return number, number
    if field in ("incoming", "outgoing"):
        return f"{text[:-1]}*" if text.endswith("+") else text
    if field == "icmp":
        kind, _, code = (str(ICMP.get(one, one)) for one in text.partition("/"))
        return "*" if kind == "any" else f"{int(kind)}/{code or '*'}"
    if field == "code":
        return f"*/{ICMP.get(text) or int(text)}"
    if field in ("ethertype", "kind", "state", "status"):
        word = text.lower()
        return ETHERTYPES.get(word, word) if field == "ethertype" else KINDS.get(word, word)
    if field not in NUMBERS:
        return text
    low, dash, high = text.replace(":", "-").partition("-")
    return int(low or "0", 0), int(high or "65535", 0) if dash else int(low, 0)
