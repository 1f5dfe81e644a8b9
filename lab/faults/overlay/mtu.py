"""
Faults of sizes: what is small passes, and what fills the overlay is cut, refused or lost without a word.

They are found late: ping works, ssh hangs, and discovery loses the large answers.
"""

from __future__ import annotations

from dataclasses import replace

from lab.faults.places import victim
from lab.faults.table import read
from lab.laboratory import BuiltLab
from lab.stack.changes import filter_add, link_set
from lab.underlay.policy import fragment_rule, longer_rule, port_program

SMALL = 1300  # octets that fit any cloud, and are less than the overlay on any of them takes
NARROW = 1400  # octets that a path carries: less than the NIC of any cloud


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


FAULTS = read(
    """\
port-mtu-small: one port of the hub has a smaller MTU than all other devices of the overlay
    hub: ip link set {port} mtu 1300
    red: MTU-01 MTU-02 MTU-05 MTU-07 BCAST-01; green: ICMP-01; finding: mtu-mismatch at hub {port}
bridge-mtu-small: the hub's bridge was given a smaller MTU than its ports
    hub: ip link set {device} mtu 1300
    red: MTU-05; green: BCAST-01; finding: mtu-mismatch at hub {device}
tunnel-before-jumbo: one spoke's tunnel was created when the NIC's MTU was smaller than it is now
    red: MTU-01 MTU-05; green: BCAST-01; finding: mtu-mismatch at spoke {device}
mtu-forced: one spoke's tunnel was given the MTU of its NIC
    red: MTU-01 MTU-03 MTU-05; green: ICMP-01; finding: mtu-mismatch at spoke {device}; tunnels: gretap
path-narrow: the path MTU to one spoke is smaller than the NICs', without ICMP errors
    red: MTU-02 MTU-03 MTU-07 BCAST-01; green: ICMP-01 MTU-01; finding: path-mtu-black-hole at cloud; fix: none
path-narrow-to-hub: the path MTU to the hub is smaller than the NICs', without ICMP errors
    red: MTU-02 MTU-03 MTU-06 MTU-07 MTU-09; green: ICMP-01 MTU-01; finding: path-mtu-black-hole at cloud; fix: none
pmtu-icmp-filtered: the spokes' firewalls drop the ICMP errors with the path MTU
    all: {iptables} -A INPUT -p icmp --icmp-type fragmentation-needed -j DROP
    red: MTU-06; green: MTU-02 BCAST-01; finding: pmtu-icmp-filtered at spoke {nic}; tunnels: gretap
fragments-filtered: one node drops fragments that came through the tunnel
    # not BCAST-01: a host's own copy of its broadcast, without an Ethernet header, is a fragment to the filter
    red: MTU-02 MTU-04; green: MTU-07; finding: traffic-filtered at spoke {device}
reassembly-limited: one node has too little memory to reassemble fragments
    spoke: sysctl -w net.ipv4.ipfrag_low_thresh=1000 net.ipv4.ipfrag_high_thresh=1000
    red: MTU-02 MTU-04; green: BCAST-01 MTU-07; finding: reassembly-limited at spoke
    """,
    {
        "tunnel-before-jumbo": _made_before_jumbo,
        "mtu-forced": _forced,
        "path-narrow": lambda lab: lab.cloud.lose(victim(lab).name, longer_rule(NARROW)),
        "path-narrow-to-hub": lambda lab: lab.cloud.lose(lab.hub.name, longer_rule(NARROW)),
        "fragments-filtered": _fragments_filtered,
    },
)
