"""
Rules of firewalls that do not count what they match: whether one could have dropped what was lost at its host.

A rule that matches a field that no lost packet has is cleared; one that is not understood stays a candidate.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.checkup import rules
from lab.checkup.verdicts import DROP, Kind, Packet
from lab.clouds import UDP
from lab.diagnose.rules.basics import LOOPBACK
from lab.diagnose.rules.firewall_exceptions import DROPPING
from lab.diagnose.scene import HostScene, Scene
from lab.overlay.carrier import carrier_of
from lab.records import FirewallRule

ICMP = 1
ENDS = (DROP, "either", "jump", "goto")


def could_drop(scene: Scene, host: HostScene, rule: FirewallRule, stages: set[str]) -> bool:
    """Whether a rule could have taken what was lost at the host in one of the stages."""
    if not rule.rule or rule.family in ("bridge", "arp") or stages == {"resolving"}:
        return True
    try:
        read = rules.nft(rule.rule) if rule.tool == "nft" else rules.iptables(rule.rule)
        ending = [one for one in read if one.action in ENDS or rule.verdict not in DROPPING]
        return any(one.matches(packet) is not False for one in ending for packet in _packets(scene, host, stages))
    except (ValueError, IndexError):  # words, or addresses of IPv6, that are not understood
        return True


def _packets(scene: Scene, host: HostScene, stages: set[str]) -> Iterator[Packet]:
    """What was lost at the host, as its firewall sees it."""
    nic, device, own = host.plan.nic, host.plan.device, host.plan.endpoint
    carrier = carrier_of(scene.topology.options.kind, [host.seen])
    for other in (one.plan for one in scene.hosts.values() if one is not host):
        if "decapsulation" in stages:
            yield Packet(carrier.protocol, nic, None, other.endpoint, own, carrier.port)
        if "encapsulation" in stages:
            yield Packet(carrier.protocol, None, nic, own, other.endpoint, carrier.port)
        if "control" in stages:
            yield Packet(UDP, nic, None, other.address("underlay"), host.plan.address("underlay"))
            yield Packet(UDP, None, nic, host.plan.address("underlay"), other.address("underlay"))
        if "looping" in stages:
            yield Packet(ICMP, LOOPBACK, LOOPBACK, host.plan.address(), host.plan.broadcast())
        if "answering" in stages:
            yield Packet(ICMP, device, None, other.address(), other.broadcast(), kind="broadcast")
            yield Packet(ICMP, None, device, host.plan.address(), other.address())
            # answers to a broadcast ping match no connection
            yield Packet(ICMP, device, None, other.address(), host.plan.address(), state="invalid")
    for loss in scene.losses:
        if loss.node != host.name or loss.stage not in stages:
            continue
        exchange = loss.exchange
        source = scene.hosts[exchange.sender].plan.address()
        to = exchange.to or (host.plan.broadcast() if "broadcast" in exchange.kind else None)
        if exchange.kind == "unicast":
            yield Packet(UDP, device, device, source, to)
        else:
            kind: Kind = "multicast" if exchange.kind in ("multicast", "group") else "broadcast"
            yield Packet(UDP, device, device, source, to, kind=kind)
    if "forwarding" in stages:
        for pinger, name in scene.unforwarded:
            ends = scene.hosts[name].plan.address(), scene.hosts[pinger].plan.address()
            yield Packet(ICMP, device, device, *ends, state="invalid")
    if "sending" in stages:
        broadcast = host.plan.broadcast()
        yield Packet(UDP, None, device, host.plan.address())
        yield Packet(UDP, None, device, host.plan.address(), broadcast, kind="broadcast")
        yield Packet(UDP, None, device, host.plan.address(), kind="multicast")
