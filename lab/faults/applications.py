"""
Faults of applications: firewalls of hosts that let every test datagram through and one application's not.

They turn red what real programs show (`--applications`) and nothing else: the overlay itself is well.
"""

from __future__ import annotations

from lab.faults.fault import Fault, Named
from lab.faults.means import drops, of_all, of_hub, of_spoke
from lab.faults.places import hub_bridge, victim_device

WELL = ("BCAST-08", "MCAST-12")
ONE_IN = 10  # of the datagrams of a feed

FAULTS = (
    Fault(
        "dhcp-filtered",
        "the hub's firewall drops DHCP that comes through the tunnels",
        ("APP-01",),
        of_hub(drops("-p udp --dport 67")),
        greens=WELL,
        finding=Named("dhcp-filtered", hub_bridge),
    ),
    Fault(
        "mdns-filtered",
        "the firewalls of all hosts drop multicast DNS",
        ("APP-02",),
        of_all(drops("-p udp --dport 5353")),
        greens=WELL,
        finding=Named("mdns-filtered", hub_bridge),
    ),
    Fault(
        "vrrp-filtered",
        "the firewall of one spoke drops VRRP: it receives no other master's advertisements",
        ("APP-03", "APP-04"),
        of_spoke(drops("-p 112")),
        greens=WELL,
        finding=Named("vrrp-filtered", victim_device),
    ),
    Fault(
        "cluster-filtered",
        "the firewall of one spoke drops the datagrams of corosync",
        ("APP-05",),
        of_spoke(drops("-p udp --dport 5405")),
        greens=WELL,
        finding=Named("cluster-filtered", victim_device),
    ),
    Fault(
        "feed-thinned",
        "the firewall of one spoke drops one in ten datagrams to organization-local groups",
        ("APP-06",),
        of_spoke(drops(f"-p udp -d 239.0.0.0/8 -m statistic --mode nth --every {ONE_IN} --packet 0")),
        greens=("BCAST-01", "ICMP-01"),
        finding=Named("firewall-drops", victim_device),
    ),
)
