"""
The suite measures how many TTL-decrementing hops the underlay has between every two hosts.

    flat          hub --- VCN --- spoke1, spoke2                 0 hops
    routed(k)     hub --- VCN --- r1 ... rk --- VCN --- spokes   k hops between the hub and a spoke, 0 between spokes
"""

import pytest

from fixtures.probes import carried

pytestmark = pytest.mark.requirement("UNDER-07")

SENT_TTL = 64


def hops(lab, sender, receiver):
    """The TTL that a unicast datagram was sent with, less the one that it arrived with (RFC 1812 section 5.3.1)."""
    with lab.listen([receiver], network="underlay") as heard:
        sender.udp.send(to=receiver.address("underlay"), ttl=SENT_TTL)
    return SENT_TTL - heard.one(receiver.name).ttl


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("routers", [0, 1, 2], ids=["flat", "one-router", "two-routers"])
def test_hops_between_every_pair_are_measured(standing, routers):
    """A unicast datagram between the hub and a spoke loses as many hops as there are routers; between spokes none."""
    lab = standing(routers=routers)
    pairs = [(sender, receiver) for sender in lab.senders for receiver in lab.senders]

    measured = {
        (sender.name, receiver.name): hops(lab, sender, receiver)
        for sender, receiver in pairs
        if sender.name != receiver.name
    }

    assert measured == {pair: lab.cloud.routers if lab.hub.name in pair else 0 for pair in measured}


@pytest.mark.usefixtures("open_underlay")
@pytest.mark.parametrize("routers", [0, 1, 2], ids=["flat", "one-router", "two-routers"])
def test_outer_packets_lose_as_many(standing, routers, record_figure):
    """The TTL of a broadcast's outer packet is decremented as often on the path to the hub as that of unicast."""
    lab = standing(routers=routers)
    spoke, hub = lab.spokes[0], lab.hub
    lost = hops(lab, spoke, hub)

    with lab.listen([hub]) as heard:
        spoke.udp.send(to=lab.everyone)

    heard.exactly_once(at=[hub.name])
    ttls = {
        frame.sighting.node: frame.ttl
        for frame in carried(heard.sightings())
        if (frame.sighting.node, frame.sighting.outgoing) in ((spoke.name, True), (hub.name, False))
    }
    assert ttls[spoke.name] - ttls[hub.name] == lost
    record_figure(f"hops from {spoke.name} to the hub on the underlay", lost, "hops")
