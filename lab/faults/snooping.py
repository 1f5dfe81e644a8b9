"""
Faults of IGMP snooping on the hub: multicast that is pruned in spite of members, or forwarded without any.

Bridges snoop by default, and prune only while there is a querier on any host.
"""

from __future__ import annotations

from lab.changes import filter_add
from lab.faults.fault import Fault, Named
from lab.faults.means import every_port, of_hub, of_spoke
from lab.faults.places import hub_bridge, hub_port, victim, victim_device
from lab.laboratory import BuiltLab
from lab.probes import snooping

ALWAYS_A_ROUTER = 2  # mcast_router (bridge(8))
SOON = 10  # ticks until a new querier prunes; less would be a query of IGMPv1
# classic BPF (linux/filter.h): packets of IPv4 with the protocol IGMP are dropped
EATS_IGMP = ((0x30, 0, 0, 23), (0x15, 0, 1, 2), (0x06, 0, 0, 2), (0x06, 0, 0, 0))
A_SECOND = 100  # ticks of the bridge's clock


def _another_querier(lab: BuiltLab) -> None:
    """A spoke sends queries like a multicast router: first so that the hub prunes at once, then in IGMPv2."""
    spoke = victim(lab)
    mac = spoke.node.link(spoke.plan.device).mac
    for version, code in ((3, 0), (2, 1)):
        spoke.send_frame(spoke.plan.device, snooping.query(mac, spoke.address(), version=version, code=code))


def _reports_eaten(lab: BuiltLab) -> None:
    """The hub is querier and prunes, and one spoke's reports are dropped before its bridge."""
    name, port = hub_port(lab)
    bridge = "ip link set {device} type bridge"
    # first the interval: a querier waits as long as it was then
    of_hub(f"{bridge} mcast_query_response_interval {SOON}", f"{bridge} mcast_querier 1")(lab)
    lab.nodes[name].apply(filter_add(port, "ingress", program=EATS_IGMP, name="no reports"))


FAULTS = (
    Fault(
        "reports-eaten",
        "the hub prunes, and the reports of one spoke do not get to it",
        ("MCAST-01",),
        _reports_eaten,
        greens=("BCAST-01",),
        finding=Named("member-not-in-mdb", hub_port),
    ),
    Fault(
        "querier-elsewhere",
        "a spoke is an IGMPv2 querier: the hub prunes, and hosts fall back to IGMPv2",
        ("SNOOP-01", "SNOOP-06"),
        _another_querier,
        greens=("BCAST-01",),
        finding=Named("querier-elsewhere", victim_device),
        fixable=False,
    ),
    Fault(
        "snooping-off",
        "the hub does not snoop",
        ("SNOOP-02", "SNOOP-05"),
        of_hub("ip link set {device} type bridge mcast_snooping 0"),
        greens=("MCAST-01",),
        finding=Named("snooping-off", hub_bridge),
    ),
    Fault(
        "router-ports",
        "the hub takes every spoke for a multicast router",
        ("SNOOP-02",),
        every_port(mcast_router=ALWAYS_A_ROUTER),
        greens=("MCAST-01",),
        finding=Named("router-port", hub_port),
    ),
    Fault(
        "group-table-full",
        "the hub has room for one group, and stops snooping at the second",
        ("SNOOP-02", "SNOOP-05"),
        of_hub("ip link set {device} type bridge mcast_hash_max 1"),
        greens=("MCAST-01",),
        finding=Named("group-table-small", hub_bridge),
    ),
    Fault(
        "memberships-expire",
        "the hub's memberships expire before its next query",
        ("SNOOP-03",),
        of_hub(f"ip link set {{device}} type bridge mcast_membership_interval {A_SECOND}"),
        greens=("MCAST-01",),
        finding=Named("memberships-expire", hub_bridge),
    ),
    Fault(
        "queries-filtered",
        "the firewall of one node drops packets from 0.0.0.0, the source of a bridge's queries",
        ("SNOOP-04", "SNOOP-06"),
        # martians, as many rule sets call them
        of_spoke("{iptables} -A INPUT -s 0.0.0.0/32 -j DROP"),
        greens=("MCAST-01", "SNOOP-01"),
        finding=Named("queries-filtered", victim_device),
    ),
)
