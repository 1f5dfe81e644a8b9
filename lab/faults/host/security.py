"""Faults of trust: tunnels that take from anybody, and broadcast that is let in from outside."""

from __future__ import annotations

import sys

from lab.faults.actions import take_any_source
from lab.faults.table import read
from lab.laboratory import BuiltLab
from lab.machines import program
from lab.stack.changes import link_add
from lab.tunnels import kind
from lab.tunnels.gretap import gretap

ANYBODY = "gretap9"
FORMER = 66  # a host number that no VNIC of a lab has


def _wildcard(lab: BuiltLab) -> None:
    """
    The hub has a tunnel without a remote.

    It is no port of the bridge: what a bridge floods to it goes, in GRE, to the address inside, which the bridge has,
    a recursion that crashes kernels.
    """
    lab.hub.node.apply(link_add(ANYBODY, gretap(local=lab.hub.address("underlay"))))
    take_any_source(lab.hub, ANYBODY)


def _former_host(lab: BuiltLab) -> None:
    """The hub has a tunnel to the address of a host that is no more, numbered as a spoke's; another VM may have it."""
    number = lab.topology.tunnel(lab.hub.name, lab.spokes[0].name).number
    remote = str(lab.hub.plan.underlay.network.network_address + FORMER)
    end = lab.topology.options
    data = kind(end.kind).data(lab.hub.plan.endpoint, remote, lab.hub.plan.nic, number, end)
    lab.hub.node.apply(link_add("geneve9", data, master=lab.topology.bridge))


ROUTER = """
import socket, struct
router = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP)
router.setsockopt(socket.IPPROTO_IP, 200, 1)  # MRT_INIT
for number, device in enumerate(DEVICES):  # MRT_ADD_VIF: number, VIFF_USE_IFINDEX, threshold, rate, device, remote
    vif = struct.pack("=HBBIi4x", number, 8, 1, 0, socket.if_nametoindex(device))
    router.setsockopt(socket.IPPROTO_IP, 202, vif)
print("routes", flush=True)
while True:
    message = router.recv(65536)
    if message[9] == 0 and message[8] == 1 and message[10] == 0:  # IGMPMSG_NOCACHE from the first device
        thresholds = bytes([0, 1]) + bytes(30)  # MRT_ADD_MFC: source, group, from, to
        route = struct.pack("=4s4sH", message[12:16], message[16:20], 0) + thresholds + bytes(18)
        router.setsockopt(socket.IPPROTO_IP, 204, route)
"""


def _multicast_router(lab: BuiltLab) -> None:
    """A daemon as smcroute: whatever comes in on the hub's bridge goes out on its NIC."""
    devices = (lab.topology.bridge, lab.hub.plan.nic)
    text = ROUTER.replace("DEVICES", repr(devices))
    program.start(lab.hub.node, sys.executable, "-c", text, package="python3", ready="routes")


FAULTS = read(
    """\
wildcard-tunnel: the hub has a tunnel without a remote
    red: SEC-01 SEC-03; green: BCAST-01; finding: fallback-tunnel-up at hub gretap9; tunnels: gretap
external-tunnel: the hub bridges an `external` tunnel, which accepts GRE from any address
    # each packet names its other end; one that names none is dropped on its way out
    hub: ip link add gretap9 type gretap external && ip link set gretap9 up master {device}
    red: SEC-01 SEC-03; green: BCAST-01; finding: fallback-tunnel-up at hub gretap9; tunnels: gretap
former-host-bridged: the hub still has the tunnel of a host that was removed
    red: SEC-01; green: BCAST-01; finding: stray-port at hub geneve9; tunnels: geneve
multicast-routed: the hub routes multicast from its bridge to its NIC
    # a guest: the processes of a local lab have other numbers outside, which /proc shows
    red: WIRE-03; green: BCAST-01 MCAST-01 MCAST-06; finding: multicast-routed at hub {nic}; tunnels: gretap
bc-forwarding-on: the hub forwards directed broadcast from outside to every spoke
    hub: sysctl -w net.ipv4.ip_forward=1 net.ipv4.conf.all.bc_forwarding=1 \
            net.ipv4.conf.{nic}.bc_forwarding=1
    red: SEC-05; green: BCAST-01 HUB-01; finding: bc-forwarding-on at hub {nic}
    """,
    {
        "wildcard-tunnel": _wildcard,
        "former-host-bridged": _former_host,
        "multicast-routed": _multicast_router,
    },
)
