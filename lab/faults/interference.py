"""
Faults of what works on packets at a host: filters, address translation, IPsec, limits of the kernel.

Each is one command that was run for another purpose.
"""

from __future__ import annotations

from lab.faults.fault import Fault, Named
from lab.faults.means import GUEST, drops, of_hub, of_spoke
from lab.faults.places import hub_bridge, victim_device, victim_itself, victim_nic

FAULTS = (
    # filters, translation, IPsec
    Fault(
        "source-translated",
        "one spoke translates the source of what it sends into the overlay",
        ("BCAST-01",),
        of_spoke("{iptables} -t nat -A POSTROUTING -o {device} -j SNAT --to-source {underlay}"),
        GUEST,
        finding=Named("nat-rewrites", victim_device),
    ),
    Fault(
        "ports-redirected",
        "one spoke sends all UDP from the overlay to one of its ports",
        ("BCAST-01", "MCAST-01"),
        of_spoke("{iptables} -t nat -A PREROUTING -i {device} -p udp -j REDIRECT --to-ports 9"),
        GUEST,
        finding=Named("nat-rewrites", victim_device),
    ),
    Fault(
        "large-filtered",
        "one spoke drops what is large, and comes out of the tunnel",
        ("MTU-02",),
        of_spoke("{iptables} -t mangle -A INPUT -i {device} -p udp -m length --length 1000:65535 -j DROP"),
        GUEST,
        finding=Named("firewall-drops", victim_device),
    ),
    Fault(
        "local-groups-filtered",
        "one spoke drops 224.0.0.x, and no other group",
        ("MCAST-12",),
        of_spoke(drops("-d 224.0.0.0/24")),
        GUEST,
        greens=("BCAST-01",),
        finding=Named("firewall-drops", victim_device),
    ),
    Fault(
        "limited-broadcast-filtered",
        "one spoke drops 255.255.255.255, and no other broadcast",
        ("BCAST-03",),
        of_spoke(drops("-d 255.255.255.255")),
        GUEST,
        greens=("BCAST-01",),
        finding=Named("firewall-drops", victim_device),
    ),
    Fault(
        "arp-filtered",
        "a traffic filter of one spoke drops ARP that comes out of the tunnel",
        ("BCAST-08",),
        of_spoke(
            "tc qdisc add dev {device} clsact && tc filter add dev {device} ingress protocol arp matchall action drop"
        ),
        GUEST,
        finding=Named("traffic-filtered", victim_device),
    ),
    Fault(
        "ipsec-blocks-in",
        "an IPsec policy of one spoke takes no GRE in",
        ("BCAST-01", "PRE-03"),
        of_spoke("ip xfrm policy add src {network} dst {network} proto gre dir in action block"),
        GUEST,
        finding=Named("ipsec-drops", victim_nic),
    ),
    Fault(
        "ipsec-blocks-hosts",
        "an IPsec policy of one spoke, without a protocol, lets nothing out to the hub",
        ("BCAST-01",),
        of_spoke("ip xfrm policy add src {underlay} dst {remote} dir out action block"),
        GUEST,
        finding=Named("ipsec-drops", victim_nic),
    ),
    Fault(
        "ipsec-wanted",
        "an IPsec policy of one spoke requires protected GRE, but there are no keys",
        ("BCAST-01",),
        of_spoke(
            "ip xfrm policy add src {underlay}/32 dst {remote}/32 proto gre dir out "
            "tmpl src {underlay} dst {remote} proto esp mode transport"
        ),
        GUEST,
        finding=Named("ipsec-drops", victim_nic),
    ),
    # what the kernel may do
    Fault(
        "bridge-bc-forwarding",
        "the hub forwards directed broadcast of the overlay instead of taking it",
        ("BCAST-01",),
        of_hub(
            "sysctl -w net.ipv4.ip_forward=1 net.ipv4.conf.all.bc_forwarding=1 net.ipv4.conf.{device}.bc_forwarding=1"
        ),
        GUEST,
        finding=Named("bc-forwarding-on", hub_bridge),
    ),
    Fault(
        "echo-limited",
        "one spoke counts echo replies as ICMP that is limited",
        ("ICMP-01",),
        of_spoke("sysctl -w net.ipv4.icmp_ratelimit=100000 net.ipv4.icmp_ratemask=65535"),
        GUEST,
        greens=("BCAST-01",),
        finding=Named("icmp-limited", victim_itself),
    ),
    Fault(
        "memberships-none",
        "no socket of one spoke may join any group",
        ("MCAST-01",),
        of_spoke("sysctl -w net.ipv4.igmp_max_memberships=0"),
        GUEST,
        greens=("BCAST-01",),
        finding=Named("memberships-limited", victim_itself),
    ),
)
