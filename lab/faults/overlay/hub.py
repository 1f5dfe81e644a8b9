"""
Faults of the hub: its ports, its bridge, and ways around it.

The hub forwards for every host, so that most of these leave part of the overlay intact.
"""

from __future__ import annotations

from dataclasses import replace

from lab.faults.actions import extra_tunnel, take_any_source
from lab.faults.places import victim
from lab.faults.table import read
from lab.laboratory import BuiltLab
from lab.model import Change
from lab.overlay import plan
from lab.stack.changes import link_del, route_add

SECOND = 1000  # the number (key, VNI) of a tunnel in addition to the topology's own
SECOND_DEVICE, MESH_DEVICE = "tunnel8", "tunnel9"


def _second_tunnel(lab: BuiltLab) -> None:
    """Hub and spoke meet twice; the hub bridges both tunnels, the spoke has its address on the first."""
    hub, spoke = lab.hub, victim(lab)
    hub.node.apply(extra_tunnel(lab, SECOND_DEVICE, hub, spoke, SECOND, master=lab.topology.bridge))
    spoke.node.apply(extra_tunnel(lab, SECOND_DEVICE, spoke, hub, SECOND))
    take_any_source(spoke, SECOND_DEVICE)


def _mesh(lab: BuiltLab) -> None:
    """The first two spokes have a tunnel of their own, and a host route into it."""
    if len(lab.spokes) < 2:
        return
    first, second = lab.spokes[:2]
    for here, there in ((first, second), (second, first)):
        here.node.apply(
            extra_tunnel(lab, MESH_DEVICE, here, there, SECOND),
            route_add(f"{there.address()}/32", MESH_DEVICE),
        )
        take_any_source(here, MESH_DEVICE)


def _unpin(lab: BuiltLab) -> None:
    """The bridge made again as the article makes it, without an address of its own."""
    topology = replace(lab.topology, pinned_mac=False)
    remove: list[Change] = [link_del(device) for device in topology.devices(lab.hub.name)]
    lab.hub.node.apply(*remove, *plan.changes(topology, topology.hub))


FAULTS = read(
    """\
port-detached: a tunnel of the hub is not a port of its bridge
    hub: ip link set {port} nomaster
    red: HUB-02 BCAST-01; finding: port-not-bridged at hub {port}
hairpin: the hub sends frames back on the port they came from
    hub: for port in {ports}; do bridge link set dev $port hairpin on || exit; done
    red: HUB-05 BCAST-05 MCAST-06; finding: hairpin-on at hub {port}
second-tunnel: a spoke is attached to the bridge by two tunnels
    red: HUB-04 PERF-01; finding: attached-twice at spoke tunnel8
spokes-meshed: two spokes have a direct tunnel to each other
    red: HUB-01 WIRE-03; green: BCAST-01; finding: spokes-meshed at spoke1 tunnel9; spokes: 2
hub-routes: the hub routes between spokes instead of bridging
    # it keeps them apart and answers ARP in their place
    hub: for port in {ports}; do bridge link set dev $port isolated on || exit; done
    hub: sysctl -w net.ipv4.ip_forward=1 net.ipv4.conf.{device}.proxy_arp_pvlan=1 \
        net.ipv4.conf.{device}.send_redirects=0 net.ipv4.conf.all.send_redirects=0
    red: TTL-01 WIRE-02; finding: port-isolated at hub {port}
learning-off: the hub does not learn MACs
    hub: for port in {ports}; do bridge link set dev $port learning off || exit; done
    red: HUB-03; green: BCAST-01; finding: learning-off at hub {port}
unknown-not-flooded: the hub drops unicast to MACs that it does not know
    hub: for port in {ports}; do bridge link set dev $port flood off || exit; done
    red: HUB-03; green: BCAST-01; finding: unicast-not-flooded at hub {port}
ports-isolated: the hub's ports are isolated
    hub: for port in {ports}; do bridge link set dev $port isolated on || exit; done
    red: HUB-06; finding: port-isolated at hub {port}
reserved-forwarded: the hub's bridge forwards link-local frames, which a bridge must not forward
    # every bit of it that the kernel takes: not STP, pause frames and LACP
    hub: ip link set {device} type bridge group_fwd_mask 0xFFF8
    red: HUB-07; green: BCAST-01; finding: reserved-forwarded at hub {device}
bridge-mac-follows: the bridge's MAC is the lowest of its ports'
    red: HUB-08; green: BCAST-01; finding: bridge-mac-not-pinned at hub {device}
    """,
    {
        "second-tunnel": _second_tunnel,
        "spokes-meshed": _mesh,
        "bridge-mac-follows": _unpin,
    },
)
