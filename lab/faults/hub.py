"""
Faults of the hub: its ports, its bridge, and ways around it.

The hub forwards everything for everybody, so that most of these leave part of the overlay well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from lab.faults.fault import Fault
from lab.faults.places import device, hub_bridge, hub_port, named, victim
from lab.host import Host
from lab.laboratory import Lab
from lab.model import Change
from lab.overlay import plan

SECOND = 1000  # the number (key, VNI) of a tunnel besides the topology's own
SECOND_DEVICE, MESH_DEVICE = "second", "mesh"
NOT_STP_PAUSE_LACP = 0xFFF8  # every bit of group_fwd_mask that the kernel takes
LOWEST_MAC = "02:00:00:00:00:01"


def _port(lab: Lab, spoke: Host) -> str:
    return lab.topology.tunnel_of(spoke.name).hub_device


def _detach(lab: Lab) -> None:
    lab.hub.node.apply(("link_set", {"device": _port(lab, victim(lab)), "nomaster": True}))


def _flags(spokes: Callable[[Lab], Iterable[Host]], **flags: int) -> Callable[[Lab], None]:
    def inject(lab: Lab) -> None:
        lab.hub.node.apply(*(("bridge_port", {"device": _port(lab, spoke), **flags}) for spoke in spokes(lab)))

    return inject


def _link(lab: Lab, device: str, here: Host, there: Host, **more: Any) -> Change:
    """One end of a tunnel that the topology does not have."""
    options = replace(lab.topology.options, key=SECOND)
    made: Change = plan.kind(options.kind).link(
        device, here.plan.endpoint, there.plan.endpoint, here.plan.nic, SECOND, options, **more
    )
    return made


def _second_tunnel(lab: Lab) -> None:
    """Hub and spoke meet twice; the hub bridges both tunnels, the spoke has its address on the first."""
    hub, spoke = lab.hub, victim(lab)
    hub.node.apply(_link(lab, SECOND_DEVICE, hub, spoke, master=lab.topology.bridge))
    spoke.node.apply(_link(lab, SECOND_DEVICE, spoke, hub))
    # without this the second copy is dropped where rp_filter is on by default, and the fault is there unseen
    spoke.node.write_sysctls({f"net.ipv4.conf.{name}.rp_filter": 0 for name in ("all", SECOND_DEVICE)})


def _mesh(lab: Lab) -> None:
    """The first two spokes have a tunnel of their own, and a host route into it."""
    if len(lab.spokes) < 2:
        return
    first, second = lab.spokes[:2]
    for here, there in ((first, second), (second, first)):
        here.node.apply(
            _link(lab, MESH_DEVICE, here, there),
            ("route_add", {"to": f"{there.address()}/32", "device": MESH_DEVICE}),
        )
        here.node.write_sysctls({f"net.ipv4.conf.{name}.rp_filter": 0 for name in ("all", MESH_DEVICE)})


def _route_instead(lab: Lab) -> None:
    """The hub keeps the spokes apart, answers ARP in their place and routes between them."""
    bridge = lab.topology.bridge
    _flags(lambda lab: lab.spokes, isolated=1)(lab)
    lab.hub.node.write_sysctls(
        {
            "net.ipv4.ip_forward": 1,
            f"net.ipv4.conf.{bridge}.proxy_arp_pvlan": 1,
            f"net.ipv4.conf.{bridge}.send_redirects": 0,
            "net.ipv4.conf.all.send_redirects": 0,
        }
    )


def _unpin(lab: Lab) -> None:
    """The bridge made again as the article makes it, without an address of its own."""
    topology = replace(lab.topology, pinned_mac=False)
    remove: list[Change] = [("link_del", {"device": topology.bridge})]
    remove += [("link_del", {"device": tunnel.hub_device}) for tunnel in topology.tunnels]
    lab.hub.node.apply(*remove, *plan.changes(topology, topology.hub))


def _bridge(name: str, value: int) -> Callable[[Lab], None]:
    def inject(lab: Lab) -> None:
        change = {"device": lab.topology.bridge, "kind": "bridge", "data": [[name, value]]}
        lab.hub.node.apply(("link_set", change))

    return inject


FAULTS = (
    Fault(
        "port-detached",
        "a tunnel of the hub is no port of its bridge",
        ("HUB-02", "BCAST-01"),
        _detach,
        finding=named("port-not-bridged", hub_port),
    ),
    Fault(
        "hairpin",
        "the hub sends frames back on the port they came from",
        ("HUB-05", "BCAST-05", "MCAST-06"),
        _flags(lambda lab: lab.spokes, hairpin=1),
        finding=named("hairpin-on", hub_port),
    ),
    Fault(
        "second-tunnel",
        "a spoke is attached to the bridge by two tunnels",
        ("HUB-04", "PERF-01"),
        _second_tunnel,
        finding=named("attached-twice", device(lambda lab: lab.hub, SECOND_DEVICE)),
    ),
    Fault(
        "spokes-meshed",
        "two spokes have a tunnel of their own",
        ("HUB-01", "WIRE-03"),
        _mesh,
        finding=named("spokes-meshed", device(lambda lab: lab.spokes[0], MESH_DEVICE)),
        greens=("BCAST-01",),
    ),
    Fault(
        "hub-routes",
        "the hub routes between spokes instead of bridging",
        ("TTL-01", "WIRE-02"),
        _route_instead,
        finding=named("port-isolated", hub_port),
    ),
    Fault(
        "learning-off",
        "the hub does not learn MACs",
        ("HUB-03",),
        _flags(lambda lab: lab.spokes, learning=0),
        finding=named("learning-off", hub_port),
        greens=("BCAST-01",),
    ),
    Fault(
        "unknown-not-flooded",
        "the hub drops unicast to MACs that it does not know",
        ("HUB-03",),
        _flags(lambda lab: lab.spokes, flood=0),
        finding=named("unicast-not-flooded", hub_port),
        greens=("BCAST-01",),
    ),
    Fault(
        "ports-isolated",
        "the hub's ports are isolated",
        ("HUB-06",),
        _flags(lambda lab: lab.spokes, isolated=1),
        finding=named("port-isolated", hub_port),
    ),
    Fault(
        "reserved-forwarded",
        "the hub forwards what ends at every bridge",
        ("HUB-07",),
        _bridge("IFLA_BR_GROUP_FWD_MASK", NOT_STP_PAUSE_LACP),
        finding=named("reserved-forwarded", hub_bridge),
        greens=("BCAST-01",),
    ),
    Fault(
        "bridge-mac-follows",
        "the bridge's MAC is the lowest of its ports'",
        ("HUB-08",),
        _unpin,
        finding=named("bridge-mac-not-pinned", hub_bridge),
        greens=("BCAST-01",),
    ),
)
