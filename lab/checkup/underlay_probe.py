"""
Whether tunnel packets really get from one host to another: they are sent, and captured.

    sender's socket --[OUTPUT]-- NIC ---- the cloud ---- NIC --[INPUT]-- receiver's socket
                                  ^                       ^                   ^
                                 left                  arrived            delivered

A packet that no tunnel takes is sent with a raw socket that receives nothing; the NICs are captured, and at the
receiver a raw socket shows what its firewall accepted.  Where it does not arrive, UDP and ICMP are tried on the same
way: only where one of them arrives is it said that it is the tunnel's protocol that the cloud drops.
Nothing is changed on either host.  Sources: raw(7), packet(7), RFC 2890, RFC 7348, RFC 792.
"""

from __future__ import annotations

import functools
import itertools
import secrets
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lab.checkup.live_host import LiveHost, Result, each
from lab.clouds.firmware import GRE, Carrier
from lab.errors import OvercastError
from lab.machines.base import Agent, call
from lab.machines.node import tell_all
from lab.probes import options
from lab.probes.capture import sightings
from lab.probes.capture.icmp_errors import ICMP, IcmpError, errors
from lab.probes.capture.sightings import ETHERNET, Sighting, packet_in
from lab.probes.payloads import fresh_port, unique
from lab.probes.ping import echo
from lab.tunnel_packets import EXPERIMENTAL, ipv4, udp

ROUNDS, PATIENCE = 3, 0.5
"""A packet is sent at most so often, and each time waited for so many seconds: several round trips of any region."""
UNREACHABLE = 3
KEY_PRESENT = 0x2000  # RFC 2890
DONT_FRAGMENT = b"\x40\x00"
IP_HEADER, KEYED_GRE, UDP_AND_VXLAN = 20, 8, 16
LEAST_FULL = 576


@dataclass(frozen=True)
class UnderlayEnd:
    """A host's end of the underlay."""

    host: LiveHost
    address: str
    mtu: int


@dataclass(frozen=True)
class UnderlayPath:
    """One direction between two hosts; `full` is the size of its largest packet in octets."""

    sender: UnderlayEnd
    receiver: UnderlayEnd
    carrier: Carrier
    small: bytes = field(default_factory=unique)
    large: bytes = field(default_factory=unique)
    others: Mapping[str, bytes] = field(default_factory=lambda: {"UDP": unique(), "ICMP echo": unique()})

    @property
    def full(self) -> int:
        return min(self.sender.mtu, self.receiver.mtu)

    @property
    def name(self) -> str:
        return f"{self.sender.host.role} → {self.receiver.host.role}"

    @property
    def tags(self) -> list[bytes]:
        return [self.small, *self.others.values()]


@dataclass(frozen=True)
class Crossing:
    """How far the packets of a way got."""

    way: UnderlayPath
    unchecked: str = ""
    """Why nothing could be tried."""
    refused: str = ""
    """What the sender's own kernel said against it."""
    left: bool = False
    arrived: bool = False
    delivered: bool = False
    full: bool = False
    others: frozenset[str] = frozenset()
    """What else arrived: `UDP`, `ICMP echo`."""
    answer: IcmpError | None = None
    """The ICMP error "unreachable" that came back."""


def cross(ways: Sequence[UnderlayPath], deadline: float) -> tuple[list[Crossing], dict[str, OvercastError]]:
    """Tries every way at the same time; also returns the hosts that were lost meanwhile."""
    hosts = {place.host.role: place.host for way in ways for place in (way.sender, way.receiver)}
    rooted = {role: host for role, host in hosts.items() if host.node.rooted}
    trial = _Trial([way for way in ways if way.sender.host.role in rooted], rooted, deadline)
    trial.run()
    return [trial.crossing(way) for way in ways], trial.lost


class _Trial:
    """The sockets and captures of all the hosts that give root, for the length of `run`."""

    def __init__(self, ways: Sequence[UnderlayPath], hosts: Mapping[str, LiveHost], deadline: float) -> None:
        self.ways, self.hosts, self.deadline = ways, hosts, deadline
        self.lost: dict[str, OvercastError] = {}
        self._sockets: dict[str, list[int]] = {}
        self._outstanding = {way.small: way for way in ways}
        full = [way for way in ways if way.receiver.host.role in hosts and way.full >= LEAST_FULL]
        self._outstanding |= {way.large: way for way in full}
        self._frames: dict[str, list[Sighting]] = {}

    def run(self) -> None:
        self._sockets = self._each(self._open)
        for number in range(ROUNDS):
            if self._outstanding:
                came = self._each(functools.partial(self._round, with_others=number > 0))
                for tag in itertools.chain(*came.values()):
                    self._outstanding.pop(tag, None)
        self._frames = self._each(self._captured)

    def crossing(self, way: UnderlayPath) -> Crossing:
        sender, receiver = way.sender.host.role, way.receiver.host.role
        for role in (sender, receiver):
            if role in self.lost:
                return Crossing(way, unchecked=f"{role}: {getattr(self.lost[role], 'message', '')}")
        if sender not in self.hosts:
            return Crossing(way, unchecked=f"needs root on {sender}, which sends it (--sudo)")
        at_sender = self._frames.get(sender, [])
        at_receiver = [one.frame for one in self._frames.get(receiver, []) if not one.outgoing]
        left = any(one.outgoing and way.small in one.frame for one in at_sender)
        arrived = any(way.small in frame and not _is_icmp(frame) for frame in at_receiver)
        returned = errors(one for one in at_sender if not one.outgoing and way.small in one.frame)
        return Crossing(
            way,
            refused="" if left or arrived else self._refusal(way),
            left=left,
            arrived=arrived,
            delivered=receiver in self.hosts and way.small not in self._outstanding,
            full=way.large not in self._outstanding,
            others=frozenset(name for name, tag in way.others.items() if any(tag in frame for frame in at_receiver)),
            answer=next((one for one in returned if one.kind == UNREACHABLE), None),
        )

    def _refusal(self, way: UnderlayPath) -> str:
        """The error of the sender's kernel at the next send."""
        node = way.sender.host.node
        try:
            packet = _packet(way, way.small)
            node.ask(Agent.send_many, [packet], [way.receiver.address, 0], **options.RAW)
        except (OSError, OvercastError) as error:
            return getattr(error, "strerror", None) or str(error)
        return ""

    def _each(self, do: Callable[[str], Result]) -> dict[str, Result]:
        """What `do` gives for each host; a host that is lost stays out from then on."""
        machines = {role: host.node.machine for role, host in self.hosts.items() if role not in self.lost}
        answers, lost = each(machines, do, self.deadline)
        self.lost |= lost
        return answers

    def _open(self, role: str) -> list[int]:
        """The capture; what the firewall lets through of the tunnel's protocol, and of ICMP."""
        node = self.hosts[role].node
        protocol = self.ways[0].carrier.protocol if self.ways else GRE
        tell_all(sightings.forgetting([node]))
        tunnel = node.call(Agent.open, **options.raw(protocol))
        return node.machine.batch([tunnel, node.call(Agent.open, **options.ICMP)])

    def _captured(self, role: str) -> list[Sighting]:
        """What was captured of the packets of a host's ways; its sockets are closed."""
        node = self.hosts[role].node
        node.machine.tell([call(Agent.close, self._sockets[role])])
        tags = [tag for way in self.ways if role in (way.sender.host.role, way.receiver.host.role) for tag in way.tags]
        return sightings.collect([node], tags)

    def _round(self, role: str, *, with_others: bool) -> list[bytes]:
        """Sends what has not arrived, and returns what has come to the host after a while."""
        node = self.hosts[role].node
        own = [(tag, way) for tag, way in self._outstanding.items() if way.sender.host.role == role]
        packets = [(way, _packet(way, tag)) for tag, way in own]
        packets += [(way, packet) for tag, way in own if with_others and tag == way.small for packet in _others(way)]
        # that a packet is refused is found out later: the others are to be sent in any case
        sends = [
            node.call(Agent.send_fence, packet, [way.receiver.address, 0], **options.RAW) for way, packet in packets
        ]
        awaited = self._awaited(role)
        within = max(0.0, min(PATIENCE, self.deadline - time.monotonic()))
        *_, missing = node.machine.batch([*sends, call(Agent.wait_for, [*map(list, awaited)], within)])
        return [tag for position, (_, tag) in enumerate(awaited) if position not in (missing or ())]

    def _awaited(self, role: str) -> list[tuple[int, bytes]]:
        """What is to come to a host: the tunnel's packets; errors about its own, from hosts that show nothing else."""
        tunnel, icmp = self._sockets[role]
        awaited = []
        for tag, way in self._outstanding.items():
            if way.receiver.host.role == role:
                awaited.append((tunnel, tag))
            elif way.sender.host.role == role and way.receiver.host.role not in self.hosts:
                awaited.append((icmp, tag))
        return awaited


def _packet(way: UnderlayPath, tag: bytes) -> bytes:
    """The packet of a tag, filled up to the way's size when it is the large one."""
    here, there, port = way.sender.address, way.receiver.address, way.carrier.port
    header = KEYED_GRE if port is None else UDP_AND_VXLAN
    payload = tag if tag == way.small else tag.ljust(way.full - IP_HEADER - header, b"~")
    if port is None:
        # a key and a protocol that no tunnel has
        gre = struct.pack("!HHI", KEY_PRESENT, EXPERIMENTAL, secrets.randbits(32)) + payload
        packet = ipv4(here, there, GRE, gre)
    else:
        # without VXLAN's flag for a network identifier, and Geneve's protocol: either drops it (RFC 7348, RFC 8926)
        packet = udp(here, there, port, bytes(8) + payload)
    return packet[:6] + DONT_FRAGMENT + packet[8:]


def _others(way: UnderlayPath) -> list[bytes]:
    here, there = way.sender.address, way.receiver.address
    request = echo.request(secrets.randbits(16), 1, way.others["ICMP echo"])
    return [udp(here, there, fresh_port(), way.others["UDP"]), ipv4(here, there, ICMP, request)]


def _is_icmp(frame: bytes) -> bool:
    packet = packet_in(frame[ETHERNET:])
    return packet is not None and packet.protocol == ICMP
