"""
Faults of IGMP snooping on the hub: multicast that is pruned in spite of members, or forwarded without any.

Bridges snoop by default, and prune only while there is a querier on any host.
"""

from __future__ import annotations

from lab.faults.actions import run
from lab.faults.places import hub_port, victim
from lab.faults.table import read
from lab.laboratory import BuiltLab
from lab.probes.host_state import snooping
from lab.stack.changes import filter_add

SOON = 10  # ticks until a new querier prunes; less would be a query of IGMPv1
# classic BPF (linux/filter.h): packets of IPv4 with the protocol IGMP are dropped
EATS_IGMP = ((0x30, 0, 0, 23), (0x15, 0, 1, 2), (0x06, 0, 0, 2), (0x06, 0, 0, 0))


def _another_querier(lab: BuiltLab) -> None:
    """A spoke sends queries like a multicast router: first so that the hub prunes at once, then in IGMPv2."""
    spoke = victim(lab)
    mac = spoke.node.link(spoke.plan.device).mac
    for version, code in ((3, 0), (2, 1)):
        spoke.send_frame(spoke.plan.device, snooping.query(mac, spoke.address(), version=version, code=code))


def _reports_not_received(lab: BuiltLab) -> None:
    """The hub is querier and prunes, and one spoke's reports are dropped before its bridge."""
    bridge = "ip link set {device} type bridge"
    # first the interval: a querier waits as long as it was then
    run(lab, lab.hub, [f"{bridge} mcast_query_response_interval {SOON}", f"{bridge} mcast_querier 1"])
    lab.hub.node.apply(filter_add(hub_port(lab), "ingress", program=EATS_IGMP, name="no reports"))


FAULTS = read(
    """\
reports-not-received: the hub forwards groups only to members, but does not receive the reports of one spoke
    red: MCAST-01; green: BCAST-01; finding: member-not-in-mdb at hub {port}
querier-elsewhere: a spoke is an IGMPv2 querier: the hub prunes, and hosts fall back to IGMPv2
    red: SNOOP-01 SNOOP-06; green: BCAST-01; finding: querier-elsewhere at spoke {device}; fix: none
snooping-off: the hub does not snoop
    hub: ip link set {device} type bridge mcast_snooping 0
    red: SNOOP-02 SNOOP-05; green: MCAST-01; finding: snooping-off at hub {device}
router-ports: the hub treats every port as a multicast router port
    # 2: always (bridge(8))
    hub: for port in {ports}; do bridge link set dev $port mcast_router 2 || exit; done
    red: SNOOP-02; green: MCAST-01; finding: router-port at hub {port}
group-table-full: the hub's group table has space for one group: with a second group, snooping stops
    hub: ip link set {device} type bridge mcast_hash_max 1
    red: SNOOP-02 SNOOP-05; green: MCAST-01; finding: group-table-small at hub {device}
memberships-expire: the hub's memberships expire before its next query
    # a second
    hub: ip link set {device} type bridge mcast_membership_interval 100
    red: SNOOP-03; green: MCAST-01; finding: memberships-expire at hub {device}
queries-filtered: the firewall of one node drops packets from 0.0.0.0, which is the source of a bridge's queries
    # martians, as many rule sets call them
    spoke: {iptables} -A INPUT -s 0.0.0.0/32 -j DROP
    red: SNOOP-04 SNOOP-06; green: MCAST-01 SNOOP-01; finding: queries-filtered at spoke {device}
    """,
    {
        "reports-not-received": _reports_not_received,
        "querier-elsewhere": _another_querier,
    },
)
