"""
Broadcast delivery: everyone on the overlay hears it once, as it was sent, and the sender hears itself once.

    spoke1 --tunnel1--( hub: bridge0 )--tunnel2-- spoke2        to 172.16.254.255, the overlay's directed broadcast
"""

import pytest

UDP_AND_IP = 28  # octets of header in front of a datagram's payload


class Delivery:
    """What holds for a broadcast of any node; `source` is the node that sends."""

    def test_reaches_every_other_node_exactly_once(self, overlay, source, everyone, listen, record_heard):
        """Each of the other nodes hears one unaltered copy."""
        others = overlay.others(source)

        with listen(others) as heard:
            source.udp.send(to=everyone)

        record_heard("broadcast", source, heard)
        heard.exactly_once(at=others)

    def test_comes_from_the_senders_overlay_address_and_port(self, overlay, source, everyone, listen):
        """Every receiver sees the sender's own overlay address and port as source, and the address it was sent to."""
        others = overlay.others(source)

        with listen(others) as heard:
            sent = source.udp.send(to=everyone)

        port = sent.source[1]
        seen = {name: (heard.one(name).source, heard.one(name).destination) for name in others}
        assert seen == {name: ((source.address(), port), everyone) for name in others}

    @pytest.mark.parametrize("ttl", [1, 2, 255], ids=lambda ttl: f"ttl={ttl}")
    def test_keeps_its_ttl(self, overlay, source, everyone, listen, ttl):
        """The overlay is one hop: the datagram arrives with the TTL that it left with, however small."""
        others = overlay.others(source)

        with listen(others) as heard:
            source.udp.send(to=everyone, ttl=ttl)

        assert {name: heard.one(name).ttl for name in others} == dict.fromkeys(others, ttl)

    def test_keeps_the_default_ttl(self, overlay, source, everyone, listen):
        """Without a TTL of its own a broadcast arrives with the sender's default TTL (ip_default_ttl)."""
        others = overlay.others(source)
        default = int(source.node.sysctl("net.ipv4.ip_default_ttl"))

        with listen(others) as heard:
            source.udp.send(to=everyone)

        assert {name: heard.one(name).ttl for name in others} == dict.fromkeys(others, default)

    @pytest.mark.parametrize("size", [16, 512, 1200, "mtu"], ids=lambda size: f"size={size}")
    def test_arrives_whatever_its_size(self, overlay, source, everyone, listen, size):
        """Small payloads and those that fill the overlay's MTU arrive whole and unaltered."""
        others = overlay.others(source)
        mtu = source.node.link(source.plan.device)["IFLA_MTU"]

        with listen(others) as heard:
            source.udp.send(to=everyone, size=mtu - UDP_AND_IP if size == "mtu" else size)

        heard.exactly_once(at=others)

    def test_numbered_lines_arrive_in_order(self, overlay, source, everyone, listen):
        """Twenty numbered datagrams in a row arrive at every other node, each once and in their order."""
        others = overlay.others(source)
        lines = [f"{number}: broadcast from {source}".encode() for number in range(20)]

        with listen(others) as heard:
            source.udp.send(lines, to=everyone)

        assert heard.payloads == dict.fromkeys(others, lines)


@pytest.mark.requirement("BCAST-01")
class TestFromASpoke(Delivery):
    @pytest.fixture
    def source(self, spoke):
        """A spoke: its broadcast crosses the hub to the other spokes, and ends at the hub too."""
        return spoke


@pytest.mark.requirement("BCAST-02")
class TestFromTheHub(Delivery):
    @pytest.fixture
    def source(self, hub):
        """The hub: its broadcast leaves by the bridge."""
        return hub


@pytest.mark.requirement("BCAST-05")
def test_sender_hears_itself_once(overlay, sender, everyone, listen):
    """The sender's own socket gets exactly one copy of its broadcast."""
    with listen([sender, *overlay.others(sender)]) as heard:
        sender.udp.send(to=everyone)

    heard.exactly_once(at=[sender.name])


@pytest.mark.requirement("BCAST-05")
def test_own_copy_is_made_locally(overlay, sender, everyone, listen):
    """Nothing of a broadcast comes back to its sender over the network, neither in a tunnel nor bare."""
    with listen(overlay.others(sender)) as heard:
        sender.udp.send(to=everyone)

    at_sender = [seen for seen in heard.sightings() if seen.node == sender.name]
    assert [str(seen) for seen in at_sender if seen.outgoing]
    assert [str(seen) for seen in at_sender if not seen.outgoing] == []
