"""
Faults of delivery: what stops broadcast, broadcast ping or multicast on an overlay whose tunnels are in order.

Most of them leave unicast alone, or all nodes but one, which is why they are found late.
"""

from __future__ import annotations

from lab import groups
from lab.faults.fault import Fault, Inject, Named
from lab.faults.means import drops, of_all, of_hub, of_spoke
from lab.faults.places import hub_bridge, hub_port, victim, victim_device, victim_itself
from lab.laboratory import BuiltLab
from lab.model import MULTICAST
from lab.overlay.readback import BROADCAST_PING

GROUPS = "ip route add {groups} dev {device}"
MOST_JOINED = 20  # memberships of one socket (igmp_max_memberships)
NEVER_ANSWER = 8  # arp_ignore (ip-sysctl.rst)


def _has_another_member(lab: BuiltLab) -> None:
    """Another process of a host is a member of the tests' groups; its sockets live as long as the machine's agent."""
    given = groups.given()
    for first in range(0, len(given), MOST_JOINED):
        victim(lab).member().__enter__().join(*given[first : first + MOST_JOINED], wait=True)


def _accepts_the_usual(chain: str) -> Inject:
    """A policy of DROP, and rules for the protocols that come to mind: no rule names IGMP."""
    accepting = [f"{{iptables}} -A {chain} -p {protocol} -j ACCEPT" for protocol in ("udp", "tcp", "icmp", "gre")]
    return of_spoke(*accepting, f"{{iptables}} -P {chain} DROP")


FAULTS = (
    Fault(
        "multicast-route-narrow",
        "the article's 224.0.0.0/8 is routed to the overlay instead of the whole range",
        ("MCAST-08",),
        of_all("ip route del {groups} dev {device} && ip route add 224.0.0.0/8 dev {device}"),
        finding=Named("multicast-route-narrow", hub_bridge),
        greens=("MCAST-01",),
    ),
    Fault(
        "multicast-route-missing",
        "one node has no multicast route to the overlay",
        ("MCAST-01", "MCAST-06", "MCAST-08", "MCAST-11"),
        of_spoke("ip route del {groups} dev {device}"),
        finding=Named("multicast-route-missing", victim_device),
        greens=("BCAST-01",),
    ),
    Fault(
        "prefix-too-long",
        "one node has another prefix length, so another broadcast address",
        ("BCAST-01", "BCAST-02", "BCAST-07", "ICMP-01"),
        # the same neighbours, another broadcast address; the last address takes the routes with it
        of_spoke("ip addr del {overlay} dev {device} && ip addr add {own}/25 dev {device}", GROUPS),
        finding=Named("prefix-mismatch", victim_device),
        greens=("MCAST-01",),
    ),
    Fault(
        "default-by-overlay",
        "one node's default route leads into the overlay",
        ("BCAST-03",),
        of_spoke("ip route del default dev {nic} && ip route add default dev {device}"),
        finding=Named("default-by-overlay", victim_device),
        greens=("BCAST-01",),
    ),
    Fault(
        "hub-address-on-tunnel",
        "the hub's overlay address is on a tunnel device instead of the bridge",
        ("BCAST-02", "BCAST-08", "ICMP-01", "MCAST-01"),
        # as if the hub were set up like a spoke: the address and the route are on a port of the bridge
        of_hub(
            "ip addr del {overlay} dev {device} && ip addr add {overlay} dev {port}", "ip route add {groups} dev {port}"
        ),
        finding=Named("hub-address-missing", hub_bridge),
    ),
    Fault(
        "broadcast-not-flooded",
        "one port of the hub does not flood broadcast",
        ("BCAST-01", "BCAST-03", "BCAST-06", "BCAST-08", "ICMP-01", "ICMP-03"),
        of_hub("bridge link set dev {port} bcast_flood off"),
        finding=Named("broadcast-not-flooded", hub_port),
    ),
    Fault(
        "multicast-not-flooded",
        "one port of the hub does not flood multicast, 224.0.0.x included",
        ("MCAST-01", "MCAST-03", "MCAST-07", "MCAST-08", "MCAST-12", "ICMP-05", "SNOOP-01", "SNOOP-06"),
        of_hub("bridge link set dev {port} mcast_flood off"),
        finding=Named("multicast-not-flooded", hub_port),
        greens=("BCAST-01",),
    ),
    Fault(
        "broadcast-ping-ignored",
        "one node ignores echo requests to broadcast and multicast (the default of Linux)",
        ("ICMP-01", "ICMP-02", "ICMP-03", "ICMP-04", "ICMP-05"),
        of_spoke(f"sysctl -w {BROADCAST_PING}=1"),
        finding=Named("broadcast-ping-ignored", victim_itself),
        greens=("BCAST-01",),
    ),
    Fault(
        "arp-unanswered",
        "one node does not answer ARP",
        ("BCAST-08",),
        of_spoke(f"sysctl -w net.ipv4.conf.{{device}}.arp_ignore={NEVER_ANSWER}"),
        finding=Named("arp-unanswered", victim_device),
    ),
    Fault(
        "broadcast-filtered",
        "the firewall of one node drops broadcast that came through the tunnel",
        ("BCAST-01", "BCAST-02", "BCAST-03", "BCAST-04", "BCAST-06", "ICMP-01", "ICMP-06"),
        of_spoke(drops("-m pkttype --pkt-type broadcast")),
        finding=Named("firewall-drops", victim_device),
        greens=("MCAST-01",),
    ),
    Fault(
        "one-port-filtered",
        "the firewall of one node drops one UDP port, of whatever comes in",
        ("BCAST-01",),
        of_spoke("{iptables} -A INPUT -p udp --dport 5007 -j DROP"),
        finding=Named("firewall-drops", victim_device),
        greens=("BCAST-02", "MCAST-01"),
    ),
    Fault(
        "one-group-filtered",
        "the firewall of one node drops one group that comes out of the tunnel",
        ("MCAST-08",),
        of_spoke(drops("-d 239.77.1.2")),
        finding=Named("firewall-drops", victim_device),
        greens=("BCAST-01", "MCAST-01"),
    ),
    Fault(
        "one-size-filtered",
        "the firewall of one node drops packets of some lengths, smaller than the MTU",
        ("BCAST-01",),
        of_spoke(drops("-m length --length 700:800")),
        finding=Named("firewall-drops", victim_device),
        greens=("BCAST-02", "MCAST-01"),
    ),
    Fault(
        "multicast-filtered",
        "the firewall of one node drops multicast that came through the tunnel",
        ("MCAST-01", "MCAST-03", "MCAST-05", "MCAST-06", "MCAST-10", "MCAST-12", "ICMP-05"),
        of_spoke(drops(f"-d {MULTICAST}")),
        finding=Named("firewall-drops", victim_device),
        greens=("BCAST-01",),
    ),
    Fault(
        "ping-stateful",
        "the firewall of one node takes in only the ICMP that belongs to what it has asked one address",
        ("ICMP-01", "ICMP-05"),
        of_spoke("{iptables} -A INPUT -p icmp -m conntrack ! --ctstate ESTABLISHED -j DROP"),
        finding=Named("firewall-drops", victim_device),
        greens=("BCAST-01",),
    ),
    Fault(
        "igmp-filtered",
        "the firewall of one node drops the IGMP that it sends",
        ("MCAST-04", "MCAST-05", "SNOOP-05"),
        of_spoke("{iptables} -A OUTPUT -p igmp -j DROP"),
        finding=Named("igmp-filtered", victim_device),
        greens=("BCAST-01",),
    ),
    Fault(
        "igmp-not-accepted",
        "the firewall of one node accepts UDP, TCP and ICMP, and no IGMP from queriers",
        ("PRE-04", "SNOOP-04"),
        _accepts_the_usual("INPUT"),
        finding=Named("igmp-filtered", victim_device),
        greens=("BCAST-01", "MCAST-01", "MCAST-04"),
    ),
    Fault(
        "igmp-not-sent",
        "the firewall of one node lets out UDP, TCP and ICMP, and no reports of its groups",
        ("MCAST-04", "SNOOP-05"),
        _accepts_the_usual("OUTPUT"),
        finding=Named("igmp-filtered", victim_device),
        greens=("BCAST-01", "PRE-04"),
    ),
    Fault(
        "igmp-v2-forced",
        "one node uses only IGMPv2, which does not support source filters",
        ("MCAST-04", "MCAST-05"),
        of_spoke("sysctl -w net.ipv4.conf.all.force_igmp_version=2"),
        finding=Named("igmp-version-forced", victim_device),
        greens=("BCAST-01",),
    ),
    Fault(
        "ttl-rewritten",
        "one node rewrites the TTL of what it receives",
        ("BCAST-01", "BCAST-02", "MCAST-06"),
        of_spoke("{iptables} -t mangle -A INPUT -i {device} -j TTL --ttl-set 64"),
        finding=Named("ttl-rewritten", victim_device),
    ),
    Fault(
        "memberships-limited",
        "a socket of one node may join ten groups only",
        ("MCAST-09", "MCAST-13"),
        of_spoke("sysctl -w net.ipv4.igmp_max_memberships=10"),
        finding=Named("memberships-limited", victim_itself),
        greens=("MCAST-01",),
    ),
    Fault(
        "member-besides",
        "another process of one node is a member of the group under test",
        ("MCAST-02",),
        _has_another_member,
        finding=Named("member-besides", victim_device),
        greens=("BCAST-01",),
        fixable=False,
    ),
)
