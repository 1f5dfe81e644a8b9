"""
A frame in one line, outermost header first: for a reader who follows a packet from host to host.

    10.0.0.25 > 10.0.0.197 UDP 50123 > 4789, VXLAN / 172.16.254.2 > 172.16.254.255 ttl 64 UDP 40000 > 22183, 32 octets

Without scapy, which takes a millisecond for a frame: a failed test has dozens.
"""

from __future__ import annotations

from ipaddress import ip_address

from lab.probes.capture.sightings import ETHERNET, FRAME_IN_GENEVE, GRE, UDP, packet_in

IPV4, IPV6, ARP, VLAN = 0x0800, 0x86DD, 0x0806, 0x8100
FRAME_IN_GRE = 0x6558
GRE_OPTIONS = (0x8000, 0x2000, 0x1000)
UDP_HEADER, VXLAN_HEADER = 8, 8
NAMES = {1: "ICMP", 2: "IGMP", 6: "TCP", UDP: "UDP", GRE: "GRE", 58: "ICMPv6"}


def decoded(frame: bytes, vxlan_port: int) -> str:
    """Return the headers of a frame that can be read; what is cut off is not guessed."""
    kind, at = _word(frame, 12), ETHERNET
    if kind == VLAN:
        kind, at = _word(frame, 16), ETHERNET + 4
    data = frame[at:]
    packet = packet_in(data) if kind in (IPV4, IPV6) else None
    if packet is not None:
        hops = "ttl" if kind == IPV4 else "hop limit"
        inside = packet.inside[: max(0, _word(data, 2) - 4 * (data[0] & 0xF))] if kind == IPV4 else packet.inside
        addresses = f"{ip_address(packet.source)} > {ip_address(packet.destination)} {hops} {packet.hops}"
        return f"{addresses} {_payload(packet.protocol, inside, vxlan_port)}"
    if kind == ARP and len(data) >= 28:
        action = "requests" if _word(data, 6) == 1 else "answers"
        return f"ARP {ip_address(data[14:18])} {action} {ip_address(data[24:28])}"
    return f"EtherType {kind:#06x}, {len(frame)} octets"


def _payload(protocol: int, rest: bytes, vxlan_port: int) -> str:
    if protocol == GRE and len(rest) >= 4:
        inside = 4 + 4 * sum(bool(_word(rest, 0) & option) for option in GRE_OPTIONS)
        return "GRE" + (f" / {decoded(rest[inside:], vxlan_port)}" if _word(rest, 2) == FRAME_IN_GRE else "")
    if protocol == UDP and len(rest) >= UDP_HEADER:
        ports = f"UDP {_word(rest, 0)} > {_word(rest, 2)}"
        if _word(rest, 2) == vxlan_port and len(rest) >= UDP_HEADER + VXLAN_HEADER + ETHERNET:
            name = "Geneve" if rest[UDP_HEADER + 2 : UDP_HEADER + 4] == FRAME_IN_GENEVE else "VXLAN"
            return f"{ports}, {name} / {decoded(rest[UDP_HEADER + VXLAN_HEADER :], vxlan_port)}"
        return f"{ports}, {_word(rest, 4) - UDP_HEADER} octets"
    return f"{NAMES.get(protocol, f'protocol {protocol}')}, {len(rest)} octets"


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
