"""
Rules of applications: a host's firewall that drops one application's packets and lets all else through.

The trial sends none of them, so that a rule is accused by its text; one that speaks of the underlay's NIC alone is well
where it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lab.diagnose.rules import exceptions
from lab.diagnose.scene import HostScene, Scene
from lab.model import Finding
from lab.records import FirewallRule


@dataclass(frozen=True)
class Application:
    """What an application's packets look like in a rule, and what happens without them."""

    code: str
    pattern: str
    accept: tuple[str, str]
    """What has to be accepted, in the words of iptables and of nft."""
    consequence: str


APPLICATIONS = (
    Application(
        "dhcp-filtered",
        r"dport (67|bootps)\b",
        ("-p udp --dport 67", "udp dport 67"),
        "DHCP that clients send to it: a server there never hears them",
    ),
    Application(
        "mdns-filtered",
        r"dport (5353|mdns)\b",
        ("-p udp --dport 5353", "udp dport 5353"),
        "multicast DNS: it neither finds others nor is found",
    ),
    Application(
        "vrrp-filtered",
        r"(-p|protocol|l4proto) (112|vrrp)\b",
        ("-p 112", "meta l4proto 112"),
        "VRRP: it hears no other master and makes itself one",
    ),
    Application(
        "cluster-filtered",
        r"dport 5405\b",
        ("-p udp --dport 5405", "udp dport 5405"),
        "corosync's datagrams: it is no member of any cluster",
    ),
)


def filtered(scene: Scene) -> Iterator[Finding]:
    """A rule of what comes in that drops what an application lives on."""
    for host in scene.hosts.values():
        for rule in host.firewall:
            text = rule.rule
            if not _drops_from_overlay(host, rule, text):
                continue
            for application in APPLICATIONS:
                if re.search(application.pattern, text) and not exceptions.excepted(host, rule, application.accept):
                    yield host.finding(
                        application.code,
                        host.plan.device,
                        f"{host.name}'s firewall drops {application.consequence}",
                        exceptions.quoted(rule),
                        exceptions.inserted(rule, application.accept),
                    )


def _drops_from_overlay(host: HostScene, rule: FirewallRule, text: str) -> bool:
    incoming = (rule.hook or rule.chain).upper() == "INPUT"
    return incoming and rule.verdict in exceptions.DROPPING and host.plan.nic not in text.split()


RULES = (filtered,)
