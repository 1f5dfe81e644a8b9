"""
Faults of hosts in a cloud that delivers groups by itself, and of its multicast domain.

What a Transit Gateway does not take or deliver it drops without an error.
"""

from __future__ import annotations

from lab.faults.places import victim
from lab.faults.table import read
from lab.laboratory import BuiltLab
from lab.underlay.policy import to_groups_rule


def _not_associated(lab: BuiltLab) -> None:
    """The subnet of one host is in no multicast domain: neither its reports nor its datagrams get anywhere."""
    lab.cloud.set_rules(victim(lab).name, to_groups_rule())


FAULTS = read(
    """\
native-igmp-v3: one host reports by IGMPv3, as it does unless another version is forced
    spoke: sysctl -w net.ipv4.conf.{nic}.force_igmp_version=0
    red: NATIVE-01 MCAST-01; green: UNDER-01; finding: igmp-not-forced at spoke {nic}
    topology: native; tunnels: none
native-nic-mtu: one host's NIC has the MTU with which instances start, larger than packets to groups may be
    spoke: ip link set {nic} mtu 9001
    red: NATIVE-02 MCAST-01; finding: nic-mtu-over-groups at spoke {nic}; topology: native; tunnels: none
native-queries-filtered: the firewall of one host drops packets from 0.0.0.0, the source of the cloud's queries
    spoke: {iptables} -A INPUT -s 0.0.0.0/32 -j DROP
    red: NATIVE-03; green: NATIVE-01 MCAST-01; finding: queries-filtered at spoke {device}
    topology: native; tunnels: none
native-reports-filtered: the firewall of one host drops the reports that it sends
    spoke: {iptables} -A OUTPUT -p igmp -j DROP
    red: NATIVE-01 MCAST-01; finding: igmp-filtered at spoke {device}; topology: native; tunnels: none
native-route-missing: one host has neither a route for groups nor a default route
    spoke: ip route del {groups} dev {nic} && ip route del default
    red: MCAST-08; finding: multicast-route-missing at spoke {nic}; topology: native; tunnels: none
native-not-associated: the cloud's multicast domain does not have the subnet of one host
    red: NATIVE-01 MCAST-01; green: UNDER-01; finding: subnet-not-in-domain at cloud {spoke}
    topology: native; tunnels: none; spokes: 3; fix: none
    """,
    {"native-not-associated": _not_associated},
)
