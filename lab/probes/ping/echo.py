"""
ICMP echo to a unicast, broadcast or multicast address; the answers counted per node.

ping(8) stops at the first answer to its last probe, counts the pinger's own answer and reports "0 % loss" from it
alone.  Here every answer is counted under the address it came from, and a fence ends the wait: a unicast echo to each
node on the same way, whose answer comes after any answer to the probe (RFC 792, RFC 1122 section 3.2.2.6).
"""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lab.errors import CheckFailed, TooSlow
from lab.machines.base import Call, SocketKind, call
from lab.machines.node import Agent, Node
from lab.machines.sockets import fresh_handle
from lab.model import Network, Topology
from lab.probes import markers, options
from lab.probes.capture.paths import Path, kind_of
from lab.probes.deadlines import FASTER, LIVE_MOST, SHORT, FlowKind, Lost, Patience
from lab.probes.fences import GRACE
from lab.probes.payloads import fresh_port, unique

ECHO_REPLY, ECHO_REQUEST = 0, 8
IP_HEADER_LEAST = 20
IP_PROTOCOL_ICMP = 1


class Counts(dict[str, int]):
    """How often each host answered a ping, and its addresses: to name hosts that did not answer."""

    def __init__(self, pinger: str, to: str, counts: Mapping[str, int], kind: FlowKind = "broadcast") -> None:
        super().__init__(counts)
        self.pinger, self.to, self.kind = pinger, to, kind

    def unanswered(self, nodes: Iterable[str]) -> list[dict[str, Any]]:
        """What these nodes may not have received, or the pinger from them: requests and answers (`Path.data`)."""
        missed = []
        for name in nodes:
            request = Path(self.pinger, name, f"{self.to}:0", (), 1, 0, self.kind, protocol=IP_PROTOCOL_ICMP)
            answer = Path(name, self.pinger, ":0", (), 1, 0, protocol=IP_PROTOCOL_ICMP)
            missed += [request.data(), answer.data()]
        return missed


@dataclass(frozen=True)
class Answers:
    """Who answered one echo request, by node; addresses that no node has stand under themselves."""

    pinger: str
    to: str
    counts: Mapping[str, int]
    ttls: Mapping[str, int]
    unproved: frozenset[str]
    apart: frozenset[str] = frozenset()
    """The hosts that the pinger has no path to."""
    kind: FlowKind = "broadcast"
    """Of the request."""

    @property
    def others(self) -> Counts:
        """The answers that prove anything: the pinger's own is left out."""
        others = {name: n for name, n in self.counts.items() if name != self.pinger}
        return Counts(self.pinger, self.to, others, self.kind)

    def by(self, nodes: Collection[str]) -> Answers:
        """The answers of some nodes alone."""
        counts = {name: count for name, count in self.counts.items() if name in nodes}
        return replace(self, counts=counts, ttls={name: self.ttls[name] for name in counts})

    def exactly_once_by(self, nodes: Collection[str]) -> None:
        """Each of the nodes that the pinger has a path to answered once, and no other host did."""
        nodes = [name for name in nodes if name not in self.apart]
        if self.counts == dict.fromkeys(nodes, 1):
            return
        silent = sorted(set(nodes) - set(self.counts))
        often = sorted(name for name, count in self.counts.items() if count > 1)
        strangers = sorted(set(self.counts) - set(nodes))
        each = f"{'each of ' if len(nodes) > 1 else ''}{', '.join(sorted(nodes))}"
        said = [f"{self.pinger} pinged {self.to}: expected one answer from {each}"]
        if silent:
            said.insert(0, f"{', '.join(silent)} did not answer {self.pinger}'s ping to {self.to}")
        if set(self.counts) == {self.pinger}:
            said.append("  only the pinger answered itself: no other host was reached, even if ping(8) reports success")
        said += [f"  {name} answered {self.counts[name]} times (a second path, or a loop)" for name in often]
        said += [f"  {name} answered; expected no answer" for name in strangers]
        counts = Counts(self.pinger, self.to, self.counts, self.kind)
        raise CheckFailed("\n".join(said), unfollowed=counts.unanswered(silent))


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def request(identifier: int, sequence: int, payload: bytes) -> bytes:
    """An ICMP echo request (RFC 792)."""
    header = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, identifier, sequence)
    return struct.pack("!BBHHH", ECHO_REQUEST, 0, checksum(header + payload), identifier, sequence) + payload


@dataclass(frozen=True)
class Reply:
    """An echo reply, as far as counting it goes."""

    source: str
    identifier: int
    sequence: int
    ttl: int


def _reply(received: Mapping[str, Any]) -> Reply | None:
    """The echo reply in an IPv4 packet that a raw socket received."""
    packet: bytes = received["payload"]
    if len(packet) < IP_HEADER_LEAST:
        return None
    icmp = packet[(packet[0] & 0x0F) * 4 :]
    kind, _, _, identifier, sequence = struct.unpack_from("!BBHHH", icmp)
    return Reply(socket.inet_ntoa(packet[12:16]), identifier, sequence, packet[8]) if kind == ECHO_REPLY else None


@dataclass(frozen=True)
class Protocol:
    """What differs between ICMP and ICMPv6: the socket, a request, a reply, the options of a sender."""

    socket: SocketKind
    request: Callable[[int, int, bytes], bytes]
    reply: Callable[[Mapping[str, Any]], Reply | None]
    version: options.OptionNumbers


ICMP = Protocol(options.ICMP, request, _reply, options.IPV4)


def ping(
    node: Node,
    topology: Topology,
    to: str,
    *,
    network: Network = "overlay",
    device: str | None = None,
    ttl: int | None = None,
    fence: bool = True,
    grace: float | None = None,
    nodes: Mapping[str, Node] | None = None,
    lost: Lost | None = None,
    patience: Patience | None = None,
    protocol: Protocol = ICMP,
    addresses: Mapping[str, str] | None = None,
) -> Answers:
    """
    Pings `to` once from a node and returns who answered; `nodes` are all hosts, for markers in their one kernel.

    `device` binds the socket (for 224.0.0.1, which has no route of its own); `ttl` is the inner TTL, for multicast
    as for the rest.  `addresses` of the nodes, by default those of their plans: a node without one is not fenced.
    `grace`: seconds that a fence may take, by default as in a listening.  TooSlow when answers arrive after that, and
    within the `patience` for a fence that nothing shows to be lost.
    """
    if grace is None:
        grace = GRACE if nodes is None or markers.one_kernel(nodes.values()) else LIVE_MOST
    plans = topology.plans
    own = {name: plan.address(network) for name, plan in plans.items()} if addresses is None else addresses
    identifier = int.from_bytes(os.urandom(2), "big")
    chosen = [options.BROADCAST, *options.sending(ttl or None, ttl, version=protocol.version)]
    known = lost or Lost()
    reached = topology.reached(node.name) if network == "overlay" else list(plans)
    fenced = [name for name in own if fence and name != node.name and name in reached]
    fenced.sort(key=lambda name: known.no_exchange(network, node.name, name))
    alive = [known.no_exchange(network, node.name, name) for name in fenced].count(False)
    port = fresh_port()
    marked = list(nodes.values()) if fence and nodes and markers.one_kernel(nodes.values()) else []
    receiver, fence_socket, *_ = opened = [fresh_handle() for _ in range(2 + len(marked))]
    calls: list[Call[Any]] = [
        node.call(Agent.open, receiver, **protocol.socket, options=chosen, device=device),
        node.call(Agent.open, fence_socket, **protocol.socket, device=device if addresses else None),
        *(
            each.call(Agent.open, handle, **options.UDP, bind=["", port])
            for each, handle in zip(marked, opened[2:], strict=True)
        ),
    ]
    try:
        first = protocol.request(identifier, 1, unique())
        calls.append(call(Agent.send, endpoint=receiver, payload=first, to=[to, 0]))
        tokens, fences = list[list[Any]](), list[list[Any]]()
        # under another identifier: else, for a stateful firewall, a late answer to the probe is one to a fence
        fencing = identifier ^ 1
        for number, name in enumerate(fenced):
            token = unique()
            tokens.append([fence_socket, struct.pack("!HH", fencing, number) + token])
            fences.append([protocol.request(fencing, number, token), [own[name], 0]])
        calls.append(call(Agent.send_each, fence_socket, fences))
        pairs = [pair for name in plans if marked for pair in ((node.name, name), (name, node.name))]
        ways = [leg for pair in pairs for leg in markers.legs_between(topology, network, *pair)]
        legs = markers.legs(ways, nodes or {}, topology, port, known)
        # no wait for hosts whose answers are lost by a known cause
        calls += [
            call(Agent.wait_for, tokens=tokens[:alive], timeout=markers.bound(grace, marked), legs=legs),
            call(Agent.wait_for, tokens=tokens[alive:], timeout=SHORT),
            call(Agent.take, endpoints=[receiver]),
        ]
        *_, missing, dead, (received,) = node.machine.batch(calls)
        late: list[Any] = []
        if missing and patience and patience.left and not marked:
            with patience.waiting(late) as seconds:
                again = call(Agent.wait_for, tokens=[tokens[position] for position in missing], timeout=seconds)
                batch: list[Call[Any]] = [again, call(Agent.take, endpoints=[receiver])]
                _, (late[:],) = node.machine.batch(batch)
    finally:
        node.machine.tell([call(Agent.close, endpoints=opened)])
    unproved = frozenset(fenced[position] for position in (*missing, *(alive + position for position in dead)))
    names = {address: name for name, plan in plans.items() for address in plan.further}
    names |= {address: name for name, address in own.items()}
    counted, after = (
        _count(node.name, to, names, identifier, [protocol.reply(answer) for answer in each], unproved)
        for each in (received, late)
    )
    if after.counts:
        said = f"{node.name} pinged {to}; late: {', '.join(after.counts)} answered after the deadline"
        raise TooSlow(f"{said} ({grace * 1000:.0f} ms)", remedy=FASTER)
    return replace(counted, apart=frozenset(plans) - {node.name, *reached})


def _count(
    pinger: str,
    to: str,
    names: Mapping[str, str],
    identifier: int,
    replies: list[Reply | None],
    unproved: frozenset[str],
) -> Answers:
    counts: Counter[str] = Counter()
    ttls: dict[str, int] = {}
    for answer in replies:
        if answer is None or (answer.identifier, answer.sequence) != (identifier, 1):
            continue
        name = names.get(answer.source, answer.source)
        counts[name] += 1
        ttls[name] = answer.ttl
    kind = kind_of(to, names)
    return Answers(pinger, to, Counts(pinger, to, counts, kind), ttls, unproved, kind=kind)
