"""
Faults of designs without a single hub: flood lists, a mesh, two hubs under a bond or PRP (`lab.topology.designs`).

Most of those of two hubs lose nothing while both are there.
"""

from __future__ import annotations

from lab.errors import EnvironmentProblem
from lab.faults.actions import extra_tunnel, shell
from lab.faults.table import read
from lab.laboratory import BuiltLab

JOINED, JOINED_NUMBER = "tunnel9", 9


def _join_the_hubs(lab: BuiltLab) -> None:
    """A tunnel between two hubs that are to be networks of their own."""
    hub, hub2 = lab.hubs
    for here, there in ((hub, hub2), (hub2, hub)):
        here.node.apply(extra_tunnel(lab, JOINED, here, there, JOINED_NUMBER, master=here.plan.device))


def _split_the_brain(lab: BuiltLab) -> None:
    """A firewall drops the advertisements of the hub, which has the best priority and remains a master."""
    if lab.standby is None or lab.topology.standby is None:
        raise EnvironmentProblem("requires a standby hub")
    name = lab.topology.standby.name
    shell(lab.nodes[name], f"iptables -A INPUT -s {lab.hub.address('underlay')} -p 112 -j DROP")
    lab.standby.await_master()


FAULTS = read(
    """\
flood-entry-missing: one host's flood list lacks another host
    spoke: bridge fdb del 00:00:00:00:00:00 dev {device} dst {remote}
    red: BCAST-01; finding: vxlan-flood-missing at spoke {device}; topology: flood-list; tunnels: vxlan; spokes: 3
flood-entry-unknown: one host's flood list has the address of no host of the overlay
    spoke: bridge fdb append 00:00:00:00:00:00 dev {device} dst 10.0.0.99
    red: PRE-08; green: BCAST-01; finding: vxlan-entry-elsewhere at spoke {device}
    topology: flood-list; tunnels: vxlan; spokes: 3
flood-entry-of-group: one host has learned the broadcast address as another host's
    spoke: bridge fdb add ff:ff:ff:ff:ff:ff dev {device} dst {remote}
    red: BCAST-01; green: MCAST-01; finding: vxlan-group-entry at spoke {device}
    topology: flood-list; tunnels: vxlan; spokes: 3
flood-list-mtu-small: one host's VXLAN device has a smaller MTU than the others, less than IPv6 requires
    spoke: ip link set {device} mtu 1200
    red: MTU-05 V6-01; green: BCAST-01; finding: mtu-mismatch at spoke {device}
    topology: flood-list; tunnels: vxlan; spokes: 3
mesh-port-not-isolated: one host of a mesh forwards between its tunnels
    spoke: bridge link set dev {leg} isolated off
    red: BCAST-01; finding: port-not-isolated at spoke {leg}; topology: mesh; spokes: 3
legs-in-one-hub: both tunnels of a spoke lead to one hub
    spoke1: ip link del {leg} && ip link add {leg} type gretap local {underlay} remote {remote} key 7 ttl 64 && \
        ip link set {leg} master {device}
    red: RED-01; green: BCAST-01; finding: tunnel-remote-mismatch at spoke1 {leg}
    topology: two-hubs-bond; tunnels: gretap
bond-without-arp-targets: a spoke's bond probes no hub
    spoke1: ip link set {device} type bond arp_ip_target
    red: RED-01; green: BCAST-01; finding: bond-not-watching at spoke1 {device}
    topology: two-hubs-bond; tunnels: gretap
bond-leg-filtered: a spoke's firewall drops what the second hub sends: nothing is lost while the first is there
    spoke: {iptables} -A INPUT -s 10.0.0.198 {carrier} -j DROP
    red: PRE-03; green: BCAST-01; finding: tunnel-packets-dropped at spoke {nic}
    topology: two-hubs-bond; tunnels: gretap
hubs-not-joined: no tunnel joins the hubs of bonds, so that spokes that use different hubs are apart
    hub: ip link del {leg}
    red: RED-03; finding: tunnel-missing at hub {leg}; topology: two-hubs-bond; tunnels: gretap
hub-duplicates: a hub sends every frame to one spoke twice
    hub: tc qdisc add dev {port} root netem duplicate 100%
    red: RED-04 RED-05; finding: traffic-impaired at hub {port}; topology: two-hubs-bond; tunnels: gretap
prp-hubs-joined: a tunnel joins the hubs of PRP spokes
    red: BCAST-01; finding: hubs-joined at hub tunnel9; topology: two-hubs-prp; tunnels: gretap
prp-leg-mtu-small: one tunnel of a PRP device has a smaller MTU than the others
    spoke: ip link set {leg} mtu 1400
    red: MTU-05; green: BCAST-01; finding: mtu-mismatch at spoke {leg}; topology: two-hubs-prp; tunnels: gretap
prp-mtu-small: a PRP device has a smaller MTU than the others
    spoke: ip link set {device} mtu 1300
    red: MTU-05; green: BCAST-01; finding: mtu-mismatch at spoke {device}; topology: two-hubs-prp; tunnels: gretap
prp-leg-down: one tunnel of a PRP device is down
    spoke1: ip link set {leg} down
    red: RED-01 RED-02 RED-03 RED-06; finding: tunnel-down at spoke1 {leg}
    topology: two-hubs-prp; tunnels: gretap
prp-legs-of-two-macs: the tunnels of a PRP device have different MAC addresses
    spoke1: ip link set {leg} address 02:00:00:00:00:99
    red: BCAST-01; finding: prp-mac-mismatch at spoke1 {leg}; topology: two-hubs-prp; tunnels: gretap
stp-timers-default: the root of two-hubs-stp has STP's default timers
    hub: ip link set {device} type bridge max_age 2000 forward_delay 1500 hello_time 200
    red: RED-07; green: BCAST-01; finding: stp-timers-long at hub {device}; topology: two-hubs-stp; tunnels: gretap
vrrp-split-brain: the standby hub receives no VRRP advertisements, and is a master beside the hub
    red: RED-08; green: BCAST-01; finding: vrrp-two-masters at standby ens4; topology: standby
    """,
    {"prp-hubs-joined": _join_the_hubs, "vrrp-split-brain": _split_the_brain},
)
