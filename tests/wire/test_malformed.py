"""
Malformed GRE, sent by hand from a spoke's own address to the hub's.

    spoke1 ens3 --[IPv4 47 [GRE ? [broadcast frame]]]--> ens3 hub: nothing comes out of gretap1
"""

import secrets

import pytest

from fixtures.probes import carried, layers

pytestmark = [pytest.mark.requirement("WIRE-09"), pytest.mark.tunnel("gretap")]

TRANSPARENT_ETHERNET, IPV4 = 0x6558, 0x0800
GOOD = {"proto": TRANSPARENT_ETHERNET}
MALFORMED = {
    "version=1": {**GOOD, "version": 1},
    "version=7": {**GOOD, "version": 7},
    "routing_bit": {**GOOD, "routing_present": 1},
    "type=IPv4": {"proto": IPV4},
    "type=ERSPAN": {"proto": 0x88BE},
    "bad_checksum": {**GOOD, "chksum_present": 1, "chksum": 0xDEAD},
}


@pytest.fixture
def crafted(overlay, spoke1):
    """Makes a GRE packet from spoke1 to the hub around a broadcast datagram, with the given GRE header."""

    def craft(header, port, payload):
        inner = layers.IP(src=spoke1.address(), dst=overlay.everyone) / layers.UDP(sport=port, dport=port) / payload
        if header["proto"] != IPV4:
            inner = layers.Ether(src="02:00:00:00:00:02", dst="ff:ff:ff:ff:ff:ff") / inner
        outer = layers.IP(src=spoke1.address("underlay"), dst=overlay.hub.address("underlay"))
        return bytes(outer / layers.GRE(**header) / inner)

    return craft


@pytest.mark.disruptive
def test_is_discarded(overlay, spoke1, listen, crafted):
    """Malformed GRE is delivered to no host, while the same frame in well-formed GRE is delivered to all."""
    sent = {**MALFORMED, "well-formed": GOOD}
    payloads = {what: f"{what} {secrets.token_hex(16)}".encode() for what in sent}
    others = overlay.others(spoke1)

    with listen(others) as heard:
        for what, header in sent.items():
            spoke1.send_packet(crafted(header, heard.port, payloads[what]), overlay.hub.address("underlay"))
        proof = spoke1.udp.send(to=overlay.everyone).payload

    served = ["hub", *overlay.others("hub")]
    whole = payloads["well-formed"]
    assert heard.payloads == {name: [whole, proof] if name in served else [proof] for name in others}


def test_reserved_bits_are_sent_as_zero(overlay, sender, everyone, listen):
    """Whatever a node sends, the thirteen reserved and version bits of its GRE header are zero."""
    with listen(overlay.others(sender)) as heard:
        sender.udp.send(to=everyone)

    seen = carried(heard.sightings())
    flags = {int.from_bytes(bytes(one.outer[layers.IP].payload)[:2], "big") & 0x1FFF for one in seen}
    assert flags == {0}
