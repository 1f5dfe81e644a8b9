"""
Rules of the hosts' own firewalls: which rule ate it, by its counter, and what to put before it.

A rule is accused only when it matched during the trial and something was lost at that host, or when its text alone
says what it does (IGMP, TTL, GRE in state ESTABLISHED only).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lab.diagnose.scene import HostScene, Scene
from lab.diagnose.trial import Exchange
from lab.model import Finding
from lab.overlay import ip6gretap
from lab.overlay.carrier import carrier_of

DROPPING = ("DROP", "REJECT", "drop", "reject", "NFQUEUE", "QUEUE", "queue")  # nobody who listens to a queue is known
REWRITING = ("SNAT", "DNAT", "MASQUERADE", "REDIRECT", "NETMAP", "masquerade", "snat", "dnat", "redirect")
TERMINAL_SIZE = 100
PARTICULAR = re.compile(r"(?:^|\s)-[piosd]\s|ip protocol|dport|[io]ifname")  # a match on what it is or where
PLACE = ("tool", "family", "table")
INBOUND = frozenset({"decapsulation", "delivery", "answering"})
OUTBOUND = frozenset({"encapsulation", "sending", "answering"})
BRIDGED = frozenset({"forwarding", "delivery", "sending", "answering"})
# what a packet is in the middle of at each hook; what a bridge forwards passes some too (br_netfilter)
STAGES = {
    "INGRESS": INBOUND | {"forwarding"},
    "PREROUTING": INBOUND | {"forwarding"},
    "INPUT": INBOUND,
    "FORWARD": frozenset({"forwarding"}),
    "OUTPUT": OUTBOUND,
    "POSTROUTING": OUTBOUND | {"forwarding"},
    "EGRESS": OUTBOUND | {"forwarding"},
}
Rule = Mapping[str, Any]


def dropped(scene: Scene) -> Iterator[Finding]:
    """A rule, or a chain's policy, that matched while something was lost there, in the direction of its hook."""
    for host in scene.hosts.values():
        stages = _stages(scene, host)
        dropping = [rule for rule in host.firewall if rule.get("verdict") in (*DROPPING, *REWRITING)]
        at_fault = [(rule, stages & _possible(host, rule)) for rule in dropping] if stages else []
        accused = [(rule, own) for rule, own in at_fault if own and _matched(scene, host, rule)]
        # rules that do not count can only be told as candidates, and only when none that counts was hit
        accused = accused or [(rule, own) for rule, own in at_fault if own and rule.get("hits", 0) is None]
        for rule, own in accused:
            hits = "does not count" if rule["hits"] is None else f"matched {rule['hits']} packets during the trial"
            yield Finding(
                _code(rule, own),
                host.name,
                _interface(host, own),
                f"{host.name}'s firewall {'rewrites' if rule.get('verdict') in REWRITING else 'drops'} {_what(own)}",
                f"{quoted(rule)} ({rule.get('tool')}) {hits}",
                " && ".join(inserted(rule, accept) for accept in _accepting(scene, host, rule, own)),
                ("PRE-04",) if "forwarding" not in own else ("PRE-06",),
            )


def _possible(host: HostScene, rule: Rule) -> frozenset[str]:
    """The stages that a rule can end: those of the hooks that its chain is reached from."""
    if rule.get("family") == "bridge" or str(rule.get("tool")).startswith("ebtables"):
        return BRIDGED
    return frozenset().union(*(STAGES.get(hook, frozenset()) for hook in _hooks(host, rule, set())))


def _hooks(host: HostScene, rule: Rule, seen: set[str]) -> set[str]:
    """The hooks that a rule's chain hangs on, or those of the chains that jump to it."""
    chain = str(rule.get("chain"))
    own = str(rule.get("hook") or chain).upper()
    if own in STAGES or chain in seen:
        return {own}
    same = [one for one in host.firewall if [one.get(key) for key in PLACE] == [rule.get(key) for key in PLACE]]
    callers = [one for one in same if one.get("verdict") == chain]
    return set().union(*(_hooks(host, one, seen | {chain}) for one in callers))


def _matched(scene: Scene, host: HostScene, rule: Rule) -> bool:
    """Whether a rule dropped more than the trial's own control packets, which a closed host refuses by right."""
    refused = sum(
        len(exchange.lost(host.name))
        for exchange in scene.trial.of("unicast", "underlay")
        if host.name in exchange.receivers
    )
    return bool(rule.get("hits")) and int(rule["hits"]) > refused


def by_text(scene: Scene) -> Iterator[Finding]:
    """Rules whose text says that they break something that the trial does not send."""
    for host in scene.hosts.values():
        for rule in host.firewall:
            text = str(rule.get("rule") or "")
            if rule.get("verdict") in DROPPING and re.search(r"\bigmp\b|-p 2\b", text):
                yield Finding(
                    "igmp-filtered",
                    host.name,
                    host.plan.device,
                    f"{host.name}'s firewall drops IGMP: bridges and routers that prune never hear of its groups",
                    quoted(rule),
                    inserted(rule, ("-p igmp", "ip protocol igmp")),
                    ("MCAST-04", "SNOOP-05"),
                )
            if rule.get("verdict") in ("TTL", "HL"):
                yield Finding(
                    "ttl-rewritten",
                    host.name,
                    host.plan.device,
                    f"{host.name}'s firewall rewrites the TTL of what it receives",
                    quoted(rule),
                    _delete(rule),
                    ("MCAST-06",),
                )
        yield from _stateful(scene, host)


def _stateful(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """What carries the tunnel is taken in only as the answer to what was sent: it dies when the host is silent."""
    carrier = _carrier(scene)[0]
    chain = [rule for rule in host.firewall if rule.get("chain") == "INPUT" and rule.get("table") == "filter"]
    own = [rule for rule in chain if carrier in str(rule.get("rule")) or "-p 47" in str(rule.get("rule"))]
    accepting = [rule for rule in own if rule.get("verdict") == "ACCEPT"]
    stateful = [rule for rule in accepting if "ESTABLISHED" in str(rule["rule"]) and "NEW" not in str(rule["rule"])]
    refusing = [rule for rule in chain if rule.get("verdict") in DROPPING]
    if stateful and len(stateful) == len(accepting) and refusing:
        yield Finding(
            "stateful-only",
            host.name,
            host.plan.nic,
            f"{host.name}'s firewall takes the tunnel's packets only as answers: after 180 s of its silence none",
            f"{quoted(stateful[0])}, then {quoted(refusing[-1])}",
            inserted(stateful[0], _carrier(scene)),
            ("PRE-05",),
        )


def _stages(scene: Scene, host: HostScene) -> set[str]:
    """What was not done at a host: the stages of the losses that are its own, `answering` for pings."""
    stages: set[str] = {loss.stage for loss in scene.losses if loss.node == host.name and loss.stage != "cloud"}
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
    if any(stream.refused and host.name in (stream.client, stream.server) for stream in scene.trial.streams):
        stages |= {"delivery", "sending"}
    for exchange in scene.trial.exchanges:
        if exchange.sender == host.name and (exchange.refused or _disguised(host, exchange)):
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


def _code(rule: Rule, stages: set[str]) -> str:
    if rule.get("verdict") in REWRITING:
        return "nat-rewrites"
    if "forwarding" in stages and rule.get("chain") == "FORWARD":
        return "bridged-dropped"
    if stages & {"decapsulation", "encapsulation"} and not stages & {"delivery"}:
        return "carrier-dropped"
    return "firewall-drops"


def _what(stages: set[str]) -> str:
    words = {
        "decapsulation": "what carries the tunnel, as it comes in",
        "encapsulation": "what carries the tunnel, as it goes out",
        "forwarding": "what the bridge forwards",
        "delivery": "what came out of the tunnel",
        "sending": "what it sends into the overlay",
        "answering": "echo requests or their answers",
    }
    return " and ".join(words[stage] for stage in words if stage in stages)


def _interface(host: HostScene, stages: set[str]) -> str:
    carried = stages & {"decapsulation", "encapsulation"}
    return host.plan.nic if carried and stages <= {*carried, "answering"} else host.plan.device


def _accepting(scene: Scene, host: HostScene, rule: Rule, stages: set[str]) -> Iterator[tuple[str, str]]:
    """What has to be accepted, for iptables and for nft; of a rule that takes all, both sides of a tunnel."""
    hooks = _hooks(host, rule, set())
    device = host.plan.device
    if hooks == {"FORWARD"}:
        yield ("-m physdev --physdev-is-bridged", f'iifname "{device}"')
        return
    if stages == {"answering"}:
        yield ("-p icmp", "ip protocol icmp")  # by lo too, on which a host answers itself
        return
    going_out = hooks <= {"OUTPUT", "POSTROUTING", "EGRESS"}
    carried = stages & ({"encapsulation"} if going_out else {"decapsulation"})
    if carried:
        yield _carrier(scene)
    if not carried or not PARTICULAR.search(str(rule.get("rule") or "")):
        yield (f"-o {device}", f'oifname "{device}"') if going_out else (f"-i {device}", f'iifname "{device}"')


def _carrier(scene: Scene) -> tuple[str, str]:
    """What carries the tunnels, for iptables and for nft."""
    kind = scene.topology.options.kind
    carrier = carrier_of(kind, ())
    # nft's `ip protocol` speaks of IPv4 alone
    return carrier.iptables, "meta l4proto gre" if kind == ip6gretap.KIND else carrier.nft


def inserted(rule: Rule, match: tuple[str, str]) -> str:
    """The command that puts an exception before a rule; `match` in the words of iptables and of nft."""
    tool = str(rule.get("tool"))
    if tool == "nft":
        return f"nft insert rule {rule.get('family')} {rule.get('table')} {rule.get('chain')} {match[1]} accept"
    if tool.startswith("ebtables"):
        return f"{tool} -t {rule.get('table')} -I {rule.get('chain')} -j ACCEPT"
    return f"{tool} -t {rule.get('table')} -I {rule.get('chain')} {match[0]} -j ACCEPT"


def _delete(rule: Rule) -> str:
    return f"{rule.get('tool')} -t {rule.get('table')} -D {rule.get('chain')} {rule.get('rule')}"


def quoted(rule: Rule) -> str:
    """The rule as evidence: its table, its chain and its own words."""
    text = str(rule.get("rule") or "")
    said = f"-A {rule.get('chain')} {text}" if text else f"policy {rule.get('verdict')} of {rule.get('chain')}"
    return f"{rule.get('table')}: {said}"[: TERMINAL_SIZE * 2]


RULES = (dropped, by_text)
