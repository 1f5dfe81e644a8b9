"""
Faults of IPv6 inside the overlay: all on the hosts, all invisible to IPv4.

On a lab that has no IPv6 they change nothing that IPv4 sees.
"""

from __future__ import annotations

from lab.faults.actions import cloud_drops
from lab.faults.table import read
from lab.underlay.policy import destination_options_rule

FAULTS = read(
    """\
ipv6-disabled: disable_ipv6=1 on one spoke's overlay device
    spoke: sysctl -w net.ipv6.conf.{device}.disable_ipv6=1
    red: V6-01; green: BCAST-01; finding: ipv6-disabled at spoke {device}
ipv6-multicast-ping-ignored: one spoke ignores pings to IPv6 multicast addresses
    spoke: sysctl -w net.ipv6.icmp.echo_ignore_multicast=1
    red: V6-01; green: BCAST-01 V6-02 V6-04; finding: ipv6-multicast-ping-ignored at spoke
ipv6-solicitations-off: one spoke sends no neighbour solicitations on the overlay
    spoke: sysctl -w net.ipv6.neigh.{device}.mcast_solicit=0
    red: V6-01; green: BCAST-01; finding: ipv6-solicitations-off at spoke {device}
icmpv6-filtered: one spoke's firewall drops received ICMPv6, which includes neighbour discovery
    spoke: {ip6tables} -A INPUT -p ipv6-icmp -j DROP
    red: V6-01; green: BCAST-01 V6-02 V6-04; finding: icmpv6-filtered at spoke {device}
icmpv6-output-filtered: one spoke's firewall drops ICMPv6 that it sends: no other host receives its membership reports
    spoke: {ip6tables} -A OUTPUT -p ipv6-icmp -j DROP
    red: V6-01 V6-02; green: BCAST-01 V6-04; finding: icmpv6-filtered at spoke {device}
bridged-ipv6-dropped: the hub's FORWARD chain drops IPv6, bridged packets included (bridge-nf-call-ip6tables)
    hub: {bridging_ip6tables} -A FORWARD -j DROP
    red: V6-01; green: BCAST-01 V6-04; finding: bridged-dropped at hub {device}
mld-version-1: every host uses the first version of MLD
    all: sysctl -w net.ipv6.conf.{device}.force_mld_version=1
    red: V6-02; green: V6-01 V6-04; finding: mld-version-forced at hub {device}
mtu-below-1280: one spoke's overlay MTU is 1279
    spoke: ip link set {device} mtu 1279
    # one cause, one finding: of a device that differs from the others, that is what is said
    red: V6-01 V6-04; green: BCAST-01; finding: mtu-mismatch at spoke {device}
destination-options-dropped: the cloud drops IPv6 packets that have destination options, of which ip6gretap's are
    red: V6-03; finding: gre-blocked at cloud; tunnels: gretap ip6gretap; fix: none
    """,
    {
        "destination-options-dropped": cloud_drops(destination_options_rule()),
    },
)
