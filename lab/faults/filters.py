"""
Faults of filters at unusual places: policies before conntrack, the bridge's own filter, marks, and what tests send.

Each is one command that was run for another purpose.
"""

from __future__ import annotations

from lab.faults.fault import Fault, Named
from lab.faults.means import GUEST, forwarded, of_hub, of_spoke, ran, shell
from lab.faults.places import cloud_port, device, hub, hub_bridge, victim, victim_device, victim_nic
from lab.host import Host
from lab.laboratory import BuiltLab

REVERSE_PATH = "{iptables} -t raw -A PREROUTING -m rpfilter --invert -j DROP"
"""The strict reverse path as a rule, which rp_filter does not show."""


def unsampled(lab: BuiltLab) -> Host:
    """A spoke that tests of some hosts leave out: they take the first two and the last."""
    return lab.spokes[-2]


def _cloud_filter(lab: BuiltLab) -> None:
    """What the fabric hands to the hub's NIC is filtered there, as by a rule that names the protocol."""
    port = lab.cloud.port_of(lab.hub.name)
    command = f"tc filter add dev {port} egress protocol ip flower ip_proto 2f action drop"
    shell(lab.fabric, f"tc qdisc add dev {port} clsact 2>/dev/null; {command}")


FAULTS = (
    Fault(
        "reverse-path-rule",
        "one spoke's firewall drops what comes from addresses that are routed elsewhere",
        ("PRE-07",),
        of_spoke(REVERSE_PATH),
        GUEST,
        greens=("BCAST-01", "MCAST-01"),
        finding=Named("reverse-path-rule", victim_device),
    ),
    Fault(
        "reverse-path-rule-hub",
        "the hub's firewall drops what comes from addresses that are routed elsewhere",
        ("PRE-07",),
        of_hub(REVERSE_PATH),
        GUEST,
        greens=("BCAST-01", "MCAST-01"),
        finding=Named("reverse-path-rule", hub_bridge),
    ),
    Fault(
        "one-of-many-silent",
        "one of five spokes, which most tests leave out, sends no broadcast",
        ("BCAST-01",),
        ran(unsampled, "{iptables} -A OUTPUT -d {broadcast} -j DROP"),
        greens=("BCAST-02",),
        finding=Named("firewall-drops", device(unsampled, "{device}")),
        spokes=5,
    ),
    Fault(
        "nothing-sent",
        "one spoke's firewall lets nothing out, before any connection is tracked",
        ("BCAST-01", "MCAST-01", "ICMP-01", "PRE-03"),
        of_spoke("{iptables} -t raw -P OUTPUT DROP"),
        GUEST,
        finding=Named("firewall-drops", victim_device),
    ),
    Fault(
        "loopback-filtered",
        "one spoke's firewall drops packets that the spoke sends to itself",
        ("ICMP-01",),
        of_spoke("{iptables} -A INPUT -i lo -j DROP"),
        GUEST,
        greens=("BCAST-01",),
        finding=Named("firewall-drops", device(victim, "lo")),
    ),
    Fault(
        "masqueraded",
        "one spoke hides every source behind its overlay address, as for a way to the internet",
        ("PRE-09",),
        of_spoke("{iptables} -t nat -A POSTROUTING -o {device} -j MASQUERADE"),
        GUEST,
        greens=("BCAST-01",),
        finding=Named("nat-rewrites", victim_device),
    ),
    Fault(
        "outer-ttl-rewritten",
        "one spoke's firewall sets the TTL of its tunnel packets",
        ("TTL-05", "PRE-09"),
        of_spoke("{iptables} -t mangle -A POSTROUTING -p gre -j TTL --ttl-set 5"),
        GUEST,
        greens=("BCAST-01",),
        finding=Named("ttl-rewritten", victim_nic),
    ),
    Fault(
        "outer-tos-rewritten",
        "one spoke's firewall marks its tunnel packets",
        ("PRE-09",),
        of_spoke("{iptables} -t mangle -A POSTROUTING -p gre -j TOS --set-tos 0x10"),
        GUEST,
        greens=("BCAST-01",),
        finding=Named("tos-rewritten", victim_nic),
    ),
    Fault(
        "control-filtered",
        "one spoke takes no plain UDP from the underlay, so that nothing there can be compared with",
        ("PRE-09",),
        of_spoke("{iptables} -A INPUT -i {nic} -p udp -j DROP"),
        GUEST,
        greens=("BCAST-01",),
        finding=Named("control-dropped", victim_nic),
    ),
    Fault(
        "bridge-filters-port",
        "the hub's bridge filter drops what leaves by one port",
        ("HUB-02", "BCAST-01"),
        of_hub("ebtables -A FORWARD -o {port} -j DROP"),
        GUEST,
        finding=Named("bridged-dropped", hub_bridge),
    ),
    Fault(
        "bridge-filters-ipv6",
        "the hub's bridge filter drops IPv6",
        ("V6-01",),
        of_hub("ebtables -A FORWARD -p IPv6 -j DROP"),
        GUEST,
        greens=("BCAST-01", "V6-04"),
        finding=Named("bridged-dropped", hub_bridge),
    ),
    Fault(
        "forward-invalid-dropped",
        "a chain that the hub's FORWARD calls drops packets of no known connection, answers to broadcast pings among "
        "them (kube-proxy)",
        ("ICMP-01",),
        forwarded(
            "-N KUBE-FORWARD",
            "-A FORWARD -j KUBE-FORWARD",
            "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
        ),
        greens=("BCAST-01", "MCAST-01"),
        finding=Named("bridged-dropped", hub_bridge),
    ),
    Fault(
        "forward-chain-drops",
        "a chain that the hub's FORWARD calls drops everything",
        ("BCAST-01", "MCAST-01"),
        forwarded("-N GUARD", "-A FORWARD -j GUARD", "-A GUARD -j DROP"),
        finding=Named("bridged-dropped", hub_bridge),
    ),
    Fault(
        "bridge-filters-arp",
        "the hub's bridge filter drops ARP",
        ("BCAST-08", "PRE-10"),
        of_hub("ebtables -A FORWARD -p ARP -j DROP"),
        GUEST,
        finding=Named("arp-filtered", hub_bridge),
    ),
    Fault(
        "cloud-filter",
        "a filter in the cloud drops GRE on its way to the hub",
        ("BCAST-01", "PRE-03"),
        _cloud_filter,
        GUEST,
        finding=Named("traffic-filtered", cloud_port(hub)),
    ),
)
