"""
Faults of the hub: its ports, its bridge, and ways around it.

The hub forwards for every host, so that most of these leave part of the overlay intact.
"""

from __future__ import annotations

from dataclasses import replace

from lab.changes import link_del, route_add
from lab.faults.fault import Fault, Named
from lab.faults.means import every_port, extra_tunnel, of_hub, take_any_source
from lab.faults.places import device, first_spoke, hub_bridge, hub_port, victim
from lab.laboratory import BuiltLab
from lab.model import Change
from lab.overlay import plan

SECOND = 1000  # the number (key, VNI) of a tunnel in addition to the topology's own
SECOND_DEVICE, MESH_DEVICE = "second", "mesh"
NOT_STP_PAUSE_LACP = 0xFFF8  # every bit of group_fwd_mask that the kernel takes


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


def _route_instead(lab: BuiltLab) -> None:
    """The hub keeps the spokes apart, answers ARP in their place and routes between them."""
    every_port(isolated=1)(lab)
    routing = "net.ipv4.ip_forward=1 net.ipv4.conf.{device}.proxy_arp_pvlan=1"
    silent = "net.ipv4.conf.{device}.send_redirects=0 net.ipv4.conf.all.send_redirects=0"
    of_hub(f"sysctl -w {routing} {silent}")(lab)


def _unpin(lab: BuiltLab) -> None:
    """The bridge made again as the article makes it, without an address of its own."""
    topology = replace(lab.topology, pinned_mac=False)
    remove: list[Change] = [link_del(device) for device in topology.devices(lab.hub.name)]
    lab.hub.node.apply(*remove, *plan.changes(topology, topology.hub))


FAULTS = (
    Fault(
        "port-detached",
        "a tunnel of the hub is no port of its bridge",
        ("HUB-02", "BCAST-01"),
        of_hub("ip link set {port} nomaster"),
        finding=Named("port-not-bridged", hub_port),
    ),
    Fault(
        "hairpin",
        "the hub sends frames back on the port they came from",
        ("HUB-05", "BCAST-05", "MCAST-06"),
        every_port(hairpin=1),
        finding=Named("hairpin-on", hub_port),
    ),
    Fault(
        "second-tunnel",
        "a spoke is attached to the bridge by two tunnels",
        ("HUB-04", "PERF-01"),
        _second_tunnel,
        finding=Named("attached-twice", device(victim, SECOND_DEVICE)),
    ),
    Fault(
        "spokes-meshed",
        "two spokes have a tunnel of their own",
        ("HUB-01", "WIRE-03"),
        _mesh,
        finding=Named("spokes-meshed", device(first_spoke, MESH_DEVICE)),
        greens=("BCAST-01",),
        spokes=2,
    ),
    Fault(
        "hub-routes",
        "the hub routes between spokes instead of bridging",
        ("TTL-01", "WIRE-02"),
        _route_instead,
        finding=Named("port-isolated", hub_port),
    ),
    Fault(
        "learning-off",
        "the hub does not learn MACs",
        ("HUB-03",),
        every_port(learning=0),
        finding=Named("learning-off", hub_port),
        greens=("BCAST-01",),
    ),
    Fault(
        "unknown-not-flooded",
        "the hub drops unicast to MACs that it does not know",
        ("HUB-03",),
        every_port(flood=0),
        finding=Named("unicast-not-flooded", hub_port),
        greens=("BCAST-01",),
    ),
    Fault(
        "ports-isolated",
        "the hub's ports are isolated",
        ("HUB-06",),
        every_port(isolated=1),
        finding=Named("port-isolated", hub_port),
    ),
    Fault(
        "reserved-forwarded",
        "the hub forwards what ends at every bridge",
        ("HUB-07",),
        of_hub(f"ip link set {{device}} type bridge group_fwd_mask {NOT_STP_PAUSE_LACP}"),
        finding=Named("reserved-forwarded", hub_bridge),
        greens=("BCAST-01",),
    ),
    Fault(
        "bridge-mac-follows",
        "the bridge's MAC is the lowest of its ports'",
        ("HUB-08",),
        _unpin,
        finding=Named("bridge-mac-not-pinned", hub_bridge),
        greens=("BCAST-01",),
    ),
)
