"""
Members of a cloud that delivers groups by itself: IGMPv2 reports make them, and a leave ends it.

    spoke2 -- join 239.1.1.1 --> | cloud |                 spoke1 -- 239.1.1.1 --> | cloud | --> spoke2, no other NIC
"""

import pytest

from fixtures.areas.snooping import members_of

pytestmark = pytest.mark.requirement("NATIVE-01")


def at_nics(lab, heard):
    """The hosts whose NICs received what was sent."""
    return {seen.node for seen in heard.sightings() if not seen.outgoing and seen.node in lab.hosts}


def test_a_report_makes_a_member(overlay, receiver, listen, fresh_group):
    """While a host's socket is a member of a group, the cloud has only that host as a member."""
    with listen([receiver], group=fresh_group) as heard:
        members = members_of(overlay, fresh_group)
        overlay[overlay.others(receiver)[0]].udp.send(to=fresh_group)

    heard.exactly_once(at=[receiver.name])
    assert members == {receiver.name}


def test_no_other_nic_receives_it(overlay, receiver, listen, fresh_group):
    """A group's datagram arrives at its member's NIC, and at no other host's."""
    sender = overlay[overlay.others(receiver)[0]]

    with listen([receiver], group=fresh_group) as heard:
        sender.udp.send(to=fresh_group)

    heard.exactly_once(at=[receiver.name])
    assert at_nics(overlay, heard) == {receiver.name}


@pytest.mark.disruptive
def test_a_leave_ends_it_at_once(mutable_lab, spoke1, spoke2, fresh_group):
    """Once a host has left a group, its NIC no longer receives the group, but still receives unicast."""
    with mutable_lab.listen([spoke2], group=fresh_group) as heard:
        before = members_of(mutable_lab, fresh_group)
        heard.leave(spoke2.name)
        spoke2.ping(spoke1.address())  # the leave has gone the same way before it
        spoke1.udp.send(to=fresh_group)

    assert before == {spoke2.name}
    heard.nothing(at=[spoke2.name])
    assert at_nics(mutable_lab, heard) == set()


@pytest.mark.disruptive
def test_a_registered_nic_receives_without_a_report(mutable_lab, spoke1, spoke2, fresh_group):
    """A NIC that a command of the cloud registers receives the group, although its host reports by IGMPv3."""
    forced = f"net.ipv4.conf.{spoke2.plan.nic}.force_igmp_version"

    with spoke2.node.with_sysctl(forced, 3), mutable_lab.cloud.registered(spoke2.name, fresh_group):
        with mutable_lab.listen([spoke2], group=fresh_group) as heard:
            spoke1.udp.send(to=fresh_group)

    heard.exactly_once(at=[spoke2.name])
