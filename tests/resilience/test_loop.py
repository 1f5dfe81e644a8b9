"""
A loop of bridges: without spanning tree a broadcast circulates endlessly, with it one port blocks.

    spoke3 --tunnel3-- ( hub: bridge0 ) --tunnel1-- ( spoke1: bridge )
                              |                             | shortcut
                              `---------tunnel2---- ( spoke2: bridge )

The star has no circle.  The lab's shortcut loses a frame in four: a circle that loses nothing takes the machine down.
"""

from collections import Counter

import pytest

from fixtures.built_labs.labs import inject
from fixtures.probes import layers
from lab.stack.changes import bridge, link_set

pytestmark = pytest.mark.requirement("FAULT-06")

MANY = 6  # broadcasts; that the shortcut drops each of them both ways has a chance of one in 16 million
SHORTCUT = "tunnel9"  # the fault's tunnel
FORWARDING, BLOCKING = "forwarding", "blocking"


def came_back(lab, sender, payloads):
    """How often a host's own frame arrived at its NIC or its overlay device."""
    places = {(sender.name, device, False) for device in (sender.plan.nic, sender.plan.device)}
    return len([one for one in lab.frames(payloads) if (one.node, one.interface, one.outgoing) in places])


def test_nothing_comes_round(overlay, sender):
    """Every other node receives one copy of a broadcast, which never returns on the interface that sent it."""
    with overlay.listen(overlay.others(sender)) as heard:
        sent = [sender.udp.send(to=overlay.everyone).payload for _ in range(MANY)]

    heard.exactly_once(at=overlay.others(sender))
    assert heard.sightings()
    # a tunnel that a bond does not use drops what comes in
    assert came_back(overlay, sender, sent) == MANY * len(overlay.topology.returning(sender.name))


@pytest.fixture
def circle(build_lab, hub, one_way, without_stp):
    """A lab of three spokes whose first two form a loop with the hub; the third one is outside of it."""
    lab = build_lab(spokes=3)
    inject(lab, "loop")
    return lab


def bridges(lab):
    """The hosts that are bridges in the circle, each with its bridge."""
    return [(lab.hub, lab.topology.bridge), *((spoke, spoke.node.link(SHORTCUT).master) for spoke in lab.spokes[:2])]


def switch_on_spanning_tree(lab):
    """Every bridge of a loop runs STP and has received a root's BPDU, so that later changes take effect at once."""
    for host, device in bridges(lab):
        host.node.apply(link_set(device, bridge(stp_state=1)))
    outside = lab.spokes[2]
    outside.send_frame(outside.plan.device, root_bpdu())


def root_bpdu():
    """A configuration message of a bridge with the best priority (802.1D 9.3.1)."""
    root = "02:00:00:00:00:01"
    message = layers.STP(rootid=0, rootmac=root, bridgeid=0, bridgemac=root, portid=0x8001)
    return bytes(layers.Dot3(src=root, dst="01:80:c2:00:00:00") / layers.LLC() / message)


@pytest.mark.disruptive
def test_without_spanning_tree_broadcast_multiplies(circle, record_figure):
    """In a loop every node receives a broadcast many times, its sender too, and cutting one link stops it."""
    outside = circle.spokes[2]
    others = circle.others(outside)

    with circle.listen(others) as heard:
        sent = [outside.udp.send(to=circle.everyone).payload for _ in range(MANY)]
    circle.spokes[0].node.apply(link_set(SHORTCUT, up=False))
    with circle.listen(others) as healed:
        outside.udp.send(to=circle.everyone)

    numbers = {name: Counter(payloads) for name, payloads in heard.payloads.items()}
    assert all(set(sent) == set(counted) and max(counted.values()) > 1 for counted in numbers.values())
    assert came_back(circle, outside, sent) > 0
    healed.exactly_once(at=others)
    copies = sum(numbers["hub"].values()) / MANY
    record_figure("copies of a broadcast in a loop that loses one in four", copies, "copies")


@pytest.mark.disruptive
def test_with_spanning_tree_one_port_blocks(circle):
    """With STP on every bridge one port of the loop blocks, all others forward, and every host receives one copy."""
    outside = circle.spokes[2]
    switch_on_spanning_tree(circle)
    with circle.listen(circle.others(outside)) as heard:
        for _ in range(MANY):
            outside.udp.send(to=circle.everyone)

    states = {(host.name, port.dev): port.state for host, _ in bridges(circle) for port in host.node.read("ports")}
    assert sorted(states.values()) == [BLOCKING] + [FORWARDING] * (len(states) - 1)
    assert next(where for where, state in states.items() if state == BLOCKING)[1] == SHORTCUT
    heard.exactly_once(at=heard.at)
