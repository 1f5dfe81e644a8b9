"""
Sightings: where a probe's frames were seen, and the path that they make.

A sighting is one frame at one interface in one direction at one kernel time.  In order of time, a probe's sightings
are its path: spoke1 gretap1 out, spoke1 ens3 out (in GRE), ... spoke2 gretap2 in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, NamedTuple

from lab.errors import FramesLost
from lab.machines.base import Agent, Call, call
from lab.machines.node import Node, ask_all, by_machine
from lab.model import VXLAN_PORT

ETHERNET = 14
GRE, UDP = 47, 17
FRAME_IN_GENEVE = b"\x65\x58"  # RFC 8926 section 3.4: the protocol type; at this place VXLAN's header is reserved
IPV4_HEADER, IPV6_HEADER, DESTINATION_OPTIONS = 20, 40, 60
IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"  # EtherTypes
ROOM = "run it as root, or raise net.core.rmem_max to 16777216; of many live hosts, test fewer at once"


class IpPacket(NamedTuple):
    """An IP packet, of which the end may be missing; `inside` is what it holds, behind IPv6's destination options."""

    source: bytes
    destination: bytes
    protocol: int
    hops: int
    """Its TTL, or hop limit."""
    inside: bytes


def packet_in(data: bytes) -> IpPacket | None:
    """The packet that begins here."""
    if len(data) >= IPV4_HEADER and data[0] >> 4 == 4:
        return IpPacket(data[12:16], data[16:20], data[9], data[8], data[4 * (data[0] & 0x0F) :])
    if len(data) < IPV6_HEADER or data[0] >> 4 != 6:
        return None
    protocol, inside = data[6], data[IPV6_HEADER:]
    if protocol == DESTINATION_OPTIONS and len(inside) > 1:
        protocol, inside = inside[0], inside[8 * (inside[1] + 1) :]
    return IpPacket(data[8:24], data[24:40], protocol, data[7], inside)


@dataclass(frozen=True)
class Sighting:
    """One frame (from its Ethernet header on) at one interface; `time` is the kernel's, in ns since the epoch."""

    node: str
    interface: str
    outgoing: bool
    time: int
    frame: bytes
    vxlan_port: int = VXLAN_PORT
    """The UDP port of the overlay's tunnels, if they are VXLAN or Geneve, whose headers are as long."""

    @property
    def direction(self) -> str:
        return "out" if self.outgoing else "in"

    @property
    def carrier(self) -> str | None:
        """What the frame is wrapped in: `GRE` (in IPv4 or IPv6), `VXLAN`, `GENEVE`, or None when it is bare."""
        packet = packet_in(self.frame[ETHERNET:]) if self.frame[12:14] in (IPV4, IPV6) else None
        if packet is None or packet.protocol not in (GRE, UDP):
            return None
        if packet.protocol == GRE:
            return "GRE"
        if len(packet.source) != 4 or int.from_bytes(packet.inside[2:4], "big") != self.vxlan_port:
            return None
        return "GENEVE" if packet.inside[10:12] == FRAME_IN_GENEVE else "VXLAN"

    @property
    def addresses(self) -> tuple[str, str]:
        """Source and destination of the packet (of a tunnel packet, the outer ones)."""
        size, at = (16, ETHERNET + 8) if self.frame[12:14] == IPV6 else (4, ETHERNET + 12)
        source, destination = self.frame[at : at + size], self.frame[at + size : at + 2 * size]
        return str(ip_address(source)), str(ip_address(destination))

    def __str__(self) -> str:
        wrapped = f" [{self.carrier}]" if self.carrier else ""
        return f"{self.node} {self.interface} {self.direction}{wrapped}"


def collect(
    nodes: Iterable[Node], tags: Sequence[bytes] | None = None, *, vxlan_port: int = VXLAN_PORT
) -> list[Sighting]:
    """
    What the taps of the nodes saw that carries any of the tags (None: everything), in order of kernel time.

    FramesLost if a tap had no room for a frame since `forget`: it may have been one of these.
    """
    nodes = list(nodes)
    return collected(nodes, ask_all(collecting(nodes, tags)), vxlan_port=vxlan_port)


def collecting(nodes: Iterable[Node], tags: Sequence[bytes] | None = None) -> list[tuple[Node, Call[Any]]]:
    """The calls of `collect`, to be made together with others."""
    wanted = None if tags is None else list(tags)
    return [(members[0], call(Agent.frames, _handles(members), wanted)) for members in by_machine(nodes)]


def collected(nodes: Iterable[Node], answers: Sequence[Any], *, vxlan_port: int = VXLAN_PORT) -> list[Sighting]:
    """What `collect` returns, from the results of its calls."""
    found: list[Sighting] = []
    lost: list[str] = []
    for members, (unseen, frames) in zip(by_machine(nodes), answers, strict=True):
        names = {node.handle: node.name for node in members}
        lost += [f"{count} at {node.name}" for node, count in zip(members, unseen, strict=True) if count]
        found += [
            Sighting(names[handle], interface, outgoing, time, frame, vxlan_port)
            for handle, interface, outgoing, time, frame in frames
        ]
    if lost:
        raise FramesLost(
            f"captures lost frames ({', '.join(lost)}), so a missing frame proves nothing",
            remedy=ROOM,
        )
    return sorted(found, key=lambda sighting: sighting.time)


def require_complete(nodes: Iterable[Node]) -> None:
    """FramesLost if a tap of the nodes had no room for a frame since `forget`: what is missing may have been there."""
    collect(nodes, tags=())


def wait(
    node: Node, interface: str, matching: Sequence[tuple[int, bytes]], *, tag: bytes, count: int, timeout: float
) -> list[Sighting]:
    """
    Waits until `count` frames that carry `tag` and match every (offset, octets) have come in on an interface.

    Those since `forget` count.  Returns what there is, fewer than `count` when `timeout` (s) passed first; FramesLost
    if then the tap had no room for some.
    """
    seen = node.ask(
        Agent.wait_frames,
        interface=interface,
        matching=[list(match) for match in matching],
        tag=tag,
        count=count,
        timeout=timeout,
    )
    if len(seen) < count:
        require_complete([node])
    return [Sighting(node.name, interface, outgoing, time, frame) for _, interface, outgoing, time, frame in seen]


def forget(nodes: Iterable[Node]) -> None:
    """Opens the taps of the nodes where they are not yet, and drops what they saw so far."""
    ask_all(forgetting(nodes))


def forgetting(nodes: Iterable[Node]) -> list[tuple[Node, Call[Any]]]:
    """The calls of `forget`, to be made together with others."""
    return [(members[0], call(Agent.tap, nodes=_handles(members))) for members in by_machine(nodes)]


def path(sightings: Sequence[Sighting]) -> str:
    """One line: the places in order, each once."""
    places: list[str] = []
    for sighting in sightings:
        place = str(sighting)
        if place not in places:
            places.append(place)
    return " → ".join(places) if places else "never seen anywhere: it did not leave the sender's socket"


def _handles(nodes: Sequence[Node]) -> list[int]:
    return [node.handle for node in nodes]
