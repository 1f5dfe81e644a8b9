"""
Firewall rules that are judged by their text alone, which the trial does not show: IGMP that is dropped, a TTL that
is rewritten, a tunnel that is taken in only as an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from lab.checkup import rules
from lab.checkup.verdicts import Firewall, Packet
from lab.clouds import GRE, UDP
from lab.diagnose.rules.firewall_exceptions import (
    DROPPING,
    IGMP,
    carrier,
    deleted,
    dropping,
    inserted,
    of_carrier,
    quoted,
)
from lab.diagnose.scene import HostScene, Scene
from lab.model import ALL_HOSTS, Finding
from lab.records import FirewallRule
from lab.tunnels import KINDS

OF_IGMP = re.compile(r"\bigmp\b|-p 2\b")
SETS_TTL = re.compile(r"\bip6? (ttl|hoplimit) set\b")
IGMP_NUMBER, ALL_QUERIERS = 2, "224.0.0.22"
STRICT_PATH = re.compile(r"-m rpfilter\b.*--invert|\bfib saddr \. (mark \. )?iif oif (missing|0)\b")
OTHER_PATH = re.compile(r"--loose\b|\bnfproto ipv6\b")
INCOMING_HOOKS = ("prerouting", "input")
SETS_DSCP = re.compile(r"\bip6? (dscp|ecn) set\b")
SETS_CE = re.compile(r"\bip6? ecn set ce\b|--set-tos 0x[0-9a-f]?[37bf]/0x[0-9a-f]?[37bf]\b")
"""Both bits of ECN, whatever the others are: Congestion Experienced (RFC 3168 section 5)."""
MAC_REWRITING = ("snat", "dnat", "redirect", "arpreply", "mangle")


def by_text(scene: Scene) -> Iterator[Finding]:
    """Rules whose text shows that they break something that the trial does not send."""
    for host in scene.hosts.values():
        for rule in host.firewall:
            if rule.verdict in ("TTL", "HL") or SETS_TTL.search(rule.rule):
                yield _rewritten(host, rule)
            marks = rule.verdict in ("TOS", "DSCP") or SETS_DSCP.search(rule.rule)
            if marks and (found := _marked(scene, host, rule)):
                yield found
            if rule.family in ("bridge", "arp") and rule.verdict in MAC_REWRITING and rule.hits:
                yield _bridged(host, rule)
        yield from _stateful(scene, host)


def igmp(scene: Scene) -> Iterator[Finding]:
    """IGMP that a host drops, by a rule about it or because no rule accepts it: then no querier learns its groups."""
    for host in scene.hosts.values():
        named = [(rule, quoted(rule)) for rule in dropping(host, OF_IGMP, IGMP)]
        for rule, evidence in named or _refusing(host, _queries(host), _reports(host)):
            yield host.declared("igmp-filtered", host.plan.device, evidence, inserted(rule, IGMP))


def compared(scene: Scene) -> Iterator[Finding]:
    """
    GRE that a host does not let out by refusing whatever its chains do not name: tests send it beside VXLAN.

    What it does not let in is captured before, and harms nothing.
    """
    for host in scene.hosts.values() if scene.planned and KINDS[scene.topology.options.kind].port else ():
        own = host.plan.address("underlay")
        leaving = Packet(GRE, outgoing=host.plan.nic, source=own)
        pair = (leaving, replace(leaving, protocol=UDP))
        for rule, evidence in _refusing(host, pair, pair):
            if rule.hook in INCOMING_HOOKS:
                continue
            yield host.declared(
                "control-dropped", host.plan.nic, f"GRE: {evidence}", inserted(rule, ("-p gre", "meta l4proto gre"))
            )


Packets = tuple[Packet, Packet]


def _refusing(host: HostScene, coming: Packets, leaving: Packets) -> Iterator[tuple[FirewallRule, str]]:
    """The chains that drop the first packet of a pair and let the second one pass, on the same way, with why."""
    firewall = rules.firewall([rule for rule in host.firewall if rule.family in ("ip", "inet")])
    called = [chain for chain in firewall.chains if not chain.hook]
    for chain in firewall.chains:
        packets = coming if chain.hook in INCOMING_HOOKS else leaving
        if chain.hook not in (*INCOMING_HOOKS, "output"):
            continue
        dropped, other = (Firewall((chain, *called)).of(packet, chain.hook) for packet in packets)
        if dropped.passes is False and other.passes is not False:
            family, table = chain.table.split()
            yield FirewallRule(chain.tool, family, table, chain.name), dropped.why


def _queries(host: HostScene) -> Packets:
    """What a querier sends the host, and multicast by UDP on the same way."""
    query = Packet(IGMP_NUMBER, incoming=host.plan.device, destination=ALL_HOSTS, kind="multicast")
    return query, replace(query, protocol=UDP, destination=None)


def _reports(host: HostScene) -> Packets:
    """What the host reports of its groups, and multicast by UDP on the same way."""
    own = host.plan.address()
    report = Packet(IGMP_NUMBER, outgoing=host.plan.device, source=own, destination=ALL_QUERIERS, kind="multicast")
    return report, replace(report, protocol=UDP, destination=None)


def reverse_path(scene: Scene) -> Iterator[Finding]:
    """A rule that drops packets whose source is routed elsewhere, whatever rp_filter is (RFC 3704)."""
    for host in scene.hosts.values():
        exception = f"-i {host.plan.device}", f'iifname "{host.plan.device}"'
        filtering = max(host.parameter("rp_filter", device) for device in ("all", host.plan.device))
        for rule in dropping(host, STRICT_PATH, exception):
            if OTHER_PATH.search(rule.rule) or rule.family == "ip6" or of_carrier(host, rule):
                continue
            yield host.declared(
                "reverse-path-rule",
                host.plan.device,
                f"{quoted(rule)}; rp_filter is {filtering}",
                inserted(rule, exception),
            )


def _rewritten(host: HostScene, rule: FirewallRule) -> Finding:
    outer = of_carrier(host, rule)
    return host.declared("ttl-rewritten", host.plan.nic if outer else host.plan.device, quoted(rule), deleted(rule))


def _marked(scene: Scene, host: HostScene, rule: FirewallRule) -> Finding | None:
    outer = of_carrier(host, rule)
    if outer is not False and SETS_CE.search(rule.rule) and any(one.stage == "decapsulation" for one in scene.losses):
        return host.declared("congestion-marked", host.plan.nic, quoted(rule), deleted(rule))
    if not scene.planned:
        return None
    return host.declared(
        "tos-rewritten", host.plan.device if outer is False else host.plan.nic, quoted(rule), deleted(rule)
    )


def _bridged(host: HostScene, rule: FirewallRule) -> Finding:
    return host.declared(
        "nat-rewrites",
        host.plan.device,
        f"{quoted(rule)} ({rule.tool}) matched {rule.hits} packets during the trial",
        deleted(rule),
    )


def _stateful(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """Tunnel packets are accepted only as ESTABLISHED: they are dropped when the host sends nothing."""
    words = carrier(scene)[0]
    chain = [rule for rule in host.firewall if rule.chain == "INPUT" and rule.table == "filter"]
    own = [rule for rule in chain if words in rule.rule or "-p 47" in rule.rule]
    accepting = [rule for rule in own if rule.verdict == "ACCEPT"]
    stateful = [rule for rule in accepting if "ESTABLISHED" in rule.rule and "NEW" not in rule.rule]
    refusing = [rule for rule in chain if rule.verdict in DROPPING]
    if stateful and len(stateful) == len(accepting) and refusing:
        yield host.declared(
            "stateful-only",
            host.plan.nic,
            f"{quoted(stateful[0])}, then {quoted(refusing[-1])}",
            inserted(stateful[0], carrier(scene)),
        )


RULES = (by_text, igmp, compared, reverse_path)
