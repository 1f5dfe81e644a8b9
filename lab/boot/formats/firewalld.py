"""
firewalld: a policy that accepts tunnel packets of the other hosts, and a zone for the overlay's device.

A policy of a negative priority comes before the zones, so that no zone of the host's is written (firewalld 0.9).
Sources: firewalld.policy(5), firewalld.zone(5), firewalld.richlanguage(5).
"""

from __future__ import annotations

from lab import tunnels
from lab.boot.common import Files, head
from lab.model import NodePlan, Topology

FOLDER, ZONE, POLICY = "/etc/firewalld", "overlay", "overlay-tunnels"  # of one name they conflict
ANSWERS = "firewall-cmd --permanent --direct --add-rule ipv4 raw PREROUTING 0 -i {device} -p icmp -j CT --notrack"
"""An answer to a broadcast ping belongs to no connection: firewalld drops it as invalid before its zones."""
RELOAD = "firewall-cmd --reload"


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
