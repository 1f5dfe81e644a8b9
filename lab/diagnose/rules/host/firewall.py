"""
Rules of the hosts' own firewalls: which rule ate it, by its counter, and what to put before it.

A rule is accused only when it matched during the trial and something was lost at that host; one that does not count,
when no other did and it matches no field that the lost packets do not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lab.diagnose.rules.host.basics import LOOPBACK
from lab.diagnose.rules.host.candidates import CARRIED, OUTER, OUTGOING, Passing, carried, later, lost, sending, taken
from lab.diagnose.rules.host.firewall_exceptions import (
    bridged,
    by_ports,
    carrier,
    excepted,
    hooks,
    inserted,
    narrowed,
    of_carrier,
)
from lab.diagnose.scene import HostScene, Scene
from lab.firewall.matches import Match
from lab.firewall.rules import FirewallRule
from lab.firewall.verdicts import Firewall
from lab.model import Finding

ASKING = frozenset({"resolving", "encapsulation"})  # who has an address: inside the tunnel, and to send its packets
TRACKED = "    # and for flows that are tracked already: conntrack -F"


def dropped(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """A rule, or a chain's policy, that matched while something was lost there, in the direction of its hook."""
    packets = lost(scene, host)
    # what was rewritten as it was sent goes astray anywhere
    sent = scene.planned or any(loss.exchange.sender == host.name for loss in scene.losses)
    astray = [*packets, *(sending(host) if sent else ())]
    astray += carried(scene, host, "encapsulation") if scene.cut_off(host) else ()
    considered = [(rule, packets) for rule in host.firewall if rule.drops]
    considered += [(rule, astray) for rule in host.firewall if rule.sets("address")]
    at_fault = [(rule, own) for rule, might in considered if (own := taken(host, rule, might))]
    accused = [(rule, own) for rule, own in at_fault if _matched(scene, host, rule, own)]
    # rules without counters are only candidates, and only when none with a counter was hit
    accused = accused or [(rule, own) for rule, own in at_fault if rule.hits is None]
    for rule, own in accused:
        accepting = _accepting(scene, host, rule, own)
        if rule.sets("address") and all(excepted(host, rule, one) for one in accepting):
            continue  # it rewrites nothing more than what is tracked already
        does = "rewrites" if rule.sets("address") else "drops"
        found = host.finding(
            _code(host, rule, own),
            _interface(host, own),
            f"{host.name}'s firewall {does} {_what(rule, own)}",
            rule.counted,
            " && ".join(inserted(rule, accept) for accept in accepting)
            + TRACKED * (bool(rule.sets("address")) and bool(own & {*CARRIED})),
        )
        yield replace(found, rule=rule.quoted)


def behind(scene: Scene, host: HostScene, found: Sequence[Finding]) -> Iterator[Finding]:
    """Rules that certainly drop what is lost before it reaches them: they would be found one after the other."""
    packets, reported = [*dict.fromkeys(later(scene, host))], {one.rule for one in found if one.node == host.name}
    others = [rule for rule in host.firewall if rule.quoted not in reported]
    while packets and (drop := _next(others, packets)):
        rule, own = drop
        others.remove(rule)
        fix = " && ".join(inserted(rule, accept) for accept in _accepting(scene, host, rule, own))
        evidence = f"{rule.quoted} ({rule.tool}) drops {_what(rule, own)}; they are lost before they reach it"
        yield replace(host.declared("drops-behind", _interface(host, own), evidence, fix), rule=rule.quoted)


def _next(rules: Sequence[FirewallRule], packets: Sequence[Passing]) -> tuple[FirewallRule, set[str]] | None:
    """A rule that drops some of the packets, whatever else there is in them, and their stages."""
    found = list[tuple[FirewallRule, str]]()
    for stage, passed, packet in packets:
        bridging = stage == "forwarding"  # of which IP sees nothing without br_netfilter
        firewall = Firewall(rules, ("bridge",)) if bridging else Firewall(rules)
        found += [(one.rule, stage) for one in firewall.verdicts(packet, *passed) if one.passes is False and one.rule]
    return (found[0][0], {stage for rule, stage in found if rule is found[0][0]}) if found else None


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


def _code(host: HostScene, rule: FirewallRule, stages: set[str]) -> str:
    if rule.sets("address"):
        return "nat-rewrites"
    if _of_arp(rule, stages):
        return "arp-filtered"
    if hooks(host, rule) == {"forward"} or ("forwarding" in stages and rule.family == "bridge"):
        return "bridged-dropped"
    if stages == {"control"}:
        return "control-dropped"
    if stages & {*CARRIED} and not stages & {"delivery", "sending"}:
        return "tunnel-packets-dropped"
    return "firewall-drops"


def _of_arp(rule: FirewallRule, stages: set[str]) -> bool:
    types = [value for one in rule.matches("ethertype") for value in one.values or ()]
    return stages <= ASKING and (stages == {"resolving"} or rule.family == "arp" or "arp" in types)


def _what(rule: FirewallRule, stages: set[str]) -> str:
    if _of_arp(rule, stages):
        return "ARP"
    if "answering" in stages and stages <= {"answering", "looping"}:
        return "ICMP echo packets"
    if stages >= {"encapsulation", "sending", "looping"}:
        return "everything that the host sends"
    words = {
        "decapsulation": "incoming tunnel packets",
        "encapsulation": "outgoing tunnel packets",
        "control": "UDP on the underlay",
        "forwarding": "packets that the bridge forwards",
        "delivery": "packets that arrive by the tunnel",
        "sending": "packets that the host sends into the overlay",
        "looping": "packets that the host sends to itself",
    }
    if {"sending", "looping"} <= stages:
        words["sending"] = "packets that the host sends into the overlay or to itself"
        del words["looping"]
    *most, last = [words[stage] for stage in words if stage in stages] or [""]
    listed = f"{', '.join(most)}{',' * (len(most) > 1)} and {last}" if most else last
    return f"{listed} (ICMP echo too)" if "answering" in stages else listed


def _interface(host: HostScene, stages: set[str]) -> str:
    outer = stages & OUTER
    if stages == {"looping"}:
        return LOOPBACK
    return host.plan.nic if outer and stages <= {*outer, "answering", "looping"} else host.plan.device


def _accepting(scene: Scene, host: HostScene, rule: FirewallRule, stages: set[str]) -> list[tuple[str, str]]:
    return [narrowed(rule, one) for one in _opened(scene, host, rule, stages)]


def _opened(scene: Scene, host: HostScene, rule: FirewallRule, stages: set[str]) -> Iterator[tuple[str, str]]:
    """What has to be accepted, for iptables and for nft; of a rule that takes all, both sides of a tunnel."""
    hung = hooks(host, rule)
    device = host.plan.device
    going_out = hung <= OUTGOING
    bridging = rule.family == "netdev" and host.plan.holder == "bridge" and not stages & OUTER
    if rule.family in ("bridge", "arp") or bridging:  # a device's own hook sees a bridge's port, not the bridge
        yield ("", by_ports(host, going_out=going_out) if rule.family != "arp" else "")
        return
    if hung == {"forward"}:
        yield bridged(device)
        return
    every = Match("outgoing" if going_out else "incoming", (device,))
    if any(branch.matches == (every,) for branch in rule.branches):  # it matches every packet of the device
        yield _by(device, going_out)
        return
    if stages <= {"answering", "looping"} and "answering" in stages:
        yield ("-p icmp", "ip protocol icmp")  # by lo too, on which a host answers itself
        return
    if not rule.matches():
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
    if stages & {*CARRIED}:
        yield carrier(scene)
    if "control" in stages:
        words, nft_words = _by(host.plan.nic, going_out)
        yield (f"{words} -p udp", f"{nft_words} meta l4proto udp")
    # a rule that names neither tunnel packets nor a device also matches the packets inside the tunnel
    both = bool(stages & {*CARRIED}) and of_carrier(host, rule) is None
    if stages - OUTER - {"answering", "looping"} or not outer or both:
        yield _by(device, going_out)
    if "looping" in stages:
        yield _by(LOOPBACK, going_out)


def _by(device: str, going_out: bool) -> tuple[str, str]:
    """What passes a device, in the words of iptables and of nft."""
    return (f"-o {device}", f'oifname "{device}"') if going_out else (f"-i {device}", f'iifname "{device}"')
