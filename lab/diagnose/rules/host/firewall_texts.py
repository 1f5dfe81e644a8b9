"""
Firewall rules that are judged by their text alone, which the trial does not show.

IGMP or an application's packets that are dropped, a TTL that is rewritten, a tunnel that is taken in only as an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lab import tunnels
from lab.clouds.firmware import GRE, UDP
from lab.diagnose.codes import CODES, Dropped
from lab.diagnose.rules.host.candidates import tunnel_packet
from lab.diagnose.rules.host.firewall_exceptions import IGMP, carrier, deleted, excepted, hooks, inserted, of_carrier
from lab.diagnose.scene import HostScene, Scene
from lab.firewall.matches import PacketPattern
from lab.firewall.rules import FirewallRule
from lab.firewall.verdicts import Firewall, Verdict
from lab.model import ALL_HOSTS, Finding

IGMP_NUMBER, ALL_QUERIERS = 2, "224.0.0.22"
CONNECTIONLESS = (1, IGMP_NUMBER, UDP, GRE, 58)  # ICMP and ICMPv6 among them
CONGESTED = 3
"""Both bits of ECN, whatever the others are: Congestion Experienced (RFC 3168 section 5)."""


def by_text(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """Rules whose text shows that they break something that the trial does not send."""
    twice = any(one.repeated(name) for one in scene.trial.exchanges for name in one.receivers)
    for rule in host.firewall:
        if twice and rule.sets("copies") and rule.hits != 0:
            yield host.declared("packets-copied", host.plan.device, rule.counted, deleted(rule))
        if rule.sets("ttl") and _concerns(rule):
            place = host.plan.nic if of_carrier(host, rule) else host.plan.device
            none_left = any(low == 0 for one in rule.sets("ttl") for low, _ in one.values or ())
            # the kernel sends no multicast with a TTL of 0 (ip_mc_output)
            ends = none_left and place == host.plan.device and "output" in hooks(host, rule)
            code = "firewall-drops" if ends else "ttl-rewritten"
            yield host.declared(code, place, rule.quoted, deleted(rule))
        if rule.sets("tos") and _concerns(rule) and (found := _marked(scene, host, rule)):
            yield found
        if rule.family in ("bridge", "arp") and rule.sets("address", "mac") and rule.hits:
            yield host.declared("nat-rewrites", host.plan.device, rule.counted, deleted(rule))
    yield from _stateful(scene, host)


def igmp(host: HostScene, found: Sequence[Finding]) -> Iterator[Finding]:
    """IGMP that a host drops, by a rule about it or because no rule accepts it: then no querier learns its groups."""
    device = host.plan.device
    query = PacketPattern(IGMP_NUMBER, incoming=device, destination=ALL_HOSTS, kind="multicast")
    report = replace(query, incoming=None, outgoing=device, source=host.plan.address(), destination=ALL_QUERIERS)
    datagrams = [replace(one, protocol=UDP, destination=None) for one in (query, report)]
    naming = [rule for rule in host.firewall if rule.drops and rule.names(protocol=IGMP_NUMBER)]
    named = [(rule, rule.quoted) for rule in naming if not excepted(host, rule, IGMP)]
    dropping = {one.rule for one in found if (one.code, one.node) == ("firewall-drops", host.name)}
    refusing = [*_refusing(host, query, datagrams[0]), *_refusing(host, report, datagrams[1])]
    others = [(base, one.why) for base, one in refusing if one.rule and one.rule.quoted not in dropping]
    for rule, evidence in named or others:
        yield host.declared("igmp-filtered", device, evidence, inserted(rule, IGMP))


def compared(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """
    GRE that a host does not let out by refusing whatever its chains do not name: tests send it beside VXLAN.

    What it does not let in is captured before, and harms nothing.
    """
    if not (scene.planned and tunnels.kind(scene.topology.options.kind).port):
        return
    leaving = PacketPattern(GRE, outgoing=host.plan.nic, source=host.plan.address("underlay"))
    for rule, dropped in _refusing(host, leaving, replace(leaving, protocol=UDP)):
        exception = inserted(rule, ("-p gre", "meta l4proto gre"))
        yield host.declared("control-dropped", host.plan.nic, f"GRE: {dropped.why}", exception)


def _refusing(host: HostScene, packet: PacketPattern, other: PacketPattern) -> Iterator[tuple[FirewallRule, Verdict]]:
    """The chains of the packets' way, each by its first rule, that drop the first and let the other one pass."""
    firewall, hooked = Firewall(host.firewall), ("prerouting", "input") if packet.incoming else ("output",)
    for dropped, passing in zip(firewall.verdicts(packet, *hooked), firewall.verdicts(other, *hooked), strict=True):
        if dropped.base and dropped.passes is False and passing.passes is not False:
            yield dropped.base, dropped


def reverse_path(host: HostScene) -> Iterator[Finding]:
    """A rule that drops packets whose source is routed elsewhere, whatever rp_filter is (RFC 3704)."""
    exception = f"-i {host.plan.device}", f'iifname "{host.plan.device}"'
    filtering = max(host.parameter("rp_filter", device) for device in ("all", host.plan.device))
    for rule in host.firewall:
        if not rule.drops or not _strict(rule) or excepted(host, rule, exception) or of_carrier(host, rule):
            continue
        yield host.declared(
            "reverse-path-rule",
            host.plan.device,
            f"{rule.quoted}; rp_filter is {filtering}",
            inserted(rule, exception),
        )


def _strict(rule: FirewallRule) -> bool:
    """Whether it is about sources that are routed by another device, and not about IPv6 alone."""
    fields = {one.field for one in rule.matches()}
    routed = [one for one in rule.matches() if one.field.startswith("fib saddr") and one.field.endswith(" iif oif")]
    missing = any(one.values in (("0",), ("False",)) and not one.negated for one in routed)
    strict = missing or ({"rpfilter", "--invert"} <= fields and "--loose" not in fields)
    return strict and rule.family != "ip6" and all("ip" in (one.values or ()) for one in rule.matches("ethertype"))


def _concerns(rule: FirewallRule) -> bool:
    """Whether it may take tunnel packets, or what is sent to groups and to everyone; what is TCP's is not."""
    version = "ip6" if rule.family == "ip6" else "ip"
    packets = [PacketPattern(number, kind=None, ethertype=version) for number in CONNECTIONLESS]
    return any(rule.takes(one) is not False for one in packets)


def _marked(scene: Scene, host: HostScene, rule: FirewallRule) -> Finding | None:
    outer = of_carrier(host, rule)
    marks = [value & one.mask for one in rule.sets("tos") for value, _ in one.values or () if one.mask & 3 == CONGESTED]
    congested = any(mark & CONGESTED == CONGESTED for mark in marks)
    if outer is not False and congested and any(one.stage == "decapsulation" for one in scene.losses):
        return host.declared("congestion-marked", host.plan.nic, rule.quoted, deleted(rule))
    if not scene.planned:
        return None
    return host.declared(
        "tos-rewritten", host.plan.device if outer is False else host.plan.nic, rule.quoted, deleted(rule)
    )


def _stateful(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """Tunnel packets are accepted only as ESTABLISHED: they are dropped when the host sends nothing."""
    lost = any(loss.stage == "decapsulation" and loss.node == host.name for loss in scene.losses)
    naming = [rule for rule in host.firewall if rule.matches("state") and of_carrier(host, rule)]
    if lost and not naming:  # another rule reports what is dropped in any state
        return
    # with ports, each direction is a flow of its own
    ported = tunnels.kind(scene.topology.options.kind).port
    when = "always" if ported else "when the host has sent none for 180 s"
    for peer in scene.topology.peers(host.name):
        unsolicited = tunnel_packet(scene, host, scene.hosts[peer].plan)
        for rule, dropped in _refusing(host, unsolicited, replace(unsolicited, state="established")):
            exception = inserted(rule, carrier(scene))
            yield host.declared(
                "stateful-only", host.plan.nic, f"{dropped.why}, except ESTABLISHED: dropped {when}", exception
            )
            return


def named(host: HostScene) -> Iterator[Finding]:
    """No rule that names them drops the packets of `codes.json`; those of the NIC alone are well as they are."""
    for name, code in CODES.items():
        for rule in host.firewall if code.dropped else ():
            if code.dropped and _drops(host, rule, code.dropped) and not excepted(host, rule, code.dropped.accept):
                place = host.plan.nic if code.dropped.of == "underlay" else host.plan.device
                fix = inserted(rule, code.dropped.accept)
                yield host.finding(name, place, f"{host.name}'s firewall {code.means}", rule.quoted, fix)


def _drops(host: HostScene, rule: FirewallRule, row: Dropped) -> bool:
    packet = row.packet
    if not rule.drops or not rule.names(**{row.field: getattr(packet, row.field)}):
        return False
    if row.of == "application":
        packet = replace(packet, incoming=host.plan.device)
    return rule.takes(packet) is not False and (row.of != "application" or "input" in hooks(host, rule))
