"""
Faults of applications: firewalls of hosts that let every test datagram through and one application's not.

They turn red what real programs show (`--applications`) and nothing else: the overlay itself is well.
"""

from __future__ import annotations

from lab.faults.fault import Fault
from lab.faults.means import drops, on_all, on_hub, on_one
from lab.faults.places import hub_bridge, named, victim_device
from lab.laboratory import BuiltLab

WELL = ("BCAST-08", "MCAST-12")
ONE_IN = 10  # of the datagrams of a feed


def _loses_some(lab: BuiltLab) -> None:
    lab.machine.load_modules("xt_statistic")
    some = ("-m", "statistic", "--mode", "nth", "--every", str(ONE_IN), "--packet", "0")
    on_one(drops("-p", "udp", "-d", "239.0.0.0/8", *some))(lab)


FAULTS = (
    Fault(
        "dhcp-filtered",
        "the hub's firewall drops DHCP that comes through the tunnels",
        ("APP-01",),
        on_hub(drops("-p", "udp", "--dport", "67")),
        greens=WELL,
        finding=named("dhcp-filtered", hub_bridge),
    ),
    Fault(
        "mdns-filtered",
        "the firewalls of all hosts drop multicast DNS",
        ("APP-02",),
        on_all(drops("-p", "udp", "--dport", "5353")),
        greens=WELL,
        finding=named("mdns-filtered", hub_bridge),
    ),
    Fault(
        "vrrp-filtered",
        "the firewall of one spoke drops VRRP: it hears no other master",
        ("APP-03", "APP-04"),
        on_one(drops("-p", "112")),
        greens=WELL,
        finding=named("vrrp-filtered", victim_device),
    ),
    Fault(
        "cluster-filtered",
        "the firewall of one spoke drops the datagrams of corosync",
        ("APP-05",),
        on_one(drops("-p", "udp", "--dport", "5405")),
        greens=WELL,
        finding=named("cluster-filtered", victim_device),
    ),
    Fault(
        "feed-thinned",
        "the firewall of one spoke drops one in ten datagrams to organization-local groups",
        ("APP-06",),
        _loses_some,
        greens=("BCAST-01", "ICMP-01"),
        finding=named("firewall-drops", victim_device),
    ),
)
