"""
Faults of IPv6 inside the overlay: all on the hosts, all invisible to IPv4.

On a lab that has no IPv6 they change nothing that IPv4 sees.
"""

from __future__ import annotations

from lab.faults.fault import Fault, Named
from lab.faults.means import cloud_drops, forwarded, of_all, of_spoke
from lab.faults.places import cloud, hub_bridge, victim_device, victim_itself
from lab.model import IPV6_LEAST_MTU
from lab.underlay.policy import destination_options_rule

FAULTS = (
    Fault(
        "ipv6-disabled",
        "disable_ipv6=1 on one spoke's overlay device",
        ("V6-01",),
        of_spoke("sysctl -w net.ipv6.conf.{device}.disable_ipv6=1"),
        greens=("BCAST-01",),
        finding=Named("ipv6-disabled", victim_device),
    ),
    Fault(
        "ipv6-multicast-ping-ignored",
        "one spoke ignores pings to IPv6 multicast addresses",
        ("V6-01",),
        of_spoke("sysctl -w net.ipv6.icmp.echo_ignore_multicast=1"),
        greens=("BCAST-01", "V6-02", "V6-04"),
        finding=Named("ipv6-multicast-ping-ignored", victim_itself),
    ),
    Fault(
        "icmpv6-filtered",
        "one spoke's firewall drops ICMPv6 that comes in, neighbour discovery with it",
        ("V6-01",),
        of_spoke("{ip6tables} -A INPUT -p ipv6-icmp -j DROP"),
        greens=("BCAST-01", "V6-02", "V6-04"),
        finding=Named("icmpv6-filtered", victim_device),
    ),
    Fault(
        "icmpv6-output-filtered",
        "one spoke's firewall drops ICMPv6 that it sends: no other host receives its membership reports",
        ("V6-01", "V6-02"),
        of_spoke("{ip6tables} -A OUTPUT -p ipv6-icmp -j DROP"),
        greens=("BCAST-01", "V6-04"),
        finding=Named("icmpv6-filtered", victim_device),
    ),
    Fault(
        "bridged-ipv6-dropped",
        "the hub's FORWARD chain drops IPv6, and what it bridges meets that (bridge-nf-call-ip6tables)",
        ("V6-01",),
        forwarded("-A FORWARD -j DROP", version=6),
        greens=("BCAST-01", "V6-04"),
        finding=Named("bridged-dropped", hub_bridge),
    ),
    Fault(
        "mld-version-1",
        "every host uses the first version of MLD",
        ("V6-02",),
        of_all("sysctl -w net.ipv6.conf.{device}.force_mld_version=1"),
        greens=("V6-01", "V6-04"),
        finding=Named("mld-version-forced", hub_bridge),
    ),
    Fault(
        "mtu-below-1280",
        "one spoke's overlay MTU is 1279",
        ("V6-01", "V6-04"),
        of_spoke(f"ip link set {{device}} mtu {IPV6_LEAST_MTU - 1}"),
        greens=("BCAST-01",),
        # one cause, one finding: of a device that differs from the others, that is what is said
        finding=Named("mtu-mismatch", victim_device),
    ),
    Fault(
        "destination-options-dropped",
        "the cloud drops IPv6 packets that have destination options, of which ip6gretap's are",
        ("V6-03",),
        cloud_drops(destination_options_rule()),
        ("gretap", "ip6gretap"),
        finding=Named("gre-blocked", cloud),
        fixable=False,
    ),
)
