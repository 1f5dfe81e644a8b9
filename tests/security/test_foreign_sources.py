"""
A tunnel accepts packets only from the outer address of its other end.

    x 10.0.0.66 --[IPv4 47 [GRE [frame]]]--> hub: no tunnel has this remote: ICMP 3/3
    x, as 10.0.0.25 ------------------------> hub: taken for spoke1's, unless the cloud checks sources
"""

import pytest

from fixtures.areas.underlay import refusals

pytestmark = pytest.mark.disruptive

PORT_UNREACHABLE = (3, 3)


@pytest.mark.requirement("SEC-01")
@pytest.mark.tunnel("gretap", "geneve")
def test_an_unknown_source_is_refused(outside, forged, tag):
    """Tunnel packets from a VM that is no tunnel's remote are not delivered; GRE is answered with ICMP 3/3."""
    lab, stranger = outside
    spoke, last = lab.spokes[0], lab.spokes[-1]
    source = stranger.address("underlay")

    with lab.listen(lab.others(last)) as heard:
        for there in (lab.hub, spoke):
            to = there.address("underlay")
            stranger.send_packet(forged(lab, tag, heard.port, of=spoke, source=source, to=to), to)
        errors = refusals(lab, stranger)
        proof = last.udp.send(to=lab.everyone).payload

    assert heard.payloads == {name: [proof] for name in lab.others(last)}
    answered = ["hub", spoke.name] if lab.topology.options.kind == "gretap" else []  # Geneve drops without an answer
    assert errors == {(name, *PORT_UNREACHABLE) for name in answered}


@pytest.fixture
def spoof(mutable_lab, spoke1, spoke2, forged, tag):
    """The second spoke sends the hub a packet with the first one's outer address; returns the receivers."""

    def send():
        source, to = spoke1.address("underlay"), mutable_lab.hub.address("underlay")
        with mutable_lab.listen(mutable_lab.others(spoke2)) as heard:
            spoke2.send_packet(forged(mutable_lab, tag, heard.port, of=spoke1, source=source, to=to), to)
            proof = spoke2.udp.send(to=mutable_lab.everyone).payload
        assert all(proof in payloads for payloads in heard.payloads.values())
        return {name for name, payloads in heard.payloads.items() if tag in payloads}

    return send


@pytest.mark.requirement("SEC-02")
@pytest.mark.tunnel("gretap", "vxlan", "geneve")
def test_a_spoofed_source_stops_at_the_cloud(mutable_lab, spoof, spoke2):
    """With the source check on, a packet that a spoke sends with another's outer address reaches no host."""
    assert spoof() == set()


@pytest.mark.requirement("SEC-02")
@pytest.mark.tunnel("gretap", "vxlan", "geneve")
def test_a_spoofed_source_is_accepted_without_a_source_check(mutable_lab, spoof, spoke2):
    """With the check off at the sender's port, the hub accepts the packet as the other spoke's and forwards it."""
    with mutable_lab.cloud.without_source_check(spoke2.name):
        heard = spoof()

    assert "hub" in heard


@pytest.mark.requirement("SEC-02")
@pytest.mark.tunnel("gretap", "vxlan", "geneve")
def test_a_spoofed_source_is_served_like_the_true_one(outside, forged, tag):
    """The hub and all other spokes receive from a VM outside of the overlay that has a spoke's outer address."""
    lab, stranger = outside
    spoke, hub = lab.spokes[0], lab.hub.address("underlay")

    with lab.cloud.without_source_check(stranger.name), lab.listen(lab.others(spoke)) as heard:
        packet = forged(lab, tag, heard.port, of=spoke, source=spoke.address("underlay"), to=hub)
        stranger.send_packet(packet, hub)
        assert stranger.ping(hub, network="underlay").counts == {"hub": 1}
        proof = spoke.udp.send(to=lab.everyone).payload

    served = ["hub", *lab.others("hub")]
    assert heard.payloads == {name: [tag, proof] if name in served else [proof] for name in lab.others(spoke)}
