"""
ICMP errors among captured frames: their sender, receiver and packet (RFC 792, RFC 4443).

The kernel does not report an error at a tunnel's end to a sender into the tunnel: only captures show it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from lab.probes.capture.sightings import ETHERNET, Sighting, packet_in

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
ICMP_HEADER = 8


@dataclass(frozen=True)
class IcmpError:
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
        packet = packet_in(self.quoted)
        return packet and (str(ip_address(packet.source)), str(ip_address(packet.destination)), packet.protocol)

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


def errors(seen: Iterable[Sighting]) -> list[IcmpError]:
    """The ICMP and ICMPv6 errors among frames, bare or on the underlay."""
    return [found for found in map(_error, seen) if found]


def _error(sighting: Sighting) -> IcmpError | None:
    outer = packet_in(sighting.frame[ETHERNET:])
    if outer is None or outer.protocol not in ERRORS or len(outer.inside) < ICMP_HEADER:
        return None
    kind, code = outer.inside[0], outer.inside[1]
    if kind not in ERRORS[outer.protocol]:
        return None
    source, destination = str(ip_address(outer.source)), str(ip_address(outer.destination))
    return IcmpError(sighting, source, destination, outer.protocol, kind, code, outer.inside[ICMP_HEADER:])
