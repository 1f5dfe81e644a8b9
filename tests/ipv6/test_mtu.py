"""
IPv6 needs links with an MTU of at least 1280 (RFC 8200 section 5).

With a smaller MTU the kernel removes IPv6 and its addresses from a device, without an error.
"""

import pytest

from fixtures.probes import link_locals
from lab.stack.changes import link_set

pytestmark = pytest.mark.requirement("V6-04")

LEAST = 1280


def mtu_of(host):
    """The MTU of a host's overlay device."""
    return host.node.link(host.plan.device).mtu


def test_overlay_mtu_is_large_enough(overlay):
    """Every overlay device has an MTU of 1280 at least."""
    too_small = {host.name: mtu_of(host) for host in overlay.hosts.values() if mtu_of(host) < LEAST}

    assert too_small == {}


@pytest.mark.disruptive
def test_one_octet_less_takes_ipv6_away(mutable_lab, spoke):
    """With an MTU of 1279 a spoke has no IPv6 address on the overlay; with 1280 it has a link-local address again."""
    device, before = spoke.plan.device, mtu_of(spoke)
    had = link_locals(mutable_lab)
    without = {name: address for name, address in had.items() if name != spoke.name}

    with spoke.node.changed(link_set(device, mtu=LEAST - 1), link_set(device, mtu=before)):
        at_1279 = link_locals(mutable_lab)
        spoke.node.apply(link_set(device, mtu=LEAST))
        assert spoke.await_link_local()
        at_1280 = link_locals(mutable_lab)

    # not the same one where the MAC has changed since: a bridge takes that of its first port
    assert (at_1279, set(at_1280)) == (without, set(had))
