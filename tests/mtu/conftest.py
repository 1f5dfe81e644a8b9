"""How large what is."""

import pytest

from lab.changes import link_set

UDP_AND_IP = 28  # octets of header in front of a datagram's payload


@pytest.fixture
def mtu():
    """The MTU of a host's overlay device: `mtu(spoke1)`."""
    return lambda host: host.node.link(host.plan.device).mtu


@pytest.fixture
def largest(mtu):
    """The payload with which a host's datagram fills the overlay's MTU: `largest(spoke1)`."""
    return lambda host: mtu(host) - UDP_AND_IP


@pytest.fixture
def set_mtu():
    """`set_mtu(lab, 1362)` gives every overlay device of a lab's hosts that MTU."""

    def change(lab, octets):
        for spoke in lab.spokes:
            lab.hub.node.apply(link_set(lab.topology.port("hub", spoke.name), mtu=octets))
            spoke.node.apply(link_set(lab.topology.port(spoke.name, "hub"), mtu=octets))
        lab.hub.node.apply(link_set(lab.topology.bridge, mtu=octets))

    return change
