"""Sizes of headers and packets."""

import pytest

from lab.stack.changes import link_set

PRP_TRAILER = 6  # octets at the end of each frame (IEC 62439-3)
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
        for host in lab.hosts.values():
            trailer = PRP_TRAILER if lab.topology.doubled else 0
            sizes = dict.fromkeys(lab.topology.ports(host.name), octets) | {host.plan.device: octets - trailer}
            host.node.apply(*(link_set(device, mtu=mtu) for device, mtu in sizes.items()))

    return change
