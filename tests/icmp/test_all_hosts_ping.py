"""
Ping to 224.0.0.1, the group that every host is in: its TTL is 1, so it shows whether the underlay eats TTL-1 packets.

    flat     spoke1 --tunnel--( hub )--tunnel-- spoke2         every node answers
    routed   spoke1 --tunnel-- r1 --( hub )-- r1 -- spoke2     only with an outer TTL of its own
"""

import ipaddress

import pytest

from fixtures.areas.underlay import unrouted
from fixtures.probes import decode, layers
from lab.model import ALL_HOSTS

pytestmark = pytest.mark.requirement("ICMP-05")


def devices(lab):
    """The overlay device of every host."""
    return {(host.name, host.plan.device) for host in lab.hosts.values()}


def is_echo_request(sighting, sender):
    """Whether a frame contains a host's ICMP echo request to 224.0.0.1, with an IPv4 header without options."""
    ends = ipaddress.IPv4Address(sender.address()).packed + ipaddress.IPv4Address(ALL_HOSTS).packed
    return sighting.frame[12:15] == b"\x08\x00\x45" and sighting.frame[26:35] == ends + b"\x08"


def test_every_node_answers_once(overlay, sender):
    """A request to 224.0.0.1 on the overlay device is answered once by each node, the pinger included."""
    answers = sender.ping(ALL_HOSTS, device=sender.plan.device)

    answers.exactly_once_by([sender.name, *overlay.others(sender)])


def test_request_has_ttl_1(overlay, sender):
    """A ping to 224.0.0.1 arrives at every other node with a TTL of 1, the default of multicast."""
    sender.ping(ALL_HOSTS, device=sender.plan.device)

    arrived = {
        seen.node: decode(seen)[layers.IP].ttl
        for seen in overlay.frames()
        if is_echo_request(seen, sender) and not seen.outgoing and (seen.node, seen.interface) in devices(overlay)
    }
    assert arrived == dict.fromkeys(overlay.others(sender), 1)


def test_every_node_answers_across_a_router(standing, sender):
    """With a fixed outer TTL every node answers a ping to 224.0.0.1, also across a router."""
    lab = standing(routers=1)
    pinger = lab[sender.name]

    answers = pinger.ping(ALL_HOSTS, device=pinger.plan.device)

    answers.exactly_once_by(lab.hosts)


@pytest.mark.disruptive
@pytest.mark.requirement("ICMP-03")
def test_inherited_ttl_dies_at_the_first_router(standing, sender):
    """With `ttl inherit` no node across a router answers 224.0.0.1, while every node still answers broadcast."""
    lab = standing(routers=1, ttl=None)
    pinger = lab[sender.name]

    to_group, to_all = pinger.ping(ALL_HOSTS, device=pinger.plan.device), pinger.ping(lab.everyone)

    to_group.exactly_once_by([pinger.name, *unrouted(lab, pinger)])
    to_all.exactly_once_by(lab.hosts)
