"""
A trial: the same few exchanges on any overlay, each datagram followed leg by leg.

What a failed test saw is one symptom.  The trial tests the whole overlay at once: every host (of many, a few) sends a
burst to broadcast and to a multicast group, small and full-size, and a few datagrams to whatever else people send to;
hub and spokes exchange unicast and a broadcast on the underlay as the control.  It sends and listens only, so that
live hosts bear it too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lab import tunnel_packets
from lab.diagnose.groups import UDP_HEADERS
from lab.diagnose.senders import BURST, GRACE, call_all, few, joined
from lab.errors import CheckFailed, FramesLost, OvercastError, RootNeeded
from lab.groups import ORGANIZATION, fresh
from lab.host import Host
from lab.laboratory import Lab
from lab.machines.node import Agent
from lab.model import ALL_NODES, LIMITED_BROADCAST, Network
from lab.probes.capture import sightings
from lab.probes.capture.sightings import Sighting
from lab.probes.host_state import snooping
from lab.probes.listening import Listening
from lab.probes.payloads import tag_of, unique
from lab.probes.ping.echo import Answers
from lab.underlay.fabric import FABRIC

LARGE_BURST = 3
CONTROL_TTL = 64
FEW = 3
FRAGMENT = 400  # octets beyond what one packet takes
HEAD = 192  # octets of a frame that are kept: headers, those of a tunnel too, and what marks a payload
GROUPS = ("224.0.0.200", "224.195.1.1", "232.195.1.1")  # one of each part except 239/8 (RFC 5771); unassigned
FEW_OCTETS = 64

Listen = Callable[..., Listening]
ExchangeKind = Literal[
    "broadcast",
    "multicast",
    "full-size broadcast",
    "full-size multicast",
    "fragmented broadcast",
    "unicast",
    "foreign source",
    "limited broadcast",
    "group",
    "named broadcast",
]


@dataclass(frozen=True)
class Exchange:
    """One burst from one host.  `heard` is in order of arrival; `refused` is what the sender's kernel said."""

    kind: ExchangeKind
    network: Network
    sender: str
    receivers: tuple[str, ...]
    sent: tuple[bytes, ...] = ()
    heard: Mapping[str, tuple[bytes, ...]] | None = None
    sources: frozenset[str] = frozenset()
    ttls: frozenset[int] = frozenset()
    sightings: tuple[Sighting, ...] = ()
    """Where its datagrams were seen, with the heads of the frames."""
    followed: bool = True
    """Whether the captures were complete: else it is not known where what is missing was lost."""
    refused: str = ""
    to: str = ""
    """Where it was sent, if the kind does not say so."""

    @property
    def hearers(self) -> list[str]:
        """The receivers that received anything."""
        return [name for name, heard in (self.heard or {}).items() if heard]

    def copies(self, receiver: str) -> dict[bytes, int]:
        """How many copies of each datagram the receiver's socket got."""
        heard = (self.heard or {}).get(receiver, ())
        return {payload: heard.count(payload) for payload in self.sent}

    def repeated(self, receiver: str) -> bool:
        """Whether the receiver got a datagram more than once."""
        return any(count > 1 for count in self.copies(receiver).values())

    def in_order(self, receiver: str) -> bool:
        """Whether the receiver got what arrived once, in the order in which it was sent."""
        heard = (self.heard or {}).get(receiver, ())
        return list(heard) == [payload for payload in self.sent if payload in heard]

    def lost(self, receiver: str) -> tuple[bytes, ...]:
        return tuple(payload for payload, count in self.copies(receiver).items() if count == 0)

    @property
    def spent(self) -> int:
        """How much of CONTROL_TTL was gone on arrival, at most."""
        return max(0, CONTROL_TTL - min(self.ttls, default=CONTROL_TTL))

    @property
    def burst(self) -> str:
        """What was sent: its kind, its sender and the network."""
        kind = {"group": "multicast", "foreign source": "a datagram with a foreign source"}.get(self.kind, self.kind)
        return f"{kind} from {self.sender} on the {self.network}"

    def __str__(self) -> str:
        return f"{self.burst} to {self.to}" if self.to else self.burst


@dataclass(frozen=True)
class TcpConnection:
    """One TCP connection inside the overlay, and why nothing came of it (nothing: it carried what was sent)."""

    client: str
    server: str
    refused: str = ""


@dataclass(frozen=True)
class Trial:
    """
    Every exchange, and who answered a broadcast ping; `pings6` are to ff02::1, of an overlay with IPv6.

    `streams` are of an emulated cloud only: what a live host's firewall lets in by TCP is its owner's matter.
    """

    exchanges: tuple[Exchange, ...]
    pings: tuple[Answers, ...]
    pings6: tuple[Answers, ...] = ()
    streams: tuple[TcpConnection, ...] = ()

    def of(self, kind: ExchangeKind, network: Network = "overlay") -> list[Exchange]:
        return [one for one in self.exchanges if (one.kind, one.network) == (kind, network)]

    @property
    def spent(self) -> int:
        """How much of a TTL the underlay spends, at most."""
        return max((exchange.spent for exchange in self.of("unicast", "underlay")), default=0)


def unforwarded(pings: Sequence[Answers], hub: str) -> list[tuple[str, str]]:
    """Pairs of a pinger and a host that did not answer it, where each of the two exchanges pings with the hub."""
    answered = {one.pinger: one.counts for one in pings}
    return [
        (one.pinger, name)
        for one in pings
        if one.pinger != hub and one.counts.get(hub)
        for name in answered.get(hub, ())  # or an address that is no host's
        if name in answered.keys() - {hub, one.pinger} and not one.counts.get(name)
    ]


def run(lab: Lab, groups: Sequence[str] = (), apart: Sequence[Mapping[str, int]] = ()) -> Trial:
    """Runs every exchange, one after the other; `groups` and what is `apart` are tried in addition to the usual."""
    call_all(lab)
    senders = few(lab)
    tried = tuple(dict.fromkeys([*GROUPS, *groups]))
    if lab.topology.native:
        tried = tuple(filter(snooping.is_listed, tried))
    listen = _impatient(lab)
    exchanges: list[Exchange] = []
    for sender in senders:
        peers = [host.name for host in senders if host.name in lab.others(sender)]
        exchanges += _to_others(lab, listen, sender, apart)
        exchanges += _variety(lab, listen, sender, peers, tried)
    for sender, receiver in joined(lab, senders):
        to = receiver.address("underlay")
        exchanges.append(_burst(lab, listen, sender, [receiver.name], "unicast", network="underlay", to=to))
    for sender in senders[:2]:
        everyone = sender.plan.broadcast("underlay")
        exchanges.append(_burst(lab, listen, sender, lab.others(sender), "broadcast", network="underlay", to=everyone))
    exchanges += [_foreign_source(lab, listen, host) for host in senders if FABRIC in lab.nodes and not host.is_hub]
    pings6 = _pings(senders[:2], ALL_NODES) if lab.topology.ipv6 else ()
    pings = () if lab.topology.native else _pings(senders, lab.everyone)
    streams = _streams(lab, senders, exchanges) if FABRIC in lab.nodes else []
    return Trial(tuple(exchanges), pings, pings6, tuple(streams))


def _to_others(lab: Lab, listen: Listen, sender: Host, apart: Sequence[Mapping[str, int]]) -> Iterator[Exchange]:
    """Bursts to all others; a cloud that delivers groups by itself delivers neither broadcast nor fragments."""
    native, size = lab.topology.native, _full_size(lab, sender)

    def burst(kind: ExchangeKind, **how: Any) -> Iterator[Exchange]:
        if native and "broadcast" in kind:
            return
        to: dict[str, Any] = {"to": lab.everyone} if "broadcast" in kind else {"group": fresh(ORGANIZATION)}
        yield _burst(lab, listen, sender, lab.others(sender), kind, **to, **how)

    yield from burst("broadcast")
    yield from burst("multicast")
    if size:
        yield from burst("full-size multicast" if native else "full-size broadcast", size=size)
        yield from burst("fragmented broadcast", size=size + FRAGMENT)
    for named in _named(lab, sender, apart):
        yield from burst("named broadcast", named=named)
        # rules of routing do not decide on broadcast
        yield from burst("multicast" if native else "group", named=named)


def _full_size(lab: Lab, sender: Host) -> int:
    """The payload, in octets, that fills the sender's overlay MTU; 0 when there is no overlay device to ask."""
    try:
        return sender.node.link(sender.plan.device).mtu - UDP_HEADERS
    except CheckFailed:
        return 0


def _named(lab: Lab, sender: Host, apart: Sequence[Mapping[str, int]]) -> Iterator[dict[str, int]]:
    """What to try apart in an emulated cloud; on live hosts a port may be in use."""
    room = _full_size(lab, sender) if FABRIC in lab.nodes else 0
    yield from ({"size": FEW_OCTETS, **one} for one in apart if FEW_OCTETS <= one.get("size", FEW_OCTETS) < room)


def _burst(
    lab: Lab,
    listen: Listen,
    sender: Host,
    receivers: Sequence[str],
    kind: ExchangeKind,
    *,
    network: Network = "overlay",
    to: str = "",
    group: str | None = None,
    size: int | None = None,
    named: Mapping[str, int] | None = None,
) -> Exchange:
    """Sends a burst; `named` are a size, a port and a TOS."""
    named = named or {}
    size = named.get("size", size)
    exchange = Exchange(kind, network, sender.name, tuple(receivers), to=group if group and kind == "group" else "")
    payloads = tuple(unique(size) for _ in range(BURST if size is None else LARGE_BURST))
    sightings.forget(lab.tapped)  # what is looked through for this burst is this burst
    try:
        with listen(receivers, network=network, group=group, port=named.get("port")) as heard:
            ttl = CONTROL_TTL if network == "underlay" else None
            sender.udp.send(list(payloads), to=group or to, ttl=ttl, tos=named.get("tos"))
    except (OSError, OvercastError) as refusal:
        return replace(exchange, sent=payloads, refused=str(refusal))
    datagrams = [datagram for name in receivers for datagram in heard.datagrams[name]]
    return replace(
        exchange,
        sent=payloads,
        heard={name: tuple(payloads) for name, payloads in heard.payloads.items()},
        sources=frozenset(datagram.source[0] for datagram in datagrams if datagram.source),
        ttls=frozenset(datagram.ttl for datagram in datagrams if datagram.ttl),
        **_seen(lab, heard, payloads),
    )


def _impatient(lab: Lab) -> Listen:
    """How the trial listens: for a short time, and where the hub may prune, from when it has heard of the members."""
    pruning = [hub for hub in lab.hubs if _prunes(hub)]

    def await_listed(listening: Listening) -> None:
        for hub in pruning:
            ports = [snooping.port_of(lab.topology, name, hub.name) for name in listening.at]
            for group in filter(snooping.is_listed, listening.joined):
                hub.node.ask(Agent.await_entries, "mdb", snooping.members(group, ports), GRACE)

    waiting: dict[str, Any] = {"on_entry": await_listed} if pruning else {}
    return functools.partial(lab.listen, grace=GRACE, patience=None, **waiting)


def _prunes(hub: Host) -> bool:
    """Whether the hub's bridge snoops and there is a querier: itself, or a host behind a port."""
    try:
        bridge = hub.node.link(hub.plan.device).details
    except CheckFailed:
        return False
    return bool(bridge.get("mcast_snooping")) and (snooping.prunes(bridge) or bool(hub.node.read("mdb_routers")))


def _variety(lab: Lab, listen: Listen, sender: Host, peers: Sequence[str], groups: Sequence[str]) -> list[Exchange]:
    """A few datagrams each to the other kinds of destination: single hosts, ff02::1, groups of every part."""
    others = tuple(lab.others(sender))
    everyone = [] if lab.topology.native else [LIMITED_BROADCAST]
    exchanges = [Exchange("limited broadcast", "overlay", sender.name, others, to=to) for to in everyone]
    exchanges += [Exchange("group", "overlay", sender.name, others, to=group) for group in groups]
    exchanges += [Exchange("unicast", "overlay", sender.name, (peer,), to=lab[peer].address()) for peer in peers]
    exchanges = [replace(each, sent=tuple(unique() for _ in range(FEW))) for each in exchanges]
    refused: dict[str, str] = {}
    try:
        with listen(others, group=groups) as heard:
            for each in exchanges:
                device = sender.plan.device if each.to == LIMITED_BROADCAST else None
                # with a TTL that outlives routers: the multicast before had that of applications, 1
                sender.udp.send(list(each.sent), to=each.to, device=device, ttl=CONTROL_TTL, lost_if_refused=True)
        refused = {sent.to: sent.refused for sent in heard.sent}
    except (OSError, OvercastError):
        return []  # the exchanges before have reported a host that cannot join or bind
    return [
        replace(
            each,
            refused=refused.get(each.to, ""),
            heard={name: tuple(one for one in heard.payloads[name] if one in each.sent) for name in each.receivers},
            **_seen(lab, heard, each.sent),
        )
        for each in exchanges
    ]


def _seen(lab: Lab, heard: Listening, payloads: Sequence[bytes]) -> dict[str, Any]:
    """The fields of an exchange that the captures fill."""
    tags = [tag_of(payload) for payload in payloads]
    try:
        seen = heard.sightings() if lab.tapped else ()
    except FramesLost:
        return {"followed": False}
    own = [one for one in seen if any(tag in one.frame for tag in tags)]
    return {"sightings": tuple(replace(one, frame=one.frame[:HEAD]) for one in own)}


def _streams(lab: Lab, senders: Sequence[Host], exchanges: Sequence[Exchange]) -> list[TcpConnection]:
    """A connection each way between the ends of every tunnel that unicast datagrams reach both ways."""
    apart = {
        frozenset((each.sender, name))
        for each in exchanges
        if (each.kind, each.network) == ("unicast", "overlay")
        for name in each.receivers
        if each.lost(name)
    }
    ends = joined(lab, senders)
    return [_stream(client, server) for client, server in ends if frozenset((client.name, server.name)) not in apart]


def _stream(client: Host, server: Host) -> TcpConnection:
    try:
        carried = client.reaches_by_tcp(server)
    except (OSError, OvercastError) as refusal:
        return TcpConnection(client.name, server.name, str(refusal))
    return TcpConnection(client.name, server.name, "" if carried else "it was made, and carried nothing")


def _foreign_source(lab: Lab, listen: Listen, sender: Host) -> Exchange:
    """One datagram on the emulated cloud from an address that is not the sender's; a live cloud is not tried so."""
    receiver = lab[lab.topology.peers(sender.name)[0]]
    network = sender.plan.underlay.network
    used = {plan.underlay.ip for plan in lab.plans.values()}
    stranger = next(address for address in reversed(list(network.hosts())) if address not in used)
    forged, control = unique(), unique()
    exchange = Exchange("foreign source", "underlay", sender.name, (receiver.name,))
    try:
        with listen([receiver], network="underlay") as heard:
            to = receiver.address("underlay")
            sender.send_packet(tunnel_packets.udp(str(stranger), to, heard.port, forged), to)
            # behind it, so that its own arrival shows that the other one's time has passed
            sender.udp.send(control, to=to)
    except (OSError, OvercastError) as refusal:
        return replace(exchange, sent=(forged,), refused=str(refusal))
    arrived = [datagram for datagram in heard.datagrams[receiver.name] if datagram.payload != control]
    return replace(
        exchange,
        sent=(forged,),
        heard={receiver.name: tuple(datagram.payload for datagram in arrived)},
        sources=frozenset(datagram.source[0] for datagram in arrived if datagram.source),
    )


def _pings(hosts: Sequence[Host], to: str) -> tuple[Answers, ...]:
    return tuple(answers for host in hosts if (answers := _ping(host, to)) is not None)


def _ping(host: Host, to: str) -> Answers | None:
    """None: this host cannot send pings, which proves nothing about answers."""
    try:
        return host.ping(to, grace=GRACE)
    except RootNeeded:
        return None
    except (OSError, OvercastError):
        return Answers(host.name, to, {}, {}, frozenset())
