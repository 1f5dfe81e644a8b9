"""
Faults of what an overlay stands on: the cloud's network, the hosts' firewalls, addresses, and the ends of the tunnels.

Most of them are one wrong line of a set-up, and none is visible on the sender.
"""

from __future__ import annotations

from lab.faults.actions import cloud_drops
from lab.faults.table import read
from lab.laboratory import BuiltLab
from lab.model import GENEVE_PORT, VXLAN_PORT
from lab.stack.changes import link_set, route_add
from lab.underlay.policy import JUMP_EQUAL, LOAD_HALF, CloudRule, gre_rule

UDP_DESTINATION = 14 + 20 + 2  # octets: Ethernet, IPv4 without options, the source port
MISSING_OCTETS = 100


def _no_source_check(lab: BuiltLab) -> None:
    for name in lab.hosts:
        lab.cloud.set_rules(name, source_check=False)


def _small_mtu(lab: BuiltLab) -> None:
    for host in lab.hosts.values():
        host.node.apply(link_set(host.plan.nic, mtu=lab.underlay.provider.mtu - MISSING_OCTETS))


def _hidden_router(lab: BuiltLab) -> None:
    """The hosts reach each other by the gateway, which forwards; where there are routers there is one more anyway."""
    if lab.underlay.routers:
        return
    lab.fabric.write_sysctls({"net.ipv4.ip_forward": 1, "net.ipv4.conf.all.send_redirects": 0})
    lab.fabric.write_sysctls({"net.ipv4.conf.vcn.send_redirects": 0})
    for host in lab.hosts.values():
        gateway = str(host.plan.underlay.network.network_address + 1)
        for other in lab.others(host):
            to = lab[other].address("underlay") + "/32"
            host.node.apply(route_add(to, host.plan.nic, via=gateway))


FAULTS = read(
    """\
plain-switch: the cloud's network is a plain switch: broadcast and multicast pass
    red: UNDER-01 UNDER-02 UNDER-03 UNDER-05 UNDER-09; finding: underlay-floods at cloud; fix: none
flooding-ports: the fabric's ports flood, behind filters that are in order
    cloud: for port in {ports}; do bridge link set dev $port flood on bcast_flood on || exit; done
    red: UNDER-09; finding: fabric-floods at cloud hub
gre-blocked: the cloud drops IP protocol 47
    # a fault that cuts a host off turns nearly all red; only this one lists all, the others their own
    red: UNDER-04 UNDER-05 PRE-03 PRE-13 BCAST-01 MCAST-01 ICMP-01; finding: gre-blocked at cloud hub
    tunnels: gretap; fix: none
gre-one-way: the cloud's rules admit IP protocol 47 to the hub, and not from it
    red: UNDER-04 PRE-13; finding: gre-blocked at cloud hub; tunnels: gretap; fix: none
vxlan-blocked: the cloud drops UDP port 4789
    red: UNDER-05 UNDER-08; finding: vxlan-blocked at cloud hub; fix: none
geneve-blocked: the cloud drops UDP port 6081
    red: BCAST-01; finding: geneve-blocked at cloud hub; tunnels: geneve; fix: none
no-source-check: the cloud lets foreign source addresses pass
    red: UNDER-05 UNDER-06 SEC-02; green: BCAST-01; finding: source-check-off at cloud spoke1; fix: none
small-mtu: the NICs' MTU is not the cloud's
    red: UNDER-05; finding: nic-mtu at hub {nic}
hidden-router: an unplanned router lies between the hosts
    red: UNDER-07; green: BCAST-01; finding: underlay-detour at hub {nic}
sysctls-lost: settings made by sysctl -w are lost after a reboot
    all: sysctl -w net.ipv4.icmp_echo_ignore_broadcasts=1
    red: PRE-02 ICMP-01; green: BCAST-01; finding: broadcast-ping-ignored at hub
tunnel-packets-dropped: the hub's INPUT chain drops tunnel packets
    hub: {iptables} -A INPUT {carrier} -j DROP
    red: PRE-03 PRE-04; finding: tunnel-packets-dropped at hub {nic}
inner-packets-dropped: the hub's INPUT chain accepts tunnel packets, and drops the packets inside them
    hub: {iptables} -A INPUT -i {device} -j DROP
    red: PRE-04; finding: firewall-drops at hub {device}
stateful-only: a spoke accepts GRE in state ESTABLISHED only
    spoke: {iptables} -A INPUT {carrier} -m conntrack --ctstate ESTABLISHED -j ACCEPT
    spoke: {iptables} -A INPUT {carrier} -j DROP
    red: PRE-05; finding: stateful-only at spoke {nic}; tunnels: gretap
forward-drop: br_netfilter passes the hub's bridged packets to a FORWARD chain that drops them
    hub: {bridging_iptables} -A FORWARD -j DROP
    red: PRE-06; finding: bridged-dropped at hub {device}
strict-reverse-path: rp_filter is 1 everywhere, and multicast is sent with the NIC's address as its source
    all: sysctl -w net.ipv4.conf.all.rp_filter=1
    all: ip route replace {groups} dev {device} src {underlay}
    red: PRE-07; green: BCAST-01; finding: multicast-source-foreign at hub {device}
    """,
    {
        "plain-switch": lambda lab: lab.cloud.flood(),
        "gre-blocked": cloud_drops(gre_rule()),
        "gre-one-way": cloud_drops(gre_rule(), from_hub_only=True),
        "vxlan-blocked": cloud_drops(CloudRule(LOAD_HALF, UDP_DESTINATION, JUMP_EQUAL, VXLAN_PORT)),
        "geneve-blocked": cloud_drops(CloudRule(LOAD_HALF, UDP_DESTINATION, JUMP_EQUAL, GENEVE_PORT)),
        "no-source-check": _no_source_check,
        "small-mtu": _small_mtu,
        "hidden-router": _hidden_router,
    },
)
