"""
The emulated cloud network is proved before anything is concluded from it.

    host ens3 ---[ port filter: outer header ]--- vcn (floods nothing, learns nothing, answers ARP) --- host ens3
"""

import pytest

from fixtures.probes import decode, layers
from lab.stack.changes import neigh_add, neigh_del

pytestmark = [pytest.mark.disruptive, pytest.mark.requirement("UNDER-09")]

INSIDE = "192.0.2.1"  # TEST-NET-1 (RFC 5737)
NO_FLOODING = {"flood": 0, "mcast_flood": 0, "bcast_flood": 0, "learning": 0, "proxy_arp": 1}


@pytest.mark.usefixtures("emulated")
def test_its_ports_flood_nothing_and_learn_nothing(overlay):
    """No port of the emulated cloud floods broadcast, multicast or unknown unicast, and its bridge does not snoop."""
    ports = {port.dev: {flag: port.flags[flag] for flag in NO_FLOODING} for port in overlay.fabric.read("ports")}

    assert {overlay.cloud.port_of(host): NO_FLOODING for host in overlay.hosts}.items() <= ports.items()
    assert overlay.fabric.link("vcn").details["mcast_snooping"] == 0


def test_it_answers_arp_itself(mutable_lab, spoke1, spoke2, listen):
    """The emulated cloud answers ARP itself: a host's request reaches no other NIC."""
    wanted = spoke2.address("underlay")
    known = {"device": spoke1.plan.nic, "to": wanted, "lladdr": spoke2.plan.underlay_mac}
    forgotten = {"device": spoke1.plan.nic, "to": wanted}
    spoke1.node.apply(neigh_add(**known), neigh_del(**forgotten))

    with listen([spoke2], network="underlay") as heard:
        spoke1.udp.send(to=wanted)

    heard.exactly_once(at=["spoke2"])
    seen = [(frame, packet[layers.ARP]) for frame in mutable_lab.frames() if layers.ARP in (packet := decode(frame))]
    # the hub may ask again for a neighbour of its own meanwhile
    asked = {
        frame.node for frame, arp in seen if (arp.op, arp.psrc, arp.pdst) == (1, spoke1.address("underlay"), wanted)
    }
    owners = {arp.hwsrc for frame, arp in seen if arp.op == 2 and arp.psrc == wanted and frame.node == "spoke1"}
    assert asked == {"spoke1", "vcn"}
    assert owners == {spoke2.plan.underlay_mac}


@pytest.mark.tunnel("gretap")
def test_its_filter_reads_the_outer_header(mutable_lab, spoke1, hub, everyone, listen):
    """The filter that drops GRE drops the overlay's own traffic, whose inner packets are UDP, at the host's port."""
    with listen([hub]) as before:
        spoke1.udp.send(to=everyone)
    with mutable_lab.cloud.without_gre(spoke1.name):
        with listen([hub]) as heard:
            sent = spoke1.udp.send(to=everyone)

    before.exactly_once(at=["hub"])
    heard.nothing(at=["hub"])
    last = mutable_lab.frames([sent.payload])[-1]
    assert (last.node, last.interface, last.outgoing) == ("vcn", mutable_lab.cloud.port_of("spoke1"), False)


def test_its_filter_is_not_fooled_by_what_is_inside(mutable_lab, spoke1, hub, listen):
    """A datagram whose payload is a whole GRE packet passes the filter that drops GRE."""
    inside = bytes(layers.IP(src=INSIDE, dst=INSIDE) / layers.GRE(proto=0x6558) / layers.Ether())

    with mutable_lab.cloud.without_gre(spoke1.name):
        with listen([hub], network="underlay") as heard:
            spoke1.udp.send(inside, to=hub.address("underlay"))

    heard.exactly_once(at=["hub"])
