"""
IPv6 inside the overlay: every node answers a ping to ff02::1, and a group is delivered with a hop limit of 1.

    spoke1 fe80::..%gretap1 --gretap1--( hub: bridge0 )--gretap2-- spoke2 fe80::..%gretap2

The tunnels carry Ethernet, so that IPv6 needs nothing of them; what breaks it is on the hosts.
"""

import pytest

from fixtures.areas.underlay import shared
from fixtures.probes import link_local, link_locals

pytestmark = pytest.mark.requirement("V6-01")

IGNORE_MULTICAST = "net.ipv6.icmp.echo_ignore_multicast"
FIXED = 64
HOP_LIMIT = 1  # the default of multicast (RFC 3493 section 5.2)


def test_every_node_has_a_link_local_address_of_its_own(overlay):
    """Every host has a usable link-local address on the overlay, and no two have the same."""
    found = link_locals(overlay)

    assert set(found) == set(overlay.hosts)
    assert shared(found) == {}


def test_every_node_answers_a_ping_to_all_nodes_once(overlay, sender, all_nodes):
    """An echo request to ff02::1 on the overlay device is answered once by each node, the pinger included."""
    answers = sender.ping(all_nodes)

    answers.exactly_once_by(overlay.hosts)


def test_group_is_delivered_with_a_hop_limit_of_1(overlay, sender, listen, fresh_group6):
    """A datagram to a joined ff15:: group reaches every other node once, with the default hop limit of 1."""
    others = overlay.others(sender)

    with listen(others, group=fresh_group6) as heard:
        sender.udp.send(to=fresh_group6)

    heard.exactly_once(at=others)
    assert {name: heard.one(at=name).ttl for name in others} == dict.fromkeys(others, HOP_LIMIT)


def test_group_reaches_only_its_members(overlay, spoke1, listen, fresh_group6):
    """A socket on the same port that joined no group receives nothing."""
    others = overlay.others(spoke1)

    with listen(others, group=fresh_group6, join=False) as heard:
        spoke1.udp.send(to=fresh_group6)

    heard.nothing(at=others)


def test_a_router_on_the_underlay_makes_no_difference(standing, sender, all_nodes):
    """With a fixed outer TTL every node answers a ping to ff02::1, also across a router."""
    lab = standing(routers=1, ipv6=True, ttl=FIXED)

    answers = lab[sender.name].ping(all_nodes)

    answers.exactly_once_by(lab.hosts)


@pytest.mark.disruptive
def test_ignoring_multicast_silences_exactly_that_node(mutable_lab, receiver, all_nodes):
    """With echo_ignore_multicast=1 a node answers no ping to ff02::1, and still one to its own address."""
    pinger = mutable_lab[mutable_lab.others(receiver)[0]]
    address = link_local(mutable_lab, receiver)

    with receiver.node.with_sysctl(IGNORE_MULTICAST, 1):
        to_all, to_one = pinger.ping(all_nodes), pinger.ping(address)

    to_all.exactly_once_by([name for name in mutable_lab.hosts if name != receiver.name])
    to_one.exactly_once_by([receiver.name])
    pinger.ping(all_nodes).exactly_once_by(mutable_lab.hosts)


@pytest.mark.disruptive
def test_node_without_ipv6_is_deaf_to_it_alone(mutable_lab, spoke, all_nodes):
    """With disable_ipv6=1 on its overlay device a spoke answers no IPv6 and receives every broadcast of IPv4."""
    others = mutable_lab.others(spoke)

    with spoke.node.with_sysctl(f"net.ipv6.conf.{spoke.plan.device}.disable_ipv6", 1):
        to_all, to_everyone = mutable_lab.hub.ping(all_nodes), mutable_lab.hub.ping(mutable_lab.everyone)
    assert spoke.await_link_local()

    to_all.exactly_once_by(others)
    to_everyone.exactly_once_by(mutable_lab.hosts)
