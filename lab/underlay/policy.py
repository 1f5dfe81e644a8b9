"""
What a cloud's port lets in, as a classic BPF program over the frame (tc-bpf(8), direct-action).

It looks at the outer header only, as a cloud does: a flow dissector would descend into the GRE payload and miss.
Classic BPF needs no privilege beyond the namespace's own, and every kernel has it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from lab.clouds.native_multicast import Groups
from lab.model import Provider

BpfStep = tuple[int, int, int, int]

LOAD_WORD, LOAD_HALF, LOAD_BYTE = 0x20, 0x28, 0x30  # ld [k] (absolute)
LOAD_LENGTH = 0x80  # ld len
LOAD_HEADER_LENGTH, LOAD_BEHIND_HEADER = 0xB1, 0x50  # ldxb 4*([k]&0xf), ldb [x+k]
JUMP_EQUAL, JUMP_GREATER, JUMP_SET, RETURN = 0x15, 0x25, 0x45, 0x06
TC_ACT_OK, TC_ACT_SHOT = 0, 2
ETHERTYPE, IP_FRAGMENT, IP_PROTOCOL, IP_SOURCE = 12, 20, 23, 26  # offsets in an untagged Ethernet frame
ETHERNET, MORE_OR_OFFSET = 14, 0x3FFF  # octets before the packet; what is set in any fragment of one (RFC 791)
IPV6_NEXT_HEADER, IPV6_SOURCE, IPV6_SECOND_HEADER = 20, 22, 54
ETH_P_IP, ETH_P_ARP, ETH_P_IPV6 = 0x0800, 0x0806, 0x86DD
IGMP, GRE, DESTINATION_OPTIONS = 2, 47, 60
QUERY, V2_REPORT, V2_LEAVE = 0x11, 0x16, 0x17  # types of IGMP (RFC 2236 section 2.1)
FIRST_OF_GROUPS = 0x01005E  # of their MAC addresses (RFC 1112 section 6.4)

PASS: BpfStep = (RETURN, 0, 0, TC_ACT_OK)
DROP: BpfStep = (RETURN, 0, 0, TC_ACT_SHOT)


@dataclass(frozen=True)
class CloudRule:
    """
    Drops the frame when the value at an offset is (`equal`) or is not (`not equal`) what is named.

    `version` is that of the IP packets that it is put to.
    """

    load: int
    offset: int
    test: int
    value: int
    drop_when: bool = True
    version: int = 4

    def steps(self) -> list[BpfStep]:
        skip_true, skip_false = (0, 1) if self.drop_when else (1, 0)
        return [(self.load, 0, 0, self.offset), (self.test, skip_true, skip_false, self.value), DROP]


@dataclass(frozen=True)
class GreOverIPv6(CloudRule):
    """Drops GRE in IPv6, whether it follows at once or behind the destination options that a tunnel puts there."""

    def steps(self) -> list[BpfStep]:
        return [
            (LOAD_BYTE, 0, 0, IPV6_NEXT_HEADER),
            (JUMP_EQUAL, 3, 0, GRE),
            (JUMP_EQUAL, 0, 3, DESTINATION_OPTIONS),
            (LOAD_BYTE, 0, 0, IPV6_SECOND_HEADER),
            (JUMP_EQUAL, 0, 1, GRE),
            DROP,
        ]


@dataclass(frozen=True)
class ToGroups(CloudRule):
    """Drops all that is sent to more than one NIC but whole packets to IPv4 groups, and IGMP but that of version 2."""

    groups: Groups | None = None

    def steps(self) -> list[BpfStep]:
        assert self.groups
        judged = [
            *CloudRule(LOAD_HALF, 0, JUMP_EQUAL, FIRST_OF_GROUPS >> 8, drop_when=False).steps(),
            *longer_rule(self.groups.mtu).steps(),
            *fragment_rule().steps(),
            *_igmp(V2_REPORT, V2_LEAVE),
        ]
        return [(LOAD_BYTE, 0, 0, 0), (JUMP_SET, 0, len(judged), 0x01), *judged]


@dataclass(frozen=True)
class Queries(CloudRule):
    """
    Drops IGMP queries, which a cloud sends to members every few minutes.

    A lab's cloud sends one when a test needs it: those of its bridge come at once, and to hosts that are no members.
    """

    def steps(self) -> list[BpfStep]:
        return _igmp(V2_REPORT, V2_LEAVE)


def _igmp(*passing: int) -> list[BpfStep]:
    """Drops IGMP of all types but these."""
    types = [(JUMP_EQUAL, len(passing) - number, 0, each) for number, each in enumerate(passing)]
    judged = [(LOAD_HEADER_LENGTH, 0, 0, ETHERNET), (LOAD_BEHIND_HEADER, 0, 0, ETHERNET), *types, DROP]
    return [(LOAD_BYTE, 0, 0, IP_PROTOCOL), (JUMP_EQUAL, 0, len(judged), IGMP), *judged]


NO_QUERIES = Queries(LOAD_BYTE, IP_PROTOCOL, JUMP_EQUAL, QUERY)


def port_program(
    provider: Provider,
    address: IPv4Address | None,
    extra: tuple[CloudRule, ...] = (),
    *,
    ipv6: bool = False,
    address6: IPv6Address | None = None,
) -> list[BpfStep]:
    """
    The program of the port of the NIC with `address` (None: a router's, which forwards for others).

    ARP passes (the fabric answers it), IPv4 passes by the provider's rules, and so does IPv6 where the subnet has it;
    anything else is dropped.
    """
    rules: list[CloudRule] = []
    if provider.groups:
        rules += [ToGroups(LOAD_BYTE, 0, JUMP_SET, 0x01, groups=provider.groups), _to_a_group(6)]
    elif not provider.broadcast and not provider.multicast:
        rules += [_to_a_group(4), _to_a_group(6)]
    if not provider.gre:
        rules += gre_rules()
    if provider.source_check and address is not None:
        rules += _foreign_sources(IP_SOURCE, address)
    if provider.source_check and address6 is not None:
        rules += _foreign_sources(IPV6_SOURCE, address6)
    judged: dict[int, list[BpfStep]] = {4: [], 6: []}
    for rule in (*rules, *extra):
        judged[rule.version] += rule.steps()
    program: list[BpfStep] = [(LOAD_HALF, 0, 0, ETHERTYPE), (JUMP_EQUAL, 0, 1, ETH_P_ARP), PASS]
    if ipv6:
        block = [*judged[6], PASS]
        program += [(JUMP_EQUAL, 0, len(block), ETH_P_IPV6), *block]
    return [*program, (JUMP_EQUAL, 1, 0, ETH_P_IP), DROP, *judged[4], PASS]


def to_groups_rule() -> CloudRule:
    """Drops what is sent to more than one NIC."""
    return _to_a_group(4)


def _to_a_group(version: int) -> CloudRule:
    return CloudRule(LOAD_BYTE, 0, JUMP_SET, 0x01, version=version)  # the group bit of the destination MAC


def _foreign_sources(offset: int, address: IPv4Address | IPv6Address) -> list[CloudRule]:
    words = struct.unpack(f"!{len(address.packed) // 4}I", address.packed)
    return [
        CloudRule(LOAD_WORD, offset + 4 * number, JUMP_EQUAL, word, drop_when=False, version=address.version)
        for number, word in enumerate(words)
    ]


def gre_rule() -> CloudRule:
    """Drops IP protocol 47: a security list without a rule for GRE."""
    return CloudRule(LOAD_BYTE, IP_PROTOCOL, JUMP_EQUAL, GRE)


def source_rule(address: IPv4Address) -> CloudRule:
    """Drops what one address sends."""
    return CloudRule(LOAD_WORD, IP_SOURCE, JUMP_EQUAL, int(address))


def longer_rule(mtu: int) -> CloudRule:
    """Drops packets of more octets than a path takes, without an ICMP error."""
    return CloudRule(LOAD_LENGTH, 0, JUMP_GREATER, mtu + ETHERNET)


def fragment_rule(inside: int = 0, last: int | None = None) -> CloudRule:
    """
    Drops fragments (RFC 791): every one, or the last of its packet if that begins `last` octets into the data.

    Of what is in a tunnel, whose headers take `inside` octets of an outer packet.
    """
    if last is None:
        return CloudRule(LOAD_HALF, inside + IP_FRAGMENT, JUMP_SET, MORE_OR_OFFSET)
    return CloudRule(LOAD_HALF, inside + IP_FRAGMENT, JUMP_EQUAL, last // 8)


def gre_rules() -> tuple[CloudRule, ...]:
    """The same in IPv4 and IPv6."""
    return (gre_rule(), GreOverIPv6(LOAD_BYTE, IPV6_NEXT_HEADER, JUMP_EQUAL, GRE, version=6))


def destination_options_rule() -> CloudRule:
    """Drops IPv6 with a destination options header, as filters do that know no extension headers (RFC 9098)."""
    return CloudRule(LOAD_BYTE, IPV6_NEXT_HEADER, JUMP_EQUAL, DESTINATION_OPTIONS, version=6)
