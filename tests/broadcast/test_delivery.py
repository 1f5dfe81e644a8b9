"""
Broadcast delivery: every other node receives one unaltered copy, and the sender's host receives its own once.

    spoke1 --tunnel1--( hub: bridge0 )--tunnel2-- spoke2        to 172.16.254.255, the overlay's directed broadcast
"""

import pytest

from fixtures.areas.underlay import returning

UDP_AND_IP = 28  # octets of header in front of a datagram's payload
SIZES = (16, 512, 1200)  # octets; the largest fits into the overlay of every cloud
TTLS = (1, 2, 255)


class DeliveryClaims:
    """The claims about a broadcast of any node; `source` is the node that sends."""

    def test_reaches_every_other_node_exactly_once(self, overlay, source, everyone, listen, record_heard):
        """Every other node receives one unaltered copy of a node's broadcast."""
        others = overlay.others(source)

        with listen(others) as heard:
            source.udp.send(to=everyone)

        record_heard("broadcast", source, heard)
        heard.exactly_once(at=others)

    def test_comes_from_the_senders_overlay_address_and_port(self, overlay, source, everyone, listen):
        """Every receiver sees the sender's own overlay address and port as source, and the address it was sent to."""
        others = overlay.others(source)

        with listen(others) as heard:
            sent = source.udp.send(to=everyone, wait=True)

        port = sent.source[1]
        seen = {name: (heard.one(name).source, heard.one(name).destination) for name in others}
        assert seen == {name: ((source.address(), port), everyone) for name in others}

    def test_keeps_its_ttl(self, overlay, source, everyone, listen):
        """The overlay is one hop: a datagram arrives with the TTL that it left with, its own or the default one."""
        others = overlay.others(source)
        default = int(source.node.sysctl("net.ipv4.ip_default_ttl"))

        with listen(others) as heard:
            for ttl in TTLS:
                source.udp.send(to=everyone, ttl=ttl)
            source.udp.send(to=everyone)

        ttls = {name: [datagram.ttl for datagram in heard.datagrams[name]] for name in others}
        assert ttls == {name: [*TTLS, default] for name in others}

    def test_arrives_whatever_its_size(self, overlay, source, everyone, listen):
        """Broadcast payloads of any size up to the overlay's MTU arrive complete and unaltered."""
        others = overlay.others(source)
        largest = source.node.link(source.plan.device).mtu - UDP_AND_IP

        with listen(others) as heard:
            for size in (*SIZES, largest):
                source.udp.send(to=everyone, size=size)

        heard.exactly_once(at=others)

    def test_numbered_lines_arrive_in_order(self, overlay, source, everyone, listen):
        """Twenty numbered broadcasts in a row arrive at every other node, each once and in their order."""
        others = overlay.others(source)
        lines = [f"{number:02}: broadcast from {source}".encode() for number in range(20)]

        with listen(others) as heard:
            source.udp.send(lines, to=everyone)

        assert heard.payloads == dict.fromkeys(others, lines)


@pytest.mark.requirement("BCAST-01")
class TestFromASpoke(DeliveryClaims):
    @pytest.fixture
    def source(self, spoke):
        """A spoke's broadcast crosses the hub to the other spokes, and reaches the hub itself, too."""
        return spoke


@pytest.mark.requirement("BCAST-02")
class TestFromTheHub(DeliveryClaims):
    @pytest.fixture
    def source(self, hub):
        """The hub: its broadcast leaves by the bridge."""
        return hub


@pytest.mark.requirement("BCAST-01")
def test_every_spoke_reaches_every_host(overlay, everyone, listen, record_heard):
    """With any number of spokes, a broadcast from each spoke is received once by all hosts."""
    with listen(overlay.hosts) as heard:
        for spoke in overlay.spokes:
            spoke.udp.send(to=everyone, lost_if_refused=True)

    for spoke in overlay.spokes:
        record_heard("broadcast", spoke, heard)
    heard.exactly_once(at=overlay.hosts)


@pytest.mark.requirement("BCAST-05")
def test_sender_receives_its_own_copy_once(overlay, sender, everyone, listen):
    """The sender's own socket gets exactly one copy of its broadcast."""
    with listen([sender, *overlay.others(sender)]) as heard:
        sender.udp.send(to=everyone)

    heard.exactly_once(at=[sender.name])


@pytest.mark.requirement("BCAST-05")
def test_own_copy_is_made_locally(overlay, sender, everyone, listen):
    """A broadcast reaches every other node, and no copy returns to its sender, neither in a tunnel nor bare."""
    others = overlay.others(sender)

    with listen(others) as heard:
        sender.udp.send(to=everyone)

    heard.exactly_once(at=others)
    at_sender = [seen for seen in heard.sightings() if seen.node == sender.name]
    assert [str(seen) for seen in at_sender if seen.outgoing]
    assert sorted(seen.interface for seen in at_sender if not seen.outgoing) == returning(overlay, sender)
