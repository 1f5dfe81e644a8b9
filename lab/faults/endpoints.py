"""
Faults of what the ends of the overlay are given: the tunnels' addresses, the overlay's own, MACs.

Most of them are one wrong line of a set-up, and none is visible on the sender.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface

from lab.changes import addr_add, link_del, link_set
from lab.faults.fault import Fault, Named
from lab.faults.means import GUEST, of_spoke
from lab.faults.places import hub_port, hub_ports, victim, victim_device
from lab.host import Host
from lab.laboratory import BuiltLab
from lab.model import NodePlan
from lab.overlay import plan

STRANGER = 99  # a host number that no VNIC has
# the new one first: with its last address a device loses its routes too
OTHER_PREFIX = "ip addr add {own}/PREFIX dev {device} && ip addr del {overlay} dev {device}"


def _spoke_again(lab: BuiltLab, spoke: Host, changed: NodePlan) -> None:
    """The spoke's side of the overlay, created again from another plan."""
    nodes = tuple(changed if node.name == changed.name else node for node in lab.topology.nodes)
    spoke.node.apply(link_del(spoke.plan.device), *plan.changes(replace(lab.topology, nodes=nodes), changed))


def _foreign_source(lab: BuiltLab) -> None:
    """A spoke's tunnel starts at an address that its VNIC does not own."""
    spoke = victim(lab)
    network = spoke.plan.underlay.network
    stranger = IPv4Interface((network.network_address + STRANGER, network.prefixlen))
    spoke.node.apply(addr_add(spoke.plan.nic, str(stranger)))
    _spoke_again(lab, spoke, replace(spoke.plan, underlay=stranger))


def _second_address(lab: BuiltLab) -> None:
    """The same, with an address that the cloud did assign to the VNIC, and that the hub does not expect."""
    spoke = victim(lab)
    _foreign_source(lab)
    lab.cloud.assign(spoke.name, spoke.plan.underlay.network.network_address + STRANGER)
    lab.cloud.set_rules(spoke.name, source_check=False)


def _wrong_remote(lab: BuiltLab) -> None:
    spoke = victim(lab)
    wrong = replace(spoke.plan, underlay=spoke.plan.underlay + 1)
    nodes = tuple(wrong if node.name == spoke.name else node for node in lab.topology.nodes)
    made = plan.tunnel_link(replace(lab.topology, nodes=nodes), lab.hub.plan, spoke.name)
    _, port = hub_port(lab)
    lab.hub.node.apply(link_del(port), made)


def _takes_mac(lab: BuiltLab, owner: Host, device: str) -> None:
    victim(lab).node.apply(link_set(victim(lab).plan.device, address=owner.node.link(device).mac))


FAULTS = (
    Fault(
        "foreign-source",
        "a spoke's outer source address is none that its VNIC owns",
        ("UNDER-06", "PRE-08"),
        _foreign_source,
        finding=Named("tunnel-local-mismatch", victim_device),
    ),
    Fault(
        "second-address",
        "a spoke's outer source address is another one than the hub's remote",
        ("UNDER-06", "PRE-08"),
        _second_address,
        GUEST,
        finding=Named("tunnel-local-mismatch", victim_device),
        fixable=False,  # by no command on a host: with the address the cloud gave up its source check
    ),
    Fault(
        "wrong-remote",
        "the hub's remote for a spoke is off by one",
        ("PRE-08",),
        _wrong_remote,
        finding=Named("tunnel-remote-mismatch", hub_port),
    ),
    Fault(
        "tunnel-missing",
        "a spoke has no tunnel device",
        ("PRE-01", "PRE-11"),
        of_spoke("ip link del {device}"),
        finding=Named("tunnel-missing", victim_device),
    ),
    Fault(
        "tunnel-down",
        "a spoke's tunnel device is down",
        ("PRE-01", "PRE-11"),
        of_spoke("ip link set {device} down"),
        finding=Named("tunnel-down", victim_device),
    ),
    Fault(
        "recursive-route",
        "a spoke's route to the tunnel's remote goes through the tunnel",
        ("PRE-12",),
        of_spoke("ip route add {remote}/32 dev {device}"),
        GUEST,
        finding=Named("recursive-routing", victim_device),
    ),
    Fault(
        "prefix-32",
        "a spoke's overlay address is a /32",
        ("PRE-09",),
        of_spoke(OTHER_PREFIX.replace("PREFIX", "32")),
        finding=Named("prefix-mismatch", victim_device),
    ),
    Fault(
        "prefix-16",
        "a spoke's overlay address is a /16",
        ("PRE-09",),
        of_spoke(OTHER_PREFIX.replace("PREFIX", "16")),
        finding=Named("prefix-mismatch", victim_device),
    ),
    Fault(
        "duplicate-address",
        "two spokes have the same overlay address",
        ("PRE-09",),
        of_spoke("ip addr add {first}/24 dev {device}"),
        finding=Named("duplicate-address", victim_device),
        spokes=2,
    ),
    Fault(
        "duplicate-mac",
        "two spokes have the same overlay MAC",
        ("PRE-10",),
        lambda lab: _takes_mac(lab, lab.spokes[0], lab.spokes[0].plan.device),
        finding=Named("duplicate-mac", victim_device),
        spokes=2,
    ),
    Fault(
        "mac-of-hub-port",
        "a spoke has the MAC of a port of the hub",
        ("PRE-10",),
        lambda lab: _takes_mac(lab, lab.hub, hub_ports(lab)[0]),
        finding=Named("duplicate-mac", victim_device),
    ),
)
