"""
Rules of firewalls whose text alone says what they do, which the trial does not show: IGMP that is dropped, a TTL that
is rewritten, a tunnel that is taken in only as an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lab.diagnose.rules.exceptions import (
    DROPPING,
    Rule,
    carrier,
    deleted,
    excepted,
    inserted,
    of_carrier,
    quoted,
    text_of,
)
from lab.diagnose.scene import HostScene, Scene
from lab.model import Finding

OF_IGMP = re.compile(r"\bigmp\b|-p 2\b")
SETS_TTL = re.compile(r"\bip6? (ttl|hoplimit) set\b")
IGMP = ("-p igmp", "ip protocol igmp")
SETS_DSCP = re.compile(r"\bip6? (dscp|ecn) set\b")
MAC_REWRITING = ("snat", "dnat", "redirect", "arpreply")
INCOMING = ("INPUT", "PREROUTING")


def by_text(scene: Scene) -> Iterator[Finding]:
    """Rules whose text says that they break something that the trial does not send."""
    for host in scene.hosts.values():
        for rule in host.firewall:
            dropping = rule.get("verdict") in DROPPING and OF_IGMP.search(text_of(rule))
            if dropping and not excepted(host, rule, IGMP):
                yield Finding(
                    "igmp-filtered",
                    host.name,
                    host.plan.device,
                    f"{host.name}'s firewall drops IGMP: bridges and routers that prune never hear of its groups",
                    quoted(rule),
                    inserted(rule, IGMP),
                    ("MCAST-04", "SNOOP-05"),
                )
            if rule.get("verdict") in ("TTL", "HL") or SETS_TTL.search(text_of(rule)):
                yield _rewritten(host, rule)
            if scene.planned and (rule.get("verdict") in ("TOS", "DSCP") or SETS_DSCP.search(text_of(rule))):
                yield _marked(host, rule)
            if rule.get("family") == "bridge" and rule.get("verdict") in MAC_REWRITING and rule.get("hits"):
                yield _bridged(host, rule)
        yield from _stateful(scene, host)


def _rewritten(host: HostScene, rule: Rule) -> Finding:
    outer = of_carrier(host, rule)
    way = "receives" if str(rule.get("hook") or rule.get("chain")).upper() in INCOMING else "sends"
    return Finding(
        "ttl-rewritten",
        host.name,
        host.plan.nic if outer else host.plan.device,
        f"{host.name}'s firewall rewrites the TTL of what {'carries the tunnel, as it' if outer else 'it'} {way}"
        + (" it" if outer else ""),
        quoted(rule),
        deleted(rule),
        ("WIRE-04", "TTL-05") if outer else ("MCAST-06",),
    )


def _marked(host: HostScene, rule: Rule) -> Finding:
    outer = of_carrier(host, rule)
    return Finding(
        "tos-rewritten",
        host.name,
        host.plan.device if outer is False else host.plan.nic,
        f"{host.name}'s firewall rewrites the TOS of what it sends, the tunnel's packets among it"
        if not outer
        else f"{host.name}'s firewall rewrites the TOS of what carries the tunnel",
        quoted(rule),
        deleted(rule),
        ("WIRE-05",),
    )


def _bridged(host: HostScene, rule: Rule) -> Finding:
    return Finding(
        "nat-rewrites",
        host.name,
        host.plan.device,
        f"{host.name}'s bridge filter rewrites the MAC addresses of what the bridge forwards",
        f"{quoted(rule)} ({rule.get('tool')}) matched {rule['hits']} packets during the trial",
        deleted(rule),
        ("HUB-02",),
    )


def _stateful(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """What carries the tunnel is taken in only as the answer to what was sent: it dies when the host is silent."""
    words = carrier(scene)[0]
    chain = [rule for rule in host.firewall if rule.get("chain") == "INPUT" and rule.get("table") == "filter"]
    own = [rule for rule in chain if words in text_of(rule) or "-p 47" in text_of(rule)]
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
            inserted(stateful[0], carrier(scene)),
            ("PRE-05",),
        )


RULES = (by_text,)
