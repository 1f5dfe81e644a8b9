"""
Faults of delivery: what stops broadcast, broadcast ping or multicast on an overlay whose tunnels are in order.

Most of them leave unicast alone, or all nodes but one, which is why they are found late.
"""

from __future__ import annotations

from lab import groups
from lab.faults.places import victim
from lab.faults.table import read
from lab.laboratory import BuiltLab

MOST_JOINED = 20  # memberships of one socket (igmp_max_memberships)


def _has_another_member(lab: BuiltLab) -> None:
    """Another process of a host is a member of the tests' groups; its sockets live as long as the machine's agent."""
    given = groups.given()
    for first in range(0, len(given), MOST_JOINED):
        victim(lab).member().__enter__().join(*given[first : first + MOST_JOINED], wait=True)


FAULTS = read(
    """\
multicast-route-narrow: the article's 224.0.0.0/8 is routed to the overlay instead of the whole range
    all: ip route del {groups} dev {device} && ip route add 224.0.0.0/8 dev {device}
    red: MCAST-08; green: MCAST-01; finding: multicast-route-narrow at hub {device}
multicast-route-missing: one node has no multicast route to the overlay
    spoke: ip route del {groups} dev {device}
    red: MCAST-01 MCAST-06 MCAST-08 MCAST-11; green: BCAST-01; finding: multicast-route-missing at spoke {device}
prefix-too-long: one node has a longer prefix, and thus another broadcast address
    # the same neighbours, another broadcast address; the last address takes the routes with it
    spoke: ip addr del {overlay} dev {device} && ip addr add {own}/25 dev {device}
    spoke: ip route add {groups} dev {device}
    red: BCAST-01 BCAST-02 BCAST-07 ICMP-01; green: MCAST-01; finding: prefix-mismatch at spoke {device}
default-by-overlay: one node's default route leads into the overlay
    spoke: ip route del default dev {nic} && ip route add default dev {device}
    red: BCAST-03; green: BCAST-01; finding: default-by-overlay at spoke {device}
hub-address-on-tunnel: the hub's overlay address is on a tunnel device instead of the bridge
    # as if the hub were set up like a spoke: the address and the route are on a port of the bridge
    hub: ip addr del {overlay} dev {device} && ip addr add {overlay} dev {port}
    hub: ip route add {groups} dev {port}
    red: BCAST-02 BCAST-08 ICMP-01 MCAST-01; finding: hub-address-missing at hub {device}
broadcast-not-flooded: one port of the hub does not flood broadcast
    hub: bridge link set dev {port} bcast_flood off
    red: BCAST-01 BCAST-03 BCAST-06 BCAST-08 ICMP-01 ICMP-03; finding: broadcast-not-flooded at hub {port}
multicast-not-flooded: one port of the hub does not flood multicast, 224.0.0.x included
    hub: bridge link set dev {port} mcast_flood off
    red: MCAST-01 MCAST-03 MCAST-07 MCAST-08 MCAST-12 ICMP-05 SNOOP-01 SNOOP-06; green: BCAST-01
    finding: multicast-not-flooded at hub {port}
broadcast-ping-ignored: one node ignores echo requests to broadcast and multicast (the default of Linux)
    spoke: sysctl -w net.ipv4.icmp_echo_ignore_broadcasts=1
    red: ICMP-01 ICMP-02 ICMP-03 ICMP-04 ICMP-05; green: BCAST-01; finding: broadcast-ping-ignored at spoke
arp-unanswered: one node does not answer ARP
    # 8: never answer (ip-sysctl.rst)
    spoke: sysctl -w net.ipv4.conf.{device}.arp_ignore=8
    red: BCAST-08; finding: arp-unanswered at spoke {device}
broadcast-filtered: the firewall of one node drops broadcast that came through the tunnel
    spoke: {iptables} -A INPUT -i {device} -m pkttype --pkt-type broadcast -j DROP
    red: BCAST-01 BCAST-02 BCAST-03 BCAST-04 BCAST-06 ICMP-01 ICMP-06 FAULT-08; green: MCAST-01
    finding: firewall-drops at spoke {device}
multicast-filtered: the firewall of one node drops multicast that came through the tunnel
    spoke: {iptables} -A INPUT -i {device} -d 224.0.0.0/4 -j DROP
    red: MCAST-01 MCAST-03 MCAST-05 MCAST-06 MCAST-10 MCAST-12 ICMP-05; green: BCAST-01
    finding: firewall-drops at spoke {device}
one-port-filtered: the firewall of one node drops all datagrams to one UDP port
    spoke: {iptables} -A INPUT -p udp --dport 5007 -j DROP
    red: BCAST-01 MCAST-01; green: BCAST-02; finding: firewall-drops at spoke {device}
one-group-filtered: the firewall of one node drops one group's packets from the tunnel
    spoke: {iptables} -A INPUT -i {device} -d 239.77.1.2 -j DROP
    red: MCAST-08; green: BCAST-01 MCAST-01; finding: firewall-drops at spoke {device}
one-size-filtered: the firewall of one node drops packets of some lengths, smaller than the MTU
    spoke: {iptables} -A INPUT -i {device} -m length --length 700:800 -j DROP
    red: BCAST-01 MCAST-01; green: BCAST-02; finding: firewall-drops at spoke {device}
ping-stateful: the firewall of one node accepts only established ICMP: it drops broadcast pings, and answers to its own
    spoke: {iptables} -A INPUT -p icmp -m conntrack ! --ctstate ESTABLISHED -j DROP
    red: ICMP-01 ICMP-05; green: BCAST-01; finding: firewall-drops at spoke {device}
igmp-filtered: the firewall of one node drops the IGMP that it sends
    spoke: {iptables} -A OUTPUT -p igmp -j DROP
    red: MCAST-04 MCAST-05 SNOOP-05; green: BCAST-01; finding: igmp-filtered at spoke {device}
igmp-not-accepted: the firewall of one node accepts UDP, TCP and ICMP, and no IGMP from queriers
    # a policy of DROP, and rules for the protocols that come to mind: no rule names IGMP
    spoke: for each in udp tcp icmp gre; do {iptables} -A INPUT -p $each -j ACCEPT || exit; done
    spoke: {iptables} -P INPUT DROP
    red: PRE-04 SNOOP-04; green: BCAST-01 MCAST-01 MCAST-04; finding: igmp-filtered at spoke {device}
igmp-not-sent: the firewall of one node lets UDP, TCP and ICMP leave, but drops its IGMP reports
    spoke: for each in udp tcp icmp gre; do {iptables} -A OUTPUT -p $each -j ACCEPT || exit; done
    spoke: {iptables} -P OUTPUT DROP
    red: MCAST-04 SNOOP-05; green: BCAST-01 PRE-04; finding: igmp-filtered at spoke {device}
igmp-v2-forced: one node uses only IGMPv2, which does not support source filters
    spoke: sysctl -w net.ipv4.conf.all.force_igmp_version=2
    red: MCAST-04 MCAST-05; green: BCAST-01; finding: igmp-version-forced at spoke {device}
ttl-rewritten: one node rewrites the TTL of what it receives
    spoke: {iptables} -t mangle -A INPUT -i {device} -j TTL --ttl-set 64
    red: BCAST-01 BCAST-02 MCAST-06; finding: ttl-rewritten at spoke {device}
memberships-limited: a socket of one node may join ten groups only
    spoke: sysctl -w net.ipv4.igmp_max_memberships=10
    red: MCAST-09 MCAST-13; green: MCAST-01; finding: memberships-limited at spoke
member-additional: another process of one node is a member of the group under test
    red: MCAST-02; green: BCAST-01; finding: member-additional at spoke {device}; fix: none
    """,
    {
        "member-additional": _has_another_member,
    },
)
