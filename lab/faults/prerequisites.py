"""
Faults of what an overlay stands on: the cloud's network, the hosts' firewalls, addresses, and the ends of the tunnels.

Most of them are one wrong line of a set-up, and none is visible on the sender.
"""

from __future__ import annotations

from lab.changes import bridge_port, link_set, route_add
from lab.faults.fault import Fault, Named
from lab.faults.means import GUEST, cloud_drops, drops, forwarded, of_all, of_hub, of_spoke
from lab.faults.places import cloud, cloud_port, first_spoke, hub, hub_bridge, hub_itself, hub_nic, victim_nic
from lab.laboratory import BuiltLab
from lab.model import VXLAN_PORT
from lab.overlay.readback import BROADCAST_PING
from lab.underlay.policy import JUMP_EQUAL, LOAD_HALF, Rule, gre_rule

UDP_DESTINATION = 14 + 20 + 2  # octets: Ethernet, IPv4 without options, the source port
MISSING_OCTETS = 100


def _flooding_ports(lab: BuiltLab) -> None:
    for host in lab.hosts:
        lab.cloud.node.apply(bridge_port(lab.cloud.port_of(host), flood=1, bcast_flood=1))


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


EVERYTHING = ("BCAST-01", "MCAST-01", "ICMP-01")
# a fault that cuts a host off turns nearly all red; only the first one lists all, the others their own

FAULTS = (
    Fault(
        "plain-switch",
        "the cloud's network is a plain switch: broadcast and multicast pass",
        ("UNDER-01", "UNDER-02", "UNDER-03", "UNDER-05", "UNDER-09"),
        lambda lab: lab.cloud.flood(),
        finding=Named("underlay-floods", cloud),
        fixable=False,
    ),
    Fault(
        "flooding-ports",
        "the fabric's ports flood, behind filters that are in order",
        ("UNDER-09",),
        _flooding_ports,
        finding=Named("fabric-floods", cloud_port(hub)),
    ),
    Fault(
        "gre-blocked",
        "the cloud drops IP protocol 47",
        ("UNDER-04", "UNDER-05", "PRE-03", "PRE-13", *EVERYTHING),
        cloud_drops(gre_rule()),
        GUEST,
        finding=Named("gre-blocked", cloud_port(hub)),
        fixable=False,
    ),
    Fault(
        "gre-one-way",
        "the cloud's rules admit IP protocol 47 to the hub, and not from it",
        ("UNDER-04", "PRE-13"),
        cloud_drops(gre_rule(), from_hub_only=True),
        GUEST,
        finding=Named("gre-blocked", cloud_port(hub)),
        fixable=False,
    ),
    Fault(
        "vxlan-blocked",
        "the cloud drops UDP port 4789",
        ("UNDER-05", "UNDER-08"),
        cloud_drops(Rule(LOAD_HALF, UDP_DESTINATION, JUMP_EQUAL, VXLAN_PORT)),
        finding=Named("vxlan-blocked", cloud_port(hub)),
        fixable=False,
    ),
    Fault(
        "no-source-check",
        "the cloud lets foreign source addresses pass",
        ("UNDER-05", "UNDER-06", "SEC-02"),
        _no_source_check,
        finding=Named("source-check-off", cloud_port(first_spoke)),
        greens=("BCAST-01",),
        fixable=False,
    ),
    Fault(
        "small-mtu",
        "the NICs' MTU is not the cloud's",
        ("UNDER-05",),
        _small_mtu,
        finding=Named("nic-mtu", hub_nic),
    ),
    Fault(
        "hidden-router",
        "an unplanned router lies between the hosts",
        ("UNDER-07",),
        _hidden_router,
        finding=Named("underlay-detour", hub_nic),
        greens=("BCAST-01",),
    ),
    Fault(
        "sysctls-lost",
        "what sysctl -w had set is gone after a reboot",
        ("PRE-02", "ICMP-01"),
        of_all(f"sysctl -w {BROADCAST_PING}=1"),
        finding=Named("broadcast-ping-ignored", hub_itself),
        greens=("BCAST-01",),
    ),
    Fault(
        "carrier-dropped",
        "the hub's INPUT chain drops tunnel packets",
        ("PRE-03", "PRE-04"),
        of_hub("{iptables} -A INPUT {carrier} -j DROP"),
        finding=Named("carrier-dropped", hub_nic),
    ),
    Fault(
        "inside-dropped",
        "the hub's INPUT chain accepts tunnel packets, and drops the packets inside them",
        ("PRE-04",),
        of_hub(drops()),
        finding=Named("firewall-drops", hub_bridge),
    ),
    Fault(
        "stateful-only",
        "a spoke accepts GRE in state ESTABLISHED only",
        ("PRE-05",),
        of_spoke(
            "{iptables} -A INPUT {carrier} -m conntrack --ctstate ESTABLISHED -j ACCEPT",
            "{iptables} -A INPUT {carrier} -j DROP",
        ),
        GUEST,
        finding=Named("stateful-only", victim_nic),
    ),
    Fault(
        "forward-drop",
        "br_netfilter hands the hub's bridged packets to a FORWARD chain that drops",
        ("PRE-06",),
        forwarded("-A FORWARD -j DROP"),
        finding=Named("bridged-dropped", hub_bridge),
    ),
    Fault(
        "strict-reverse-path",
        "rp_filter is 1 everywhere, and multicast is sent with the NIC's address as its source",
        ("PRE-07",),
        of_all(
            "sysctl -w net.ipv4.conf.all.rp_filter=1",
            "ip route replace {groups} dev {device} src {underlay}",
        ),
        finding=Named("multicast-source-foreign", hub_bridge),
        greens=("BCAST-01",),
    ),
)
