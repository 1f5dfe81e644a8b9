"""
The encapsulated frame is the sender's, octet for octet, between the tunnels' two ends and nowhere else.

    spoke1 tunnel1 --frame--> ens3 [outer 10.0.0.25 > 10.0.0.197 [frame]] --> hub --> [outer [frame]] --> spoke2
"""

from ipaddress import IPv4Address

import pytest

from fixtures.areas.underlay import outer_addresses
from fixtures.probes import carried, layers
from lab import groups
from lab.model import LIMITED_BROADCAST

GROUP = groups.fresh()  # which groups a host routes where is MCAST-08's business, not this module's

TTLS = (1, 8)  # for one link, the default of multicast; and for several, as a router would forward it
IPV4, SOURCE, DESTINATION = b"\x08\x00", 26, 30  # EtherType, and offsets in an untagged frame


def ends(lab):
    """The pairs of underlay addresses that a tunnel connects, in both directions."""
    pairs = [tuple(lab[end.host].plan.endpoint for end in tunnel.ends) for tunnel in lab.topology.tunnels]
    return {pair for one, other in pairs for pair in ((one, other), (other, one))}


def with_checksum(frame):
    """The frame as it leaves the machine: between two kernels, the UDP checksum is left to the sender's NIC."""
    packet = layers.Ether(frame)
    del packet[layers.UDP].chksum
    return bytes(packet)


@pytest.mark.requirement("WIRE-02")
@pytest.mark.parametrize("kind", ["unicast", "broadcast", "multicast"])
def test_frame_arrives_as_it_was_sent(overlay, spoke1, spoke2, everyone, listen, kind):
    """The frame at the receiving spoke's tunnel is the one that left the sending spoke's, octet for octet."""
    to = {"unicast": spoke2.address(), "broadcast": everyone, "multicast": GROUP}[kind]

    with listen([spoke2], group=GROUP if kind == "multicast" else None) as heard:
        spoke1.udp.send(to=to)

    sent, arrived = (
        [
            one.frame
            for one in heard.sightings()
            if (one.node, one.interface, one.outgoing) == (host.name, host.plan.device, outgoing)
        ]
        for host, outgoing in ((spoke1, True), (spoke2, False))
    )
    assert len(sent) == 1
    assert arrived in (sent, [with_checksum(frame) for frame in sent])


@pytest.mark.requirement("WIRE-02")
@pytest.mark.parametrize(
    ("kind", "mac"),
    [("broadcast", "ff:ff:ff:ff:ff:ff"), ("multicast", groups.mac(GROUP))],
    ids=["broadcast", "multicast"],
)
def test_inner_addresses_are_the_senders_and_the_groups(overlay, sender, everyone, listen, kind, mac):
    """On every leg the inner source is the sending device's MAC address and the inner destination the group's."""
    own = sender.node.link(sender.plan.device).mac

    with listen(overlay.others(sender), group=GROUP if kind == "multicast" else None) as heard:
        sender.udp.send(to=everyone if kind == "broadcast" else GROUP)

    heard.exactly_once(at=overlay.others(sender))
    inner = {(one.inner[layers.Ether].src, one.inner[layers.Ether].dst) for one in carried(heard.sightings())}
    assert inner == {(own, mac)}


@pytest.mark.requirement("WIRE-03")
def test_outer_packets_go_between_the_tunnels_ends(overlay, sender, everyone, listen):
    """For any traffic, every outer packet goes from one end of a configured tunnel to the other."""
    with listen(overlay.others(sender), group=GROUP, bind="") as heard:
        sender.udp.send(to=everyone)
        sender.udp.send(to=GROUP)
        sender.udp.send(to=LIMITED_BROADCAST, device=sender.plan.device)
        for receiver in overlay.others(sender):
            sender.udp.send(to=overlay[receiver].address())

    seen = [one for one in heard.sightings() if one.carrier]
    assert outer_addresses(overlay, sender) <= {one.addresses for one in seen} <= ends(overlay)
    assert not any(one.frame[0] & 1 for one in seen)  # the bit of an Ethernet address to many


@pytest.mark.requirement("WIRE-03")
def test_nothing_of_the_overlay_is_bare_on_the_underlay(overlay, sender, everyone, listen):
    """Whatever a host sends on the overlay, with a TTL for one link or more, leaves every NIC in the tunnel only."""
    others = overlay.others(sender)

    with listen(others, group=GROUP, bind="") as heard:
        sender.udp.send(to=everyone)
        sender.udp.send(to=LIMITED_BROADCAST, device=sender.plan.device)
        for ttl in TTLS:
            sender.udp.send(to=GROUP, ttl=ttl)
        sender.ping(everyone)
        sender.ping(overlay[others[0]].address())

    nics = {(host.name, host.plan.nic) for host in overlay.hosts.values()}
    on_the_underlay = [one for one in heard.sightings() if (one.node, one.interface) in nics]
    assert {one.node for one in on_the_underlay} == {sender.name, *others}
    assert [str(one) for one in on_the_underlay if one.carrier is None] == []
    network = overlay.topology.hub.overlay.network
    bare = [one for one in overlay.frames() if (one.node, one.interface) in nics and is_of(network, one)]
    assert [str(one) for one in bare] == []
    sent = sorted(one.payload for one in heard.sent)
    assert {name: sorted(payloads) for name, payloads in heard.payloads.items()} == dict.fromkeys(others, sent)


def is_of(network, seen):
    """Whether a frame leaves as it is, with a source or a destination in a network of IPv4."""
    if not seen.outgoing or seen.carrier is not None or seen.frame[12:14] != IPV4:
        return False
    return any(IPv4Address(seen.frame[at : at + 4]) in network for at in (SOURCE, DESTINATION))
