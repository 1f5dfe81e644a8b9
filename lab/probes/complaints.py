"""
ICMP errors among captured frames: their sender, receiver and packet (RFC 792, RFC 4443).

The kernel does not report an error at a tunnel's end to a sender into the tunnel: only captures show it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from lab.probes.sightings import ETHERNET, IPV6_HEADER, Sighting

ICMP, ICMPV6 = 1, 58
ERRORS = {
    ICMP: {3: "destination unreachable", 4: "source quench", 5: "redirect", 11: "time exceeded", 12: "bad parameter"},
    ICMPV6: {1: "destination unreachable", 2: "packet too big", 3: "time exceeded", 4: "bad parameter"},
}
UNREACHABLE = {
    0: "network",
    1: "host",
    2: "protocol",
    3: "port",
    4: "fragmentation needed",
    9: "network prohibited",
    10: "host prohibited",
    13: "administratively prohibited",
}
UNREACHABLE6 = {0: "network", 1: "administratively prohibited", 3: "host", 4: "port"}
PROTOCOLS = {1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 47: "GRE", 58: "ICMPv6"}
IPV4_HEADER, ICMP_HEADER = 20, 8


@dataclass(frozen=True)
class Complaint:
    """One ICMP error where it was seen; `about` is source, destination and protocol of what is `quoted` in it."""

    sighting: Sighting
    source: str
    destination: str
    protocol: int
    kind: int
    code: int
    quoted: bytes

    @property
    def about(self) -> tuple[str, str, int] | None:
        packet = _packet(self.quoted)
        return packet and packet[:3]

    @property
    def meaning(self) -> str:
        """The same words for ICMP and ICMPv6."""
        what = ERRORS[self.protocol][self.kind]
        reasons = UNREACHABLE if self.protocol == ICMP else UNREACHABLE6
        return f"{what} ({reasons.get(self.code, self.code)})" if what == ERRORS[ICMP][3] else what

    def __str__(self) -> str:
        of = ""
        if about := self.about:
            source, destination, protocol = about
            of = f", about {source} > {destination} {PROTOCOLS.get(protocol, protocol)}"
        where = f"{self.sighting.node} {self.sighting.interface} {self.sighting.direction}"
        return f"{where}: {self.source} to {self.destination}: {self.meaning}{of}"


def complaints(seen: Iterable[Sighting]) -> list[str]:
    """One line for each kind of error at each place, in the order of their first one."""
    counted = Counter(map(str, errors(seen)))
    return [line + (f" ({count} times)" if count > 1 else "") for line, count in counted.items()]


def errors(seen: Iterable[Sighting]) -> list[Complaint]:
    """The ICMP and ICMPv6 errors among frames, bare or on the underlay."""
    return [found for found in map(_error, seen) if found]


def _error(sighting: Sighting) -> Complaint | None:
    outer = _packet(sighting.frame[ETHERNET:])
    if outer is None or outer[2] not in ERRORS or len(outer[3]) < ICMP_HEADER:
        return None
    source, destination, protocol, message = outer
    kind, code = message[0], message[1]
    if kind not in ERRORS[protocol]:
        return None
    return Complaint(sighting, source, destination, protocol, kind, code, message[ICMP_HEADER:])


def _packet(data: bytes) -> tuple[str, str, int, bytes] | None:
    """Source, destination, protocol and payload of an IP packet, of which the end may be missing."""
    if len(data) >= IPV4_HEADER and data[0] >> 4 == 4:
        header = (data[0] & 0x0F) * 4
        return str(ip_address(data[12:16])), str(ip_address(data[16:20])), data[9], data[header:]
    if len(data) >= IPV6_HEADER and data[0] >> 4 == 6:
        return str(ip_address(data[8:24])), str(ip_address(data[24:40])), data[6], data[IPV6_HEADER:]
    return None
