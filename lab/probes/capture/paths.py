"""
Ways: the places that a datagram must pass from one host to another, and how far along them it was seen.

    spoke1 gretap1 out | spoke1 ens3 out | (cloud) | hub ens3 in | hub gretap1 in | hub gretap2 out | hub ens3 out |
    (cloud) | spoke2 ens3 in | spoke2 gretap2 in | spoke2's socket
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, Literal

from lab.model import Network, Topology
from lab.probes.capture.decoding import decoded
from lab.probes.capture.sightings import UDP, Sighting
from lab.probes.datagrams import Datagram, Sent
from lab.probes.deadlines import FlowKind
from lab.probes.payloads import tag_of
from lab.topology.graph import HopPath

NETWORKS: tuple[Network, ...] = ("overlay", "underlay")
Stage = Literal["sending", "encapsulation", "cloud", "decapsulation", "forwarding", "delivery"]


@dataclass(frozen=True)
class ObservationPoint:
    """An interface that a datagram passes in one direction; `stage` is what has to happen for it to get there."""

    node: str
    interface: str
    outgoing: bool
    stage: Stage
    carrier_to: str = ""
    """The outer destination address where it is carried in a tunnel's packet."""
    carrier_from: str = ""
    """The outer source address there, if others send packets to that destination too."""

    def __str__(self) -> str:
        return f"{self.node} {self.interface}" if self.interface else f"{self.node}'s socket"

    def matches(self, sighting: Sighting) -> bool:
        """Whether a frame was seen here."""
        if (sighting.node, sighting.interface, sighting.outgoing) != (self.node, self.interface, self.outgoing):
            return False
        if not self.carrier_to:
            return sighting.carrier is None
        return carried_to(sighting, self.carrier_to) and self.carrier_from in ("", sighting.addresses[0])


def carried_to(sighting: Sighting, address: str) -> bool:
    """Whether a frame is a tunnel's packet to an address: the hub sends a copy to each spoke by one NIC."""
    return sighting.carrier is not None and sighting.addresses[1] == address


def of_hosts(topology: Topology, seen: Sequence[Sighting]) -> list[Sighting]:
    """The sightings without tunnel packets to further hosts that a live hub serves."""
    strangers = frozenset(topology.strangers)
    return [one for one in seen if one.carrier is None or one.addresses[1] not in strangers] if strangers else [*seen]


def ways(topology: Topology, sender: str, receiver: str, network: Network = "overlay") -> list[list[ObservationPoint]]:
    """The places on each path between two hosts, the receiver's socket last."""
    found = topology.used_paths(sender, receiver) if network == "overlay" else ()
    return [_places(topology, sender, receiver, network, path) for path in found or ((),)]


def _places(topology: Topology, sender: str, receiver: str, network: Network, path: HopPath) -> list[ObservationPoint]:
    start, end = topology.node(sender), topology.node(receiver)
    socket = ObservationPoint(end.name, "", False, "delivery")
    if network == "underlay":
        return [
            ObservationPoint(start.name, start.nic, True, "sending"),
            ObservationPoint(end.name, end.nic, False, "cloud"),
            socket,
        ]
    places = [ObservationPoint(start.name, start.device, True, "sending")]
    for hop in path:
        near, far = topology.node(hop.start.host), topology.node(hop.end.host)
        if (near is not start) or near.device != hop.start.device:
            places.append(ObservationPoint(near.name, hop.start.device, True, "forwarding"))
        source = near.endpoint if len(topology.hubs) > 1 else ""
        places += [
            ObservationPoint(near.name, near.nic, True, "encapsulation", far.endpoint, source),
            ObservationPoint(far.name, far.nic, False, "cloud", far.endpoint, source),
            ObservationPoint(far.name, hop.end.device, False, "decapsulation"),
        ]
    if places[-1].interface != end.device:
        places.append(ObservationPoint(end.name, end.device, False, "forwarding"))
    return [*places, socket]


@dataclass(frozen=True)
class TraceHop:
    """
    A place where a datagram was seen, or the one where it was not (`seen` False, the end of its path).

    `after` is the time since the leg before in us, None where their clocks differ; `copies` how often it was there.
    """

    node: str
    interface: str
    direction: str
    carrier: str
    seen: bool = True
    copies: int = 1
    after: float | None = None
    frame: str = ""
    """The frame's headers, decoded."""
    stage: Stage | Literal[""] = ""
    """What has to happen for it to get there; empty inside the cloud."""

    @property
    def where(self) -> str:
        return f"{self.node} {self.interface}" if self.interface else f"{self.node}'s socket"

    def __str__(self) -> str:
        where = self.interface or "its socket"
        if not self.seen:
            return f"never at {where}"
        later = f" +{self.after:.{1 if self.after < 10 else 0}f} us" if self.after is not None else ""
        return where + later + (f" x{self.copies}" if self.copies > 1 else "")


@dataclass(frozen=True)
class Path:
    """
    How far one datagram came on its way to one receiver, which received it `heard` times.

    `expected` is how often it was to receive it, None if that is unknown.
    """

    sender: str
    receiver: str
    to: str
    legs: tuple[TraceHop, ...]
    expected: int | None
    heard: int
    kind: FlowKind = "unicast"
    network: Network = "overlay"
    size: int = 0
    """Octets of its payload."""
    protocol: int = UDP

    @property
    def problem(self) -> str:
        """Who did not receive whose packet and where it was lost, or how often it came; empty if as expected."""
        kind = f"multicast to {self.to.rpartition(':')[0]}" if self.kind == "multicast" else self.kind
        what = f"{self.sender}'s {kind}" + (" on the underlay" if self.network == "underlay" else "")
        if self.expected is None or self.heard == self.expected:
            return ""
        if self.heard < self.expected:
            some = "" if not self.heard else f" all {self.expected} copies of"
            return f"{self.receiver} did not receive{some} {what}: {self._lost()}"
        times = f" {self.heard} times" if self.heard > 1 else ""
        return f"{self.receiver} received {what}{times}; expected {self.expected or 'nothing'}"

    def _lost(self) -> str:
        """Where it was lost: within a host the place that it did not reach, else between two of them."""
        if not any(leg.seen for leg in self.legs):
            return f"not sent by {self.sender}"
        last, missing = self.legs[-2:] if len(self.legs) > 1 else (self.legs[0], self.legs[0])
        if missing.seen:
            return f"lost after {missing.where}"
        return f"lost {'at' if last.node == missing.node else f'between {last.where} and'} {missing.where}"

    def __str__(self) -> str:
        nodes = itertools.groupby(self.legs, key=lambda leg: leg.node)
        way = " → ".join(f"{node} {', '.join(str(leg) for leg in legs)}" for node, legs in nodes)
        return f"to {self.receiver}: {way or 'never seen anywhere'}"

    def data(self) -> dict[str, Any]:
        """Builtins, for the drawing."""
        return {**vars(self), "problem": self.problem, "legs": [dict(vars(leg)) for leg in self.legs]}


def paths(
    topology: Topology,
    sent: Sequence[Sent],
    network: Network,
    heard: Mapping[str, Sequence[Datagram]],
    seen: Sequence[Sighting],
    *,
    one_clock: bool,
    expected: Mapping[str, int] | None = None,
    payloads: Collection[bytes] = (),
) -> list[Path]:
    """
    One path for each receiver: of the first datagram that it did not hear as often as expected, or of the first.

    `payloads`: those that count, by default all.
    `one_clock`: all nodes are of one kernel, so that times at different nodes can be compared.  Who was not to hear it
    and did not has none.
    """
    addresses = {address: node.name for node in topology.nodes for address in node.further}
    addresses |= {node.address(of): node.name for node in topology.nodes for of in NETWORKS}
    found = []
    for receiver, datagrams in heard.items():
        copies = (expected or {}).get(receiver, 1)
        received = [datagram.payload for datagram in datagrams]
        senders = [one for one in sent if one.node != receiver and topology.connects(one.node, receiver, network)]
        stimuli = [(one, each) for one in senders for each in one.payloads if not payloads or each in payloads]
        wrong = [(one, payload) for one, payload in stimuli if received.count(payload) != copies]
        for one, payload in (wrong or stimuli)[:1]:
            if payload not in received and (not copies or addresses.get(one.to, receiver) != receiver):
                continue
            arrived = [datagram for datagram in datagrams if datagram.payload == payload]
            tagged = [sighting for sighting in seen if tag_of(payload) in sighting.frame]
            steps = _steps(topology, ways(topology, one.node, receiver, network), tagged, arrived)
            legs = tuple(_timed(steps, one_clock=one_clock))
            to, kind = f"{one.to}:{one.port}", kind_of(one.to, addresses)
            wanted = copies if expected else None
            found.append(Path(one.node, receiver, to, legs, wanted, len(arrived), kind, network, len(payload)))
    return found


def kind_of(to: str, hosts: Collection[str]) -> FlowKind:
    """The kind of an address; what is not a host's and not a group's is a broadcast address."""
    if ip_address(to.partition("%")[0]).is_multicast:
        return "multicast"
    return "unicast" if to in hosts else "broadcast"


def _timed(steps: Sequence[tuple[TraceHop, int]], *, one_clock: bool) -> list[TraceHop]:
    legs: list[TraceHop] = []
    before: tuple[str, int] | None = None
    for leg, time in steps:
        after = None
        if before is not None and time and (one_clock or leg.node == before[0]):
            after = max(0, time - before[1]) / 1000
        legs.append(replace(leg, after=after))
        before = (leg.node, time) if time else before
    return legs


def _steps(
    topology: Topology,
    routes: Sequence[Sequence[ObservationPoint]],
    seen: Sequence[Sighting],
    arrived: Sequence[Datagram],
) -> list[tuple[TraceHop, int]]:
    """Where it was seen and when on the path where it came furthest, and the first place where it was not."""
    hosts = {node.name for node in topology.nodes}
    places = max(routes, key=lambda places: reached(places, seen))
    at = [[sighting for sighting in seen if place.matches(sighting)] for place in places]
    last = reached(places, seen)
    if arrived:
        last = len(places) - 1
    steps: list[tuple[TraceHop, int]] = []
    for place, found in list(zip(places, at, strict=True))[: last + 2]:
        if place.stage == "cloud":
            steps += _inside(hosts, seen, place)
        if place.stage == "delivery" and arrived:
            socket = TraceHop(place.node, "", "", "", copies=len(arrived), stage=place.stage)
            steps.append((socket, arrived[0].time or 0))
        elif found:
            steps.append((replace(_leg(found), stage=place.stage), found[0].time))
        elif place is places[min(last + 1, len(places) - 1)]:
            direction = "out" if place.outgoing else "in" if place.interface else ""
            steps.append((TraceHop(place.node, place.interface, direction, "", seen=False, stage=place.stage), 0))
    return steps


def reached(places: Sequence[ObservationPoint], seen: Sequence[Sighting]) -> int:
    """The number of the last of the places where one datagram was seen, -1 for none."""
    return max((number for number, place in enumerate(places) if any(place.matches(one) for one in seen)), default=-1)


def _inside(hosts: Collection[str], seen: Sequence[Sighting], place: ObservationPoint) -> list[tuple[TraceHop, int]]:
    """Where the cloud's own network was seen to carry it to a place, each interface once."""
    found: dict[tuple[str, str, bool], list[Sighting]] = {}
    for sighting in seen:
        if sighting.node not in hosts and (not place.carrier_to or carried_to(sighting, place.carrier_to)):
            found.setdefault((sighting.node, sighting.interface, sighting.outgoing), []).append(sighting)
    return [(_leg(copies), copies[0].time) for copies in found.values()]


def _leg(found: Sequence[Sighting]) -> TraceHop:
    first = found[0]
    frame = decoded(first.frame, first.vxlan_port)
    return TraceHop(first.node, first.interface, first.direction, first.carrier or "", copies=len(found), frame=frame)
