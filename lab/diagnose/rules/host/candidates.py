"""What was lost at a host, as the packets that its own firewall met: the rule that is the cause takes one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from lab.clouds.firmware import UDP
from lab.diagnose.groups import UDP_HEADERS
from lab.diagnose.losses import Loss
from lab.diagnose.rules.host.basics import LOOPBACK
from lab.diagnose.rules.host.firewall_exceptions import hooks, of_carrier
from lab.diagnose.scene import HostScene, Scene
from lab.firewall.matches import PacketPattern
from lab.firewall.rules import FirewallRule
from lab.firewall.verdicts import Firewall
from lab.model import NodePlan
from lab.overlay.recognition.readback import carrier_of

ICMP, TCP = 1, 6
CARRIED = ("decapsulation", "encapsulation")
OUTER = frozenset({*CARRIED, "control"})
INCOMING = frozenset({"ingress", "prerouting", "input"})
OUTGOING = frozenset({"output", "postrouting", "egress"})
FORWARDED = (frozenset({"forward"}) | INCOMING | OUTGOING) - {"input", "output"}
"""A bridge's packets pass some hooks of IP, too (br_netfilter)."""
KINDS = {"multicast": "multicast", "group": "multicast", "unicast": "unicast"}
STAGES: Sequence[tuple[str, ...]] = (
    ("sending", "encapsulation"),
    ("decapsulation", "forwarding", "encapsulation"),
    ("decapsulation", "delivery"),
)
"""Those of a packet at its sender, at a hub, at its receiver."""
Passing = tuple[str, frozenset[str], PacketPattern]
"""A stage, the hooks that a packet passes in it, and the packet."""


def taken(host: HostScene, rule: FirewallRule, packets: Sequence[Passing]) -> set[str]:
    """The stages of the packets that a rule may have taken: by its hooks, its match, and the rules before it."""
    at = hooks(host, rule) if packets else set()
    met = None if rule.sets("address") else Firewall(host.firewall, (rule.family,))
    under = host.plan.holder == "bridge" and rule.family in ("bridge", "netdev")
    found = set()
    for stage, passed, packet in packets:
        if under and host.plan.nic not in (packet.incoming, packet.outgoing):
            packet = replace(packet, incoming=None, outgoing=None)  # there it is at a port, not at the bridge
        anywhere = rule.family == "arp" or (rule.family == "bridge" and stage not in (*CARRIED, "sending"))
        if (anywhere or at & passed) and rule.takes(packet) is not False and (not met or _meets(met, rule, packet, at)):
            found.add(stage)
    outer = found & OUTER if of_carrier(host, rule) else set()
    return outer or found


def _meets(firewall: Firewall, rule: FirewallRule, packet: PacketPattern, hooks: set[str]) -> bool:
    """Whether a packet may reach a rule, and end there, in one of the chains that lead to it."""
    verdicts = [one for one in firewall.verdicts(packet, *hooks) if one.base and one.base.place[:3] == rule.place[:3]]
    return any(one.passes is None or one.rule is rule for one in verdicts)


def lost(scene: Scene, host: HostScene) -> list[Passing]:
    """What was not done at a host: losses of its own, pings that it did not answer, addresses not resolved."""
    return as_met(host, [*_losses(scene, host), *_unanswered(scene, host), *_control(scene, host)])


def as_met(host: HostScene, packets: Sequence[Passing]) -> list[Passing]:
    """The packets, with what their host's own rules may have made of them: no mark, or untracked."""
    marked = any(rule.sets("mark") for rule in host.firewall)
    states = ["untracked"] if any("notrack" in rule.rule.lower() for rule in host.firewall) else []
    return [
        (stage, passed, replace(packet, mark=packet.mark if marked else 0, state=state))
        for stage, passed, packet in dict.fromkeys(packets)
        for state in (packet.state, *states)
    ]


def sending(host: HostScene) -> Iterator[Passing]:
    """What a host sends into the overlay."""
    own, broadcast = host.plan.address(), host.plan.broadcast()
    for to, kind in ((None, "unicast"), (broadcast, "broadcast"), (None, "multicast")):
        yield "sending", OUTGOING, PacketPattern(UDP, None, host.plan.device, own, to, kind=kind)


def carried(scene: Scene, host: HostScene, stage: str) -> Iterator[Passing]:
    """Tunnel packets of a host, and what resolves where to send them."""
    nic = host.plan.nic
    for other in (one.plan for one in scene.hosts.values() if one is not host):
        coming = tunnel_packet(scene, host, other)
        leaving = replace(coming, incoming=None, outgoing=nic, source=coming.destination, destination=coming.source)
        yield (stage, INCOMING, coming) if stage == "decapsulation" else (stage, OUTGOING, leaving)
    if stage == "encapsulation":
        yield from _asking(stage, nic)


def _asking(stage: str, device: str) -> Iterator[Passing]:
    for coming, leaving in ((device, None), (None, device)):
        yield stage, INCOMING | OUTGOING, PacketPattern(incoming=coming, outgoing=leaving, ethertype="arp")


def tunnel_packet(scene: Scene, host: HostScene, peer: NodePlan) -> PacketPattern:
    """A tunnel packet that reaches a host from another one."""
    carrier, own = carrier_of(scene.topology.options.kind, [host.seen]), host.plan.endpoint
    version = "ip6" if ":" in own else "ip"
    return PacketPattern(carrier.protocol, host.plan.nic, None, peer.endpoint, own, carrier.port, ethertype=version)


def later(scene: Scene, host: HostScene) -> Iterator[Passing]:
    """What would come to a host, or leave it, of what was lost before."""
    device = host.plan.device
    for loss in scene.losses if device in host.seen.devices else ():
        ends = loss.exchange.sender, loss.receiver
        if not loss.whole or loss.unresolved or loss.exchange.to or host.name not in scene.on_paths(*ends):
            continue
        order = [ends[0], *(hub.name for hub in scene.topology.hubs if hub.name not in ends), ends[1]]
        if order.index(loss.node) > order.index(host.name):
            continue
        stages = stages_at(host, loss)
        if loss.node == host.name:
            stages = stages[stages.index(loss.stage) :] if loss.stage in stages else ()
        yield from at_stages(scene, host, loss, stages)


def stages_at(host: HostScene, loss: Loss) -> Sequence[str]:
    """The stages at a host of what was lost: of its sender, its receiver, or a hub between them."""
    if loss.exchange.sender == loss.receiver:
        return "sending", "delivery"
    return STAGES[0 if host.name == loss.exchange.sender else 2 if host.name == loss.receiver else 1]


def at_stages(scene: Scene, host: HostScene, loss: Loss, stages: Iterable[str]) -> Iterator[Passing]:
    """What was lost as a host's firewall meets it at some stages."""
    for stage in stages:
        if stage in CARRIED:
            yield from carried(scene, host, stage)
        elif stage == "forwarding":
            _, passed, packet = _inner(scene, host, loss, stage)
            between = _ports(scene, host, (loss.exchange.sender, loss.receiver))
            ports = [one if one in host.seen.devices else None for one in between]
            yield stage, passed, replace(packet, incoming=ports[0], outgoing=ports[1])
        else:
            yield _inner(scene, host, loss, stage)


def _ports(scene: Scene, host: HostScene, ends: Sequence[str]) -> list[str]:
    """The ports of a hub to some hosts; "" for one that has no tunnel to it."""
    peers = scene.topology.peers(host.name)
    return [scene.topology.port(host.name, name) if name in peers else "" for name in ends]


def of_loss(scene: Scene, host: HostScene, loss: Loss) -> Iterator[Passing]:
    """The packet that was lost at a host, or what it needed to be sent."""
    if loss.unresolved and (host.plan.is_hub or host.name in (loss.exchange.sender, loss.receiver)):
        yield from _asking("resolving", host.plan.device)
    elif not loss.unresolved and loss.node == host.name and loss.stage in CARRIED:
        yield from carried(scene, host, loss.stage)
    elif not loss.unresolved and loss.node == host.name and loss.stage != "cloud":
        yield _inner(scene, host, loss, loss.stage)


def _losses(scene: Scene, host: HostScene) -> Iterator[Passing]:
    device, own = host.plan.device, host.plan.address()
    for loss in scene.losses:
        yield from of_loss(scene, host, loss)
    if len(scene.topology.hubs) > 1 and host.plan.holder == "bond":  # the second leg is missed only without the first
        yield from carried(scene, host, "decapsulation")
    untraced = not scene.losses and not any(exchange.sightings for exchange in scene.trial.exchanges)
    for exchange in scene.trial.exchanges:
        # refused, or received under another address than the host's
        disguised = exchange.refused or exchange.sources - {own}
        if exchange.network == "overlay" and exchange.sender == host.name and disguised:
            yield from sending(host)
        received = host.name in exchange.receivers and (exchange.kind, exchange.network) == ("broadcast", "overlay")
        if untraced and received and exchange.lost(host.name):
            yield "delivery", INCOMING, PacketPattern(UDP, device, kind="broadcast")
    for stream in scene.trial.streams:
        if stream.refused and host.name in (stream.client, stream.server):
            for state in ("new", "established"):
                yield "delivery", INCOMING, PacketPattern(TCP, device, state=state)
                yield "sending", OUTGOING, PacketPattern(TCP, None, device, own, state=state)


def _inner(scene: Scene, host: HostScene, loss: Loss, stage: str = "delivery") -> Passing:
    exchange, device = loss.exchange, host.plan.device
    receiver = scene.hosts.get(loss.receiver) if exchange.kind == "unicast" else None
    to = exchange.to or (host.plan.broadcast() if "broadcast" in exchange.kind else None)
    to = to or (receiver.plan.address() if receiver else None)
    sender = scene.hosts.get(exchange.sender)  # a test's lab may have further hosts
    source, kind = sender.plan.address() if sender else None, KINDS.get(exchange.kind, "broadcast")
    passed = {"delivery": INCOMING, "sending": OUTGOING}.get(stage, FORWARDED)
    length = loss.size + UDP_HEADERS if loss.size else None
    packet = PacketPattern(loss.protocol, device, device, source, to, loss.port or None, kind, length=length)
    return stage, passed, packet


def _unanswered(scene: Scene, host: HostScene) -> Iterator[Passing]:
    device, own, broadcast = host.plan.device, host.plan.address(), host.plan.broadcast()
    silent = any(host.parameter(f"net.ipv4.{name}") for name in ("icmp_echo_ignore_all", "icmp_echo_ignore_broadcasts"))
    unreached = any(
        loss.receiver == host.name and loss.node != host.name and loss.exchange.kind == "broadcast"
        for loss in scene.losses
    )
    for answers in scene.trial.pings:
        asking = host.name == answers.pinger
        mute = not answers.counts.get(host.name) or host.name in answers.unproved
        if asking and mute and not answers.counts.get(host.name) and not silent:
            yield "looping", INCOMING | OUTGOING, PacketPattern(ICMP, LOOPBACK, LOOPBACK, own, broadcast, kind=None)
        if unreached or (answers.others if asking else silent or not mute):
            continue
        for theirs in (one.plan.address() for one in scene.hosts.values() if one is not host):
            request = PacketPattern(ICMP, device, None, theirs, broadcast, kind="broadcast", icmp="8/0")
            yield "answering", INCOMING, request
            yield "answering", OUTGOING, replace(request, incoming=None, outgoing=device, source=own)
            yield "answering", OUTGOING, PacketPattern(ICMP, None, device, own, theirs, icmp="0/0")
            # answers to a broadcast ping match no connection
            yield "answering", INCOMING, PacketPattern(ICMP, device, None, theirs, own, state="invalid", icmp="0/0")
    for pinger, name in scene.unforwarded if host.plan.is_hub else ():
        ends = scene.hosts[name].plan.address(), scene.hosts[pinger].plan.address()
        yield "forwarding", FORWARDED, PacketPattern(ICMP, device, device, *ends, state="invalid", icmp="0/0")


def _control(scene: Scene, host: HostScene) -> Iterator[Passing]:
    """What tests compare tunnel packets with; in a lab the underlay is open."""
    for exchange in scene.trial.of("unicast", "underlay") if scene.planned else ():
        sender, own = scene.hosts[exchange.sender].plan.address("underlay"), host.plan.address("underlay")
        if host.name in exchange.receivers and exchange.lost(host.name) and not exchange.refused:
            yield "control", INCOMING, PacketPattern(UDP, host.plan.nic, None, sender, own)
        if exchange.sender == host.name and exchange.refused:
            yield "control", OUTGOING, PacketPattern(UDP, None, host.plan.nic, own)
