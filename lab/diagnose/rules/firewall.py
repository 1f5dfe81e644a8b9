"""
Rules of the hosts' own firewalls: which rule ate it, by its counter, and what to put before it.

A rule is accused only when it matched during the trial and something was lost at that host; one that does not count,
when no other did and it matches no field that the lost packets do not have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from lab.diagnose.rules.basics import LOOPBACK
from lab.diagnose.rules.candidates import could_drop
from lab.diagnose.rules.firewall_exceptions import (
    DROPPING,
    bridged,
    by_ports,
    carrier,
    counted,
    excepted,
    has_match,
    hooks,
    inserted,
    of_carrier,
    plain,
    quoted,
)
from lab.diagnose.scene import HostScene, Scene
from lab.diagnose.trial import Exchange
from lab.model import Finding
from lab.records import FirewallRule

# nft rewrites any field of a packet: what has another address or port goes astray as a translated packet does
SETS_ADDRESS = re.compile(r"\b(ip|ether|udp) [sd](addr|port) set\b")
OF_LOOPBACK = re.compile(rf"(-[io]|\b[io]if(name)?) {LOOPBACK}(\s|$)")
REWRITING = ("SNAT", "DNAT", "MASQUERADE", "REDIRECT", "NETMAP", "TPROXY", "masquerade", "snat", "dnat", "redirect")
OF_ARP = re.compile(r"\barp\b", re.IGNORECASE)
CARRIED = frozenset({"decapsulation", "encapsulation"})
ASKING = frozenset({"resolving", "encapsulation"})  # who has an address: inside the tunnel, and to send its packets
OUTER = CARRIED | {"control"}
INBOUND = frozenset({"decapsulation", "delivery", "answering", "control", "looping"})
OUTBOUND = frozenset({"encapsulation", "sending", "answering", "control", "looping"})
BRIDGED = frozenset({"forwarding", "delivery", "sending", "answering", "resolving"})
# what a packet is in the middle of at each hook; what a bridge forwards passes some too (br_netfilter)
STAGES = {
    "INGRESS": INBOUND | {"forwarding", "resolving"},
    "PREROUTING": INBOUND | {"forwarding"},
    "INPUT": INBOUND,
    "FORWARD": frozenset({"forwarding"}),
    "OUTPUT": OUTBOUND,
    "POSTROUTING": OUTBOUND | {"forwarding"},
    "EGRESS": OUTBOUND | {"forwarding", "resolving"},
}
TRACKED = "    # and for flows that are tracked already: conntrack -F"
OUTGOING = {"OUTPUT", "POSTROUTING", "EGRESS"}


def dropped(scene: Scene) -> Iterator[Finding]:
    """A rule, or a chain's policy, that matched while something was lost there, in the direction of its hook."""
    for host in scene.hosts.values():
        stages = _stages(scene, host)
        # what was rewritten as it was sent goes astray anywhere
        lost = scene.planned or any(loss.exchange.sender == host.name for loss in scene.losses)
        astray = {"sending"} if lost else set()
        left = any(loss.stage == "cloud" and loss.last and loss.last.node == host.name for loss in scene.losses)
        astray |= {"encapsulation"} if left else set()
        considered = [(rule, stages) for rule in host.firewall if rule.verdict in DROPPING]
        considered += [(rule, stages | astray) for rule in host.firewall if rewrites(rule)]
        at_fault = [(rule, own) for rule, might in considered if (own := _own(host, rule, might))]
        accused = [(rule, own) for rule, own in at_fault if _matched(scene, host, rule, own)]
        # rules without counters are only candidates, and only when none with a counter was hit
        accused = accused or [
            (rule, own)
            for rule, own in at_fault
            if rule.hits is None
            and could_drop(scene, host, rule, own)
            and not all(excepted(host, rule, accept) for accept in _accepting(scene, host, rule, own))
        ]
        for rule, own in accused:
            does = "rewrites" if rewrites(rule) else "drops"
            found = host.finding(
                _code(host, rule, own),
                _interface(host, own),
                f"{host.name}'s firewall {does} {_what(rule, own)}",
                counted(rule),
                " && ".join(inserted(rule, accept) for accept in _accepting(scene, host, rule, own))
                + TRACKED * (rewrites(rule) and bool(own & CARRIED)),
            )
            yield replace(found, rule=quoted(rule))


def _own(host: HostScene, rule: FirewallRule, stages: set[str]) -> set[str]:
    """Of the losses at a host, those that a rule can cause: by its hook, and by its match."""
    possible = stages & _possible(host, rule)
    if rule.family == "arp" or _matches_arp(rule):
        return possible & ASKING
    if OF_LOOPBACK.search(rule.rule.replace('"', "")):
        return possible & {"looping"}
    carried = of_carrier(host, rule)
    if carried is not None:
        possible = (possible & OUTER if carried else possible - OUTER) or possible
    return possible


def _possible(host: HostScene, rule: FirewallRule) -> frozenset[str]:
    """The stages that a rule can end: those of the hooks that its chain is reached from."""
    if rule.family == "arp":
        return ASKING
    if rule.family == "bridge":
        return BRIDGED
    return frozenset().union(*(STAGES.get(hook, frozenset()) for hook in hooks(host, rule)))


def _matched(scene: Scene, host: HostScene, rule: FirewallRule, stages: set[str]) -> bool:
    """Whether a rule dropped more than the trial's own control packets, which a closed host refuses by right."""
    if stages == {"control"}:
        return bool(rule.hits)
    refused = sum(
        len(exchange.lost(host.name))
        for exchange in scene.trial.of("unicast", "underlay")
        if host.name in exchange.receivers
    )
    return bool(rule.hits and rule.hits > refused)


def _stages(scene: Scene, host: HostScene) -> set[str]:
    """What was not done at a host: the stages of the losses that are its own, `answering` pings, `resolving` by ARP."""
    own = [loss for loss in scene.losses if loss.node == host.name and not loss.unresolved]
    stages: set[str] = {loss.stage for loss in own if loss.stage != "cloud"}
    silent = any(host.parameter(f"net.ipv4.{name}") for name in ("icmp_echo_ignore_all", "icmp_echo_ignore_broadcasts"))
    unreached = any(
        loss.receiver == host.name and loss.node != host.name and loss.exchange.kind == "broadcast"
        for loss in scene.losses
    )
    for answers in scene.trial.pings:
        mute = not answers.counts.get(host.name) or host.name in answers.unproved
        if host.name != answers.pinger and mute and not (silent or unreached):
            stages.add("answering")
        if host.name == answers.pinger and not answers.others and not unreached:
            stages.add("answering")
        if host.name == answers.pinger and not answers.counts.get(host.name) and not silent:
            stages.add("looping")
    if scene.unforwarded and host.plan.is_hub:
        stages.add("forwarding")
    if any(
        loss.unresolved and (host.plan.is_hub or host.name in (loss.exchange.sender, loss.receiver))
        for loss in scene.losses
    ):
        stages.add("resolving")
    if any(stream.refused and host.name in (stream.client, stream.server) for stream in scene.trial.streams):
        stages |= {"delivery", "sending"}
    for exchange in scene.trial.of("unicast", "underlay") if scene.planned else ():
        # in a lab it is open, and tests need these packets as control for the cloud's drops
        unheard = host.name in exchange.receivers and bool(exchange.lost(host.name)) and not exchange.refused
        if unheard or (exchange.sender == host.name and exchange.refused):
            stages.add("control")
    for exchange in scene.trial.exchanges:
        refused = exchange.refused and exchange.network == "overlay"
        if exchange.sender == host.name and (refused or _disguised(host, exchange)):
            stages.add("sending")
    if not scene.losses and not any(exchange.sightings for exchange in scene.trial.exchanges):
        lost = [
            exchange
            for exchange in scene.trial.of("broadcast")
            for name in exchange.receivers
            if name == host.name and exchange.lost(name)
        ]
        stages |= {"delivery"} if lost else set()
    return stages


def _disguised(host: HostScene, exchange: Exchange) -> bool:
    """Whether what the host sent into the overlay was heard under another address than the host's."""
    return exchange.network == "overlay" and bool(exchange.sources - {host.plan.address()})


def _code(host: HostScene, rule: FirewallRule, stages: set[str]) -> str:
    if rewrites(rule):
        return "nat-rewrites"
    if _of_arp(rule, stages):
        return "arp-filtered"
    if "forwarding" in stages and (rule.family == "bridge" or hooks(host, rule) == {"FORWARD"}):
        return "bridged-dropped"
    if stages == {"control"}:
        return "control-dropped"
    if stages & CARRIED and not stages & {"delivery", "sending"}:
        return "carrier-dropped"
    return "firewall-drops"


def rewrites(rule: FirewallRule) -> bool:
    """Whether a rule gives packets other addresses or ports, or to another socket."""
    return rule.verdict in REWRITING or SETS_ADDRESS.search(rule.rule) is not None


def _of_arp(rule: FirewallRule, stages: set[str]) -> bool:
    return stages <= ASKING and (stages == {"resolving"} or rule.family == "arp" or _matches_arp(rule))


def _matches_arp(rule: FirewallRule) -> bool:
    return OF_ARP.search(rule.rule) is not None


def _what(rule: FirewallRule, stages: set[str]) -> str:
    if _of_arp(rule, stages):
        return "ARP"
    words = {
        "decapsulation": "incoming tunnel packets",
        "encapsulation": "outgoing tunnel packets",
        "control": "plain UDP of the underlay, with which tests compare the tunnel packets",
        "forwarding": "packets that the bridge forwards",
        "delivery": "packets out of the tunnel",
        "sending": "packets into the overlay",
        "answering": "pings or their replies",
        "looping": "packets to itself",
    }
    *most, last = [words[stage] for stage in words if stage in stages] or [""]
    return f"{', '.join(most)} and {last}" if most else last


def _interface(host: HostScene, stages: set[str]) -> str:
    outer = stages & OUTER
    if stages == {"looping"}:
        return LOOPBACK
    return host.plan.nic if outer and stages <= {*outer, "answering", "looping"} else host.plan.device


def _accepting(scene: Scene, host: HostScene, rule: FirewallRule, stages: set[str]) -> Iterator[tuple[str, str]]:
    """What has to be accepted, for iptables and for nft; of a rule that takes all, both sides of a tunnel."""
    hung = hooks(host, rule)
    device = host.plan.device
    going_out = hung <= OUTGOING
    bridging = rule.family == "netdev" and host.plan.holder == "bridge" and not stages & OUTER
    if rule.family in ("bridge", "arp") or bridging:  # a device's own hook sees a bridge's port, not the bridge
        yield ("", by_ports(host, going_out=going_out) if rule.family != "arp" else "")
        return
    if hung == {"FORWARD"}:
        yield bridged(device)
        return
    if plain(rule) in _by(device, going_out):  # it matches every packet of the device
        yield _by(device, going_out)
        return
    if stages <= {"answering", "looping"} and "answering" in stages:
        yield ("-p icmp", "ip protocol icmp")  # by lo too, on which a host answers itself
        return
    if not has_match(rule):
        # in a lab the tests' own control on the underlay, and packets from a host to itself, were open too
        yield from (_by(name, going_out) for name in ((LOOPBACK, host.plan.nic) if scene.planned else ()))
        if not scene.planned:
            yield carrier(scene)
        yield _by(device, going_out)
        return
    if stages == {"looping"}:
        yield _by(LOOPBACK, going_out)
        return
    outer = stages & OUTER
    if stages & CARRIED:
        yield carrier(scene)
    if "control" in stages:
        words, nft_words = _by(host.plan.nic, going_out)
        yield (f"{words} -p udp", f"{nft_words} meta l4proto udp")
    # a rule that names neither tunnel packets nor a device also matches the packets inside the tunnel
    both = bool(stages & CARRIED) and of_carrier(host, rule) is None
    if stages - OUTER - {"answering", "looping"} or not outer or both:
        yield _by(device, going_out)
    if "looping" in stages:
        yield _by(LOOPBACK, going_out)


def _by(device: str, going_out: bool) -> tuple[str, str]:
    """What passes a device, in the words of iptables and of nft."""
    return (f"-o {device}", f'oifname "{device}"') if going_out else (f"-i {device}", f'iifname "{device}"')


RULES = (dropped,)
