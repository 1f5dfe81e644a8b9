"""
Faults of filters at unusual places: policies before conntrack, the bridge's own filter, marks, and what tests send.

Each is one command that was run for another purpose.
"""

from __future__ import annotations

from lab.faults.table import read

FAULTS = read(
    """\
reverse-path-rule: one spoke's firewall drops what comes from addresses that are routed elsewhere
    # the strict reverse path as a rule, which rp_filter does not show
    spoke: {iptables} -t raw -A PREROUTING -m rpfilter --invert -j DROP
    red: PRE-07; green: BCAST-01 MCAST-01; finding: reverse-path-rule at spoke {device}; tunnels: gretap
reverse-path-rule-hub: the hub's firewall drops what comes from addresses that are routed elsewhere
    hub: {iptables} -t raw -A PREROUTING -m rpfilter --invert -j DROP
    red: PRE-07; green: BCAST-01 MCAST-01; finding: reverse-path-rule at hub {device}; tunnels: gretap
one-of-many-silent: one of five spokes, which most tests leave out, sends no broadcast
    unsampled: {iptables} -A OUTPUT -d {broadcast} -j DROP
    red: BCAST-01; green: BCAST-02; finding: firewall-drops at unsampled {device}; spokes: 5
nothing-sent: one spoke's firewall drops all packets that it sends, before connection tracking
    spoke: {iptables} -t raw -P OUTPUT DROP
    red: BCAST-01 MCAST-01 ICMP-01 PRE-03; finding: firewall-drops at spoke {device}; tunnels: gretap
loopback-filtered: one spoke's firewall drops packets that the spoke sends to itself
    spoke: {iptables} -A INPUT -i lo -j DROP
    red: ICMP-01; green: BCAST-01; finding: firewall-drops at spoke lo; tunnels: gretap
masqueraded: one spoke replaces every source address by its overlay address, as a NAT to the internet does
    spoke: {iptables} -t nat -A POSTROUTING -o {device} -j MASQUERADE
    red: PRE-14; green: BCAST-01; finding: nat-rewrites at spoke {device}; tunnels: gretap
outer-ttl-rewritten: one spoke's firewall changes the TTL of its tunnel packets
    spoke: {iptables} -t mangle -A POSTROUTING -p gre -j TTL --ttl-set 5
    red: TTL-05 PRE-14; green: BCAST-01; finding: ttl-rewritten at spoke {nic}; tunnels: gretap
outer-tos-rewritten: one spoke's firewall marks its tunnel packets
    spoke: {iptables} -t mangle -A POSTROUTING -p gre -j TOS --set-tos 0x10
    red: PRE-14; green: BCAST-01; finding: tos-rewritten at spoke {nic}; tunnels: gretap
control-filtered: one spoke drops plain UDP from the underlay, which the tests need for comparison
    spoke: {iptables} -A INPUT -i {nic} -p udp -j DROP
    red: PRE-14; green: BCAST-01; finding: control-dropped at spoke {nic}; tunnels: gretap
bridge-filters-port: the hub's bridge filter drops what leaves by one port
    hub: ebtables -A FORWARD -o {port} -j DROP
    red: HUB-02 BCAST-01; finding: bridged-dropped at hub {device}; tunnels: gretap
bridge-filters-ipv6: the hub's bridge filter drops IPv6
    hub: ebtables -A FORWARD -p IPv6 -j DROP
    red: V6-01; green: BCAST-01 V6-04; finding: bridged-dropped at hub {device}; tunnels: gretap
forward-invalid-dropped: a chain that the hub's FORWARD calls drops packets of no known connection, answers to \
        broadcast pings among them (kube-proxy)
    hub: {bridging_iptables} -N KUBE-FORWARD
    hub: {bridging_iptables} -A FORWARD -j KUBE-FORWARD
    hub: {bridging_iptables} -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
    red: ICMP-01; green: BCAST-01 MCAST-01; finding: bridged-dropped at hub {device}
forward-chain-drops: a chain that the hub's FORWARD calls drops everything
    hub: {bridging_iptables} -N GUARD
    hub: {bridging_iptables} -A FORWARD -j GUARD
    hub: {bridging_iptables} -A GUARD -j DROP
    red: BCAST-01 MCAST-01; finding: bridged-dropped at hub {device}
bridge-filters-arp: the hub's bridge filter drops ARP
    hub: ebtables -A FORWARD -p ARP -j DROP
    red: BCAST-08 PRE-10; finding: arp-filtered at hub {device}; tunnels: gretap
port-routed-away: a rule of one spoke's routing refuses one application's port
    spoke: ip rule add ipproto udp dport 5007 priority 5 prohibit
    red: MCAST-01; green: BCAST-01; finding: policy-rule at spoke
class-filtered-as-it-arrives: a traffic filter of one spoke drops one class of traffic from the tunnel
    spoke: tc qdisc add dev {device} clsact
    spoke: tc filter add dev {device} ingress protocol ip flower ip_tos 0xb8/0xfc action drop
    red: BCAST-01 MCAST-01; green: PRE-03; finding: traffic-filtered at spoke {device}; tunnels: gretap
class-filtered: one spoke's firewall drops datagrams of one class (DSCP) that the spoke sends
    spoke: {iptables} -A OUTPUT -o {device} -p udp -m dscp --dscp 46 -j DROP
    red: BCAST-01 MCAST-01; green: BCAST-02; finding: firewall-drops at spoke {device}
untracked-dropped: one spoke's firewall exempts tunnel packets from tracking, and drops untracked packets
    spoke: {iptables} -t raw -A PREROUTING {carrier} -j CT --notrack
    spoke: {iptables} -A INPUT -m conntrack --ctstate UNTRACKED -j DROP
    red: BCAST-01 PRE-03; finding: tunnel-packets-dropped at spoke {nic}
tag-added: a traffic filter of the hub puts a VLAN tag on what leaves by one port
    hub: tc qdisc add dev {port} clsact
    hub: tc filter add dev {port} egress matchall action vlan push id 5
    red: BCAST-01 MCAST-01; finding: traffic-changed at hub {port}; tunnels: gretap
cloud-filter: a filter in the cloud drops GRE on its way to the hub
    # what is handed to the hub's NIC is filtered there, as by a rule that names the protocol
    cloud: tc qdisc add dev hub clsact 2>/dev/null || true
    cloud: tc filter add dev hub egress protocol ip flower ip_proto 2f action drop
    red: BCAST-01 PRE-03; finding: traffic-filtered at cloud hub; tunnels: gretap
    """
)
