"""
Faults of time: a machine, a link or a port that went and came back, or did not, and a way that makes a circle.

None of them is a mistake in a configuration file: what is configured was right once.
"""

from __future__ import annotations

from lab.changes import (
    addr_add,
    addr_del,
    bridge,
    bridge_port,
    fdb_replace,
    filter_add,
    link_add,
    link_set,
    route_replace,
)
from lab.faults.fault import Fault, Named
from lab.faults.means import extra_tunnel, of_all, of_hub
from lab.faults.places import cloud_port, device, first_spoke, hub, hub_bridge, hub_port
from lab.host import Host
from lab.laboratory import BuiltLab
from lab.model import Change

SHORTCUT, SPOKE_BRIDGE = "shortcut", "br-loop"
SHORTCUT_NUMBER = 2000  # its key or VNI
# Classic BPF (linux/filter.h): a frame in four is dropped, so that what goes in circles does so for a while only.  What
# bridges say to each other (to 01-80-C2-00-00-00) passes: it goes no further than one link.
LOAD_DESTINATION, LOAD_RANDOM = (0x20, 0, 0, 0), (0x20, 0, 0, 0xFFFFF000 + 56)  # ld [0], ld rand (SKF_AD_RANDOM)
PASS, DROP = (0x06, 0, 0, 0), (0x06, 0, 0, 2)  # TC_ACT_OK, TC_ACT_SHOT
LOSSY = (LOAD_DESTINATION, (0x15, 4, 0, 0x0180C200), LOAD_RANDOM, (0x54, 0, 0, 3), (0x15, 0, 1, 0), DROP, PASS)


def _hub_down(lab: BuiltLab) -> None:
    """The hub's VM is stopped: the cloud keeps its address, and nothing gets to it."""
    lab.cloud.node.apply(link_set(lab.cloud.port_of(lab.hub.name), up=False))


def _addresses_pinned(lab: BuiltLab) -> None:
    """The hub learns nothing: who is where was written down once."""
    changes: list[Change] = []
    for spoke in lab.spokes:
        port, mac = lab.topology.port(lab.hub.name, spoke.name), spoke.node.link(spoke.plan.device).mac
        changes += [bridge_port(port, learning=0), fdb_replace(port, mac)]
    lab.hub.node.apply(*changes)


def _loop(lab: BuiltLab) -> None:
    """
    The first two spokes bridge their tunnels with a shortcut between them: hub, spoke and spoke are a circle.

    The shortcut drops a frame in 4 at random.  A circle that loses nothing would take the machine with it.
    """
    ends = lab.spokes[:2]
    for here, there in (ends, ends[::-1]):
        bridged = here.plan.device if here.plan.holder == "bridge" else SPOKE_BRIDGE
        here.node.apply(
            *(() if bridged == here.plan.device else _bridging(lab, here)),
            extra_tunnel(lab, SHORTCUT, here, there, SHORTCUT_NUMBER, up=False, master=bridged),
            filter_add(SHORTCUT, "ingress", program=LOSSY, name="a frame in 4"),
        )
    for end in ends:
        end.node.apply(link_set(SHORTCUT, up=True))


def _bridging(lab: BuiltLab, spoke: Host) -> tuple[Change, ...]:
    """A spoke's tunnel becomes the port of a bridge, which has its overlay address from then on."""
    device, address = spoke.plan.device, str(spoke.plan.overlay)
    return (
        addr_del(device, address),
        link_add(SPOKE_BRIDGE, bridge(), address=spoke.node.link(device).mac),
        link_set(device, master=SPOKE_BRIDGE),
        addr_add(SPOKE_BRIDGE, address),
        # with another address of its own the device has kept its route
        route_replace(str(lab.topology.multicast_route), SPOKE_BRIDGE),
    )


FAULTS = (
    Fault(
        "hub-down",
        "the hub's VM is stopped",
        ("FAULT-01", "FAULT-02"),
        _hub_down,
        finding=Named("fabric-port-down", cloud_port(hub)),
        fixable=False,
    ),
    Fault(
        "hub-unconfigured",
        "the hub is back from a reboot that restored nothing of the overlay",
        ("FAULT-02",),
        lambda lab: lab.take_down(lab.hub),
        finding=Named("bridge-missing", hub_bridge),
    ),
    Fault(
        "link-flapped",
        "every overlay device went down and came up again",
        ("FAULT-03", "MCAST-01", "MCAST-08"),
        # what the kernel restores is there again, what `ip` added is not
        of_all("ip link set {device} down && ip link set {device} up"),
        greens=("BCAST-01", "ICMP-01"),
        finding=Named("multicast-route-missing", hub_bridge),
    ),
    Fault(
        "hub-port-down",
        "the hub's tunnel to one spoke is down",
        ("FAULT-04", "HUB-02"),
        of_hub("ip link set {port} down"),
        finding=Named("tunnel-down", hub_port),
    ),
    Fault(
        "fdb-pinned",
        "the hub has its spokes' MACs written down and learns none",
        ("FAULT-05",),
        _addresses_pinned,
        greens=("BCAST-01",),
        finding=Named("learning-off", hub_port),
    ),
    Fault(
        "loop",
        "two spokes bridge an additional tunnel to the overlay, without STP",
        ("FAULT-06", "HUB-04"),
        _loop,
        finding=Named("loop", device(first_spoke, SHORTCUT)),
        spokes=2,
    ),
    Fault(
        "port-listening",
        "the hub runs STP, and one of its ports does not forward yet",
        ("FAULT-07", "BCAST-01"),
        # a tunnel has just become a port: for 30 s it forwards nothing
        of_hub(
            "ip link set {device} type bridge stp_state 1",
            "ip link set {port} nomaster && ip link set {port} master {device}",
        ),
        finding=Named("port-blocked", hub_port),
    ),
)
