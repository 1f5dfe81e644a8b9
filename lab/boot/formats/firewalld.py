"""
firewalld: a policy that accepts tunnel packets of the other hosts, a zone for the overlay's device, and what is lost.

A policy of a negative priority comes before the zones, so that no zone of the host's is written (firewalld 0.9).
Sources: firewalld.policy(5), firewalld.zone(5), firewalld.richlanguage(5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lab import tunnels
from lab.boot.common import Files, head
from lab.model import Finding, NodePlan, Topology

FOLDER, ZONE, POLICY = "/etc/firewalld", "overlay", "overlay-tunnels"  # of one name they conflict
ANSWERS = "firewall-cmd --permanent --direct --add-rule ipv4 raw PREROUTING 0 -i {device} -p icmp -j CT --notrack"
"""An answer to a broadcast ping belongs to no connection: firewalld drops it as invalid before its zones."""
RELOAD = "firewall-cmd --reload"
OPTIONS = {"protocols": "protocol", "ports": "port", "interfaces": "interface", "rich rules": "rich-rule"}
LISTED = "firewall-cmd --list-all-zones; firewall-cmd --permanent --list-all-zones"


def files(topology: Topology, node: NodePlan) -> Files:
    """The files of a host, by path."""
    peers = [topology.node(peer).endpoint for peer in topology.peers(node.name)]
    rules = "".join(_rule(topology, peer) for peer in peers)
    policy = (
        '<policy priority="-1" target="CONTINUE">\n'
        '  <ingress-zone name="ANY"/>\n  <egress-zone name="HOST"/>\n'
        f"{rules}</policy>\n"
    )
    zone = f'<zone target="ACCEPT">\n  <interface name="{node.device}"/>\n</zone>\n'
    return {
        f"{FOLDER}/policies/{POLICY}.xml": _head("accepts tunnel packets (firewalld.policy(5))") + policy,
        f"{FOLDER}/zones/{ZONE}.xml": _head("accepts what the overlay delivers (firewalld.zone(5))") + zone,
    }


def start(node: NodePlan) -> str:
    """What takes the files into use."""
    return f"{ANSWERS.format(device=node.device)} && {RELOAD}"


def _head(what: str) -> str:
    comment = head(what).removeprefix("# ").rstrip().replace("--", "-")
    return f'<?xml version="1.0" encoding="utf-8"?>\n<!-- {comment} -->\n'


def _rule(topology: Topology, peer: str) -> str:
    kind = tunnels.kind(topology.options.kind)
    family = "ipv6" if kind.over_ipv6 else "ipv4"
    what = f'<port port="{topology.options.port}" protocol="udp"/>' if kind.port else '<protocol value="gre"/>'
    return f'  <rule family="{family}">\n    <source address="{peer}"/>\n    {what}\n    <accept/>\n  </rule>\n'


def lost(topology: Topology, node: NodePlan, firewall: Mapping[str, Any]) -> Iterator[Finding]:
    """What firewalld accepts of the overlay until its next start only; `firewall` is from `agent.firewalld.read`."""
    permanent = [tuple(entry) for entry in firewall["permanent"]]
    kind, devices = tunnels.kind(topology.options.kind), topology.devices(node.name)
    carried = {f"{topology.options.port}/udp"} if kind.port else {"gre", "47"}
    in_rules = [f'port="{topology.options.port}"'] if kind.port else ['value="gre"', 'value="47"']
    for zone, what, value in map(tuple, firewall["runtime"]):
        concerned = value in {*carried, *devices} or (what == "rich rules" and any(one in value for one in in_rules))
        if what not in OPTIONS or not concerned or (zone, what, value) in permanent:
            continue
        # a manager assigns its interfaces at each start
        if what == "interfaces" and not any(entry[0] == zone for entry in permanent):
            continue
        summary = f"firewalld has {OPTIONS[what]} {value} in {zone} at runtime only: lost at the next boot or reload"
        where = "--policy" if zone == POLICY else "--zone"
        fix = f"sudo firewall-cmd --permanent {where}={zone} --add-{OPTIONS[what]}='{value}'"
        which = f"{zone} {value}"
        yield Finding("firewall-lost-at-boot", node.name, "", summary, LISTED, fix, ("BOOT-05",), rule=which)
