"""
The outgoing interface: the socket's choice precedes the routing table, which would send by the default route.

    spoke1 --tunnel1--( hub: bridge0 )--tunnel2-- spoke2      IP_MULTICAST_IF, bound address, SO_BINDTODEVICE
    ===+=ens3==================+=ens3=========+=ens3====      neither these nor a multicast route: bare, and lost
"""

import contextlib

import pytest

from lab import groups
from lab.model import MULTICAST
from lab.stack.changes import route_add, route_del

GROUP = groups.fresh()

pytestmark = pytest.mark.requirement("MCAST-07")


def choices(host, network):
    """The three ways for a socket to choose an interface."""
    return {
        "IP_MULTICAST_IF": {"multicast_interface": host.address(network)},
        "bound address": {"source": host.address(network)},
        "SO_BINDTODEVICE": {"device": host.plan.interface(network)},
    }


@pytest.mark.needs("tunnels")
@pytest.mark.disruptive
def test_without_a_route_each_choice_delivers_and_a_plain_socket_does_not(mutable_lab, sender, listen):
    """Without a multicast route datagrams arrive from sockets that select the overlay, and from no other socket."""
    others = mutable_lab.others(sender)

    with contextlib.ExitStack() as routes_back:
        for route in multicast_routes(sender):
            routes_back.enter_context(sender.node.changed(route_del(**route), route_add(**route)))
        by_default = sender.node.device_to(GROUP)
        with listen(others, group=GROUP) as heard:
            lost = sender.udp.send(b"plain", to=GROUP)
            chosen = [sender.udp.send(to=GROUP, **fields) for fields in choices(sender, "overlay").values()]

    seen = {name: [(datagram.payload, datagram.source[0]) for datagram in heard.datagrams[name]] for name in others}
    assert seen == {name: [(sent.payload, sender.address()) for sent in chosen] for name in others}
    assert places(heard, lost, sender) == {(by_default, None)}
    assert by_default != sender.plan.device


@pytest.mark.needs("tunnels")
def test_choice_comes_before_the_route(overlay, sender, listen):
    """A socket that selects the underlay sends by the NIC without a tunnel, although the route is to the overlay."""
    others = overlay.others(sender)

    with listen(others, group=GROUP) as heard:
        sent = {way: sender.udp.send(to=GROUP, **fields) for way, fields in choices(sender, "underlay").items()}

    heard.nothing(at=others)
    left = {way: places(heard, datagram, sender) for way, datagram in sent.items()}
    # a NIC that is a bridge, bond or VLAN sends by the device below it
    assert {way for way, found in left.items() if (sender.plan.nic, None) in found} == set(sent)
    assert {carrier for found in left.values() for _, carrier in found} == {None}
    assert sender.plan.device not in {interface for found in left.values() for interface, _ in found}


def multicast_routes(host):
    """The routes of a host's overlay device that lead to any part of the multicast range."""
    routes = [route for route in host.node.read("routes") if (route.family, route.dev) == ("inet", host.plan.device)]
    wanted = [route for route in routes if route.type == "unicast" and route.to.subnet_of(MULTICAST)]
    return [{"to": route.dst, "device": host.plan.device} for route in wanted]


def places(heard, sent, host):
    """The interfaces by which a datagram left its sender, and its encapsulation there."""
    return {
        (seen.interface, seen.carrier)
        for seen in heard.sightings()
        if seen.node == host.name and seen.outgoing and sent.payload in seen.frame
    }
