"""
Sizes of packets to groups: what fits the cloud arrives; larger packets and fragments are dropped without an error.

    spoke1 ens3 (MTU 8500) -- 8500 octets to 239.1.1.1 --> | cloud | --> spoke2 ens3
    spoke1 ens3            -- a fragment               --> | cloud |
"""

import pytest

pytestmark = pytest.mark.requirement("NATIVE-02")

UDP_AND_IP = 28  # octets of header in front of a datagram's payload
BEYOND = 1000  # octets: two fragments


def test_the_nic_sends_no_larger_packets(overlay, sender):
    """Each host's NIC has at most the MTU of the largest packet to a group that the cloud delivers."""
    assert sender.node.link(sender.plan.nic).mtu <= overlay.underlay.provider.groups.mtu


def test_the_largest_packet_arrives(overlay, sender, listen, fresh_group):
    """A datagram to a group that fills each host's NIC is received once by every member."""
    members = overlay.others(sender)

    with listen(members, group=fresh_group) as heard:
        sender.udp.send(to=fresh_group, size=sender.node.link(sender.plan.nic).mtu - UDP_AND_IP)

    heard.exactly_once(at=members)


@pytest.mark.disruptive
def test_fragments_are_dropped(mutable_lab, spoke1, spoke2, fresh_group):
    """A datagram larger than the NIC's MTU does not arrive; a smaller one sent after it does."""
    larger = spoke1.node.link(spoke1.plan.nic).mtu + BEYOND

    with mutable_lab.listen([spoke2], group=fresh_group) as heard:
        spoke1.udp.send(to=fresh_group, size=larger)
        small = spoke1.udp.send(to=fresh_group)

    assert heard.payloads == {spoke2.name: [small.payload]}
    arrived = {seen.node for seen in heard.sightings() if not seen.outgoing}
    assert arrived & mutable_lab.hosts.keys() == {"spoke2"}
