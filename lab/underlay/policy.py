"""
What a cloud's port lets in, as a classic BPF program over the frame (tc-bpf(8), direct-action).

It looks at the outer header only, as a cloud does: a flow dissector would descend into the GRE payload and miss.
Classic BPF needs no privilege beyond the namespace's own, and every kernel has it.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from lab.model import Provider

Step = tuple[int, int, int, int]

LOAD_WORD, LOAD_HALF, LOAD_BYTE = 0x20, 0x28, 0x30  # ld [k] (absolute)
LOAD_LENGTH = 0x80  # ld len
JUMP_EQUAL, JUMP_GREATER, JUMP_SET, RETURN = 0x15, 0x25, 0x45, 0x06
TC_ACT_OK, TC_ACT_SHOT = 0, 2
ETHERTYPE, IP_FRAGMENT, IP_PROTOCOL, IP_SOURCE = 12, 20, 23, 26  # offsets in an untagged Ethernet frame
ETHERNET, MORE_OR_OFFSET = 14, 0x3FFF  # octets before the packet; what is set in any fragment of one (RFC 791)
ETH_P_IP, ETH_P_ARP = 0x0800, 0x0806
GRE = 47

PASS: Step = (RETURN, 0, 0, TC_ACT_OK)
DROP: Step = (RETURN, 0, 0, TC_ACT_SHOT)


@dataclass(frozen=True)
class Rule:
    """Drops the frame when the value at an offset is (`equal`) or is not (`not equal`) what is named."""

    load: int
    offset: int
    test: int
    value: int
    drop_when: bool = True

    def steps(self) -> list[Step]:
        skip_true, skip_false = (0, 1) if self.drop_when else (1, 0)
        return [(self.load, 0, 0, self.offset), (self.test, skip_true, skip_false, self.value), DROP]


def _word(address: IPv4Address) -> int:
    return int(struct.unpack("!I", socket.inet_aton(str(address)))[0])


def port_program(provider: Provider, address: IPv4Address | None, extra: tuple[Rule, ...] = ()) -> list[Step]:
    """
    The program of the port of the NIC with `address` (None: a router's, which forwards for others).

    ARP passes (the fabric answers it), IPv4 passes by the provider's rules, anything else is dropped.
    """
    rules: list[Rule] = []
    if not provider.broadcast and not provider.multicast:
        rules.append(Rule(LOAD_BYTE, 0, JUMP_SET, 0x01))  # the group bit of the destination MAC
    if not provider.gre:
        rules.append(Rule(LOAD_BYTE, IP_PROTOCOL, JUMP_EQUAL, GRE))
    if provider.source_check and address is not None:
        rules.append(Rule(LOAD_WORD, IP_SOURCE, JUMP_EQUAL, _word(address), drop_when=False))
    program: list[Step] = [
        (LOAD_HALF, 0, 0, ETHERTYPE),
        (JUMP_EQUAL, 0, 1, ETH_P_ARP),
        PASS,
        (JUMP_EQUAL, 1, 0, ETH_P_IP),
        DROP,
    ]
    for rule in (*rules, *extra):
        program += rule.steps()
    return [*program, PASS]


def gre_rule() -> Rule:
    """Drops IP protocol 47: a security list that nobody opened for GRE."""
    return Rule(LOAD_BYTE, IP_PROTOCOL, JUMP_EQUAL, GRE)


def longer_rule(mtu: int) -> Rule:
    """Drops packets of more octets than a path takes, and tells nobody."""
    return Rule(LOAD_LENGTH, 0, JUMP_GREATER, mtu + ETHERNET)


def fragment_rule(inside: int = 0, last: int | None = None) -> Rule:
    """
    Drops fragments (RFC 791): every one, or the last of its packet if that begins `last` octets into the data.

    Of what is in a tunnel, whose headers take `inside` octets of an outer packet.
    """
    if last is None:
        return Rule(LOAD_HALF, inside + IP_FRAGMENT, JUMP_SET, MORE_OR_OFFSET)
    return Rule(LOAD_HALF, inside + IP_FRAGMENT, JUMP_EQUAL, last // 8)
