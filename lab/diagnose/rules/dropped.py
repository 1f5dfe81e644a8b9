"""
Rules of firewalls that name what they drop: a row for each, whatever else the trial sends.

The trial sends none of an application's packets, so that a rule is accused by its text; one that names the underlay's
NIC alone is well where it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lab.diagnose.codes import CODES
from lab.diagnose.rules.firewall_exceptions import IGMP, dropping, inserted, quoted
from lab.diagnose.scene import HostScene, Scene
from lab.model import Finding
from lab.records import FirewallRule


@dataclass(frozen=True)
class Dropped:
    """What packets look like in the text of a rule that drops them (`codes.json` names them)."""

    code: str
    words: str
    accept: tuple[str, str]
    """What has to be accepted, in the words of iptables and of nft."""
    of: str = ""
    """`application`: only what comes in on the overlay counts; `underlay`: the finding is at the NIC."""


DROPPED = (
    Dropped("dhcp-filtered", r"dport (67|bootps)\b", ("-p udp --dport 67", "udp dport 67"), "application"),
    Dropped("mdns-filtered", r"dport (5353|mdns)\b", ("-p udp --dport 5353", "udp dport 5353"), "application"),
    Dropped("vrrp-filtered", r"(-p|protocol|l4proto) (112|vrrp)\b", ("-p 112", "meta l4proto 112"), "application"),
    Dropped("cluster-filtered", r"dport 5405\b", ("-p udp --dport 5405", "udp dport 5405"), "application"),
    Dropped("queries-filtered", r"(-s|saddr) 0\.0\.0\.0(/32)?( |$)", IGMP),
    Dropped(
        "pmtu-icmp-filtered",
        r"icmp.*(3/4|fragmentation-needed|frag-needed)",
        ("-p icmp --icmp-type 3/4", "icmp type destination-unreachable icmp code frag-needed"),
        "underlay",
    ),
)


def named(scene: Scene) -> Iterator[Finding]:
    """No rule drops what a row names."""
    for host in scene.hosts.values():
        for row in DROPPED:
            for rule in dropping(host, re.compile(row.words), row.accept):
                if row.of != "application" or _comes_in(host, rule):
                    yield host.finding(
                        row.code,
                        host.plan.nic if row.of == "underlay" else host.plan.device,
                        f"{host.name}'s firewall {CODES[row.code].means}",
                        quoted(rule),
                        inserted(rule, row.accept),
                    )


def _comes_in(host: HostScene, rule: FirewallRule) -> bool:
    return (rule.hook or rule.chain).upper() == "INPUT" and host.plan.nic not in rule.rule.split()


RULES = (named,)
