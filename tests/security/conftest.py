"""Frames of strangers: frames of the overlay, encapsulated by hand as a tunnel would."""

import struct

import pytest

from fixtures.probes import layers

TRANSPARENT_ETHERNET = 0x6558  # RFC 1701
VXLAN_PORT, VNI_IS_VALID = 4789, 0x08  # RFC 7348
GENEVE_PORT = 6081  # RFC 8926
OUTSIDER = 66  # the host number of a VM that is no part of the overlay
UNKNOWN_MAC = "02:00:00:00:00:02"


@pytest.fixture
def outside(build_lab):
    """A lab of the test's own with one VM more in its cloud, which is no part of the overlay: (lab, VM)."""
    lab = build_lab()
    return lab, lab.admit("x", OUTSIDER)


@pytest.fixture
def forged():
    """
    A broadcast datagram in a frame in a packet like those of a lab's tunnels.

    `forged(lab, payload, port, of=spoke1, source=..., to=...)` is for the tunnel of spoke1, with these outer addresses.
    """

    def forge(lab, payload, port, *, of, source, to):
        speaker = str(lab.topology.hub.overlay.network.network_address + OUTSIDER)  # a host drops its own address
        inner = layers.IP(src=speaker, dst=lab.everyone) / layers.UDP(sport=port, dport=port) / payload
        frame = layers.Ether(src=UNKNOWN_MAC, dst="ff:ff:ff:ff:ff:ff") / inner
        outer = layers.IP(src=source, dst=to)
        if lab.topology.options.kind == "gretap":
            return bytes(outer / layers.GRE(proto=TRANSPARENT_ETHERNET) / frame)
        number = lab.topology.tunnel("hub", of.name).number
        if lab.topology.options.kind == "geneve":
            header = struct.pack("!HHI", 0, TRANSPARENT_ETHERNET, number << 8)
            return bytes(outer / layers.UDP(sport=port, dport=GENEVE_PORT, chksum=0) / header / frame)
        udp = layers.UDP(sport=port, dport=VXLAN_PORT, chksum=0)
        return bytes(outer / udp / layers.VXLAN(flags=VNI_IS_VALID, vni=number) / frame)

    return forge
