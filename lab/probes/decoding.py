"""
A frame in one line, outermost header first: for a reader who follows a packet from host to host.

    10.0.0.25 > 10.0.0.197 UDP 50123 > 4789, VXLAN / 172.16.254.2 > 172.16.254.255 ttl 64 UDP 40000 > 22183, 32 octets

Without scapy, which takes a millisecond for a frame: a failed test has dozens.
"""

from __future__ import annotations

from ipaddress import ip_address

from lab.probes.sightings import DESTINATION_OPTIONS, ETHERNET, GRE, IPV6_HEADER, UDP

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
    packet = frame[at:]
    if kind == IPV4 and len(packet) >= 20:
        addresses = f"{ip_address(packet[12:16])} > {ip_address(packet[16:20])} ttl {packet[8]}"
        return f"{addresses} {_payload(packet[9], packet[4 * (packet[0] & 0xF) : _word(packet, 2)], vxlan_port)}"
    if kind == IPV6 and len(packet) >= IPV6_HEADER:
        protocol, rest = packet[6], packet[IPV6_HEADER:]
        if protocol == DESTINATION_OPTIONS and rest:
            protocol, rest = rest[0], rest[8 * (rest[1] + 1) :]
        addresses = f"{ip_address(packet[8:24])} > {ip_address(packet[24:40])} hop limit {packet[7]}"
        return f"{addresses} {_payload(protocol, rest, vxlan_port)}"
    if kind == ARP and len(packet) >= 28:
        action = "requests" if _word(packet, 6) == 1 else "answers"
        return f"ARP {ip_address(packet[14:18])} {action} {ip_address(packet[24:28])}"
    return f"EtherType {kind:#06x}, {len(frame)} octets"


def _payload(protocol: int, rest: bytes, vxlan_port: int) -> str:
    if protocol == GRE and len(rest) >= 4:
        inside = 4 + 4 * sum(bool(_word(rest, 0) & option) for option in GRE_OPTIONS)
        return "GRE" + (f" / {decoded(rest[inside:], vxlan_port)}" if _word(rest, 2) == FRAME_IN_GRE else "")
    if protocol == UDP and len(rest) >= UDP_HEADER:
        ports = f"UDP {_word(rest, 0)} > {_word(rest, 2)}"
        if _word(rest, 2) == vxlan_port and len(rest) >= UDP_HEADER + VXLAN_HEADER + ETHERNET:
            return f"{ports}, VXLAN / {decoded(rest[UDP_HEADER + VXLAN_HEADER :], vxlan_port)}"
        return f"{ports}, {_word(rest, 4) - UDP_HEADER} octets"
    return f"{NAMES.get(protocol, f'protocol {protocol}')}, {len(rest)} octets"


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
