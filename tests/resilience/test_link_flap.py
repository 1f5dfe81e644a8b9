"""
A link that goes down and up again: the kernel restores only the routes of its addresses.

    gretap1 down, up:   172.16.254.2/24 dev gretap1   there again     224.0.0.0/4 dev gretap1   gone for good
"""

import contextlib

import pytest

from fixtures.areas.underlay import configured
from lab import groups
from lab.stack.changes import addr_add, addr_del, link_set, route_add, route_replace

pytestmark = pytest.mark.requirement("FAULT-03")

GROUP = groups.fresh()  # which groups a host routes where is MCAST-08's business, not this module's
NODES = pytest.mark.parametrize("name", ["hub", "spoke1"], ids="flapped={}".format)


def multicast_route(lab, host):
    """The multicast route as a change names it."""
    return {"to": str(lab.topology.multicast_route), "device": host.plan.device}


@pytest.fixture
def flap(mutable_lab, without_stp):
    """Takes a host's overlay device down and up for a `with` block, and gives it the multicast route afterwards."""

    @contextlib.contextmanager
    def flapped(host):
        for up in (False, True):
            host.node.apply(link_set(host.plan.device, up=up))
        try:
            yield
        finally:
            host.node.apply(route_replace(**multicast_route(mutable_lab, host)))

    return flapped


def configured_state(host):
    """Addresses, routes and memberships of a host, each as a set."""
    routes = {route for route in host.node.read("routes") if route.family == "inet"}
    return set(host.node.read("addresses")), routes, host.memberships()


def test_the_route_is_there(overlay):
    """On every node the multicast route points to the overlay: after any link flap it was added again."""
    seen = configured(overlay)

    ways = {name: seen[name].device_to(GROUP) for name in overlay.hosts}

    assert ways == {name: host.plan.device for name, host in overlay.hosts.items()}


@pytest.mark.needs("tunnels")
@pytest.mark.disruptive
@NODES
class TestFlap:
    def test_takes_the_static_route_and_nothing_else(self, mutable_lab, flap, name):
        """After a link flap the multicast route is missing; addresses, other routes and memberships are unchanged."""
        host = mutable_lab[name]
        addresses, routes, groups = configured_state(host)

        with flap(host):
            after = configured_state(host)

        lost = {route for route in routes if route.dst == str(mutable_lab.topology.multicast_route)}
        assert after == (addresses, routes - lost, groups)
        assert [route.dev for route in lost] == [host.plan.device]

    def test_sends_multicast_astray(self, mutable_lab, flap, name):
        """After a link flap the node's multicast leaves by its default route, without an error, and reaches no host."""
        host = mutable_lab[name]
        others = mutable_lab.others(host)

        with flap(host), mutable_lab.listen(others, group=GROUP) as heard:
            by_default = host.node.device_to(GROUP)
            host.udp.send(to=GROUP)
            host.udp.send(to=mutable_lab.everyone)

        lost, broadcast = heard.sent
        assert heard.payloads == {other: [] for other in others}
        seen = mutable_lab.frames([lost.payload])
        assert {one.interface for one in seen if one.node == host.name and one.outgoing} == {by_default}
        assert by_default != host.plan.device
        assert {one.node for one in seen} <= {host.name, mutable_lab.fabric.name}
        arrived = {one.node for one in mutable_lab.frames([broadcast.payload]) if not one.outgoing}
        assert set(others) <= arrived

    def test_leaves_memberships_as_they_were(self, mutable_lab, flap, name):
        """A socket that joined before the flap receives its group after it, without joining again."""
        host = mutable_lab[name]
        sender = mutable_lab[mutable_lab.others(host)[0]]

        with mutable_lab.listen([host], group=GROUP) as heard, flap(host):
            sender.udp.send(to=GROUP)

        heard.exactly_once(at=[name])

    def test_the_route_fixes_it(self, mutable_lab, flap, name):
        """After a link flap, with the multicast route added again, all others receive from the node again."""
        host = mutable_lab[name]
        others = mutable_lab.others(host)

        with flap(host):
            host.node.apply(route_add(**multicast_route(mutable_lab, host)))
            with mutable_lab.listen(others, group=GROUP) as heard:
                host.udp.send(to=GROUP)

        heard.exactly_once(at=others)

    def test_spares_a_route_that_belongs_to_an_address(self, mutable_lab, flap, name):
        """With the range as its address's peer prefix, the node has the route from the kernel, which restores it."""
        host = mutable_lab[name]
        others, route = mutable_lab.others(host), multicast_route(mutable_lab, host)
        owned = {"device": host.plan.device, "address": host.address(), "peer": route["to"]}

        with flap(host), host.node.changed(addr_add(**owned), addr_del(**owned)):
            with flap(host), mutable_lab.listen(others, group=GROUP) as heard:
                host.udp.send(to=GROUP)

        heard.exactly_once(at=others)
