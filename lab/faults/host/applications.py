"""
Faults of applications: firewalls of hosts that let every test datagram through and one application's not.

They turn red what real programs show (`--applications`) and nothing else: the overlay itself is well.
"""

from __future__ import annotations

from lab.faults.table import read

FAULTS = read(
    """\
dhcp-filtered: the hub's firewall drops DHCP that comes through the tunnels
    hub: {iptables} -A INPUT -i {device} -p udp --dport 67 -j DROP
    red: APP-01; green: BCAST-08 MCAST-12; finding: dhcp-filtered at hub {device}
mdns-filtered: the firewalls of all hosts drop multicast DNS
    all: {iptables} -A INPUT -i {device} -p udp --dport 5353 -j DROP
    red: APP-02; green: BCAST-08 MCAST-12; finding: mdns-filtered at hub {device}
vrrp-filtered: the firewall of one spoke drops VRRP: it receives no other master's advertisements
    spoke: {iptables} -A INPUT -i {device} -p 112 -j DROP
    red: APP-03 APP-04; green: BCAST-08 MCAST-12; finding: vrrp-filtered at spoke {device}
cluster-filtered: the firewall of one spoke drops corosync's datagrams
    spoke: {iptables} -A INPUT -i {device} -p udp --dport 5405 -j DROP
    red: APP-05; green: BCAST-08 MCAST-12; finding: cluster-filtered at spoke {device}
feed-thinned: the firewall of one spoke drops one in ten datagrams to organization-local groups
    spoke: {iptables} -A INPUT -i {device} -p udp -d 239.0.0.0/8 -m statistic --mode nth --every 10 --packet 0 -j DROP
    red: APP-06; green: BCAST-01 ICMP-01; finding: firewall-drops at spoke {device}
    """
)
