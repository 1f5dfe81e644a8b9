"""
The tunnel's header: Ethernet in GRE in IPv4, four octets and nothing more.

    | IPv4, protocol 47 (20) | GRE 0x0000 0x6558 (4) | Ethernet (14) | the packet as it was sent |
"""

import pytest

from fixtures.probes import carried, layers

pytestmark = [pytest.mark.requirement("WIRE-01"), pytest.mark.tunnel("gretap")]

GRE_PROTOCOL = 47
TRANSPARENT_ETHERNET = 0x6558
IPV4_HEADER, GRE_HEADER = 20, 4


def test_is_gre_with_transparent_ethernet(overlay, sender, everyone, listen):
    """Every outer packet is IPv4 protocol 47, its GRE header flags 0, version 0, type 0x6558."""
    with listen(overlay.others(sender)) as heard:
        sender.udp.send(to=everyone)

    seen = carried(heard.sightings())
    protocols = {one.outer[layers.IP].proto for one in seen}
    headers = {bytes(one.outer[layers.IP].payload)[:GRE_HEADER] for one in seen}
    assert protocols == {GRE_PROTOCOL}
    assert headers == {TRANSPARENT_ETHERNET.to_bytes(GRE_HEADER, "big")}


def test_is_four_octets_long(overlay, sender, everyone, listen):
    """The carried frame begins right after the four octets of the header: no checksum, key or sequence number."""
    with listen(overlay.others(sender)) as heard:
        sender.udp.send(to=everyone)

    seen = carried(heard.sightings())
    assert seen
    for one in seen:
        octets = bytes(one.outer[layers.IP].payload)
        assert len(octets) == GRE_HEADER + len(one.inner)
        assert octets[GRE_HEADER:].startswith(bytes.fromhex(one.inner[layers.Ether].dst.replace(":", "")))


@pytest.mark.requirement("WIRE-02")
@pytest.mark.parametrize("size", [32, None], ids=["small", "largest"])
@pytest.mark.usefixtures("frames_alone")
def test_adds_38_octets(overlay, spoke1, everyone, listen, size):
    """The outer packet is 38 octets longer than the inner one, up to the overlay's MTU."""
    largest = overlay.topology.hub.device
    mtu = overlay.hub.node.link(largest).mtu
    udp_and_ip = 28

    with listen(overlay.others(spoke1)) as heard:
        spoke1.udp.send(to=everyone, size=size or mtu - udp_and_ip)

    heard.exactly_once(at=overlay.others(spoke1))
    lengths = {(one.outer[layers.IP].len, one.inner[layers.IP].len) for one in carried(heard.sightings())}
    inner = size + udp_and_ip if size else mtu
    assert lengths == {(inner + 38, inner)}
