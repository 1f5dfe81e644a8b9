"""
Several groups at once: they stay separate, even with the same Ethernet address.

    224.1.1.1, 224.129.1.1, 225.1.1.1  ->  01:00:5e:01:01:01      23 of 28 bits (RFC 1112 section 6.4)
"""

import pytest

from lab import groups

*SIXTEEN, SEVENTEENTH = groups.several(17)
ONE, ANOTHER = groups.fresh(), groups.fresh(groups.SCOPED)
SAME_MAC = {"same /4": (ONE, groups.twin(ONE)), "other /8": (ANOTHER, groups.twin_in(groups.RESERVED, ANOTHER))}

pytestmark = pytest.mark.requirement("MCAST-09")


def test_sixteen_groups_at_once(overlay, sender, listen):
    """Members of sixteen groups receive, of one datagram to each of seventeen, exactly the sixteen, in order."""
    members = overlay.others(sender)

    with listen(members, group=SIXTEEN) as heard:
        sent = [sender.udp.send(to=group, multicast_interface=sender.address()) for group in [SEVENTEENTH, *SIXTEEN]]

    assert heard.payloads == {name: [one.payload for one in sent[1:]] for name in members}


@pytest.mark.needs("flooding")
@pytest.mark.parametrize(("joined", "other"), SAME_MAC.values(), ids=SAME_MAC)
def test_group_with_the_same_mac_is_not_delivered(overlay, receiver, listen, joined, other):
    """A member of one group receives only that group, although frames of the other, with the same MAC, arrive."""
    sender = overlay[overlay.others(receiver)[-1]]

    with listen([receiver], group=joined, bind="") as heard:
        unwanted = sender.udp.send(to=other, multicast_interface=sender.address())
        wanted = sender.udp.send(to=joined, multicast_interface=sender.address())

    assert heard.payloads == {receiver.name: [wanted.payload]}
    at_receiver = [seen for seen in heard.sightings() if (seen.node, seen.interface) == place_of(receiver)]
    macs = {payload: [seen.frame[:6] for seen in at_receiver if payload in seen.frame] for payload in heard_of(heard)}
    assert macs[unwanted.payload] == macs[wanted.payload] != []


def place_of(host):
    """The device by which the overlay's frames arrive at a host."""
    return host.name, host.plan.device


def heard_of(heard):
    """The payloads that were sent while listening."""
    return [payload for sent in heard.sent for payload in sent.payloads]
