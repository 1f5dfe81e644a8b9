"""
Faults of what the ends of the overlay are given: the tunnels' addresses, the overlay's own, MACs.

Most of them are one wrong line of a set-up, and none is visible on the sender.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface

from lab.faults.places import hub_port, victim
from lab.faults.table import read
from lab.host import Host
from lab.laboratory import BuiltLab
from lab.model import NodePlan
from lab.overlay import plan
from lab.stack.changes import addr_add, link_del, link_set

STRANGER = 99  # a host number that no VNIC has


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
    lab.hub.node.apply(link_del(hub_port(lab)), made)


def _takes_mac(lab: BuiltLab, owner: Host, device: str) -> None:
    victim(lab).node.apply(link_set(victim(lab).plan.device, address=owner.node.link(device).mac))


FAULTS = read(
    """\
foreign-source: a spoke's outer source address does not belong to its VNIC
    red: UNDER-06 PRE-08; finding: tunnel-local-mismatch at spoke {device}
second-address: a spoke's outer source address is its second address, but the hub's remote is the first
    red: UNDER-06 PRE-08; finding: tunnel-local-mismatch at spoke {device}; tunnels: gretap
    # by no command on a host: with the address the cloud gave up its source check
    fix: none
wrong-remote: the hub's remote for a spoke is off by one
    red: PRE-08; finding: tunnel-remote-mismatch at hub {port}
tunnel-missing: a spoke has no tunnel device
    spoke: ip link del {leg}
    red: PRE-01 PRE-11; finding: tunnel-missing at spoke {leg}
tunnel-down: a spoke's tunnel device is down
    spoke: ip link set {leg} down
    red: PRE-01 PRE-11; finding: tunnel-down at spoke {leg}
recursive-route: a spoke's route to the tunnel's remote goes through the tunnel
    spoke: ip route add {remote}/32 dev {device}
    red: PRE-12; finding: recursive-routing at spoke {device}; tunnels: gretap
prefix-32: a spoke's overlay address is a /32
    # the new one first: with its last address a device loses its routes too
    spoke: ip addr add {own}/32 dev {device} && ip addr del {overlay} dev {device}
    red: PRE-09; finding: prefix-mismatch at spoke {device}
prefix-16: a spoke's overlay address is a /16
    spoke: ip addr add {own}/16 dev {device} && ip addr del {overlay} dev {device}
    red: PRE-09; finding: prefix-mismatch at spoke {device}
duplicate-address: two spokes have the same overlay address
    spoke: ip addr add {first}/24 dev {device}
    red: PRE-09; finding: duplicate-address at spoke {device}; spokes: 2
duplicate-mac: two spokes have the same overlay MAC
    red: PRE-10; finding: duplicate-mac at spoke {device}; spokes: 2
mac-of-hub-port: a spoke has the MAC of a port of the hub
    red: PRE-10; finding: duplicate-mac at spoke {device}
    """,
    {
        "foreign-source": _foreign_source,
        "second-address": _second_address,
        "wrong-remote": _wrong_remote,
        "duplicate-mac": lambda lab: _takes_mac(lab, lab.spokes[0], lab.spokes[0].plan.device),
        "mac-of-hub-port": lambda lab: _takes_mac(lab, lab.hub, lab.topology.ports(lab.hub.name)[0]),
    },
)
