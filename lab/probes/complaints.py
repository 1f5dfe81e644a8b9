"""
ICMP errors among captured frames: who complained, to whom, about which packet (RFC 792, RFC 4443).

An error that comes back to a tunnel's end is not told to whoever sends into the tunnel: only captures show it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
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
PROTOCOLS = {1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 47: "GRE", 58: "ICMPv6"}
IPV4_HEADER, ICMP_HEADER = 20, 8


def complaints(seen: Iterable[Sighting]) -> list[str]:
    """One line for each kind of error at each place, in the order of their first one."""
    counted = Counter(told for told in map(_told, seen) if told)
    return [line + (f" ({count} times)" if count > 1 else "") for line, count in counted.items()]


def _told(sighting: Sighting) -> str:
    outer = _packet(sighting.frame[ETHERNET:])
    if outer is None or outer[2] not in ERRORS or len(outer[3]) < ICMP_HEADER:
        return ""
    source, destination, protocol, message = outer
    kind, code = message[0], message[1]
    if kind not in ERRORS[protocol]:
        return ""
    what = ERRORS[protocol][kind]
    if (protocol, kind) == (ICMP, 3):
        what += f" ({UNREACHABLE.get(code, code)})"
    about = _packet(message[ICMP_HEADER:])
    of = f", about {about[0]} > {about[1]} {PROTOCOLS.get(about[2], about[2])}" if about else ""
    return f"{sighting.node} {sighting.interface} {sighting.direction}: {source} to {destination}: {what}{of}"


def _packet(data: bytes) -> tuple[str, str, int, bytes] | None:
    """Source, destination, protocol and payload of an IP packet, of which the end may be missing."""
    if len(data) >= IPV4_HEADER and data[0] >> 4 == 4:
        header = (data[0] & 0x0F) * 4
        return str(ip_address(data[12:16])), str(ip_address(data[16:20])), data[9], data[header:]
    if len(data) >= IPV6_HEADER and data[0] >> 4 == 6:
        return str(ip_address(data[8:24])), str(ip_address(data[24:40])), data[6], data[IPV6_HEADER:]
    return None
