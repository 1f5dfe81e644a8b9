"""
The cloud's network passes IP protocol 47 (GRE) both ways between the hub and every spoke.

    hub ens3 <--- GRE, 10.0.0.197 <-> 10.0.0.25 ---> spoke1 ens3        (RFC 2784 section 4)

Where it does not, unicast still works, and the sender gets no error.
"""

import pytest

from fixtures.areas.underlay import passing, refusals

pytestmark = pytest.mark.tunnel("gretap")


@pytest.mark.requirement("UNDER-04", "PRE-13")
def test_passes_both_ways_between_hub_and_spokes(overlay, hub):
    """A packet of protocol 47 gets from the hub's NIC to every spoke's, and back."""
    ways = {(spoke.name, way): pair for spoke in overlay.spokes for way, pair in both_ways(hub, spoke).items()}

    assert {way: passing(overlay, *pair) for way, pair in ways.items()} == {way: {"gre"} for way in ways}


def both_ways(hub, spoke):
    return {"from the hub": (hub, spoke), "to the hub": (spoke, hub)}


@pytest.mark.disruptive
@pytest.mark.requirement("UNDER-04")
def test_blocked_gre_is_distinguished_from_a_dead_path(mutable_lab, hub, spoke1, everyone, listen):
    """With protocol 47 blocked at the cloud's ports, unicast works, GRE does not, and the overlay delivers nothing."""
    others = mutable_lab.others(spoke1)

    with mutable_lab.cloud.without_gre():
        assert {way: passing(mutable_lab, *pair) for way, pair in both_ways(hub, spoke1).items()} == {
            "from the hub": set(),
            "to the hub": set(),
        }
        assert spoke1.ping(hub.address("underlay"), network="underlay").others == {"hub": 1}
        with listen(others) as heard:
            spoke1.udp.send(to=everyone)

    heard.nothing(at=others)


@pytest.mark.disruptive
@pytest.mark.requirement("UNDER-04")
def test_nothing_on_the_sender_shows_that_gre_is_blocked(mutable_lab, spoke1, hub, everyone, listen):
    """With protocol 47 blocked, the sender's tunnel stays up and counts no error, and no ICMP error is returned."""
    before = spoke1.node.link(spoke1.plan.device)

    with mutable_lab.cloud.without_gre():
        with listen([hub]) as heard:
            spoke1.udp.send(to=everyone)
        answered = refusals(mutable_lab, spoke1)

    after = spoke1.node.link(spoke1.plan.device)
    heard.nothing(at=["hub"])
    assert answered == set()
    assert (after.up, after.lower_up) == (before.up, before.lower_up)
    assert after.operstate == before.operstate
    assert after.statistics["tx_packets"] > before.statistics["tx_packets"]
    assert after.statistics["tx_errors"] == before.statistics["tx_errors"]


@pytest.mark.disruptive
@pytest.mark.requirement("PRE-13", "UNDER-04")
@pytest.mark.parametrize("open_way", ["from the hub", "to the hub"])
def test_a_rule_for_one_direction_opens_one_direction(mutable_lab, hub, spoke1, open_way, everyone, listen):
    """A cloud rule that admits GRE one way only leaves an overlay that delivers that way only."""
    sender, receiver = both_ways(hub, spoke1)[open_way]

    with mutable_lab.cloud.without_gre(receiver.name):
        assert passing(mutable_lab, sender, receiver) == {"gre"}
        assert passing(mutable_lab, receiver, sender) == set()
        with listen([sender, receiver]) as heard:
            there = sender.udp.send(to=everyone)
            receiver.udp.send(to=everyone)

    assert there.payload in heard.payloads[receiver.name]
    assert heard.payloads[sender.name] == [there.payload], "its own copy alone: nothing comes back"
