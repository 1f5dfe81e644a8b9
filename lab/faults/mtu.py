"""
Faults of sizes: what is small passes, and what fills the overlay is cut, refused or lost without a word.

They are found late: ping works, ssh hangs, and discovery loses the large answers.
"""

from __future__ import annotations

from dataclasses import replace

from lab.changes import filter_add, link_set
from lab.faults.fault import Fault, Named
from lab.faults.means import of_all, of_hub, of_spoke
from lab.faults.places import cloud, hub_bridge, hub_port, victim, victim_device, victim_itself, victim_nic
from lab.laboratory import BuiltLab
from lab.underlay.policy import fragment_rule, longer_rule, port_program

SMALL = 1300  # octets that fit any cloud, and are less than the overlay on any of them takes
NARROW = 1400  # octets that a path carries: less than the NIC of any cloud
TINY = 1000  # octets of fragments that a host keeps


def _made_before_jumbo(lab: BuiltLab) -> None:
    """The NIC was small when the tunnel was made, and has grown since."""
    spoke = victim(lab)
    nic = spoke.node.link(spoke.plan.nic).mtu
    spoke.node.apply(link_set(spoke.plan.nic, mtu=SMALL))
    lab.remake_tunnel(spoke, spoke)
    spoke.node.apply(link_set(spoke.plan.nic, mtu=nic))


def _forced(lab: BuiltLab) -> None:
    spoke = victim(lab)
    spoke.node.apply(link_set(spoke.plan.device, mtu=spoke.node.link(spoke.plan.nic).mtu))


def _fragments_filtered(lab: BuiltLab) -> None:
    """A filter on the overlay device that matches ports, which a later fragment does not have."""
    anything = replace(lab.underlay.provider, broadcast=True, multicast=True, gre=True)
    program = port_program(anything, None, (fragment_rule(),))
    victim(lab).node.apply(filter_add(victim(lab).plan.device, "ingress", program, "fragments"))


FAULTS = (
    Fault(
        "port-mtu-small",
        "one port of the hub has a smaller MTU than all other devices of the overlay",
        ("MTU-01", "MTU-02", "MTU-05", "MTU-07", "BCAST-01"),
        of_hub(f"ip link set {{port}} mtu {SMALL}"),
        greens=("ICMP-01",),
        finding=Named("mtu-mismatch", hub_port),
    ),
    Fault(
        "bridge-mtu-small",
        "the hub's bridge was given a smaller MTU than its ports",
        ("MTU-05",),
        of_hub(f"ip link set {{device}} mtu {SMALL}"),
        greens=("BCAST-01",),
        finding=Named("mtu-mismatch", hub_bridge),
    ),
    Fault(
        "tunnel-before-jumbo",
        "one spoke's tunnel was made when its NIC took less than it does now",
        ("MTU-01", "MTU-05"),
        _made_before_jumbo,
        greens=("BCAST-01",),
        finding=Named("mtu-mismatch", victim_device),
    ),
    Fault(
        "mtu-forced",
        "one spoke's tunnel was given the MTU of its NIC",
        ("MTU-01", "MTU-03", "MTU-05"),
        _forced,
        tunnels=("gretap",),
        greens=("ICMP-01",),
        finding=Named("mtu-mismatch", victim_device),
    ),
    Fault(
        "path-narrow",
        "the path MTU to one spoke is smaller than the NICs', without ICMP errors",
        ("MTU-02", "MTU-03", "MTU-07", "BCAST-01"),
        lambda lab: lab.cloud.lose(victim(lab).name, longer_rule(NARROW)),
        greens=("ICMP-01", "MTU-01"),
        finding=Named("path-mtu-black-hole", cloud),
        fixable=False,
    ),
    Fault(
        "path-narrow-to-hub",
        "the path MTU to the hub is smaller than the NICs', without ICMP errors",
        ("MTU-02", "MTU-03", "MTU-06", "MTU-07", "MTU-09"),
        lambda lab: lab.cloud.lose(lab.hub.name, longer_rule(NARROW)),
        greens=("ICMP-01", "MTU-01"),
        finding=Named("path-mtu-black-hole", cloud),
        fixable=False,
    ),
    Fault(
        "pmtu-icmp-filtered",
        "the spokes' firewalls drop the ICMP errors with the path MTU",
        ("MTU-06",),
        of_all("{iptables} -A INPUT -p icmp --icmp-type fragmentation-needed -j DROP"),
        tunnels=("gretap",),
        greens=("MTU-02", "BCAST-01"),
        finding=Named("pmtu-icmp-filtered", victim_nic),
    ),
    Fault(
        "fragments-filtered",
        "one node drops fragments that came through the tunnel",
        ("MTU-02", "MTU-04"),
        _fragments_filtered,
        # not BCAST-01: a host's own copy of its broadcast, without an Ethernet header, is a fragment to the filter
        greens=("MTU-07",),
        finding=Named("traffic-filtered", victim_device),
    ),
    Fault(
        "reassembly-limited",
        "one node has no room to put fragments together",
        ("MTU-02", "MTU-04"),
        of_spoke(f"sysctl -w net.ipv4.ipfrag_low_thresh={TINY} net.ipv4.ipfrag_high_thresh={TINY}"),
        greens=("BCAST-01", "MTU-07"),
        finding=Named("reassembly-limited", victim_itself),
    ),
)
