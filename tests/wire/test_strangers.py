"""
GRE from an address that is no tunnel's remote is rejected, because no other protocol handler accepts it either.

    spoke1 ens3 --[IPv4 47 [GRE [broadcast frame]]]--> ens3 spoke2      spoke2's only peer is the hub
"""

import secrets

import pytest

from fixtures.probes import decode, layers
from fixtures.requirements import not_applicable

pytestmark = pytest.mark.tunnel("gretap")

TRANSPARENT_ETHERNET = 0x6558
PORT_UNREACHABLE = (3, 3)
FALLBACKS = ("gre0", "gretap0", "erspan0")  # made by the driver itself, in every namespace


@pytest.mark.requirement("SEC-01", "WIRE-03")
@pytest.mark.disruptive
def test_is_refused(overlay, spoke1, spoke2, listen):
    """A spoke accepts GRE only from the hub: another spoke's is not delivered, and answered with ICMP 3/3."""
    if spoke1.name in overlay.topology.peers(spoke2.name):
        not_applicable(f"requires spokes without a tunnel to each other; the {overlay.topology.name} has one")
    stranger = secrets.token_hex(16).encode()
    there = spoke2.address("underlay")

    with listen(overlay.others(spoke1)) as heard:
        frame = layers.Ether(src="02:00:00:00:00:02", dst="ff:ff:ff:ff:ff:ff") / (
            layers.IP(src=spoke1.address(), dst=overlay.everyone) / layers.UDP(sport=heard.port, dport=heard.port)
        )
        outer = layers.IP(src=spoke1.address("underlay"), dst=there) / layers.GRE(proto=TRANSPARENT_ETHERNET)
        spoke1.send_packet(bytes(outer / frame / stranger), there)
        proof = spoke1.udp.send(to=overlay.everyone).payload

    assert heard.payloads == {name: [proof] for name in overlay.others(spoke1)}
    errors = [
        decode(one)
        for one in overlay.frames([stranger])
        if (one.node, one.interface, one.outgoing) == (spoke1.name, spoke1.plan.nic, False)
    ]
    assert [(packet[layers.ICMP].type, packet[layers.ICMP].code) for packet in errors] == [PORT_UNREACHABLE]


@pytest.mark.requirement("SEC-03")
def test_no_fallback_tunnel_is_up(overlay):
    """The driver's own devices, which accept GRE from any address, are down on every host."""
    up = [
        f"{host} {link.name}"
        for host in overlay.hosts.values()
        for link in host.node.read("links")
        if link.name in FALLBACKS and link.up
    ]

    assert up == []
