"""
Tunnel packets, and whether they get from one host to another on the underlay.

A packet of each carrier is sent between two hosts' own addresses and looked for at the receiver's NIC; a plain
datagram sent after it, on the same path, shows whether any packet arrives.  "GRE does not pass" is only said of
hosts between which unicast does.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Sequence

from lab.errors import EnvironmentProblem
from lab.host import Host
from lab.laboratory import Lab
from lab.probes.capture.sightings import GRE, UDP, Sighting
from lab.probes.payloads import fresh_port, unique

VERSION_AND_LENGTH = 0x45  # IPv4 without options (RFC 791)
DEFAULT_TTL = 64
TRANSPARENT_ETHERNET = 0x6558  # RFC 1701
# an unused station: the receiver's tunnel takes the frame and its network stack drops it without an answer
NOBODY, PROBE = bytes.fromhex("02020000fffe"), bytes.fromhex("02020000ffff")
EXPERIMENTAL = 0x88B5  # IEEE Std 802, local experimental


def ipv4(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    """An IPv4 packet; the kernel fills in length, identification and checksum (raw(7))."""
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    return struct.pack("!BBHHHBBH", VERSION_AND_LENGTH, 0, 0, 0, 0, DEFAULT_TTL, protocol, 0) + addresses + payload


def gre(source: str, destination: str, payload: bytes) -> bytes:
    """An Ethernet frame that means nothing to anybody, in GRE (RFC 2784), in IPv4."""
    frame = NOBODY + PROBE + struct.pack("!H", EXPERIMENTAL) + payload
    return ipv4(source, destination, GRE, struct.pack("!HH", 0, TRANSPARENT_ETHERNET) + frame)


def udp(source: str, destination: str, port: int, payload: bytes) -> bytes:
    """A datagram in IPv4, without a checksum (RFC 768)."""
    return ipv4(source, destination, UDP, struct.pack("!HHHH", fresh_port(), port, 8 + len(payload), 0) + payload)


def passing(
    lab: Lab, sender: Host, receiver: Host, carriers: Collection[str] = ("gre",), source: str | None = None
) -> frozenset[str]:
    """
    Which of the carriers (`gre`, `vxlan`) get from one host's NIC to the other's.

    `source` is another outer source address than the sender's own.  EnvironmentProblem when unicast does not arrive.
    """
    here, there = source or sender.address("underlay"), receiver.address("underlay")
    payloads = {carrier: unique() for carrier in carriers}
    packets = {
        "gre": lambda payload: gre(here, there, payload),
        "vxlan": lambda payload: udp(here, there, lab.topology.options.port, payload),
    }
    with lab.listen([receiver], network="underlay") as heard:
        sender.send_packet([packets[carrier](payload) for carrier, payload in payloads.items()], there)
        sender.udp.send(to=there)
    if not heard.datagrams[receiver.name]:
        raise EnvironmentProblem(
            f"UDP from {sender} to {receiver} is lost on the underlay; tunnel packets cannot be tested",
            remedy=f"ping -c 1 {there}   (on {sender})",
        )
    frames = [
        seen.frame
        for seen in at_nics(lab, list(payloads.values()))
        if (seen.node, seen.outgoing) == (receiver.name, False)
    ]
    return frozenset(carrier for carrier, payload in payloads.items() if any(payload in frame for frame in frames))


def at_nics(lab: Lab, payloads: Sequence[bytes]) -> list[Sighting]:
    """The frames with any of the payloads at the hosts' NICs, whatever sockets made of them."""
    nics = {(host.name, host.plan.interface("underlay")) for host in lab.hosts.values()}
    return [seen for seen in lab.frames(payloads) if (seen.node, seen.interface) in nics]
