"""Where the addresses are in a captured frame: Ethernet, ARP, IPv4, IPv6, and all that in GRE or VXLAN."""

from __future__ import annotations

from collections.abc import Iterator

from lab.probes.capture.sightings import DESTINATION_OPTIONS, ETHERNET, GRE, IPV6_HEADER, UDP

ARP, IPV4, IPV6, VLAN = 0x0806, 0x0800, 0x86DD, 0x8100
TRANSPARENT_ETHERNET = 0x6558  # RFC 2784: a frame in GRE
GRE_OPTIONS = (0x8000, 0x2000, 0x1000)  # checksum, key, sequence number: four octets each
UDP_AND_VXLAN = 16
ICMP, ICMP_ERRORS = 1, (3, 4, 5, 11, 12)

Spot = tuple[int, int]
"""Offset and length: 6 for a MAC address, 4 and 16 for IPv4 and IPv6."""


def addresses_in(frame: bytes, vxlan_port: int) -> Iterator[Spot]:
    """Every address of a frame; those that a capture cut off are left out."""
    for at, size in _ethernet(frame, 0, vxlan_port):
        if at + size <= len(frame):
            yield at, size


def _word(frame: bytes, at: int) -> int:
    return int.from_bytes(frame[at : at + 2], "big")


def _octet(frame: bytes, at: int) -> int:
    return frame[at] if at < len(frame) else 0


def _ethernet(frame: bytes, at: int, port: int) -> Iterator[Spot]:
    yield from ((at, 6), (at + 6, 6))
    inside, kind = at + ETHERNET, _word(frame, at + 12)
    if kind == VLAN:
        inside, kind = inside + 4, _word(frame, at + 16)
    yield from _packet(frame, inside, kind, port)


def _packet(frame: bytes, at: int, kind: int, port: int) -> Iterator[Spot]:
    if kind == ARP:
        yield from ((at + 8, 6), (at + 14, 4), (at + 18, 6), (at + 24, 4))
    elif kind == IPV4 and at < len(frame):
        yield from ((at + 12, 4), (at + 16, 4))
        if not _word(frame, at + 6) & 0x1FFF:  # of further fragments all is payload
            yield from _payload(frame, at + 4 * (frame[at] & 0x0F), _octet(frame, at + 9), port)
    elif kind == IPV6:
        yield from ((at + 8, 16), (at + 24, 16))
        protocol, inside = _octet(frame, at + 6), at + IPV6_HEADER
        if protocol == DESTINATION_OPTIONS:
            protocol, inside = _octet(frame, inside), inside + 8
        yield from _payload(frame, inside, protocol, port)


def _payload(frame: bytes, at: int, protocol: int, port: int) -> Iterator[Spot]:
    if protocol == GRE:
        flags, kind = _word(frame, at), _word(frame, at + 2)
        inside = at + 4 + 4 * sum(bool(flags & option) for option in GRE_OPTIONS)
        if kind == TRANSPARENT_ETHERNET:
            yield from _ethernet(frame, inside, port)
        else:
            yield from _packet(frame, inside, kind, port)
    elif protocol == UDP and _word(frame, at + 2) == port:
        yield from _ethernet(frame, at + UDP_AND_VXLAN, port)
    elif protocol == ICMP and _octet(frame, at) in ICMP_ERRORS:
        yield from _packet(frame, at + 8, IPV4, port)
