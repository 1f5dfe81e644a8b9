"""
Faults of what works on packets at a host: filters, address translation, IPsec, limits of the kernel.

Each is one command that was run for another purpose.
"""

from __future__ import annotations

from lab.faults.table import read

FAULTS = read(
    """\
source-translated: one spoke's firewall changes the source address of packets that it sends into the overlay
    spoke: {iptables} -t nat -A POSTROUTING -o {device} -j SNAT --to-source {underlay}
    red: BCAST-01; finding: nat-rewrites at spoke {device}; tunnels: gretap
ports-redirected: one spoke sends all UDP from the overlay to one of its ports
    spoke: {iptables} -t nat -A PREROUTING -i {device} -p udp -j REDIRECT --to-ports 9
    red: BCAST-01 MCAST-01; finding: nat-rewrites at spoke {device}; tunnels: gretap
large-filtered: one spoke drops large packets from the tunnel
    spoke: {iptables} -t mangle -A INPUT -i {device} -p udp -m length --length 1000:65535 -j DROP
    red: MTU-02; finding: firewall-drops at spoke {device}; tunnels: gretap
local-groups-filtered: one spoke drops 224.0.0.x, and no other group
    spoke: {iptables} -A INPUT -i {device} -d 224.0.0.0/24 -j DROP
    red: MCAST-12; green: BCAST-01; finding: firewall-drops at spoke {device}; tunnels: gretap
limited-broadcast-filtered: one spoke drops 255.255.255.255, and no other broadcast
    spoke: {iptables} -A INPUT -i {device} -d 255.255.255.255 -j DROP
    red: BCAST-03; green: BCAST-01; finding: firewall-drops at spoke {device}; tunnels: gretap
arp-filtered: a traffic filter of one spoke drops ARP from the tunnel
    spoke: tc qdisc add dev {device} clsact
    spoke: tc filter add dev {device} ingress protocol arp matchall action drop
    red: BCAST-08; finding: traffic-filtered at spoke {device}; tunnels: gretap
ipsec-blocks-in: an IPsec policy of one spoke drops received GRE
    spoke: ip xfrm policy add src {network} dst {network} proto gre dir in action block
    red: BCAST-01 PRE-03; finding: ipsec-drops at spoke {nic}; tunnels: gretap
ipsec-blocks-hosts: an IPsec policy of one spoke, for any protocol, drops all packets to the hub
    spoke: ip xfrm policy add src {underlay} dst {remote} dir out action block
    red: BCAST-01; finding: ipsec-drops at spoke {nic}; tunnels: gretap
ipsec-wanted: an IPsec policy of one spoke requires encrypted GRE, but there are no keys
    spoke: ip xfrm policy add src {underlay}/32 dst {remote}/32 proto gre dir out tmpl src {underlay} dst \
            {remote} proto esp mode transport
    red: BCAST-01; finding: ipsec-drops at spoke {nic}; tunnels: gretap
bridge-bc-forwarding: the hub forwards directed broadcast of the overlay instead of taking it
    hub: sysctl -w net.ipv4.ip_forward=1 net.ipv4.conf.all.bc_forwarding=1 \
            net.ipv4.conf.{device}.bc_forwarding=1
    red: BCAST-01; finding: bc-forwarding-on at hub {device}; tunnels: gretap
echo-limited: one spoke's ICMP rate limit includes echo replies
    spoke: sysctl -w net.ipv4.icmp_ratelimit=100000 net.ipv4.icmp_ratemask=65535
    red: ICMP-01; green: BCAST-01; finding: icmp-limited at spoke; tunnels: gretap
memberships-none: no socket of one spoke may join any group
    spoke: sysctl -w net.ipv4.igmp_max_memberships=0
    red: MCAST-01; green: BCAST-01; finding: memberships-limited at spoke; tunnels: gretap
    """
)
