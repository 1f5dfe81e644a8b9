"""
Datagrams that the network delivered and a socket had no room for: lost all the same, and counted elsewhere.

    spoke1 --burst--> hub --burst--> gretap2 RX: all of it --> a socket with a small buffer: UdpRcvbufErrors
"""

import socket

import pytest

from fixtures.areas.resilience import cut_off
from fixtures.probes import destinations
from lab import groups

pytestmark = pytest.mark.requirement("PERF-03")

GROUP = groups.fresh()  # joined everywhere; a datagram to it is sent where there is no broadcast
MANY = 50  # datagrams: less than a socket of the default size holds
SMALL = 2304  # octets for SO_RCVBUF, the least that the kernel gives: room for a few datagrams
OVERFLOWN = "UdpRcvbufErrors"
UDP = {"family": int(socket.AF_INET), "type": int(socket.SOCK_DGRAM), "protocol": 0}


def burst(lab, sender, tag, **fields):
    """A host sends many numbered datagrams to broadcast, or to a group; returns them and the received ones."""
    numbered = [b"%s %03d" % (tag, number) for number in range(MANY)]
    with lab.listen(lab.others(sender), group=GROUP, bind="", **fields) as heard:
        sender.udp.send(numbered, to=destinations(lab, GROUP)[0])
    return numbered, heard


def counters(host):
    """What a host has received at its overlay device, and lost at its sockets."""
    return host.node.statistics(host.plan.device)["rx_packets"], host.node.counters()[OVERFLOWN]


def test_a_burst_is_delivered_whole(overlay, sender, tag):
    """Of a burst every other node's device counts all datagrams and its socket receives all of them."""
    receivers = [overlay[name] for name in overlay.others(sender)]
    before = {host.name: counters(host) for host in receivers}

    _, heard = burst(overlay, sender, tag)

    heard.exactly_once(at=heard.at)
    received = {host.name: counters(host)[0] - before[host.name][0] for host in receivers}
    assert {name: count >= MANY for name, count in received.items()} == dict.fromkeys(received, True)


@pytest.mark.disruptive
def test_what_a_socket_loses_is_counted_as_its_own(mutable_lab, spoke1, spoke2, tag):
    """A socket with a small buffer loses part of a burst that another receives; the host counts exactly that."""
    room = (int(socket.SOL_SOCKET), int(socket.SO_RCVBUF), SMALL)
    share = (int(socket.SOL_SOCKET), int(socket.SO_REUSEADDR), 1)
    received, overflown = counters(spoke2)
    numbered = [b"%s %03d" % (tag, number) for number in range(MANY)]

    with mutable_lab.listen([spoke2], group=GROUP, bind="") as heard:
        small = spoke2.open_socket(**UDP, options=[share, room], bind=["", heard.port])
        spoke1.udp.send(numbered, to=destinations(mutable_lab, GROUP)[0])
    with small:
        kept = small.received()

    heard.exactly_once(at=[spoke2.name])
    after = counters(spoke2)
    assert 0 < len(kept) < MANY
    assert after[1] - overflown == MANY - len(kept)
    assert after[0] - received >= MANY


@pytest.mark.disruptive
def test_what_the_network_loses_is_not(mutable_lab, spoke1, spoke2, tag):
    """A burst that ends at the hub's port is missing at the receiver's device too, and no socket has lost anything."""
    with cut_off(mutable_lab, spoke2):
        # counted while the way is cut: an ARP request that is repeated once it is not would count too
        before = counters(spoke2)
        _, heard = burst(mutable_lab, spoke1, tag)
        after = counters(spoke2)

    heard.nothing(at=[spoke2.name])
    assert after == before
