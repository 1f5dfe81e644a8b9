"""
Rules of firewalls that name what they drop: a row for each, whatever else the trial sends.

The trial sends none of an application's packets, so that a rule is accused by what it matches; one that names the
underlay's NIC alone is well where it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lab.clouds import UDP
from lab.diagnose.codes import CODES
from lab.diagnose.rules.firewall_exceptions import IGMP, excepted, hooks, inserted, quoted
from lab.diagnose.scene import HostScene
from lab.firewall.matches import PacketPattern
from lab.firewall.rules import FirewallRule
from lab.model import Finding


@dataclass(frozen=True)
class Dropped:
    """A packet, and the field of it that a rule must name that drops it (`codes.json` names the code)."""

    code: str
    packet: PacketPattern
    field: str
    accept: tuple[str, str]
    """What has to be accepted, in the words of iptables and of nft."""
    of: str = "application"
    """`application`: only what comes in on the overlay counts; `underlay`: the finding is at the NIC."""


DROPPED = (
    Dropped("dhcp-filtered", PacketPattern(UDP, port=67), "port", ("-p udp --dport 67", "udp dport 67")),
    Dropped("mdns-filtered", PacketPattern(UDP, port=5353), "port", ("-p udp --dport 5353", "udp dport 5353")),
    Dropped("vrrp-filtered", PacketPattern(112), "protocol", ("-p 112", "meta l4proto 112")),
    Dropped("cluster-filtered", PacketPattern(UDP, port=5405), "port", ("-p udp --dport 5405", "udp dport 5405")),
    Dropped("queries-filtered", PacketPattern(source="0.0.0.0"), "source", IGMP, ""),
    Dropped(
        "pmtu-icmp-filtered",
        PacketPattern(1, icmp="3/4"),
        "icmp",
        ("-p icmp --icmp-type 3/4", "icmp type destination-unreachable icmp code frag-needed"),
        "underlay",
    ),
)


def named(host: HostScene) -> Iterator[Finding]:
    """No rule drops what a row names."""
    for row in DROPPED:
        for rule in host.firewall:
            if _drops(host, rule, row) and not excepted(host, rule, row.accept):
                yield host.finding(
                    row.code,
                    host.plan.nic if row.of == "underlay" else host.plan.device,
                    f"{host.name}'s firewall {CODES[row.code].means}",
                    quoted(rule),
                    inserted(rule, row.accept),
                )


def _drops(host: HostScene, rule: FirewallRule, row: Dropped) -> bool:
    packet = row.packet
    if not rule.drops or not rule.names(**{row.field: getattr(packet, row.field)}):
        return False
    if row.of == "application":
        packet = replace(packet, incoming=host.plan.device)
    return rule.takes(packet) is not False and (row.of != "application" or "INPUT" in hooks(host, rule))


RULES = (named,)
