"""
Faults of time: a machine, a link or a port that went and came back, or did not, and a way that makes a circle.

None of them is a mistake in a configuration file: what is configured was right once.
"""

from __future__ import annotations

from lab.faults.actions import extra_tunnel
from lab.faults.table import read
from lab.host import Host
from lab.laboratory import BuiltLab
from lab.model import Change
from lab.stack.changes import (
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

SHORTCUT, SPOKE_BRIDGE = "tunnel9", "br9"
SHORTCUT_NUMBER = 2000  # its key or VNI
# Classic BPF (linux/filter.h): a frame in four is dropped, so that what goes in circles does so for a while only.  What
# bridges say to each other (to 01-80-C2-00-00-00) passes: it goes no further than one link.
LOAD_DESTINATION, LOAD_RANDOM = (0x20, 0, 0, 0), (0x20, 0, 0, 0xFFFFF000 + 56)  # ld [0], ld rand (SKF_AD_RANDOM)
PASS, DROP = (0x06, 0, 0, 0), (0x06, 0, 0, 2)  # TC_ACT_OK, TC_ACT_SHOT
LOSSY = (LOAD_DESTINATION, (0x15, 4, 0, 0x0180C200), LOAD_RANDOM, (0x54, 0, 0, 3), (0x15, 0, 1, 0), DROP, PASS)


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


FAULTS = read(
    """\
hub-down: the hub's VM is stopped
    # the cloud keeps its address, and nothing gets to it
    cloud: ip link set hub down
    red: FAULT-01 FAULT-02; finding: fabric-port-down at cloud hub; fix: none
hub-unconfigured: the hub is back from a reboot that restored nothing of the overlay
    red: FAULT-02; finding: bridge-missing at hub {device}
link-flapped: every overlay device went down and came up again
    # what the kernel restores is there again, what `ip` added is not
    all: ip link set {device} down && ip link set {device} up
    red: FAULT-03 MCAST-01 MCAST-08; green: BCAST-01 ICMP-01; finding: multicast-route-missing at hub {device}
hub-port-down: the hub's tunnel to one spoke is down
    hub: ip link set {port} down
    red: FAULT-04 HUB-02; finding: tunnel-down at hub {port}
fdb-pinned: the hub has static entries for its spokes' MACs, and learns none
    red: FAULT-05; green: BCAST-01; finding: learning-off at hub {port}
loop: two spokes bridge an additional tunnel to the overlay, without STP
    red: FAULT-06 HUB-04; finding: loop at spoke1 tunnel9; spokes: 2
port-listening: the hub runs STP, and one of its ports does not forward yet
    # a tunnel has just become a port: for 30 s it forwards nothing
    hub: ip link set {device} type bridge stp_state 1
    hub: ip link set {port} nomaster && ip link set {port} master {device}
    red: FAULT-07 BCAST-01; finding: port-blocked at hub {port}
    """,
    {
        "hub-unconfigured": lambda lab: lab.take_down(lab.hub),
        "fdb-pinned": _addresses_pinned,
        "loop": _loop,
    },
)
