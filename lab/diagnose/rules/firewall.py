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
from lab.model import Finding

DROPPING = ("DROP", "REJECT", "drop", "reject")
TERMINAL_SIZE = 100
CARRIERS = {
    "gretap": ("-p gre", "ip protocol gre"),
    "vxlan": ("-p udp --dport 4789", "udp dport 4789"),
    "ip6gretap": ("-p gre", "meta l4proto gre"),
}
Rule = Mapping[str, Any]


def dropped(scene: Scene) -> Iterator[Finding]:
    """A rule, or a chain's policy, that matched while something was lost there."""
    for host in scene.hosts.values():
        stages = _stages(scene, host)
        if not stages:
            continue
        accused = [rule for rule in host.firewall if rule.get("verdict") in DROPPING and rule.get("hits")]
        # rules that do not count can only be told as candidates, and only when none that counts was hit
        accused = accused or [
            rule for rule in host.firewall if rule.get("verdict") in DROPPING and rule.get("hits", 0) is None
        ]
        for rule in accused:
            accept = _match(scene, host, rule, stages)
            hits = "does not count" if rule["hits"] is None else f"matched {rule['hits']} packets during the trial"
            yield Finding(
                _code(rule, stages),
                host.name,
                _interface(scene, host, stages),
                f"{host.name}'s firewall drops {_what(stages)}",
                f"{quoted(rule)} ({rule.get('tool')}) {hits}",
                inserted(rule, accept),
                ("PRE-04",) if "forwarding" not in stages else ("PRE-06",),
            )


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
    carrier = CARRIERS.get(scene.topology.options.kind, CARRIERS["gretap"])[0]
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
            inserted(stateful[0], CARRIERS.get(scene.topology.options.kind, CARRIERS["gretap"])),
            ("PRE-05",),
        )


def _stages(scene: Scene, host: HostScene) -> set[str]:
    """What was not done at a host: the stages of the losses that are its own, `answering` for pings."""
    stages: set[str] = {loss.stage for loss in scene.losses if loss.node == host.name and loss.stage != "cloud"}
    for answers in scene.trial.pings:
        if host.name != answers.pinger and answers.counts.get(host.name, 0) == 0:
            stages.add("answering")
    for exchange in scene.trial.exchanges:
        if exchange.refused and exchange.sender == host.name:
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


def _code(rule: Rule, stages: set[str]) -> str:
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


def _interface(scene: Scene, host: HostScene, stages: set[str]) -> str:
    return (
        host.plan.nic
        if stages <= {"decapsulation", "encapsulation", "answering"} and len(stages) > ("answering" in stages)
        else host.plan.device
    )


def _match(scene: Scene, host: HostScene, rule: Rule, stages: set[str]) -> tuple[str, str]:
    """What has to be accepted, in the words of iptables and of nft."""
    chain = str(rule.get("chain"))
    hook = str(rule.get("hook") or chain).upper()
    device = host.plan.device
    if hook == "FORWARD":
        return ("-m physdev --physdev-is-bridged", f'iifname "{device}"')
    going_out = hook in ("OUTPUT", "POSTROUTING")
    carrier = stages & ({"encapsulation"} if going_out else {"decapsulation"})
    if carrier:
        return CARRIERS.get(scene.topology.options.kind, CARRIERS["gretap"])
    return (f"-o {device}", f'oifname "{device}"') if going_out else (f"-i {device}", f'iifname "{device}"')


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
