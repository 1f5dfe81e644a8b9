"""
Faults of sizes: what is small passes, and what fills the overlay is cut, refused or lost without a word.

They are found late: ping works, ssh hangs, and discovery loses whoever has much to say.
"""

from __future__ import annotations

from dataclasses import replace

from lab.changes import filter_add, link_set
from lab.faults.fault import Fault
from lab.faults.means import on_one, sysctls
from lab.faults.places import cloud, hub_bridge, hub_port, named, victim, victim_device, victim_itself, victim_nic
from lab.host import Host
from lab.laboratory import BuiltLab
from lab.machines import firewall
from lab.underlay.policy import fragment_rule, longer_rule, port_program

SMALLER = 100  # octets
NARROW = 1400  # octets that a path carries: less than the NIC of any cloud
TINY = 1000  # octets of fragments that a host keeps
TOO_BIG = ("-p", "icmp", "--icmp-type", "fragmentation-needed", "-j", "DROP")


def _mtu(host: Host, device: str) -> int:
    return int(host.node.link(device).mtu)


def _set(host: Host, device: str, mtu: int) -> None:
    host.node.apply(link_set(device, mtu=mtu))


def _port_small(lab: BuiltLab) -> None:
    _, port = hub_port(lab)
    _set(lab.hub, port, _mtu(lab.hub, port) - SMALLER)


def _bridge_small(lab: BuiltLab) -> None:
    bridge = lab.topology.bridge
    _set(lab.hub, bridge, _mtu(lab.hub, bridge) - SMALLER)


def _made_before_jumbo(lab: BuiltLab) -> None:
    """The NIC was small when the tunnel was made, and has grown since."""
    spoke = victim(lab)
    nic = _mtu(spoke, spoke.plan.nic)
    _set(spoke, spoke.plan.nic, nic - SMALLER)
    lab.remake_tunnel(spoke, spoke)
    _set(spoke, spoke.plan.nic, nic)


def _forced(lab: BuiltLab) -> None:
    spoke = victim(lab)
    _set(spoke, spoke.plan.device, _mtu(spoke, spoke.plan.nic))


def _fragments_filtered(lab: BuiltLab) -> None:
    """A filter on the overlay device that knows ports, and a later fragment has none."""
    anything = replace(lab.underlay.provider, broadcast=True, multicast=True, gre=True)
    program = port_program(anything, None, (fragment_rule(),))
    victim(lab).node.apply(filter_add(victim(lab).plan.device, "ingress", program, "fragments"))


def _icmp_filtered(lab: BuiltLab) -> None:
    for spoke in lab.spokes:
        firewall.append(spoke.node, ("INPUT", *TOO_BIG))


FAULTS = (
    Fault(
        "port-mtu-small",
        "one port of the hub has a smaller MTU than all other devices of the overlay",
        ("MTU-01", "MTU-02", "MTU-05", "MTU-07", "BCAST-01"),
        _port_small,
        greens=("ICMP-01",),
        finding=named("mtu-mismatch", hub_port),
    ),
    Fault(
        "bridge-mtu-small",
        "the hub's bridge was given a smaller MTU than its ports",
        ("MTU-05",),
        _bridge_small,
        greens=("BCAST-01",),
        finding=named("mtu-mismatch", hub_bridge),
    ),
    Fault(
        "tunnel-before-jumbo",
        "one spoke's tunnel was made when its NIC took less than it does now",
        ("MTU-01", "MTU-05"),
        _made_before_jumbo,
        greens=("BCAST-01",),
        finding=named("mtu-mismatch", victim_device),
    ),
    Fault(
        "mtu-forced",
        "one spoke's tunnel was given the MTU of its NIC",
        ("MTU-01", "MTU-03", "MTU-05"),
        _forced,
        tunnels=("gretap",),
        greens=("ICMP-01",),
        finding=named("mtu-mismatch", victim_device),
    ),
    Fault(
        "path-narrow",
        "the path to one spoke carries less than the NICs do, and tells nobody",
        ("MTU-02", "MTU-03", "MTU-07", "BCAST-01"),
        lambda lab: lab.cloud.lose(victim(lab).name, longer_rule(NARROW)),
        greens=("ICMP-01", "MTU-01"),
        finding=named("path-mtu-black-hole", cloud),
        mended=False,
    ),
    Fault(
        "path-narrow-to-hub",
        "the path to the hub carries less than the NICs do, and tells nobody",
        ("MTU-02", "MTU-03", "MTU-06", "MTU-07", "MTU-09"),
        lambda lab: lab.cloud.lose(lab.hub.name, longer_rule(NARROW)),
        greens=("ICMP-01", "MTU-01"),
        finding=named("path-mtu-black-hole", cloud),
        mended=False,
    ),
    Fault(
        "pmtu-icmp-filtered",
        "the spokes' firewalls drop the ICMP that says what a path carries",
        ("MTU-06",),
        _icmp_filtered,
        tunnels=("gretap",),
        greens=("MTU-02", "BCAST-01"),
        finding=named("pmtu-icmp-filtered", victim_nic),
    ),
    Fault(
        "fragments-filtered",
        "one node drops fragments that came through the tunnel",
        ("MTU-02", "MTU-04"),
        _fragments_filtered,
        # not BCAST-01: a host's own copy of its broadcast, without an Ethernet header, is a fragment to the filter
        greens=("MTU-07",),
        finding=named("traffic-filtered", victim_device),
    ),
    Fault(
        "reassembly-limited",
        "one node has no room to put fragments together",
        ("MTU-02", "MTU-04"),
        on_one(sysctls({"net.ipv4.ipfrag_low_thresh": TINY, "net.ipv4.ipfrag_high_thresh": TINY})),
        greens=("BCAST-01", "MTU-07"),
        finding=named("reassembly-limited", victim_itself),
    ),
)
