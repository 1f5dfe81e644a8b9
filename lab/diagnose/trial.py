"""
A trial: the same few exchanges on any overlay, each datagram followed leg by leg.

What a failed test saw is one symptom.  The trial tests the whole overlay at once: every host (of many, a few) sends a
burst to broadcast and to a multicast group, small and full-size, and a few datagrams to whatever else people send to;
hub and spokes exchange unicast and a broadcast on the underlay as the control.  It sends and listens only, so that
live hosts bear it too.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lab import tunnel_packets
from lab.diagnose.groups import UDP_HEADERS
from lab.diagnose.senders import BURST, GRACE, MOST_SENDERS, Listen, few, impatient, joined
from lab.errors import CheckFailed, FramesLost, OvercastError, RootNeeded
from lab.groups import ORGANIZATION, fresh
from lab.host import Host
from lab.laboratory import Lab
from lab.model import ALL_NODES, LIMITED_BROADCAST, Network
from lab.probes.capture import sightings
from lab.probes.capture.sightings import Sighting
from lab.probes.deadlines import Flow, FlowKind
from lab.probes.host_state import snooping
from lab.probes.listening import Listening
from lab.probes.payloads import mark, unique
from lab.probes.ping.echo import Answers
from lab.underlay.fabric import FABRIC

LARGE_BURST = 3
CONTROL_TTL = 64
FEW = 3
FRAGMENT = 400  # octets beyond what one packet takes
HEAD = 192  # octets of a frame that are kept: headers, those of a tunnel too, and what marks a payload
GROUPS = ("224.0.0.200", "224.195.1.1", "232.195.1.1")  # one of each part except 239/8 (RFC 5771); unassigned
FEW_OCTETS = 64

AFEW = {"count": FEW, "ttl": CONTROL_TTL}
"""With a TTL that outlives routers: the bursts have that of applications, 1 for multicast."""

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
WAITED: tuple[FlowKind, ...] = ("broadcast", "multicast", "unicast")
NAMED: tuple[ExchangeKind, ...] = ("group", "limited broadcast", "unicast")
"""The kinds that do not say where the datagrams were sent."""
BY_RULE = "broadcast that matches a rule's port, size or TOS,"


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
    def ways(self) -> list[Flow]:
        """The ways that it takes, if it is of a kind that tests wait for."""
        kinds = [kind for kind in WAITED if kind == self.kind]
        return [Flow(self.network, kind, self.sender, name) for kind in kinds for name in self.receivers]

    @property
    def silent(self) -> list[Flow]:
        """Those on which nothing of it arrived."""
        return [way for way in self.ways if len(self.lost(way.receiver)) == len(self.sent)]

    @property
    def spent(self) -> int:
        """How much of CONTROL_TTL was gone on arrival, at most."""
        return max(0, CONTROL_TTL - min(self.ttls, default=CONTROL_TTL))

    def text(self, to: str) -> str:
        """What was sent, from where and (unless empty) to where."""
        texts = {"group": "multicast", "foreign source": "a datagram with a foreign source", "named broadcast": BY_RULE}
        where = (f"from {self.sender}", f"to {to}" if to else "", "on the underlay" * (self.network == "underlay"))
        return " ".join(filter(None, (texts.get(self.kind, self.kind), *where)))

    def __str__(self) -> str:
        return self.text(self.to)


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
    """Runs every exchange; `groups` and what is `apart` are tried in addition to the usual."""
    listen = impatient(lab)
    _call_all(lab, listen)
    senders = few(lab)
    exchanges = [*_on_overlay(lab, listen, senders, groups, apart), *_on_underlay(lab, listen, senders)]
    pings6 = _pings(senders[:2], ALL_NODES) if lab.topology.ipv6 else ()
    pings = () if lab.topology.native else _pings(senders, lab.everyone)
    streams = _streams(lab, senders, exchanges) if FABRIC in lab.nodes else []
    return Trial(tuple(exchanges), pings, pings6, tuple(streams))


def _call_all(lab: Lab, listen: Listen) -> None:
    """Of many hosts, every one sends bursts to all others, so that `few` has those that lose most."""
    group, hosts = fresh(ORGANIZATION), list(lab.hosts.values()) if len(lab.hosts) > MOST_SENDERS else []
    if not lab.topology.native:
        bursts = [burst("broadcast", each, lab.others(each), lab.everyone) for each in hosts]
        exchanged(lab, listen, bursts, follow=False)
    members = [each for host in hosts for each in to_group(lab, host, group)]
    exchanged(lab, listen, members, follow=False, group=group)


@dataclass(frozen=True)
class _Burst:
    """An exchange that is to be made: where its datagrams are sent, with which options of `udp.send`."""

    exchange: Exchange
    to: str
    options: Mapping[str, Any]


def burst(kind: ExchangeKind, sender: Host, receivers: Sequence[str], to: str, **how: Any) -> _Burst:
    """A burst of `count` datagrams of `size` octets on a `network`; what else there is are options of `udp.send`."""
    network, count, size = how.pop("network", "overlay"), how.pop("count", BURST), how.pop("size", None)
    sent = tuple(unique(size) for _ in range(count))
    exchange = Exchange(
        kind, network, sender.name, tuple(receivers), sent, to=to if network == "overlay" and kind in NAMED else ""
    )
    return _Burst(exchange, to, how)


def _on_overlay(
    lab: Lab, listen: Listen, senders: Sequence[Host], groups: Sequence[str], apart: Sequence[Mapping[str, int]]
) -> Iterator[Exchange]:
    """The bursts of all senders, those to one kind of socket together: what may be lost is waited for once."""
    native = lab.topology.native  # such a cloud delivers neither broadcast nor fragments
    sizes = {sender.name: _full_size(lab, sender) for sender in senders}
    tried = tuple(dict.fromkeys([*GROUPS, *groups]))
    tried = tuple(filter(snooping.is_listed, tried)) if native else tried
    group = fresh(ORGANIZATION)
    hosts = [one for each in senders for one in to_hosts(lab, each, senders, sizes[each.name])]
    yield from exchanged(lab, listen, hosts)
    members = [one for each in senders for one in to_group(lab, each, group, sizes[each.name])]
    yield from exchanged(lab, listen, members, group=group)
    others = [burst("group", each, lab.others(each), to, **AFEW) for each in senders for to in tried]
    # a host that cannot join or bind has been reported by the bursts before
    yield from (one for one in exchanged(lab, listen, others, group=tried) if one.heard is not None)
    for named in apart if FABRIC in lab.nodes else ():  # on live hosts a port may be in use
        port, size = named.get("port"), named.get("size", FEW_OCTETS)
        how = {"count": LARGE_BURST, "size": size, "tos": named.get("tos")}
        able = [each for each in senders if FEW_OCTETS <= size < sizes[each.name]]
        hosts = [burst("named broadcast", each, lab.others(each), lab.everyone, **how) for each in able]
        yield from exchanged(lab, listen, [] if native else hosts, port=port)
        # rules of routing do not decide on broadcast
        kind: ExchangeKind = "multicast" if native else "group"
        members = [burst(kind, each, lab.others(each), group, **how) for each in able]
        yield from exchanged(lab, listen, members, group=group, port=port)


def to_hosts(lab: Lab, sender: Host, senders: Sequence[Host], full: int = 0, **how: Any) -> Iterator[_Burst]:
    """What one kind of socket receives: broadcast, of all sizes up to what fills the MTU (`full`), and unicast."""
    others, afew = lab.others(sender), {**AFEW, **how}
    if not lab.topology.native:
        yield burst("broadcast", sender, others, lab.everyone, **how)
        if full:
            yield burst("full-size broadcast", sender, others, lab.everyone, size=full, count=LARGE_BURST)
            fragmented = full + FRAGMENT
            yield burst("fragmented broadcast", sender, others, lab.everyone, size=fragmented, count=LARGE_BURST)
        yield burst("limited broadcast", sender, others, LIMITED_BROADCAST, device=sender.plan.device, **afew)
    for peer in senders:
        if peer.name in others:
            yield burst("unicast", sender, [peer.name], peer.address(), **afew)


def to_group(lab: Lab, sender: Host, group: str, full: int = 0, **how: Any) -> Iterator[_Burst]:
    """What members of a group receive."""
    others = lab.others(sender)
    yield burst("multicast", sender, others, group, **how)
    if full and lab.topology.native:
        yield burst("full-size multicast", sender, others, group, size=full, count=LARGE_BURST)


def _full_size(lab: Lab, sender: Host) -> int:
    """The payload, in octets, that fills the sender's overlay MTU; 0 when there is no overlay device to ask."""
    try:
        return sender.node.link(sender.plan.device).mtu - UDP_HEADERS
    except CheckFailed:
        return 0


def _on_underlay(lab: Lab, listen: Listen, senders: Sequence[Host]) -> list[Exchange]:
    """Unicast between the ends of tunnels and a broadcast, as the control; in a lab, forged sources too."""
    how: dict[str, Any] = {"network": "underlay", "ttl": CONTROL_TTL}
    bursts = to_ends(lab, senders, **how)
    for sender in senders[:2]:
        bursts.append(burst("broadcast", sender, lab.others(sender), sender.plan.broadcast("underlay"), **how))
    exchanges = exchanged(lab, listen, bursts, network="underlay")
    forging = [host for host in senders if FABRIC in lab.nodes and not host.is_hub]
    return [*exchanges, *(_foreign_source(lab, listen, host) for host in forging)]


def to_ends(lab: Lab, among: Sequence[Host], **how: Any) -> list[_Burst]:
    """Unicast on the underlay between the ends of tunnels."""
    return [
        burst("unicast", sender, [receiver.name], receiver.address("underlay"), **{"network": "underlay", **how})
        for sender, receiver in joined(lab, among)
    ]


def exchanged(
    lab: Lab, listen: Listen, bursts: Sequence[_Burst], *, follow: bool = True, **sockets: Any
) -> list[Exchange]:
    """
    Makes the exchanges, with one listening for all of them, or one for each sender if a host cannot listen.

    `follow`: looks in the captures for where their datagrams were seen.
    """
    if not bursts:
        return []
    receivers = list(dict.fromkeys(name for each in bursts for name in each.exchange.receivers))
    if follow:
        sightings.forget(lab.tapped)  # what is looked through for these bursts is these bursts
    try:
        with listen(receivers, **sockets) as heard:
            stimuli = [
                lab[each.exchange.sender].udp.send(
                    list(each.exchange.sent), to=each.to, lost_if_refused=True, **each.options
                )
                for each in bursts
            ]
    except (OSError, OvercastError) as refusal:
        by_sender = [list(own) for _, own in itertools.groupby(bursts, lambda each: each.exchange.sender)]
        if len(by_sender) == 1:
            return [replace(each.exchange, refused=str(refusal)) for each in bursts]
        return [one for own in by_sender for one in exchanged(lab, listen, own, follow=follow, **sockets)]
    exchanges = [_heard(each.exchange, heard, stimulus.refused) for each, stimulus in zip(bursts, stimuli, strict=True)]
    return _followed(lab, heard, exchanges) if follow else exchanges


def _heard(exchange: Exchange, heard: Listening, refused: str = "") -> Exchange:
    """An exchange with what its receivers heard of it."""
    own = {name: [one for one in heard.datagrams[name] if one.payload in exchange.sent] for name in exchange.receivers}
    datagrams = [datagram for each in own.values() for datagram in each]
    return replace(
        exchange,
        refused=refused,
        heard={name: tuple(datagram.payload for datagram in each) for name, each in own.items()},
        sources=frozenset(datagram.source[0] for datagram in datagrams if datagram.source),
        ttls=frozenset(datagram.ttl for datagram in datagrams if datagram.ttl),
    )


def _followed(lab: Lab, heard: Listening, exchanges: list[Exchange]) -> list[Exchange]:
    """The exchanges with where the captures have them, if the captures are complete."""
    try:
        seen = heard.sightings() if lab.tapped else []
    except FramesLost:
        return [replace(exchange, followed=False) for exchange in exchanges]
    number = {mark(payload): at for at, exchange in enumerate(exchanges) for payload in exchange.sent}
    own: list[list[Sighting]] = [[] for _ in exchanges]
    for one in seen:
        if (at := number.get(mark(one.frame))) is not None:
            own[at].append(replace(one, frame=one.frame[:HEAD]))
    return [replace(exchange, sightings=tuple(each)) for exchange, each in zip(exchanges, own, strict=True)]


def _streams(lab: Lab, senders: Sequence[Host], exchanges: Sequence[Exchange]) -> list[TcpConnection]:
    """A connection each way between the ends of every tunnel that unicast datagrams reach both ways."""
    unicast = [one for one in exchanges if (one.kind, one.network) == ("unicast", "overlay")]
    apart = {frozenset((one.sender, *one.receivers)) for one in unicast if any(map(one.lost, one.receivers))}
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
    exchange = Exchange("foreign source", "underlay", sender.name, (receiver.name,), (forged,))
    try:
        with listen([receiver], network="underlay") as heard:
            to = receiver.address("underlay")
            sender.send_packet(tunnel_packets.udp(str(stranger), to, heard.port, forged), to)
            # behind it, so that its own arrival shows that the other one's time has passed
            sender.udp.send(control, to=to)
    except (OSError, OvercastError) as refusal:
        return replace(exchange, refused=str(refusal))
    return _heard(exchange, heard)


def _pings(hosts: Sequence[Host], to: str) -> tuple[Answers, ...]:
    return tuple(answers for host in hosts if (answers := _ping(host, to)) is not None)


def _ping(host: Host, to: str) -> Answers | None:
    """None: this host cannot send pings, which proves nothing about answers."""
    try:
        return host.ping(to, grace=GRACE, patience=None)
    except RootNeeded:
        return None
    except (OSError, OvercastError):
        return Answers(host.name, to, {}, {}, frozenset())
