"""
The hub learns MAC addresses: unicast to one spoke does not reach the others.

    spoke1 --to spoke2's MAC--> ( hub: bridge0, FDB: spoke2 on tunnel2 ) --> spoke2       spoke3 sees nothing
"""

import pytest

from fixtures.areas.snooping import hub_port
from fixtures.areas.underlay import configured
from lab.stack.changes import bridge_port

pytestmark = pytest.mark.requirement("HUB-03")

MANY = 4
UNKNOWN_MAC = bytes.fromhex("0200000000fe")
EXPERIMENTAL = bytes.fromhex("88b5")  # IEEE Std 802, local experimental


def seen_at(frames, host):
    """How many of some frames arrived at a spoke's tunnel device."""
    return [(one.interface, one.outgoing) for one in frames if one.node == host.name].count((host.entry_device, False))


def flags(lab, spokes, **values):
    """Sets flags on the hub's ports towards these spokes."""
    values |= {"flush": 1} if values.get("learning") == 0 else {}  # a spoke may have sent something already
    changes = [bridge_port(device=lab.topology.port("hub", spoke.name), **values) for spoke in spokes]
    lab.hub.node.apply(*changes)


def unicast_from_first_to_second(lab):
    """
    spoke1 sends spoke2 several datagrams after both have spoken; returns what spoke2 heard of them and their tags.

    What the third spoke then sees is proved by the broadcast that follows on the same way.
    """
    first, second, third = lab.spokes[:3]
    with lab.listen([second, third]) as heard:
        for spoke in (first, second):
            spoke.udp.send(to=lab.everyone)
        sent = [first.udp.send(to=second.address()).payload for _ in range(MANY)]
        last = first.udp.send(to=lab.everyone).payload
    assert last in heard.payloads[third.name]
    return [payload for payload in heard.payloads[second.name] if payload in sent], sent


def test_unicast_goes_to_its_port_only(standing):
    """Once two spokes have sent, a third spoke receives none of the unicast between them."""
    lab = standing(spokes=3)

    heard, sent = unicast_from_first_to_second(lab)

    assert heard == sent
    seen = lab.frames(sent)
    assert seen_at(seen, lab.spokes[1]) == MANY
    assert seen_at(seen, lab.spokes[2]) == 0


def test_hub_has_each_spoke_at_its_port(overlay, listen):
    """After a spoke has sent to the hub, the hub's table has its MAC address at its own port."""
    with listen(["hub"]) as heard:
        for spoke in overlay.spokes:
            spoke.udp.send(to=overlay.hub.address())
    learned = {entry.lladdr: entry.dev for entry in overlay.hub.node.read("fdb") if entry.master}
    seen = configured(overlay)

    heard.exactly_once(at=["hub"])
    for spoke in overlay.spokes:
        mac = seen[spoke.name].device(spoke.plan.device).mac
        assert learned.get(mac) == hub_port(overlay, spoke.name)


@pytest.mark.usefixtures("without_stp", "one_way")
def test_unknown_unicast_goes_to_every_other_port(standing, tag):
    """A frame to a MAC address that has never sent a frame is flooded to every other spoke, once."""
    lab = standing(spokes=3)
    first = lab.spokes[0]
    own = bytes.fromhex(first.node.link(first.plan.device).mac.replace(":", ""))

    with lab.listen(lab.others(first)) as heard:
        first.send_frame(first.plan.device, UNKNOWN_MAC + own + EXPERIMENTAL + tag)
        first.udp.send(to=lab.everyone)

    heard.exactly_once(at=lab.others(first))
    seen = lab.frames([tag])
    assert [seen_at(seen, spoke) for spoke in lab.spokes] == [0] + [1] * (len(lab.spokes) - 1)


@pytest.mark.disruptive
@pytest.mark.usefixtures("without_stp", "one_way")
def test_without_learning_a_third_spoke_sees_all(build_lab):
    """With learning off on the hub's ports, unicast between two spokes arrives and is seen by the third as well."""
    lab = build_lab(spokes=3)
    flags(lab, lab.spokes, learning=0)

    heard, sent = unicast_from_first_to_second(lab)

    assert heard == sent
    assert seen_at(lab.frames(sent), lab.spokes[2]) == MANY


@pytest.mark.disruptive
@pytest.mark.usefixtures("without_stp", "one_way")
def test_without_learning_and_flooding_unicast_is_lost(build_lab):
    """With learning off and flood off on a spoke's port, unicast to it is lost while broadcast reaches it."""
    lab = build_lab(spokes=3)
    flags(lab, lab.spokes, learning=0)
    flags(lab, lab.spokes[1:2], flood=0)

    heard, sent = unicast_from_first_to_second(lab)

    assert heard == []
    assert seen_at(lab.frames(sent), lab.spokes[1]) == 0
    assert seen_at(lab.frames(sent), lab.spokes[2]) == MANY
